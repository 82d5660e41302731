package jvm

import (
	"fmt"
	"strings"
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

// Presumed says whether a code speaks of what our table of versions knows and a JVM
// may see differently.
func Presumed(code string) bool { return code == UnknownOption || code == RemovedOption }

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
	m := &merger{}
	for _, l := range []struct {
		layer   Layer
		options []Option
	}{{Default, defaults}, {User, user}, {Enforced, enforced}} {
		for _, o := range l.options {
			if len(o.Args) == 0 {
				continue
			}
			o.Layer = l.layer
			// The caller keeps its slices.
			o.Args = append([]string(nil), o.Args...)
			o.Replaced = append([]Option(nil), o.Replaced...)
			if code, why := refuse(o); code != "" {
				m.fail(code, "cannot use %q (%s): %s", o, o.origin(), why)
				continue
			}
			if why := doubtful(o); why != "" {
				m.warn(Literal, "%s (%s): %s", o, o.origin(), why)
			}
			m.add(o)
		}
	}
	m.settleCollector()
	m.settleAggressive()
	m.settleHeap()
	m.settleBase()
	m.settlePairs()
	m.settleThreads()
	m.settleYoung()
	return Result{Options: unlockFirst(m.kept), Warnings: m.warnings, Errors: m.errors}
}

type merger struct {
	kept     []Option
	warnings []Problem
	errors   []Problem
}

func (m *merger) warn(code, format string, args ...any) {
	m.warnings = append(m.warnings, Problem{code, fmt.Sprintf(format, args...)})
}

func (m *merger) fail(code, format string, args ...any) {
	m.errors = append(m.errors, Problem{code, fmt.Sprintf(format, args...)})
}

// add puts o behind what is kept and takes away what it beats.
func (m *merger) add(o Option) {
	if o.Args[0] == "-XX:+IgnoreUnrecognizedVMOptions" {
		m.warn(Bypass, "%s (%s) hides misspelt and removed options", o, o.origin())
	}
	id := identify(o)
	kept := m.kept[:0:0]
	for i, k := range m.kept {
		old := identify(k)
		if o.rank() == k.rank() && old.family == id.family && old.absolute() && id.relative() {
			// The JVM itself ignores the share or ratio, in any order.
			m.kept[i].Replaced = append(k.Replaced, o)
			m.warn(Duplicate, "%s (%s) has no effect beside %s (%s)", o, o.origin(), k, k.origin())
			return
		}
		if !beats(id, old, o.rank() > k.rank()) || id.weak() && k.Generated {
			kept = append(kept, k)
			continue
		}
		m.report(o, k, id, old)
		o.Replaced = append(o.Replaced, k)
	}
	m.kept = append(kept, o)
}

// report warns of a beaten option where somebody may wonder.
func (m *merger) report(o, k Option, id, old identity) {
	same := o.String() == k.String()
	switch {
	case o.rank() == k.rank() && id.family == "gc" && id.name != old.name:
		m.warn(GCConflict, "%s (%s) and %s (%s) exclude each other; the later one counts", k, k.origin(), o, o.origin())
	case o.rank() == k.rank():
		m.warn(Duplicate, "%s (%s) is given again by %s (%s); the later one counts", k, k.origin(), o, o.origin())
	case o.Layer == Enforced && k.Layer == User && !same:
		m.warn(UserOverrideDropped, "%s (%s) is dropped for %s (%s)", k, k.origin(), o, o.origin())
	}
}

// settleCollector gives the JVM a collector again where the user only took ours
// away: it refuses to start with none.
func (m *merger) settleCollector() {
	if collectorOf(m.kept) != "" {
		return
	}
	for i, o := range m.kept {
		id := identify(o)
		if id.family != "gc" || id.value != "-" {
			continue
		}
		if r, ok := generatedBelow(o); ok {
			other := "-XX:+UseSerialGC"
			if id.name == "UseSerialGC" {
				other = "-XX:+UseParallelGC"
			}
			why := fmt.Sprintf("%s (%s) takes %s away and a JVM needs a collector", o, o.origin(), r)
			m.warn(Adjusted, "%s is set: %s", other, why)
			added := Option{Args: []string{other}, Layer: Default, Source: r.Source, Why: why, Generated: true}
			m.kept = append(m.kept[:i:i], append([]Option{added}, m.kept[i:]...)...)
			return
		}
	}
}

// generatedBelow finds the option of ours that o has beaten, if only through
// others.
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
	var first, rest []Option
	for _, o := range options {
		if strings.HasPrefix(strings.TrimLeft(strings.TrimPrefix(o.Args[0], "-XX:"), "+-"), "Unlock") {
			first = append(first, o)
		} else {
			rest = append(rest, o)
		}
	}
	return append(first, rest...)
}
