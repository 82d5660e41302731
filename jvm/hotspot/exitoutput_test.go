package hotspot

import "testing"

func TestFatalMessage(t *testing.T) {
	for _, tc := range []struct{ output, want string }{
		{"", ""},
		{"\n\n", ""},
		{"started\nbye\n", "bye"},
		{"Unrecognized VM option 'UseNothing'\nError: Could not create the Java Virtual Machine.\n", "Unrecognized VM option 'UseNothing'"},
		{"Error opening zip file or JAR manifest missing : /x.jar\nError occurred during initialization of VM\nagent library failed to init: instrument\n",
			"Error opening zip file or JAR manifest missing : /x.jar"},
		{"Error occurred during initialization of VM\nagent library failed to init: instrument\nError opening zip file or JAR manifest missing : /x.jar\n",
			"Error opening zip file or JAR manifest missing : /x.jar"},
		{"Exception in thread \"main\" java.lang.reflect.InvocationTargetException\n\tat A.b(A.java)\nCaused by: java.net.BindException: Address already in use\n\t... 6 more\n" +
			"*** java.lang.instrument ASSERTION FAILED ***\nFATAL ERROR in native method: processing of -javaagent failed, processJavaStart failed\n\tat x\n",
			"java.net.BindException: Address already in use (FATAL ERROR in native method: processing of -javaagent failed, processJavaStart failed)"},
		{"Error: Exception thrown by the agent : java.rmi.server.ExportException: Port already in use: 17555; nested exception is: \n\tjava.net.BindException: x\nCaused by: y\n\t... 11 more\n",
			"Error: Exception thrown by the agent : java.rmi.server.ExportException: Port already in use: 17555"},
		{"Error: Password file not found: /nowhere/pw\njdk.internal.agent.AgentConfigurationError\n\tat x\n",
			"Error: Password file not found: /nowhere/pw"},
		{"ERROR: transport error 202: bind failed: Address already in use\nERROR: JDWP Transport dt_socket failed\n",
			"ERROR: transport error 202: bind failed: Address already in use"},
		{"Error occurred during initialization of VM\nCould not find agent library nosuch on the library path\n",
			"Could not find agent library nosuch on the library path"},
		{"Exception in thread \"main\" java.lang.IllegalStateException: broken\n\tat Show.main(Show.java:3)\n",
			"Exception in thread \"main\" java.lang.IllegalStateException: broken"},
		{"Exception in thread \"main\" java.lang.Error: a\n\tat x\nCaused by: java.lang.Error: b\n\tat y\n", "java.lang.Error: b"},
		{"#\n# A fatal error has been detected by the Java Runtime Environment:\n#\n#  SIGSEGV (0xb) at pc=0x1, pid=7, tid=8\n#\n# Problematic frame:\n# C  [x.so+0x1]\n",
			"SIGSEGV (0xb) at pc=0x1, in C [x.so+0x1]"},
	} {
		if got := FatalMessage([]byte(tc.output)); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.output, got, tc.want)
		}
	}
}
