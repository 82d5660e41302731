package jvm

import (
	"fmt"
	"strings"
)

// Codes of problems, in warnings and errors.
const (
	UserOverrideDropped = "user-override-dropped"
	Duplicate           = "duplicate"
	RemovedOption       = "removed-option"
	BadValue            = "bad-value"
	GCConflict          = "gc-conflict"
	InvalidCombination  = "invalid-combination"
	BudgetExceeded      = "budget-exceeded"
	BudgetUnbounded     = "budget-unbounded"
	Bypass              = "bypass"
	NotAJVMOption       = "not-a-jvm-option"
	Adjusted            = "adjusted"
	MemoryUnknown       = "memory-unknown"
)

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
			m.add(o)
		}
	}
	m.settleCollector()
	m.settleHeap()
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
		if o.rank() == k.rank() && old.name == "MaxHeapSize" && old.family == id.family && id.name != "MaxHeapSize" {
			// The JVM itself ignores the percentage, in any order.
			m.kept[i].Replaced = append(k.Replaced, o)
			m.warn(Duplicate, "%s (%s) has no effect beside %s (%s)", o, o.origin(), k, k.origin())
			return
		}
		if !beats(id, old, o.rank() > k.rank()) {
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
	for i, o := range m.kept {
		id := identify(o)
		if id.family == "gc" && id.value == "+" {
			return
		}
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

// settleHeap makes the initial heap agree with the maximum, which the JVM
// insists on: the option of the lower layer follows the other one.
func (m *merger) settleHeap() {
	top, start := -1, -1
	relative := ""
	for i, o := range m.kept {
		id := identify(o)
		switch {
		case id.name == "MaxHeapSize":
			top = i
		case id.family == "heap.max":
			relative = o.String()
		case id.name == "InitialHeapSize":
			start = i
		}
	}
	if start < 0 {
		return
	}
	init := m.kept[start]
	if top < 0 {
		if init.Generated && relative != "" {
			m.warn(Adjusted, "%s is left out: the maximum heap is set by %s", init, relative)
			m.kept = append(m.kept[:start:start], m.kept[start+1:]...)
		}
		return
	}
	limit := m.kept[top]
	most, err1 := sizeOf(identify(limit).value)
	n, err2 := sizeOf(identify(init).value)
	switch {
	case err1 != nil || err2 != nil || n == most:
	case init.Generated && !limit.Generated:
		m.follow(start, "-Xms", most, limit)
	case n < most:
	case init.rank() < limit.rank():
		m.warn(Adjusted, "%s (%s) is above %s (%s) and follows it", init, init.origin(), limit, limit.origin())
		m.follow(start, "-Xms", most, limit)
	case init.rank() > limit.rank():
		m.warn(Adjusted, "%s (%s) is below %s (%s) and follows it", limit, limit.origin(), init, init.origin())
		m.follow(top, "-Xmx", n, init)
	default:
		m.fail(InvalidCombination, "cannot start a heap with %s (%s) below a maximum of %s (%s)", init, init.origin(), limit, limit.origin())
	}
}

// follow rewrites option i to the size of the option that it depends on.
func (m *merger) follow(i int, flag string, size int64, other Option) {
	o := &m.kept[i]
	was := *o
	was.Replaced = nil
	o.Args = []string{flag + sizeText(size)}
	o.Why = fmt.Sprintf("follows %s (%s)", other, other.origin())
	o.Replaced = append(o.Replaced, was)
}

// sizeText writes bytes in the largest unit that loses nothing, at most MiB.
func sizeText(n int64) string {
	switch {
	case n%mib == 0:
		return fmt.Sprintf("%dm", n/mib)
	case n%1024 == 0:
		return fmt.Sprintf("%dk", n/1024)
	}
	return fmt.Sprint(n)
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
