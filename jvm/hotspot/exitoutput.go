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
	ended      string // the message of an OutOfMemoryError that ended it because of an option
	main       string // the same, of one that ended the main thread
	mentioned  string // the same, of the last one printed anywhere
	allocation string // the allocation of the JVM itself that failed
	fatal      string // the fatal error
	frame      string // its "problematic frame"
	startOutput
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
	fatal := false // inside the block that describes a fatal error
	for raw := range bytes.Lines(output) {
		line := strings.TrimRight(string(raw[:min(len(raw), 4*maxText)]), " \r\n")
		w.startupLine(line)
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
		w.allocation = note
	case strings.HasPrefix(note, "Native memory allocation ") && w.allocation != "":
		w.allocation = note
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
		w.main = detail
	case begin == "Exception: " && strings.HasSuffix(line, `in thread "main"`): // no memory was left to print more
		w.mentioned, w.main = "no detail", "no detail"
	}
}

// startupMessage is the message of startupError.
func (w *exitOutput) startupMessage() string { return clip(w.startupError().Message) }

// FatalMessage returns one line that explains the end of a JVM: the startup error, the
// deepest cause of the exception that ended it, or its fatal error; otherwise the last line
// that is not empty. output is the tail of its output.
func FatalMessage(output []byte) string {
	w := readExitOutput(output)
	refused, cause := w.startupMessage(), w.cause
	if strings.HasPrefix(refused, noVM) {
		refused = ""
	}
	if w.uncaught == "" {
		cause = ""
	}
	return cmp.Or(w.nativeError(), refused, clip(strings.TrimSuffix(w.other, "; nested exception is:")), clip(w.fatalError()), w.allocation,
		clip(cause), clip(w.uncaught), w.startupMessage(), clip(strings.TrimSpace(w.last)))
}

// fatalError is the fatal error with its "problematic frame".
func (w *exitOutput) fatalError() string {
	if w.fatal != "" && w.frame != "" {
		return w.fatal + ", in " + w.frame
	}
	return w.fatal
}

func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "..."
}
