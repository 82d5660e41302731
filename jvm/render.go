package jvm

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Input is everything that decides the options of one JVM.
type Input struct {
	Limits   Limits
	Flavor   Flavor
	Target   Target
	Default  []Option
	User     []Option
	Enforced []Option
	NoSizing bool // add nothing of our own but required unlock flags
	// Warnings and Errors are what reading the sources has found; they become
	// part of the result.
	Warnings, Errors []Problem
}

// Result is the merged options with everything that explains them.
type Result struct {
	Options  []Option
	Budget   Budget
	Limit    int64 // bytes that the budget is compared with; 0: unknown
	Warnings []Problem
	Errors   []Problem
}

// Render sizes the container around what the user and enforced layers fix, and
// merges the layers. Problems with options are in the Result; the error is that
// of Size (a *RefusedError where nothing useful fits), with a Result that can
// still be explained.
func Render(in Input) (Result, error) {
	memory := in.Limits.Memory
	given := Merge(in.Default, in.User, in.Enforced)
	if in.NoSizing {
		in.settle(&given)
		return given, nil
	}
	fixed := fixedBy(given.Options, memory)
	s, err := Size(in.Limits, in.Flavor, in.Target, fixed)
	if start := startOf(given.Options); fixed.Heap == nil && err == nil && start > s.Heap {
		fixed.Heap = &start // which lifts the maximum, and the rest has to make do
		s, err = Size(in.Limits, in.Flavor, in.Target, fixed)
	}
	defaults := append(ruleOptions(in, s, fixed), in.Default...)
	r := Merge(defaults, in.User, in.Enforced)
	r.Warnings = append(append([]Problem{}, s.Warnings...), r.Warnings...)
	in.settle(&r)
	r.Budget, r.Limit = s.Budget, s.Limit
	if err != nil {
		r.Errors = append(r.Errors, Problem{BudgetExceeded, err.Error()})
	}
	return r, err
}

// settle finishes a merge with what depends on the container and the target.
func (in Input) settle(r *Result) {
	r.Warnings = append(append([]Problem{}, in.Warnings...), r.Warnings...)
	r.Errors = append(append([]Problem{}, in.Errors...), r.Errors...)
	settleShare(r, in.Limits.Memory)
	checkCombinations(r, in.Limits, in.Target.JavaMajor)
	checkTarget(r, in.Target)
}

// ruleOptions returns the options of s, but where a higher layer has fixed a
// size the one that the rule would have given: it is going to be beaten, and
// the explanation shows by what.
func ruleOptions(in Input, s Sizing, fixed Fixed) []Option {
	options := s.Options()
	if fixed == (Fixed{}) {
		return options
	}
	rule, _ := Size(in.Limits, in.Flavor, in.Target, Fixed{}) // a refusal has options too
	beaten := rule.Options()
	isFixed := map[string]bool{
		"heap.max": fixed.Heap != nil, "heap.init": fixed.Heap != nil, "stack": fixed.Stack != nil,
		"-XX:MaxMetaspaceSize": fixed.Metaspace != nil, "-XX:ReservedCodeCacheSize": fixed.CodeCache != nil,
		"-XX:MaxDirectMemorySize": fixed.Direct != nil, "gc": fixed.Collector != "",
		"-XX:ActiveProcessorCount": fixed.CPUs != nil,
	}
	for i, o := range options {
		family := identify(o).family
		for _, b := range beaten {
			if isFixed[family] && identify(b).family == family {
				options[i] = b
			}
		}
	}
	return options
}

// fixedBy reads from merged options what the rule must work around. memory is
// what percentages refer to.
func fixedBy(options []Option, memory int64) Fixed {
	var f Fixed
	share := 0.0
	for _, o := range options {
		id := identify(o)
		n, err := sizeOf(id.value)
		size := &n
		if err != nil || !id.size {
			size = nil
		}
		switch {
		case id.name == "MaxHeapSize":
			f.Heap = size
		case id.name == "MaxRAM" && size != nil && n < memory:
			memory = n
		case id.name == "MaxRAMPercentage":
			if p, err := strconv.ParseFloat(id.value, 64); err == nil && p > 0 && p <= 100 {
				share = p / 100
			}
		case id.name == "MaxRAMFraction":
			if n, err := strconv.Atoi(id.value); err == nil && n > 0 && share == 0 {
				share = 1 / float64(n)
			}
		case id.name == "MaxMetaspaceSize":
			f.Metaspace = size
		case id.name == "ReservedCodeCacheSize":
			f.CodeCache = size
		case id.name == "MaxDirectMemorySize":
			f.Direct = size
		case id.name == "ThreadStackSize":
			f.Stack = stackOf(id)
		case id.name == "ActiveProcessorCount":
			if n, err := strconv.Atoi(id.value); err == nil && n > 0 && n <= 1<<16 {
				f.CPUs = &n
			}
		case id.family == "gc" && id.value == "+":
			f.Collector = id.name
		}
		if id.name == "MaxRAM" && share == 0 {
			share = 0.25 // HotSpot's default
		}
	}
	if f.Heap == nil && share > 0 && memory > 0 {
		heap := int64(float64(memory) * share)
		f.Heap = &heap
	}
	return f
}

