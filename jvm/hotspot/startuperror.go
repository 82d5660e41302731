package hotspot

import (
	"strings"
)

// StartupError is the message of a JVM that cannot start.
type StartupError struct {
	// Option is the option that the JVM names, an -XX option without its sign; may be empty.
	Option  string
	Message string // the line, with the explanation that the JVM printed before it
}

// StartupErrorReader finds the startup errors of HotSpot and its launcher, which are not
// translated. The zero value is ready.
type StartupErrorReader struct {
	found  bool
	vmInit bool   // the next line is the reason of the failed initialization
	before string // the latest line that is not empty: it may explain an option
}

// Line takes the next line. ok: the JVM cannot start. Only the first error is returned, the
// others follow from it.
func (r *StartupErrorReader) Line(line string) (refusal StartupError, ok bool) {
	if r.found {
		return StartupError{}, false
	}
	refusal, ok = startupErrorLine(line)
	if r.vmInit && !ok && !interleaved(line) {
		refusal, ok = StartupError{Message: line}, true
	}
	r.vmInit = strings.HasPrefix(line, "Error occurred during initialization of ") || r.vmInit && interleaved(line)
	switch {
	case !ok:
	case strings.Contains(r.before, "is outside the allowed range"), strings.Contains(r.before, "[error][logging] "):
		// "intx X=1 is outside the allowed range [ 2 ... 3 ]" precedes the refusal.
		refusal.Message += " (" + strings.TrimSpace(r.before) + ")"
	case strings.HasPrefix(line, noVM) && r.before != "" && !strings.Contains(r.before, "warning: "):
		refusal.Message = strings.TrimSpace(r.before)
	}
	if line != "" {
		r.before = line
	}
	r.found = ok
	return refusal, ok
}

// noVM is the launcher's generic error; the line before has the reason.
const noVM = "Error: Could not create the Java Virtual Machine."

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

// startupErrorLine matches a single line.
func startupErrorLine(line string) (StartupError, bool) {
	for _, e := range namedErrors {
		if rest, ok := strings.CutPrefix(line, e.begin); ok {
			name, _, _ := strings.Cut(rest, e.end)
			if e.option == "-agentlib:" && strings.Contains(rest, " in absolute path") {
				e.option = "-agentpath:"
			}
			return StartupError{Option: e.option + name, Message: line}, true
		}
	}
	if strings.HasPrefix(line, "Invalid ") {
		if _, option, ok := strings.Cut(line, ": -"); ok {
			return StartupError{Option: "-" + option, Message: line}, true
		}
	}
	if hasPrefix(line,
		"Error: Could not find or load main class ", "Error: Unable to access jarfile ", "Error: Invalid com.sun.",
		noVM, "Error: LinkageError occurred", "Failed to find Premain-Class",
		"# There is insufficient memory for the Java Runtime Environment", "There is insufficient memory for the Java Runtime Environment",
		"ERROR: transport error ", "Error: Password file", "Error: could not find libjava", "Error: could not open ",
	) {
		return StartupError{Message: strings.TrimPrefix(line, "# ")}, true
	}
	return StartupError{}, false
}
