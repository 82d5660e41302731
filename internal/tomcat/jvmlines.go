package tomcat

import "strings"

// jvm recognises what HotSpot and its launcher print when they cannot start;
// these texts are not translated. Once Tomcat is up they mean nothing: an
// application may run a JVM of its own. The first one counts, for the others
// follow from it.
func (w *Watch) jvm(line string) (Finding, bool) {
	if w.started {
		return Finding{}, false
	}
	f, ok := jvmLine(line)
	if w.vmInit && !ok && line != "" {
		f, ok = Finding{Kind: JVMFailed, Message: line}, true
	}
	w.vmInit = strings.HasPrefix(line, "Error occurred during initialization of ")
	if !ok {
		return f, false
	}
	for _, old := range w.findings {
		if old.Kind == JVMOption || old.Kind == JVMFailed {
			return f, false
		}
	}
	// "intx X=1 is outside the allowed range [ 2 ... 3 ]" precedes the refusal.
	if strings.Contains(w.before, "is outside the allowed range") {
		f.Message += " (" + strings.TrimSpace(w.before) + ")"
	}
	return f, true
}

func jvmLine(line string) (Finding, bool) {
	for _, prefix := range []string{
		"Unrecognized VM option '", "Improperly specified VM option '", "Missing +/- setting for VM option '",
		"Unexpected +/- setting in VM option '", "Error: VM option '",
	} {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			option, _, _ := strings.Cut(rest, "'")
			return Finding{Kind: JVMOption, Option: "-XX:" + option, Message: line}, true
		}
	}
	for _, prefix := range []string{"Unrecognized option: ", "Error: Unrecognized option: "} {
		if option, ok := strings.CutPrefix(line, prefix); ok {
			return Finding{Kind: JVMOption, Option: option, Message: line}, true
		}
	}
	if strings.HasPrefix(line, "Invalid ") {
		if _, option, ok := strings.Cut(line, ": -"); ok {
			return Finding{Kind: JVMOption, Option: "-" + option, Message: line}, true
		}
	}
	if jar, ok := strings.CutPrefix(line, "Error opening zip file or JAR manifest missing : "); ok {
		return Finding{Kind: JVMOption, Option: "-javaagent:" + jar, Message: line}, true
	}
	if option, ok := strings.CutPrefix(line, "Error: --"); ok {
		option, _, _ = strings.Cut(option, " ")
		return Finding{Kind: JVMOption, Option: "--" + option, Message: line}, true
	}
	for _, prefix := range []string{
		"Error: Could not find or load main class ", "Error: Unable to access jarfile ", "Error: Invalid com.sun.",
		"Error: Could not create the Java Virtual Machine.", "Error: LinkageError occurred", "Failed to find Premain-Class",
		"# There is insufficient memory for the Java Runtime Environment", "There is insufficient memory for the Java Runtime Environment",
		"ERROR: transport error ", "Error: Password file", "Error: could not find libjava", "Error: could not open ",
	} {
		if strings.HasPrefix(line, prefix) {
			return Finding{Kind: JVMFailed, Message: strings.TrimPrefix(line, "# ")}, true
		}
	}
	return Finding{}, false
}
