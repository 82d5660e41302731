package launch

import (
	"slices"
	"syscall"
	"testing"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// The last output of JVMs and the plugins that it makes suspects.
func TestSuspects(t *testing.T) {
	const bind = "FATAL ERROR in native method: processing of -javaagent failed, processJavaStart failed\n" +
		"java.net.BindException: Address already in use\n\tat java.base/sun.nio.ch.Net.bind0(Native Method)\n"
	const report = "# An error report file with more information is saved as:\n# /etc/stoker/plugins/heapdump/dumps/hs_err_7.log\n"
	adds := func(name string, options ...string) plugin.JVMOptions {
		c := plugin.JVMOptions{Name: name, Dir: "/etc/stoker/plugins/" + name, Options: map[jvm.Layer][]jvm.Option{}}
		for _, o := range options {
			c.Options[jvm.Default] = append(c.Options[jvm.Default], jvm.Option{Args: []string{o}})
		}
		return c
	}
	carried := []plugin.JVMOptions{
		adds("apm", "-javaagent:/opt/apm/apm.jar"),
		adds("heapdump", "-XX:ErrorFile=/dumps/hs_err_%p.log"),
		adds("jacoco", "-javaagent:/etc/stoker/plugins/jacoco/lib/jacocoagent.jar=port=6300"),
		adds("native", "-agentpath:/opt/n/libn.so"),
		adds("jmx", "-Dcom.sun.management.jmxremote.port=9010"),
		adds("small", "-Xmx16m"),
	}
	for name, tc := range map[string]struct {
		output string
		want   []string
	}{
		"an agent that is not named":          {bind, []string{"apm", "jacoco"}},
		"an agent, by its jar":                {bind + "\tat apm.jar/x\n", []string{"apm"}},
		"an agent, and a file of another one": {bind + report, []string{"apm", "jacoco"}},
		"a jar that is not there":             {"Error opening zip file or JAR manifest missing : /etc/stoker/plugins/jacoco/lib/jacocoagent.jar\nagent library failed to init: instrument\n", []string{"jacoco"}},
		"a native agent": {"Could not find agent library /opt/n/libn.so in absolute path, with error: no\n",
			[]string{"native"}},
		"JMX": {"jdk.internal.agent.AgentConfigurationError: x\n\tat jdk.management.agent/jdk.internal.agent.Agent.startAgent\n",
			[]string{"jmx"}},
		"the heap is full": {"Terminating due to java.lang.OutOfMemoryError: Java heap space\n", []string{"small"}},
		"no thread":        {"Exception in thread \"main\" java.lang.OutOfMemoryError: unable to create native thread\n", nil},
		"the application":  {"Exception in thread \"main\" java.lang.IllegalStateException: no\n", nil},
	} {
		if got := suspects(tc.output, carried); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	if got := suspects(bind+report, carried[1:2]); !slices.Equal(got, []string{"heapdump"}) {
		t.Errorf("without one that has an agent: %q", got)
	}
}

// A JVM that catches a signal exits with 128 plus its number.
func TestKilledFromOutside(t *testing.T) {
	for _, tc := range []struct {
		exit incident.Exit
		want bool
	}{
		{incident.Exit{Code: -1, Signal: syscall.SIGKILL}, true}, {incident.Exit{Code: 130}, true}, {incident.Exit{Code: 129}, true},
		{incident.Exit{Code: 143}, true}, {incident.Exit{Code: 1}, false}, {incident.Exit{Code: -1, Signal: syscall.SIGABRT}, false},
		{incident.Exit{Code: 134}, false},
	} {
		if got := killedFromOutside(&tc.exit); got != tc.want {
			t.Errorf("%s is from outside: %v", tc.exit.String(), got)
		}
	}
}
