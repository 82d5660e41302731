package launch

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// rejectedOptions returns the error for a rejected command line. It names the matching options and their sources, or the argument that the
// kind of service adds.
func rejectedOptions(made jvm.Result, argv []string, r hotspot.StartupError) error {
	known, rejected := "", rejectedBy(made.Options, r)
	for _, o := range rejected {
		for _, p := range made.Warnings {
			_, why, found := strings.Cut(p.Message, o.Named()+": ")
			if found && jvm.VersionDependent(p.Code) && !knowsOption(r.Message) {
				known = "; " + why
			}
		}
	}
	names, hint := cmp.Or(namesOf(rejected), "them"), "`stoker jvm explain` shows where each option comes from"
	if len(rejected) == 0 && slices.Contains(argv, r.Option) {
		names, hint = strconv.Quote(r.Option)+" (of the service's kind)", "this JVM may be too old or too new for the service"
	}
	return &OptionsError{fmt.Errorf("cannot use the JVM options: cannot use %s: the JVM says: %s%s\nhint: %s", names, r.Message, known, hint)}
}

// knowsOption reports whether the JVM has the option that its message is about: it is locked, of another build, or its value is wrong. What
// the lists say of such an option is void.
func knowsOption(message string) bool {
	message = strings.TrimPrefix(message, "Error: ")
	return strings.HasPrefix(message, "VM option '") || strings.HasPrefix(message, "Improperly specified VM option") ||
		strings.HasPrefix(message, "Missing +/- setting") || strings.HasPrefix(message, "Unexpected +/- setting") ||
		strings.Contains(message, "outside the allowed range")
}

func namesOf(options []jvm.Option) string {
	var names []string
	for _, o := range options {
		names = append(names, o.Named())
	}
	return strings.Join(names, " and ")
}

// rejectedBy returns the options that a rejection refers to: the quoted option, else those whose flag or value it mentions, else those of
// its topic.
func rejectedBy(options []jvm.Option, r hotspot.StartupError) []jvm.Option {
	mentioned := strings.FieldsFunc(r.Message, func(c rune) bool { return strings.ContainsRune(" ()'\",;", c) })
	topic := optionsOf(r.Message, rejectionTopics())
	for _, fits := range []func(o jvm.Option, name string) bool{
		func(o jvm.Option, _ string) bool { return r.Option != "" && unsigned(o.String()) == r.Option },
		func(_ jvm.Option, name string) bool { return r.Option != "" && name == flagName(r.Option) },
		func(o jvm.Option, name string) bool {
			last := o.Args[len(o.Args)-1] // "--add-modules X" or "--add-modules=X"
			value := last[strings.LastIndexByte(last, '=')+1:]
			return slices.ContainsFunc(mentioned, func(word string) bool {
				return "-XX:"+word == name || len(word) > 2 && word[0] == '-' && strings.HasPrefix(name, word) ||
					strings.HasPrefix(name, "--") && word == value
			})
		},
		func(_ jvm.Option, name string) bool { return matchesAny(name, topic) },
	} {
		found := slices.DeleteFunc(slices.Clone(options), func(o jvm.Option) bool { return !fits(o, flagName(o.Args[0])) })
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// unsigned returns an option as the JVM quotes it: an -XX one without its sign.
func unsigned(option string) string {
	if name, ok := strings.CutPrefix(option, "-XX:"); ok {
		return "-XX:" + strings.TrimLeft(name, "+-")
	}
	return option
}

// flagName returns the part before the value.
func flagName(option string) string {
	name, _, _ := strings.Cut(unsigned(option), "=")
	return name
}

// topic is what a text is about that names no option.
type topic struct {
	words   string   // in the text
	options []string // their prefixes; * stands for the middle of a name
}

// rejectionTopics are the topics of messages such as "Initial heap size set to a larger value than the maximum heap size".
func rejectionTopics() []topic {
	collectors := []string{"-XX:Use*GC"}
	heap := []string{"-Xmx", "-Xms", "-Xmn", "-XX:MaxHeapSize", "-XX:InitialHeapSize", "-XX:MinHeapSize", "-XX:MaxRAM"}
	return []topic{{"arbage collector", collectors}, {"ollector combinations", collectors}, // the latter of Java 8
		{"heap", heap},
		{"NewSize", heap}, // "GC triggered before VM initialization completed": too small
		{"stack size", []string{"-Xss", "-XX:ThreadStackSize"}}, {"shared archive", []string{"-Xshare", "-XX:SharedArchiveFile"}}}
}

// outOfMemoryError in the output means that only the plugins that it names are suspects.
const outOfMemoryError = "java.lang.OutOfMemoryError"

// crashTopics are the topics of the last output of a JVM.
func crashTopics() []topic {
	agent, native, jmx := []string{"-javaagent:"}, []string{"-agent"}, []string{"-Dcom.sun.management."}
	return []topic{{"-javaagent", agent}, {"agent library failed to init: instrument", agent},
		{"sun.instrument.InstrumentationImpl.loadClassAndCallPremain", agent},
		{"-agentpath", native}, {"-agentlib", native}, {"Could not find agent library", native},
		{"jdk.management.agent/", jmx}, {"sun.management.AgentConfigurationError", jmx}, {"JDWP exit error", []string{"-agentlib:jdwp"}},
		{outOfMemoryError + ": Java heap space", []string{"-Xmx", "-XX:MaxHeapSize=", "-XX:MaxRAM"}},
		{outOfMemoryError + ": Metaspace", []string{"-XX:MaxMetaspaceSize="}},
		{outOfMemoryError + ": Cannot reserve", []string{"-XX:MaxDirectMemorySize="}}}
}

// optionsOf returns the options of the topics of a text.
func optionsOf(text string, topics []topic) (options []string) {
	for _, t := range topics {
		if strings.Contains(text, t.words) {
			options = append(options, t.options...)
		}
	}
	return options
}

// matchesAny reports whether an option is one of a topic.
func matchesAny(option string, options []string) bool {
	return slices.ContainsFunc(options, func(pattern string) bool {
		begin, end, _ := strings.Cut(pattern, "*")
		return strings.HasPrefix(option, begin) && strings.HasSuffix(option, end)
	})
}

// killedFromOutside reports whether a signal from outside ended a process. A JVM that catches one exits with the code that a shell would
// give.
func killedFromOutside(e *incident.Exit) bool {
	return slices.Contains([]int{128 + int(syscall.SIGKILL), 128 + int(syscall.SIGTERM), 128 + int(syscall.SIGINT),
		128 + int(syscall.SIGHUP)}, e.Status())
}

// suspects returns the plugins that the output of a dead JVM refers to. If the output is about a kind of option without naming it, such as
// a failed agent, the plugins that give such options are suspects.
func suspects(output string, carried []plugin.JVMOptions) []string {
	topic := optionsOf(output, crashTopics())
	onTopic := func(c plugin.JVMOptions) bool {
		return slices.ContainsFunc(allOptions(c), func(o jvm.Option) bool { return matchesAny(o.Args[0], topic) })
	}
	named := func(c plugin.JVMOptions) bool { return mentions(output, c) }
	for _, fits := range []func(plugin.JVMOptions) bool{
		func(c plugin.JVMOptions) bool { return onTopic(c) && named(c) }, onTopic, named,
	} {
		var found []string
		for _, c := range carried {
			if fits(c) {
				found = append(found, c.Name)
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
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
