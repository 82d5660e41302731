package hotspot

import (
	"bytes"
	"cmp"
	"strconv"
	"strings"
)

// exitOutput holds what a JVM printed when it ended. The head of an hs_err file has the same
// lines.
type exitOutput struct {
	ended     string // the message of an OutOfMemoryError that ended it because of an option
	uncaught  string // the same, of one that ended the main thread
	mentioned string // the same, of the last one printed anywhere
	noMemory  string // the allocation of the JVM itself that failed
	fatal     string // the fatal error
	frame     string // its "problematic frame"
	initError string // the line behind "Error occurred during initialization of VM"
	start     startOutput
	pid       int    // as the JVM prints it; 0: unknown
	report    string // path of the hs_err file
	dump      string // path of the heap dump; empty: none was started
	dumped    bool   // the heap dump is complete
	dumpError string // why there is no heap dump
}

// maxText is the longest text taken from a line, in bytes.
const maxText = 512

// readExitOutput reads the output line by line; some lines are recognised by the one before.
func readExitOutput(output []byte) (w exitOutput) {
	before := ""
	var refusal StartupErrorReader
	fatal := false // inside the block that describes a fatal error
	for raw := range bytes.Lines(output) {
		line := strings.TrimRight(string(raw[:min(len(raw), 4*maxText)]), " \r\n")
		w.start.line(line, &refusal)
		note, isNote := strings.CutPrefix(line, "#")
		note = clip(strings.TrimSpace(note))
		switch {
		case isNote && fatal:
			fatal = w.fatalLine(note)
		case isNote:
			fatal = w.noteLine(note, before)
		default:
			fatal = false
			w.plainLine(line, before)
		}
		before = line
	}
	return w
}

// fatalLine reads a line of the block below "A fatal error has been detected";
// false: it was the last one.
func (w *exitOutput) fatalLine(note string) bool {
	if note == "" {
		return w.fatal == ""
	}
	if k := strings.Index(note, ", pid="); k >= 0 {
		digits, _, _ := strings.Cut(note[k+len(", pid="):], ",")
		w.pid, _ = strconv.Atoi(digits) // 0: unknown
		note = note[:k]
	}
	if w.fatal != "" {
		w.fatal += ", "
	}
	w.fatal = clip(w.fatal + note)
	return true
}

// noteLine reads a line that begins with "#"; true: the fatal error follows.
func (w *exitOutput) noteLine(note, before string) bool {
	switch {
	case strings.HasPrefix(note, "A fatal error has been detected by the Java"):
		w.fatal = ""
		return true
	case strings.HasPrefix(before, "# Problematic frame:"):
		w.frame = strings.Join(strings.Fields(note), " ")
	case strings.HasPrefix(note, "There is insufficient memory for the Java"):
		w.noMemory = note
	case strings.HasPrefix(note, "Native memory allocation ") && w.noMemory != "":
		w.noMemory = note
	case strings.HasPrefix(before, "# An error report file"):
		w.report = note
	case strings.HasPrefix(note, "java.lang.OutOfMemoryError: "):
		w.mentioned = note[len("java.lang.OutOfMemoryError: "):]
	case strings.HasPrefix(note, "-XX:OnOutOfMemoryError=") && w.mentioned != "":
		w.ended = w.mentioned // its command usually kills the JVM
	}
	return false
}

// plainLine reads any other line.
func (w *exitOutput) plainLine(line, before string) {
	const oom = "java.lang.OutOfMemoryError"
	switch {
	case line == "Error occurred during initialization of VM":
		w.initError = line
	case w.initError == "Error occurred during initialization of VM" && !interleaved(line):
		w.initError = clip(line)
	}
	if detail, ok := strings.CutPrefix(line, "Dumping heap to "); ok {
		w.dump, w.dumped = strings.TrimSuffix(detail, " ..."), false
		return
	}
	switch {
	case strings.HasPrefix(line, "Heap dump file created ["):
		w.dumped = true
	case strings.HasPrefix(before, "Dumping heap to ") && (strings.HasPrefix(line, "Unable to ") ||
		strings.HasPrefix(line, "Dump file is incomplete")):
		w.dumpError = clip(line)
	}
	k := strings.Index(line, oom)
	if k < 0 {
		return
	}
	detail := cmp.Or(clip(strings.TrimPrefix(strings.TrimPrefix(line[k+len(oom):], ":"), " ")), "no detail")
	w.mentioned = detail
	begin := line[:k]
	switch {
	case begin == "Terminating due to ", begin == "Aborting due to ":
		w.ended = detail
	case begin == `Exception in thread "main" `:
		w.uncaught = detail
	case begin == "Exception: " && strings.HasSuffix(line, `in thread "main"`): // no memory was left to print more
		w.mentioned, w.uncaught = "no detail", "no detail"
	}
}

func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "..."
}
