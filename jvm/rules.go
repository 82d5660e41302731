package jvm

import "fmt"

// Rules switches the rules of the sizing on and off, each by the name that its
// options have as their source. Absent is on.
type Rules struct {
	Heap         *bool `yaml:"heap"`          // -Xmx, -Xms
	Metaspace    *bool `yaml:"metaspace"`     // MaxMetaspaceSize
	CodeCache    *bool `yaml:"code-cache"`    // ReservedCodeCacheSize
	DirectMemory *bool `yaml:"direct-memory"` // MaxDirectMemorySize, io.netty.maxDirectMemory
	Stacks       *bool `yaml:"stacks"`        // -Xss
	Collector    *bool `yaml:"collector"`     // UseG1GC and the others
	CPUs         *bool `yaml:"cpus"`          // ActiveProcessorCount
	ThreadPins   *bool `yaml:"thread-pins"`   // thread counts that ActiveProcessorCount does not decide
	MallocArenas *bool `yaml:"malloc-arenas"` // MALLOC_ARENA_MAX
	NativeTrim   *bool `yaml:"native-trim"`   // TrimNativeHeapInterval
	OutOfMemory  *bool `yaml:"out-of-memory"` // ExitOnOutOfMemoryError
}

// on reports whether a rule holds.
func on(rule *bool) bool { return rule == nil || *rule }

// ruleOption is an option that a rule makes.
func ruleOption(rule, why, format string, args ...any) Option {
	return Option{Args: []string{fmt.Sprintf(format, args...)}, Layer: Default, Source: "rule " + rule, Why: why, Generated: true}
}

// warnsOfAgents is the first feature release that prints a warning when an agent is loaded into a running JVM.
const warnsOfAgents = 21

// AgentOption returns the option with which a JVM loads the agent of stop.requests without a warning; false: it needs none. It is there
// with stop.requests 0 too, which can change while the JVM runs.
func AgentOption(major int) (o Option, needed bool) {
	return Option{Args: []string{"-XX:+EnableDynamicAgentLoading"}, Layer: Default, Source: "stop.requests", Generated: true,
		Why: "a stop loads an agent that ends requests, of which the JVM would warn"}, major >= warnsOfAgents
}

// Options returns the default layer's options that follow from the sizes. Flags
// that an old Java 8 does not know are left out, and those of rules that are
// switched off.
func (s Sizing) Options() []Option {
	var options []Option
	add := func(rule *bool, name, why, format string, args ...any) {
		if on(rule) {
			options = append(options, ruleOption(name, why, format, args...))
		}
	}
	r := s.rules
	if s.Limit > 0 && len(s.Budget) > 0 {
		add(r.Heap, "heap", s.heapWhy, "-Xmx%dm", s.Heap/mib)
		if s.startsFull() && s.canShrink() {
			add(r.Heap, "heap", "the same as -Xmx: the limit is the container's alone; as -Xms the heap could not shrink under a lower limit",
				"-XX:InitialHeapSize=%dm", s.Heap/mib)
			add(r.Heap, "heap", "the heap shrinks only when the limit does", "-XX:MaxHeapFreeRatio=100")
		} else if s.startsFull() {
			add(r.Heap, "heap", "the same as -Xmx: the limit is the container's alone", "-Xms%dm", s.Heap/mib)
		}
		for _, c := range s.memoryCaps() {
			why := c.why
			if c.profile != nil {
				why = s.ofProfile() + "; " + why
			}
			add(&c.given, c.rule, why, "-XX:%s=%dm", c.flag, *c.bytes/mib)
		}
	}
	if s.Limit > 0 {
		given := s.stackGiven()
		add(&given, "stacks", s.stackWhy, "-Xss%dk", s.Stack/1024)
	}
	add(r.Collector, "collector", s.gcWhy, "-XX:+%s", s.Collector)
	if s.target.knowsProcessorCount() {
		add(r.CPUs, "cpus", s.cpuWhy, "-XX:ActiveProcessorCount=%d", s.CPUs)
	}
	if on(r.ThreadPins) {
		options = append(options, s.threadOptions()...)
	}
	if s.target.JavaMajor != 8 || s.target.update() >= 92 {
		add(r.OutOfMemory, "out-of-memory", "a JVM that ran out of memory is restarted, not kept half dead", "-XX:+ExitOnOutOfMemoryError")
	}
	return append(options, s.nativeOptions()...)
}
