package jvm

import (
	"strings"

	"github.com/stoker-init/stoker/internal/suggest"
)

// flagKind says what a -XX flag demands of the command line.
type flagKind byte

const (
	absent flagKind = iota // the version does not have it
	product
	diagnostic   // needs -XX:+UnlockDiagnosticVMOptions before it
	experimental // needs -XX:+UnlockExperimentalVMOptions before it
)

// unlock is the flag that a kind needs; empty: none.
func (k flagKind) unlock() string {
	switch k {
	case diagnostic:
		return "UnlockDiagnosticVMOptions"
	case experimental:
		return "UnlockExperimentalVMOptions"
	}
	return ""
}

// flagType is how a -XX flag is written.
type flagType byte

const (
	anyFlag   flagType = iota // not known to us
	boolFlag                  // +Name or -Name
	intFlag                   // Name=number, which may have k, m, g or t behind it
	countFlag                 // the same from 0 on
	floatFlag                 // Name=number with a fraction
	textFlag                  // Name=anything
	listFlag                  // Name=anything, and a later one adds to it
)

// flagGroup is a list of flags that are alike.
type flagGroup struct {
	typ        flagType
	in17, in25 flagKind
	names      string // separated by white space
}

// change is the history of flags, or of other options, that not every version
// takes. A zero is "never, as far as we know".
type change struct {
	names      string
	since      int    // the first version that has it
	deprecated int    // from here on it works, with a warning
	ignored    int    // from here on it is accepted, with a warning, and does nothing
	gone       int    // from here on, at the latest, the JVM refuses to start
	instead    string // what to do; empty: leave it out
}

// flagFacts is all that is known of one flag.
type flagFacts struct {
	typ        flagType
	in17, in25 flagKind
	change
}

// catalog knows flags by their name, which is case-sensitive.
type catalog map[string]flagFacts

func newCatalog() catalog {
	c := make(catalog, 1500)
	for _, g := range flagGroups() {
		for name := range strings.FieldsSeq(g.names) {
			c[name] = flagFacts{typ: g.typ, in17: g.in17, in25: g.in25}
		}
	}
	for _, ch := range flagChanges() {
		for name := range strings.FieldsSeq(ch.names) {
			f := c[name]
			f.change = ch
			c[name] = f
		}
	}
	return c
}

// has says whether a version has the flag, as far as we know: exactly for 17 and
// 25, and for another version unless the flag is known to be gone from it or to
// have come later. Version 0 is an unknown one.
func (f flagFacts) has(major int) bool {
	switch {
	case f.gone > 0 && major >= f.gone, f.since > 0 && major > 0 && major < f.since:
		return false
	case f.change != (change{}):
		return true // ignored ones and aliases are not listed
	case major == 17:
		return f.in17 != absent
	case major == 25:
		return f.in25 != absent
	}
	return true
}

// kind is what the flag demands in a version. Where it differs between those
// that we know, the one that demands more: a superfluous unlock does no harm.
func (f flagFacts) kind(name string, major int) flagKind {
	switch {
	case major == 17:
		return f.in17
	case major >= 25:
		return f.in25
	case name == "UseZGC" && major < 15, name == "UseShenandoahGC" && major < 15 && major > 0,
		name == "UseCGroupMemoryLimitForHeap":
		return experimental
	}
	return max(f.in17, f.in25)
}

// nearest is the known name that differs least from one that is not known, if it
// differs by little.
func (c catalog) nearest(name string, major int) string {
	best, least := "", 4
	for known, f := range c {
		if !f.has(major) || abs(len(known)-len(name)) >= least {
			continue
		}
		d := distance(name, known)
		if d < least || d == least && best != "" && known < best {
			best, least = known, d
		}
	}
	if least > max(1, len(name)/4) {
		return ""
	}
	return best
}

func abs(n int) int { return max(n, -n) }

// distance is the number of letters to insert, delete or replace; a name in the
// wrong case is near.
func distance(a, b string) int {
	if strings.EqualFold(a, b) {
		return 1
	}
	return suggest.Distance(a, b)
}
