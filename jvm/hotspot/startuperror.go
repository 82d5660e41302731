package hotspot

import (
	"cmp"
	"strings"
)

// StartupError is the message of a JVM that cannot start.
type StartupError struct {
	// Option is the option that the JVM names, an -XX option without its sign; may be empty.
	Option  string
	Message string // the line, with the explanation that the JVM printed before it
}

// StartupErrorReader finds the first startup error in the output of a JVM or its launcher; the others follow from
// it. The zero value is ready.
type StartupErrorReader struct {
	output startOutput
	found  bool
}

// Line takes the next line. ok: the JVM cannot start.
func (r *StartupErrorReader) Line(line string) (e StartupError, ok bool) {
	if r.found {
		return e, false
	}
	r.output.startupLine(line)
	e = r.output.startupError()
	r.found = e.Message != "" && !strings.HasPrefix(e.Message, noInit) // the reason follows
	return e, r.found
}

// startOutput collects what a JVM or its launcher prints when it cannot start or when an exception ends the main
// thread; HotSpot does not translate it. stdout and stderr may interleave.
type startOutput struct {
	named     StartupError // the first line that is an error by itself, except the launcher's generic one
	noMemory  string       // the first such line for which the machine may be the reason
	linkage   string       // why the main class cannot be linked
	logError  string       // why unified logging cannot be set up
	initError string       // the line behind "Error occurred during initialization of VM"
	generic   string       // the line before the launcher's generic error, which may be the reason, or that error
	other     string       // the first line "Error: ..." that is none of these
	uncaught  string       // "Exception in thread "main" ...", the latest
	cause     string       // "Caused by: ...", the deepest of the latest
	native    string       // "FATAL ERROR in native method: ..."
	last      string       // the latest line that is not empty
}

const (
	noVM         = "Error: Could not create the Java Virtual Machine." // the launcher's generic error
	noInit       = "Error occurred during initialization of "
	linkageError = "Error: LinkageError occurred"
	inMain       = `Exception in thread "main" `
)

// namedErrors are the lines that name an option: what they begin with, what the option begins with, and what ends it.
var namedErrors = []struct{ begin, option, end string }{
	{"Unrecognized VM option '", "-XX:", "'"},
	{"Improperly specified VM option '", "-XX:", "'"},
	{"Missing +/- setting for VM option '", "-XX:", "'"},
	{"Unexpected +/- setting in VM option '", "-XX:", "'"},
	{"Error: VM option '", "-XX:", "'"},
	{"Unrecognized option: ", "", "\n"},
	{"Error: Unrecognized option: ", "", "\n"},
	{"Invalid -Xlog option '", "", "'"},
	{"Error opening zip file or JAR manifest missing : ", "-javaagent:", "\n"},
	{"Could not find agent library ", "-agentlib:", " "},
	{"Error: --", "--", " "},
}

// startupErrorLine matches a single line, except the launcher's generic error.
func startupErrorLine(line string) (e StartupError, ok bool) {
	for _, e := range namedErrors {
		if rest, ok := strings.CutPrefix(line, e.begin); ok {
			name, _, _ := strings.Cut(rest, e.end)
			if e.option == "-agentlib:" && strings.Contains(rest, " in absolute path") {
				e.option = "-agentpath:"
			}
			return StartupError{e.option + name, line}, true
		}
	}
	if _, option, ok := strings.Cut(line, ": -"); ok && strings.HasPrefix(line, "Invalid ") {
		return StartupError{"-" + option, line}, true
	}
	line = strings.TrimPrefix(line, "# ")
	return StartupError{Message: strings.TrimSuffix(line, "; nested exception is:")}, hasPrefix(line,
		"Error: Could not find or load main class ", "Error: Unable to access jarfile ", "Error: Invalid com.sun.",
		linkageError, "Failed to find Premain-Class", "There is insufficient memory for the Java Runtime Environment",
		"ERROR: transport error ", "Error: Password file", "Error: could not find libjava", "Error: could not open ",
		"Error: Exception thrown by the agent")
}

// outOfMemory reports whether the machine may be the reason, and not an option.
func outOfMemory(message string) bool {
	return strings.Contains(message, "insufficient memory") || strings.Contains(message, "unable to create native thread") ||
		strings.Contains(message, "annot create VM thread")
}

// startupLine takes the next line.
func (s *startOutput) startupLine(line string) {
	trimmed, before := strings.TrimSpace(line), s.last
	if trimmed == "" {
		return
	}
	s.last = line
	warning := strings.Contains(line, " VM warning: ") || strings.HasPrefix(line, "Picked up ") // may be of the other stream
	switch e, ok := startupErrorLine(line); {
	case strings.HasPrefix(before, linkageError):
		s.linkage = trimmed
	case ok && outOfMemory(e.Message):
		s.noMemory = cmp.Or(s.noMemory, e.Message)
	case ok && s.named.Message == "":
		if strings.Contains(before, "is outside the allowed range") { // "intx X=1 is outside the allowed range [ 2 ... 3 ]"
			e.Message += " (" + strings.TrimSpace(before) + ")"
		}
		s.named = e
	case strings.HasPrefix(line, noInit), hasPrefix(s.initError, noInit) && !ok && !warning:
		s.initError = line
	case strings.Contains(line, "[error][logging] ") && s.logError == "":
		_, s.logError, _ = strings.Cut(line, "[error][logging] ")
	case strings.HasPrefix(line, "Caused by: "): // on stderr, and the fatal error on stdout: either may come first
		s.cause = strings.TrimPrefix(line, "Caused by: ")
	case strings.HasPrefix(line, "FATAL ERROR in native method: "):
		s.native = line
	case strings.HasPrefix(line, inMain):
		s.uncaught, s.cause = line, ""
	case strings.HasPrefix(line, noVM):
		if s.generic = line; before != "" && !strings.Contains(before, "warning: ") {
			s.generic = strings.TrimSpace(before)
		}
	case hasPrefix(line, "Error: ", "ERROR: ") && !strings.HasPrefix(line, "Error: A JNI error has occurred"): // the exception follows
		s.other = cmp.Or(s.other, line)
	}
}

// startupError returns why the JVM could not start; an empty Message: it started.
func (s *startOutput) startupError() StartupError {
	switch message, _, _ := strings.Cut(s.named.Message, ", see error log"); {
	case s.linkage != "":
		return StartupError{Message: s.linkage}
	case strings.HasPrefix(message, "Invalid -Xlog option '") && s.logError != "":
		return StartupError{s.named.Option, message + " (" + s.logError + ")"}
	case s.named.Message != "":
		return s.named
	}
	return StartupError{Message: cmp.Or(s.noMemory, s.initError, s.generic)}
}

// exception returns the exception that ended the main thread, with its deepest cause.
func (s *startOutput) exception() string {
	text := strings.TrimPrefix(s.uncaught, inMain)
	if text != "" && s.cause != "" {
		return clip(text) + ", caused by " + clip(s.cause)
	}
	return clip(text)
}

// nativeError is the fatal error of an agent, with the exception that caused it.
func (s *startOutput) nativeError() string {
	if s.native != "" && s.cause != "" {
		return clip(s.cause + " (" + s.native + ")")
	}
	return clip(s.native)
}
