package jvm

import (
	"fmt"
	"math/bits"
	"strings"
)

// knowsProcessorCount reports whether the JVM knows ActiveProcessorCount: from 10 on, and Java
// 8 from update 191 on. One that is not known is taken for a current one.
func (t Target) knowsProcessorCount() bool {
	return t.JavaMajor <= 0 || t.JavaMajor >= 10 || t.JavaMajor == 8 && t.update() >= 191
}

// threadOptions are the thread counts that follow from the CPUs where the JVM has no option
// for these, and the GC threads where a fractional quota is rounded down for
// them. With ActiveProcessorCount the JVM derives all of them itself.
func (s Sizing) threadOptions() []Option {
	var options []Option
	add := func(why, format string, args ...any) {
		options = append(options, ruleOption("thread-pins", why, format, args...))
	}
	sees := s.target.knowsProcessorCount()
	if s.parallelGC > 0 && !s.gcFixed && (!sees || s.floored) {
		why := s.cpuWhy
		if s.floored {
			why = fmt.Sprintf("%g cores rounded down: more threads are only throttled", s.cores)
		}
		add(why, "-XX:ParallelGCThreads=%d", s.parallelGC)
		if s.Collector == "UseG1GC" || s.Collector == "UseConcMarkSweepGC" {
			add(why, "-XX:ConcGCThreads=%d", max((s.parallelGC+2)/4, 1))
		}
	}
	if sees {
		return options
	}
	why := s.cpuWhy + "; this JVM counts the machine's"
	add(why, "-XX:CICompilerCount=%d", compilers(s.CPUs))
	add(why, "-Djava.util.concurrent.ForkJoinPool.common.parallelism=%d", max(s.CPUs-1, 1))
	add(why, "-Dio.netty.availableProcessors=%d", s.CPUs)
	return options
}

// compilers is HotSpot's own number of compiler threads with tiered compilation,
// log2(n) * log2(log2(n)) * 3/2 and at least 2.
func compilers(cpus int) int {
	log := bits.Len(uint(cpus)) - 1
	if log < 1 {
		return 2
	}
	return max(log*(bits.Len(uint(log))-1)*3/2, 2)
}

// gcThreads is HotSpot's own number of parallel GC threads.
func gcThreads(cpus int) int {
	if cpus > 8 {
		return 8 + (cpus-8)*5/8
	}
	return cpus
}

// EnvVar is a variable that the JVM's process is to have.
type EnvVar struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`
	Why    string `json:"why"`
}

// Env returns the variables that follow from the sizes. What given, the
// environment that the process has anyway, settles already stays as it is and is
// returned with its value.
func (s Sizing) Env(given map[string]string) []EnvVar {
	const (
		arenas, tunables = "MALLOC_ARENA_MAX", "GLIBC_TUNABLES"
		rule, present    = "rule malloc-arenas", "the service's environment"
	)
	if !on(s.rules.MallocArenas) {
		return nil
	}
	n := min(max(s.CPUs, 2), 4)
	why := fmt.Sprintf("is set there; the rule would give %s=%d", arenas, n)
	// glibc takes the tunable before the variable.
	if v := given[tunables]; strings.Contains(v, "glibc.malloc.arena_max=") {
		return []EnvVar{{tunables, v, present, why}}
	}
	if v, set := given[arenas]; set {
		return []EnvVar{{arenas, v, present, why}}
	}
	return []EnvVar{{arenas, fmt.Sprint(n), rule, fmt.Sprintf(
		"malloc makes 8 arenas of 64 MiB for each of the machine's CPUs otherwise; %d CPUs, 2 to 4", s.CPUs)}}
}
