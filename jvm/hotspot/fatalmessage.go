package hotspot

import (
	"cmp"
	"strings"
)

// startOutput collects what a JVM or its launcher prints when it cannot start or when an
// exception ends the main thread. stdout and stderr may interleave, so the position of a
// line says nothing.
type startOutput struct {
	first      StartupError // the first one that StartupErrorReader found
	named      StartupError // the first line that is an error by itself, except the launcher's generic one
	linkage    string       // why the main class cannot be linked
	logError   string       // why unified logging cannot be set up
	otherError string       // the first line "Error: ..." that is none of these
	uncaught   string       // "Exception in thread "main" ...", the latest
	cause      string       // "Caused by: ...", the deepest of the latest
	native     string       // "FATAL ERROR in native method: ..."
	last       string       // the latest line that is not empty
}

// interleaved reports whether a line may come between two related ones, because the JVM
// prints it to the other stream.
func interleaved(line string) bool {
	return line == "" || strings.Contains(line, " VM warning: ") || strings.HasPrefix(line, "Picked up ")
}

// line takes the next line.
func (s *startOutput) line(line string, reader *StartupErrorReader) {
	if r, ok := reader.Line(line); ok {
		s.first = r
	}
	r, ok := startupErrorLine(line)
	switch trimmed := strings.TrimSpace(line); {
	case trimmed == "":
		return
	case strings.HasPrefix(s.last, linkageError):
		s.linkage = trimmed
	case ok && s.named.Message == "" && !strings.HasPrefix(r.Message, noVM) && !outOfMemory(r.Message):
		s.named = r
	case strings.HasPrefix(line, "Error: Exception thrown by the agent") && s.named.Message == "":
		s.named = StartupError{Message: strings.TrimSuffix(line, "; nested exception is:")}
	case strings.Contains(line, "[error][logging] ") && s.logError == "":
		_, s.logError, _ = strings.Cut(line, "[error][logging] ")
	case strings.HasPrefix(line, "Caused by: "): // on stderr, and the fatal error on stdout: either may come first
		s.cause = strings.TrimPrefix(line, "Caused by: ")
	case strings.HasPrefix(line, "FATAL ERROR in native method: "):
		s.native = line
	case strings.HasPrefix(line, inMain):
		s.uncaught, s.cause = line, ""
	case s.otherError == "" && (strings.HasPrefix(line, "Error: ") || strings.HasPrefix(line, "ERROR: ")) &&
		!strings.HasPrefix(line, noVM) && !strings.HasPrefix(line, "Error: A JNI error has occurred"): // the exception follows
		s.otherError = line
	}
	s.last = line
}

const (
	linkageError = "Error: LinkageError occurred"
	inMain       = `Exception in thread "main" `
)

// startupError returns why the JVM could not start; an empty Message: it started.
func (w *exitOutput) startupError() StartupError {
	s := w.start
	switch {
	case s.linkage != "":
		return StartupError{Message: s.linkage}
	case strings.HasPrefix(s.named.Message, "Invalid -Xlog option '") && s.logError != "":
		message, _, _ := strings.Cut(s.named.Message, ", see error log")
		return StartupError{s.named.Option, message + " (" + s.logError + ")"}
	case s.named.Message != "" && !strings.HasPrefix(s.first.Message, s.named.Message):
		return s.named
	case s.first.Message != "" && !strings.HasPrefix(s.first.Message, noVM) && s.first.Message != w.initError:
		return s.first
	case w.initError != "":
		return StartupError{Message: w.initError}
	}
	return s.first
}

// startupMessage is what startRefusal says.
func (w *exitOutput) startupMessage() string { return clip(w.startupError().Message) }

// exception returns the exception that ended the main thread, with its deepest cause.
func (w *exitOutput) exception() string {
	text := strings.TrimPrefix(w.start.uncaught, inMain)
	if text != "" && w.start.cause != "" {
		return clip(text) + ", caused by " + clip(w.start.cause)
	}
	return clip(text)
}

// nativeError is the fatal error of an agent, with the exception that caused it.
func (w *exitOutput) nativeError() string {
	if w.start.native != "" && w.start.cause != "" {
		return clip(w.start.cause + " (" + w.start.native + ")")
	}
	return clip(w.start.native)
}

// FatalMessage returns one line that explains the end of a JVM: the startup error, the
// deepest cause of the exception that ended it, or its fatal error; otherwise the last line
// that is not empty. output is the tail of its output.
func FatalMessage(output []byte) string {
	w := readExitOutput(output)
	refused := w.startupMessage()
	if strings.HasPrefix(refused, noVM) {
		refused = ""
	}
	fatal, cause := w.fatal, ""
	if fatal != "" && w.frame != "" {
		fatal += ", in " + w.frame
	}
	if w.start.uncaught != "" {
		cause = clip(w.start.cause)
	}
	return cmp.Or(w.nativeError(), refused, clip(strings.TrimSuffix(w.start.otherError, "; nested exception is:")), clip(fatal), w.noMemory,
		cause, clip(w.start.uncaught), w.startupMessage(), clip(strings.TrimSpace(w.start.last)))
}
