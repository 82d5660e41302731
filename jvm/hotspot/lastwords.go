package hotspot

import (
	"cmp"
	"strings"
)

// startWords are what a JVM, or its launcher, writes when it cannot start or when an
// exception ends its main thread. Each stream keeps its order, and either may come
// first, so no line counts by its place.
type startWords struct {
	refused   Refusal // the first of a RefusalReader
	named     Refusal // the first line that is one by itself, but for the launcher's last word
	linkage   string  // why the main class cannot be linked
	logError  string  // why unified logging cannot begin
	complaint string  // the first line "Error: ..." that is none of these
	uncaught  string  // "Exception in thread "main" ...", the latest
	cause     string  // "Caused by: ...", the deepest of the latest
	native    string  // "FATAL ERROR in native method: ..."
	last      string  // the latest line that is not empty
}

// aside says whether a line may stand between two that belong together: the JVM
// writes it to the other stream.
func aside(line string) bool {
	return line == "" || strings.Contains(line, " VM warning: ") || strings.HasPrefix(line, "Picked up ")
}

// line takes the next line.
func (s *startWords) line(line string, reader *RefusalReader) {
	if r, ok := reader.Line(line); ok {
		s.refused = r
	}
	r, ok := refusalLine(line)
	switch trimmed := strings.TrimSpace(line); {
	case trimmed == "":
		return
	case strings.HasPrefix(s.last, linkageError):
		s.linkage = trimmed
	case ok && s.named.Message == "" && !strings.HasPrefix(r.Message, noVM) && !lacksMemory(r.Message):
		s.named = r
	case strings.HasPrefix(line, "Error: Exception thrown by the agent") && s.named.Message == "":
		s.named = Refusal{Message: strings.TrimSuffix(line, "; nested exception is:")}
	case strings.Contains(line, "[error][logging] ") && s.logError == "":
		_, s.logError, _ = strings.Cut(line, "[error][logging] ")
	case strings.HasPrefix(line, "Caused by: "): // on stderr, and the fatal error on stdout: either may come first
		s.cause = strings.TrimPrefix(line, "Caused by: ")
	case strings.HasPrefix(line, "FATAL ERROR in native method: "):
		s.native = line
	case strings.HasPrefix(line, inMain):
		s.uncaught, s.cause = line, ""
	case s.complaint == "" && (strings.HasPrefix(line, "Error: ") || strings.HasPrefix(line, "ERROR: ")) &&
		!strings.HasPrefix(line, noVM) && !strings.HasPrefix(line, "Error: A JNI error has occurred"): // the exception follows
		s.complaint = line
	}
	s.last = line
}

const (
	linkageError = "Error: LinkageError occurred"
	inMain       = `Exception in thread "main" `
)

// startRefusal is the JVM's refusal to start; without a Message there is none.
func (w *words) startRefusal() Refusal {
	s := w.start
	switch {
	case s.linkage != "":
		return Refusal{Message: s.linkage}
	case strings.HasPrefix(s.named.Message, "Invalid -Xlog option '") && s.logError != "":
		message, _, _ := strings.Cut(s.named.Message, ", see error log")
		return Refusal{s.named.Option, message + " (" + s.logError + ")"}
	case s.named.Message != "" && !strings.HasPrefix(s.refused.Message, s.named.Message):
		return s.named
	case s.refused.Message != "" && !strings.HasPrefix(s.refused.Message, noVM) && s.refused.Message != w.initError:
		return s.refused
	case w.initError != "":
		return Refusal{Message: w.initError}
	}
	return s.refused
}

// startError is what startRefusal says.
func (w *words) startError() string { return clip(w.startRefusal().Message) }

// exception is what ended the main thread, with its deepest cause.
func (w *words) exception() string {
	text := strings.TrimPrefix(w.start.uncaught, inMain)
	if text != "" && w.start.cause != "" {
		return clip(text) + ", caused by " + clip(w.start.cause)
	}
	return clip(text)
}

// nativeError is the fatal error of an agent, with the exception that caused it.
func (w *words) nativeError() string {
	if w.start.native != "" && w.start.cause != "" {
		return clip(w.start.cause + " (" + w.start.native + ")")
	}
	return clip(w.start.native)
}

// LastWords are what a JVM said of its end, in one line: its refusal to start, the
// deepest cause of an exception that ended it, its fatal error; else the last line that
// is not empty. output is the end of what it wrote; empty: it wrote nothing.
func LastWords(output []byte) string {
	w := readWords(output)
	refused := w.startError()
	if strings.HasPrefix(refused, noVM) {
		refused = ""
	}
	fatal := strings.TrimSuffix(w.fatal+", in "+w.frame, ", in ")
	if w.fatal == "" {
		fatal = ""
	}
	cause := ""
	if w.start.uncaught != "" {
		cause = clip(w.start.cause)
	}
	return cmp.Or(w.nativeError(), refused, clip(strings.TrimSuffix(w.start.complaint, "; nested exception is:")), clip(fatal), w.noMemory,
		cause, clip(w.start.uncaught), w.startError(), clip(strings.TrimSpace(w.start.last)))
}
