package jvm

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Input is everything that decides the options of one JVM.
type Input struct {
	Limits   Limits
	Policy   Policy
	Target   Target
	Default  []Option
	User     []Option
	Enforced []Option
	NoSizing bool // add nothing of our own but required unlock flags
	// Env is the environment that the JVM's process is going to have.
	Env map[string]string
	// JVMAsked: the JVM itself will check the options, so VersionDependent problems are only
	// warnings.
	JVMAsked bool
	// Warnings and Errors are of the sources; they become part of the result.
	Warnings, Errors []Problem
}

// NamesFlags reports whether a source gives a -XX option: without one there is nothing to
// ask a JVM of its flags.
func (in Input) NamesFlags() bool {
	return slices.ContainsFunc(slices.Concat(in.Default, in.User, in.Enforced), func(o Option) bool {
		return len(o.Args) > 0 && strings.HasPrefix(o.Args[0], "-XX:")
	})
}

// Result is the merged options with everything that explains them.
type Result struct {
	Options []Option
	Env     []EnvVar       // for the JVM's process, beside the options
	Flavor  *ProfileChoice // nil: no profile was chosen
	Budget  Budget
	Limit   int64 // bytes that the budget is compared with; 0: unknown
	// Collector is the one that the budget is for, such as UseG1GC; empty: nothing was sized.
	Collector string
	Warnings  []Problem
	Errors    []Problem
}

// Render sizes the container around what the user and enforced layers fix, and
// merges the layers. Problems with options are in the Result; the error is that
// of Size (a *DoesNotFitError where nothing useful fits), with a Result that can
// still be explained.
func Render(in Input) (Result, error) {
	memory := in.Limits.Memory
	given := Merge(in.Default, in.User, in.Enforced)
	if in.NoSizing {
		in.finish(&given)
		return given, nil
	}
	fixed := fixedBy(given.Options, memory)
	fixed.NettyCounts = nettyCounts(given.Options, in.Target.JavaMajor)
	s, err := Size(in.Limits, in.Policy, in.Target, fixed)
	start, by := s.Heap, -1
	for _, name := range [...]string{"InitialHeapSize", "MinHeapSize", "SoftMaxHeapSize"} {
		if i, n := given.find(name); n > start {
			start, by = n, i
		}
	}
	if fixed.Heap == nil && err == nil && by >= 0 {
		fixed.Heap = &start // which lifts the maximum, and leaves less for the rest
		fixed.by(given.Options[by])
		s, err = Size(in.Limits, in.Policy, in.Target, fixed)
	}
	defaults := append(ruleOptions(in, s, fixed), in.Default...)
	r := Merge(defaults, in.User, in.Enforced)
	r.Warnings = slices.Concat(s.Warnings, s.limitWarnings(in.Limits), r.Warnings)
	in.finish(&r)
	r.Budget, r.Limit, r.Collector, r.Env = s.Budget, s.Limit, s.Collector, s.Env(in.Env)
	if p := in.Policy.Profile; p != nil {
		r.Flavor = &ProfileChoice{p.Name, in.Policy.ProfileWhy}
	}
	if err != nil {
		r.Errors = append(r.Errors, Problem{BudgetExceeded, err.Error()})
	}
	return r, err
}

// finish finishes a merge with what depends on the container and the target.
func (in Input) finish(r *Result) {
	r.Warnings = slices.Concat(in.Warnings, r.Warnings)
	r.Errors = slices.Concat(in.Errors, r.Errors)
	r.adjustShare(in.Limits.Memory)
	r.checkCombinations(in.Limits, in.Target.JavaMajor)
	checkTarget(r, in.Target, in.JVMAsked)
}

// ruleOptions returns the options of s, but where a higher layer has fixed a
// size the one that the rule would have given: it is overridden then, and the
// explanation shows by what.
func ruleOptions(in Input, s Sizing, fixed Fixed) []Option {
	options := s.Options()
	if fixed == (Fixed{}) {
		return options
	}
	rule, _ := Size(in.Limits, in.Policy, in.Target, Fixed{}) // a refusal has options too
	beaten := rule.Options()
	isFixed := map[string]bool{
		"heap.max": fixed.Heap != nil, "heap.init": fixed.Heap != nil, "stack": fixed.Stack != nil,
		"-XX:MaxMetaspaceSize": fixed.Metaspace != nil, "-XX:ReservedCodeCacheSize": fixed.CodeCache != nil,
		"-XX:MaxDirectMemorySize": fixed.Direct != nil, "gc": fixed.Collector != "",
		"-XX:ActiveProcessorCount": fixed.CPUs != nil,
	}
	for i, o := range options {
		family := keyOf(o).family
		for _, b := range beaten {
			if isFixed[family] && keyOf(b).family == family {
				options[i] = b
			}
		}
	}
	return options
}

