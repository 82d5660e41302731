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
	meant := slices.DeleteFunc(slices.Clone(carried), func(c plugin.JVMOptions) bool { return !givesOption(c, topics) })
	if named := namesOf(meant, func(c plugin.JVMOptions) bool { return mentions(output, c) }); len(named) > 0 {
		return named
	}
	if len(meant) > 0 {
		return namesOf(meant, func(plugin.JVMOptions) bool { return true })
	}
	return namesOf(carried, func(c plugin.JVMOptions) bool { return mentions(output, c) })
}

// namesOf returns the names of the plugins that match.
func namesOf(carried []plugin.JVMOptions, fits func(plugin.JVMOptions) bool) (out []string) {
	for _, c := range carried {
		if fits(c) {
			out = append(out, c.Name)
		}
	}
	return out
}

// givesOption reports whether a plugin gives an option that begins with one of the topics.
func givesOption(c plugin.JVMOptions, topics []string) bool {
	for _, options := range c.Options {
		for _, o := range options {
			if slices.ContainsFunc(topics, func(prefix string) bool { return strings.HasPrefix(o.Args[0], prefix) }) {
				return true
			}
		}
	}
	return false
}

// mentions reports whether the output names a plugin: its folder, one of its jars, or an option that only it gives.
func mentions(output string, c plugin.JVMOptions) bool {
	if strings.Contains(output, c.Dir+"/") {
		return true
	}
	var refusal hotspot.StartupErrorReader
	for line := range strings.Lines(output) {
		r, ok := refusal.Line(strings.TrimRight(line, "\r\n"))
		if ok && len(rejectedBy(slices.Concat(c.Options[jvm.Default], c.Options[jvm.User], c.Options[jvm.Enforced]), r)) > 0 {
			return true
		}
	}
	for _, options := range c.Options {
		for _, o := range options {
			kind, agent, _ := strings.Cut(o.Args[0], ":")
			file, _, _ := strings.Cut(agent, "=")
			if (kind == "-javaagent" || kind == "-agentpath") && file != "" && strings.Contains(output, filepath.Base(file)) {
				return true
			}
		}
	}
	return false
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
		{"jdk.management.agent/", []string{"-Dcom.sun.management."}}, {"sun.management.AgentConfigurationError",
			[]string{"-Dcom.sun.management."}},
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

// outOfMemoryError is the Java class name in the output.
const outOfMemoryError = "java.lang.OutOfMemoryError"

// outOfMemory reports whether a JVM ran out of memory. Then only plugins that the output names are suspects.
func outOfMemory(output string) bool { return strings.Contains(output, outOfMemoryError) }
