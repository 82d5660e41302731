package launch

import (
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// killedFromOutside reports whether a signal from outside ended a process. A JVM that catches one exits with the code that a shell would
// give.
func killedFromOutside(e *incident.Exit) bool {
	return slices.Contains([]int{128 + int(syscall.SIGKILL), 128 + int(syscall.SIGTERM), 128 + int(syscall.SIGINT),
		128 + int(syscall.SIGHUP)}, e.Status())
}

// suspects returns the plugins that the output of a dead JVM refers to. If the output is about a kind of option without naming it, such as
// a failed agent, the plugins that give such options are suspects.
func suspects(output string, carried []plugin.JVMOptions) []string {
	topics := topicsOf(output)
	onTopic := func(c plugin.JVMOptions) bool {
		return slices.ContainsFunc(allOptions(c), func(o jvm.Option) bool {
			return slices.ContainsFunc(topics, func(prefix string) bool { return strings.HasPrefix(o.Args[0], prefix) })
		})
	}
	var named, meant, both []string
	for _, c := range carried {
		named, meant = appendIf(named, c.Name, mentions(output, c)), appendIf(meant, c.Name, onTopic(c))
		both = appendIf(both, c.Name, onTopic(c) && mentions(output, c))
	}
	switch {
	case len(both) > 0:
		return both
	case len(meant) > 0:
		return meant
	}
	return named
}

func appendIf(names []string, name string, condition bool) []string {
	if condition {
		return append(names, name)
	}
	return names
}

func allOptions(c plugin.JVMOptions) []jvm.Option {
	return slices.Concat(c.Options[jvm.Default], c.Options[jvm.User], c.Options[jvm.Enforced])
}

// mentions reports whether the output names a plugin: its folder, one of its jars, or an option that only it gives.
func mentions(output string, c plugin.JVMOptions) bool {
	var errs hotspot.StartupErrorReader
	for line := range strings.Lines(output) {
		if r, ok := errs.Line(strings.TrimRight(line, "\r\n")); ok && len(rejectedBy(allOptions(c), r)) > 0 {
			return true
		}
	}
	return strings.Contains(output, c.Dir+"/") || slices.ContainsFunc(allOptions(c), func(o jvm.Option) bool {
		kind, agent, _ := strings.Cut(o.Args[0], ":")
		file, _, _ := strings.Cut(agent, "=")
		return (kind == "-javaagent" || kind == "-agentpath") && file != "" && strings.Contains(output, filepath.Base(file))
	})
}

// topicsOf returns the prefixes of the options that the output is about without naming them.
func topicsOf(output string) (out []string) {
	for _, topic := range []struct {
		words    string
		prefixes []string
	}{
		{"-javaagent", []string{"-javaagent:"}}, {"agent library failed to init: instrument", []string{"-javaagent:"}},
		{"sun.instrument.InstrumentationImpl.loadClassAndCallPremain", []string{"-javaagent:"}},
		{"-agentpath", []string{"-agent"}}, {"-agentlib", []string{"-agent"}}, {"Could not find agent library", []string{"-agent"}},
		{"jdk.management.agent/", []string{"-Dcom.sun.management."}},
		{"sun.management.AgentConfigurationError", []string{"-Dcom.sun.management."}},
		{"JDWP exit error", []string{"-agentlib:jdwp"}},
		{outOfMemoryError + ": Java heap space", []string{"-Xmx", "-XX:MaxHeapSize=", "-XX:MaxRAM"}},
		{outOfMemoryError + ": Metaspace", []string{"-XX:MaxMetaspaceSize="}},
		{outOfMemoryError + ": Cannot reserve", []string{"-XX:MaxDirectMemorySize="}},
	} {
		if strings.Contains(output, topic.words) {
			out = append(out, topic.prefixes...)
		}
	}
	return out
}

// outOfMemoryError in the output means that only the plugins that it names are suspects.
const outOfMemoryError = "java.lang.OutOfMemoryError"
