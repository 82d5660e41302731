package jvm

import "maps"

// ReadVariables are the variables that the JVM or its launcher read themselves, the
// weaker first.
func ReadVariables() []string {
	return []string{"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}
}

// OptionVariables are all variables that hold options of one JVM: those, and what
// scripts give to the java that they start.
func OptionVariables() []string {
	return append(ReadVariables(), "JAVA_OPTS", "CATALINA_OPTS", "JPDA_OPTS", "JPDA_TRANSPORT", "JPDA_ADDRESS", "JPDA_SUSPEND")
}

// WithoutOptions is an environment for a program beside a JVM. It may be one itself,
// for which a port or a file of these options is taken.
func WithoutOptions(env map[string]string) map[string]string {
	out := maps.Clone(env)
	for _, name := range OptionVariables() {
		delete(out, name)
	}
	return out
}