// startOf is the largest heap that options want to begin with, in bytes.
func startOf(options []Option) (start int64) {
	for _, o := range options {
		if id := identify(o); id.name == "InitialHeapSize" || id.name == "MinHeapSize" {
			if n, err := sizeOf(id.value); err == nil {
				start = max(start, n)
			}
		}
	}
	return start
}

// stackOf returns the bytes of one thread stack; -XX:ThreadStackSize counts KiB.
func stackOf(id identity) *int64 {
	n, err := sizeOf(id.value)
	if err != nil {
		return nil
	}
	if n == 0 {
		n = mib // HotSpot's default
		return &n
	}
	if !id.size {
		n *= 1024
	}
	return &n
}

// Options returns the default layer's options that follow from the sizes. Flags
// that an old Java 8 does not know are left out.
func (s Sizing) Options() []Option {
	var options []Option
	add := func(source, why, format string, args ...any) {
		options = append(options, Option{Args: []string{fmt.Sprintf(format, args...)},
			Layer: Default, Source: source, Why: why, Generated: true})
	}
	if s.Limit > 0 && len(s.Budget) > 0 {
		add("rule heap", s.heapWhy, "-Xmx%dm", s.Heap/mib)
		add("rule heap", "the same as -Xmx: the memory is ours anyway", "-Xms%dm", s.Heap/mib)
		add("rule metaspace", "unbounded otherwise", "-XX:MaxMetaspaceSize=%dm", s.Metaspace/mib)
		add("rule code cache", "240 MiB otherwise", "-XX:ReservedCodeCacheSize=%dm", s.CodeCache/mib)
		add("rule direct memory", "as large as the heap otherwise", "-XX:MaxDirectMemorySize=%dm", s.Direct/mib)
	}
	add("rule stacks", s.stackWhy, "-Xss%dk", s.Stack/1024)
	add("rule collector", s.gcWhy, "-XX:+%s", s.Collector)
	old := s.target.JavaMajor > 0 && s.target.JavaMajor < 10
	if old && (s.target.JavaMajor != 8 || s.target.update() < 191) {
		if s.parallelGC > 0 {
			add("rule CPUs", s.cpuWhy, "-XX:ParallelGCThreads=%d", s.parallelGC)
		}
		add("rule CPUs", s.cpuWhy, "-Djava.util.concurrent.ForkJoinPool.common.parallelism=%d", max(s.CPUs-1, 1))
	} else {
		add("rule CPUs", s.cpuWhy, "-XX:ActiveProcessorCount=%d", s.CPUs)
	}
	if !old || s.target.JavaMajor == 9 || s.target.update() >= 92 {
		add("rule out of memory", "a JVM that ran out of memory is restarted, not kept half dead", "-XX:+ExitOnOutOfMemoryError")
	}
	return options
}

// Argv returns the merged JVM options in order, without java, class path or main
// class; nil if there are errors.
func (r Result) Argv() []string {
	if len(r.Errors) > 0 {
		return nil
	}
	argv := []string{}
	for _, o := range r.Options {
		argv = append(argv, o.Args...)
	}
	return argv
}

// Err returns all errors as one, nil if there are none.
func (r Result) Err() error {
	if len(r.Errors) == 0 {
		return nil
	}
	lines := make([]string, len(r.Errors))
	for i, e := range r.Errors {
		lines[i] = e.Message
	}
	return errors.New(strings.Join(lines, "\n"))
}

// MarshalJSON writes {"argv","options","budget","warnings","errors"}; argv is
// null if there are errors.
func (r Result) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Argv     []string  `json:"argv"`
		Options  []Option  `json:"options"`
		Budget   Budget    `json:"budget"`
		Warnings []Problem `json:"warnings"`
		Errors   []Problem `json:"errors"`
	}{r.Argv(), append([]Option{}, r.Options...), r.Budget,
		append([]Problem{}, r.Warnings...), append([]Problem{}, r.Errors...)})
}
