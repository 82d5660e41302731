package jvm

import (
	"fmt"
	"slices"
)

// Codes of problems, in warnings and errors.
const (
	UserOverrideDropped = "user-override-dropped"
	Duplicate           = "duplicate"
	Deprecated          = "deprecated"
	UnknownOption       = "unknown-option"
	IgnoredEnv          = "ignored-env"
	RemovedOption       = "removed-option"
	BadValue            = "bad-value"
	GCConflict          = "gc-conflict"
	InvalidCombination  = "invalid-combination"
	BudgetExceeded      = "budget-exceeded"
	BudgetUnbounded     = "budget-unbounded"
	Bypass              = "bypass"
	NotAJVMOption       = "not-a-jvm-option"
	Adjusted            = "adjusted"
	Literal             = "literal"
	MemoryUnknown       = "memory-unknown"
	MemoryUnlimited     = "memory-unlimited"
)

// VersionDependent reports whether a problem of this code comes from the table of versions, so
// that the JVM itself may disagree.
func VersionDependent(code string) bool { return code == UnknownOption || code == RemovedOption }

// Problem is a warning or an error about options or sizes.
type Problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Merge joins the layers by what options set (not by how they are spelled) and
// returns options, warnings and errors; the result's Argv is nil if there are
// errors. The order is default, user, enforced, each in its own order, with
// unlock flags first. Options of the default layer that depend on another
// follow it: a user's smaller -Xmx moves our -Xms.
func Merge(defaults, user, enforced []Option) Result {
	r := &Result{}
	layers := [...]Layer{Default, User, Enforced}
	for i, options := range [...][]Option{defaults, user, enforced} {
		for _, o := range options {
			if len(o.Args) == 0 {
				continue
			}
			o.Layer = layers[i]
			// The slices of the caller stay unchanged.
			o.Args, o.Replaced = slices.Clone(o.Args), slices.Clone(o.Replaced)
			if code, why := reject(o); code != "" {
				r.refuse(code, o, "%s", why)
				continue
			}
			if why := literalNote(o); why != "" {
				r.warn(Literal, "%s: %s", o.located(), why)
			}
			r.add(o)
		}
	}
	r.adjustCollector()
	r.adjustAggressive()
	r.adjustHeap()
	r.adjustFreeRatio()
	r.adjustBase()
	r.adjustPairs()
	r.adjustThreads()
	r.adjustYoung()
	r.Options = unlockFirst(r.Options)
	return *r
}

func (r *Result) warn(code, format string, args ...any) {
	r.Warnings = append(r.Warnings, Problem{code, fmt.Sprintf(format, args...)})
}

func (r *Result) fail(code, format string, args ...any) {
	r.Errors = append(r.Errors, Problem{code, fmt.Sprintf(format, args...)})
}

// refuse is fail for an option that cannot be used.
func (r *Result) refuse(code string, o Option, why string, args ...any) {
	r.fail(code, "cannot use %s: %s", o.Named(), fmt.Sprintf(why, args...))
}

// add appends o and removes the options that it overrides.
func (r *Result) add(o Option) {
	if o.Args[0] == "-XX:+IgnoreUnrecognizedVMOptions" {
		r.warn(Bypass, "%s hides misspelt and removed options", o.located())
	}
	id := keyOf(o)
	kept := r.Options[:0:0]
	for i, k := range r.Options {
		old := keyOf(k)
		if o.rank() == k.rank() && old.family == id.family && old.is(absolute) && id.is(relative) {
			// The JVM itself ignores the share or ratio, in any order.
			r.Options[i].Replaced = append(k.Replaced, o)
			r.warn(Duplicate, "%s has no effect beside %s", o.located(), k.located())
			return
		}
		if !overrides(id, old, o.rank() > k.rank()) || id.is(fallback) && k.Generated {
			kept = append(kept, k)
			continue
		}
		r.warnOverridden(o, k, id, old)
		o.Replaced = append(o.Replaced, k)
	}
	r.Options = append(kept, o)
}

// warnOverridden warns of an overridden option where a user would be surprised.
func (r *Result) warnOverridden(o, k Option, id, old optionKey) {
	same := o.String() == k.String()
	switch {
	case o.rank() == k.rank() && id.family == "gc" && id.name != old.name:
		r.warn(GCConflict, "%s and %s exclude each other; the later one wins", k.located(), o.located())
	case o.rank() == k.rank():
		r.warn(Duplicate, "%s is given again by %s; the later one wins", k.located(), o.located())
	case o.Layer == Enforced && k.Layer == User && !same:
		r.warn(UserOverrideDropped, "%s is dropped for %s", k.located(), o.located())
	}
}

// adjustCollector selects another collector where the user only disabled the rule's: the JVM
// does not start without one.
func (r *Result) adjustCollector() {
	if collectorOf(r.Options) != "" {
		return
	}
	for i, o := range r.Options {
		id := keyOf(o)
		if id.family != "gc" || id.value != "-" {
			continue
		}
		if ours, ok := generatedBelow(o); ok {
			other := "-XX:+UseSerialGC"
			if id.name == "UseSerialGC" {
				other = "-XX:+UseParallelGC"
			}
			why := fmt.Sprintf("%s takes %s away and a JVM needs a collector", o.located(), ours)
			r.warn(Adjusted, "%s is set: %s", other, why)
			added := Option{Args: []string{other}, Layer: Default, Source: ours.Source, Why: why, Generated: true}
			r.Options = slices.Insert(slices.Clone(r.Options), i, added)
			return
		}
	}
}

// generatedBelow finds the generated option that o overrides, directly or through others.
func generatedBelow(o Option) (Option, bool) {
	for _, r := range o.Replaced {
		if r.Generated {
			return r, true
		}
		if g, ok := generatedBelow(r); ok {
			return g, true
		}
	}
	return Option{}, false
}

// unlockFirst moves the unlock flags in front: HotSpot demands that they precede
// what they unlock.
func unlockFirst(options []Option) []Option {
	unlocks := func(o Option) bool { return hasPrefix(o.Args[0], "-XX:+Unlock", "-XX:-Unlock") }
	rest := slices.DeleteFunc(slices.Clone(options), unlocks)
	return append(slices.DeleteFunc(slices.Clone(options), func(o Option) bool { return !unlocks(o) }), rest...)
}
