package hotspot

import (
	"bytes"
	"strconv"
	"strings"
)

// words are what a JVM writes when it dies: of its output, or of the head of an
// hs_err file, which has the same lines.
type words struct {
	ended     string // the detail of an OutOfMemoryError that ended it by an option
	uncaught  string // the same, of one that nobody caught in the main thread
	mentioned string // the same, of the last one that is written anywhere
	noMemory  string // what the JVM itself could not get
	fatal     string // the fatal error
	frame     string // where it came: the "problematic frame"
	initError string // the line behind "Error occurred during initialization of VM"
	start     startWords
	pid       int    // as the JVM sees it; 0: it does not say
	report    string // path of the hs_err file
	dump      string // path of the heap dump; "" where it was not begun
	dumped    bool   // and it is complete
	dumpError string // why there is none
}

// maxWords bounds what is taken of a line, in bytes.
const maxWords = 512

// readWords goes through output line by line; an expected line is recognised by
// the one before it.
func readWords(output []byte) (w words) {
	before := ""
	var refusal RefusalReader
	fatal := false // within the block that describes a fatal error
	for raw := range bytes.Lines(output) {
		line := strings.TrimRight(string(raw[:min(len(raw), 4*maxWords)]), " \r\n")
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
// false: that was its last.
func (w *words) fatalLine(note string) bool {
	if note == "" {
		return w.fatal == ""
	}
	if k := strings.Index(note, ", pid="); k >= 0 {
		digits, _, _ := strings.Cut(note[k+len(", pid="):], ",")
		w.pid, _ = strconv.Atoi(digits) // 0: it does not say
		note = note[:k]
	}
	if w.fatal != "" {
		w.fatal += ", "
	}
	w.fatal = clip(w.fatal + note)
	return true
}

// noteLine reads a line that begins with "#"; true: the fatal error follows.
func (w *words) noteLine(note, before string) bool {
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
		w.ended = w.mentioned // its command is usually kill
	}
	return false
}

// plainLine reads any other line.
func (w *words) plainLine(line, before string) {
	const oom = "java.lang.OutOfMemoryError"
	switch {
	case line == "Error occurred during initialization of VM":
		w.initError = line
	case w.initError == "Error occurred during initialization of VM" && !aside(line):
		w.initError = clip(line)
	}
	if detail, ok := strings.CutPrefix(line, "Dumping heap to "); ok {
		w.dump, w.dumped = strings.TrimSuffix(detail, " ..."), false
		return
	}
	switch {
	case strings.HasPrefix(line, "Heap dump file created ["):
		w.dumped = true
	case strings.HasPrefix(before, "Dumping heap to ") && (strings.HasPrefix(line, "Unable to ") || strings.HasPrefix(line, "Dump file is incomplete")):
		w.dumpError = clip(line)
	}
	k := strings.Index(line, oom)
	if k < 0 {
		return
	}
	detail := clip(strings.TrimPrefix(strings.TrimPrefix(line[k+len(oom):], ":"), " "))
	if detail == "" {
		detail = "no detail"
	}
	w.mentioned = detail
	begin := line[:k]
	switch {
	case begin == "Terminating due to ", begin == "Aborting due to ":
		w.ended = detail
	case begin == `Exception in thread "main" `:
		w.uncaught = detail
	case begin == "Exception: " && strings.HasSuffix(line, `in thread "main"`): // there was not even memory to say it
		w.mentioned, w.uncaught = "no detail", "no detail"
	}
}

// fromReport adds what only the hs_err file says.
func (w *words) fromReport(r words) {
	w.fatal, w.frame, w.noMemory = r.fatal, r.frame, r.noMemory
}

func clip(s string) string {
	if len(s) <= maxWords {
		return s
	}
	return strings.ToValidUTF8(s[:maxWords], "") + "..."
}