// fixedBy reads from merged options what the rule must work around. memory is what the JVM sees, in bytes: percentages refer to
// it. 0: unknown.
func fixedBy(options []Option, memory int64) Fixed {
	var f Fixed
	shares := map[string]float64{} // by flag
	numbers := map[string]**int64{"MaxHeapSize": &f.Heap, "MaxMetaspaceSize": &f.Metaspace, "ReservedCodeCacheSize": &f.CodeCache,
		"MaxDirectMemorySize": &f.Direct, "ActiveProcessorCount": &f.CPUs, "ParallelGCThreads": &f.GCThreads}
	for _, o := range options {
		id := keyOf(o)
		n, err := sizeOf(id.value)
		n = min(n, maxBytes)
		if to := numbers[id.name]; to != nil && err == nil && (id.is(sized) || n > 0 && n <= maxCPUs) {
			*to = &n
			if id.is(sized) {
				f.by(o)
			}
		}
		switch {
		case id.name == "MaxRAM":
			shares[id.name] = 1
			if err == nil {
				memory = n
			}
		case strings.HasSuffix(id.name, "RAMPercentage"):
			if p, err := strconv.ParseFloat(id.value, 64); err == nil && p > 0 && p <= 100 {
				shares[id.name] = p / 100
			}
		case strings.HasSuffix(id.name, "RAMFraction"):
			if err == nil && n > 0 {
				shares[id.name] = 1 / float64(n)
			}
		case id.name == "ThreadStackSize":
			f.Stack = stackOf(id)
		case id.name == "ConcGCThreads":
			f.ConcGC = true
		case id.name == "AggressiveHeap" && id.value == "+": // the rule's heap overrides its own
			f.Collector = cmp.Or(f.Collector, "UseParallelGC")
		case id.family == "gc" && id.value == "+":
			f.Collector = id.name
		}
		if shares[id.name] > 0 && strings.Contains(id.name, "MaxRAM") {
			f.by(o)
		}
	}
	share := cmp.Or(shares["MaxRAMPercentage"], shares["MaxRAMFraction"], shares["DefaultMaxRAMFraction"])
	least := cmp.Or(shares["MinRAMPercentage"], shares["MinRAMFraction"])
	if f.Heap == nil && memory > 0 && share+shares["MaxRAM"] > 0 { // MinRAMPercentage alone does not override the rule
		heap := defaultHeap(memory, cmp.Or(share, 0.25), cmp.Or(least, 0.5))
		f.Heap = &heap
	}
	return f
}

// by notes an option that decides a size.
func (f *Fixed) by(o Option) {
	if f.By != "" {
		f.By += " and "
	}
	f.By += o.located()
}

// stackOf returns the bytes of one thread stack; -XX:ThreadStackSize counts KiB.
func stackOf(id optionKey) *int64 {
	n, err := sizeOf(id.value)
	if err != nil {
		return nil
	}
	if !id.is(sized) {
		n = min(n, maxStack) * 1024
	}
	n = min(cmp.Or(n, mib), maxStack) // 0 is HotSpot's default
	return &n
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
	errs := make([]error, len(r.Errors))
	for i, e := range r.Errors {
		errs[i] = errors.New(e.Message)
	}
	return errors.Join(errs...)
}

// resultJSON is the form of a Result in JSON.
type resultJSON struct {
	Argv     []string       `json:"argv"`
	Options  []Option       `json:"options"`
	Env      []EnvVar       `json:"env,omitempty"`
	Flavor   *ProfileChoice `json:"flavor,omitempty"`
	Budget   Budget         `json:"budget"`
	Limit    int64          `json:"limit,omitempty"`
	Warnings []Problem      `json:"warnings"`
	Errors   []Problem      `json:"errors"`
}

// MarshalJSON writes {"argv","options","env","flavor","budget","limit","warnings","errors"};
// argv is null if there are errors.
func (r Result) MarshalJSON() ([]byte, error) {
	return json.Marshal(resultJSON{r.Argv(), append([]Option{}, r.Options...), r.Env, r.Flavor, append(Budget{}, r.Budget...), r.Limit,
		append([]Problem{}, r.Warnings...), append([]Problem{}, r.Errors...)})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Result) UnmarshalJSON(data []byte) error {
	var in resultJSON
	err := json.Unmarshal(data, &in)
	*r = Result{Options: in.Options, Env: in.Env, Flavor: in.Flavor, Budget: in.Budget, Limit: in.Limit, Warnings: in.Warnings,
		Errors: in.Errors}
	return err
}
