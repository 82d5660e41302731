package hotspot

import (
	"strings"
	"testing"
)

// The outputs are those of a JVM 17.
func TestStartupError(t *testing.T) {
	const end = "\nError: Could not create the Java Virtual Machine.\nError: A fatal exception has occurred. Program will exit.\n"
	for _, c := range []struct{ output, option, message string }{
		{"Unrecognized VM option 'UseFoo'" + end, "-XX:UseFoo", "Unrecognized VM option 'UseFoo'"},
		{"Invalid maximum heap size: -Xmx2GB" + end, "-Xmx2GB", "Invalid maximum heap size: -Xmx2GB"},
		{"Error occurred during initialization of VM\nMultiple garbage collectors selected\n", "", "Multiple garbage collectors selected"},
		{"CICompilerCount (1) must be at least 2 " + end, "", "CICompilerCount (1) must be at least 2"},
		{"\nThe Java thread stack size specified is too small. Specify at least 136k" + end, "",
			"The Java thread stack size specified is too small. Specify at least 136k"},
		{"OpenJDK 64-Bit Server VM warning: Option X was deprecated" + end, "", "Error: Could not create the Java Virtual Machine."},
		{"double MaxRAMPercentage=900.000000 is outside the allowed range [ 0.000000 ... 100.000000 ]\nImproperly specified VM option 'MaxRAMPercentage=900'" + end,
			"-XX:MaxRAMPercentage=900", "Improperly specified VM option 'MaxRAMPercentage=900' (double MaxRAMPercentage=900.000000 is outside the allowed range [ 0.000000 ... 100.000000 ])"},
		{"[0.000s][error][logging] Invalid tag 'gx' in log selection.\nInvalid -Xlog option '-Xlog:gx', see error log for details." + end,
			"-Xlog:gx", "Invalid -Xlog option '-Xlog:gx' (Invalid tag 'gx' in log selection.)"},
		{"-Xbootclasspath/p is no longer a supported option." + end, "", "-Xbootclasspath/p is no longer a supported option."},
		{"Error: --add-opens requires modules to be specified\n", "--add-opens", "Error: --add-opens requires modules to be specified"},
		{"openjdk version \"17.0.15\" 2025-04-15\n", "", ""},
	} {
		var r StartupErrorReader
		var first StartupError
		for line := range strings.Lines(c.output) {
			if e, ok := r.Line(strings.TrimRight(line, "\n")); ok && first.Message == "" {
				first = e
			} else if ok {
				t.Errorf("%q: then %+v", c.output, e)
			}
		}
		if first != (StartupError{c.option, c.message}) {
			t.Errorf("%q: first %+v, want %q %q", c.output, first, c.option, c.message)
		}
		w := readExitOutput([]byte(c.output))
		if got := w.startupError(); got != (StartupError{c.option, c.message}) {
			t.Errorf("%q: %+v, want %q %q", c.output, got, c.option, c.message)
		}
	}
}
