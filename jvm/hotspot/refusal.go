package hotspot

import (
	"strings"
)

// Refusal is the JVM's word that it cannot start.
type Refusal struct {
	// Option is as the JVM quotes it, an -XX option without its sign; empty: it
	// names none.
	Option  string
	Message string // the line, with what the JVM said about it before
}

// RefusalReader recognises in the output of a start what HotSpot and its launcher
// print when they cannot start; these texts are not translated. The zero value is
// ready.
type RefusalReader struct {
	found  bool
	vmInit bool   // the next line says why the JVM's initialization failed
	before string // the latest line that is not empty, where the JVM explains an option
}

// Line takes the next line. ok says that the JVM cannot start; the first word
// counts, for the others follow from it.
func (r *RefusalReader) Line(line string) (refusal Refusal, ok bool) {
	if r.found {
		return Refusal{}, false
	}
	refusal, ok = refusalLine(line)
	if r.vmInit && !ok && !aside(line) {
		refusal, ok = Refusal{Message: line}, true
	}
	r.vmInit = strings.HasPrefix(line, "Error occurred during initialization of ") || r.vmInit && aside(line)
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

// noVM is the launcher's word; the line before says why.
const noVM = "Error: Could not create the Java Virtual Machine."

// refusalLine reads one line by itself.
func refusalLine(line string) (Refusal, bool) {
	for _, prefix := range []string{
		"Unrecognized VM option '", "Improperly specified VM option '", "Missing +/- setting for VM option '",
		"Unexpected +/- setting in VM option '", "Error: VM option '",
	} {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			option, _, _ := strings.Cut(rest, "'")
			return Refusal{Option: "-XX:" + option, Message: line}, true
		}
	}
	for _, prefix := range []string{"Unrecognized option: ", "Error: Unrecognized option: "} {
		if option, ok := strings.CutPrefix(line, prefix); ok {
			return Refusal{Option: option, Message: line}, true
		}
	}
	if rest, ok := strings.CutPrefix(line, "Invalid -Xlog option '"); ok {
		option, _, _ := strings.Cut(rest, "'")
		return Refusal{Option: option, Message: line}, true
	}
	if strings.HasPrefix(line, "Invalid ") {
		if _, option, ok := strings.Cut(line, ": -"); ok {
			return Refusal{Option: "-" + option, Message: line}, true
		}
	}
	if jar, ok := strings.CutPrefix(line, "Error opening zip file or JAR manifest missing : "); ok {
		return Refusal{Option: "-javaagent:" + jar, Message: line}, true
	}
	if library, ok := strings.CutPrefix(line, "Could not find agent library "); ok {
		name, _, _ := strings.Cut(library, " ")
		if strings.Contains(library, " in absolute path") {
			return Refusal{Option: "-agentpath:" + name, Message: line}, true
		}
		return Refusal{Option: "-agentlib:" + name, Message: line}, true
	}
	if option, ok := strings.CutPrefix(line, "Error: --"); ok {
		option, _, _ = strings.Cut(option, " ")
		return Refusal{Option: "--" + option, Message: line}, true
	}
	for _, prefix := range []string{
		"Error: Could not find or load main class ", "Error: Unable to access jarfile ", "Error: Invalid com.sun.",
		noVM, "Error: LinkageError occurred", "Failed to find Premain-Class",
		"# There is insufficient memory for the Java Runtime Environment", "There is insufficient memory for the Java Runtime Environment",
		"ERROR: transport error ", "Error: Password file", "Error: could not find libjava", "Error: could not open ",
	} {
		if strings.HasPrefix(line, prefix) {
			return Refusal{Message: strings.TrimPrefix(line, "# ")}, true
		}
	}
	return Refusal{}, false
}
