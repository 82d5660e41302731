package jvm

import (
	_ "embed"
	"iter"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/suggest"
)

// flagTable lists the -XX flags of buildsListed on Linux and x86_64, as -XX:+PrintFlagsFinal prints
// them with both unlock flags. A line begins with their type, and with a letter for each build: absent
// (-), product, diagnostic or experimental; one that begins with a blank continues the line before.
// TestFlagTable makes it of the lists in testdata.
//
//go:embed flagtable.txt
var flagTable string

// otherFlags are in none of these builds: flags of the port to aarch64, of vendors' own builds (CRaC,
// Dragonwell, SapMachine, Kona), and another name of CreateCoredumpOnCrash.
//
//go:embed flagtable_other.txt
var otherFlags string

// flagKind says what a -XX flag demands of the command line.
type flagKind byte

const (
	absent flagKind = iota // the version does not have it
	product
	diagnostic   // needs -XX:+UnlockDiagnosticVMOptions before it
	experimental // needs -XX:+UnlockExperimentalVMOptions before it
)

// unlockFlags are the flags that the kinds need.
var unlockFlags = [...]string{absent: "", product: "", diagnostic: "UnlockDiagnosticVMOptions", experimental: "UnlockExperimentalVMOptions"}

// flagType is how a -XX flag is written, a word of flagTable.
type flagType string

const (
	anyFlag   flagType = ""     // "any" in the table: not known to us
	boolFlag  flagType = "bool" // +Name or -Name
	intFlag   flagType = "int"  // Name=number, which may have k, m, g or t behind it
	countFlag flagType = "uint" // the same from 0 on
	floatFlag flagType = "real" // Name=number with a fraction
	textFlag  flagType = "text" // Name=anything
	listFlag  flagType = "list" // Name=anything, and a later one adds to it
)

// flagTypes are the types of flags as -XX:+PrintFlagsFinal prints them.
var flagTypes = map[string]flagType{
	"bool": boolFlag, "int": intFlag, "intx": intFlag, "uint": countFlag, "uintx": countFlag, "size_t": countFlag,
	"uint64_t": countFlag, "double": floatFlag, "ccstr": textFlag, "ccstrlist": listFlag,
}

// typ is how the flag is written.
func (f FlagInfo) typ() flagType { return flagTypes[f.Type] }

// kind is what the flag demands.
func (f FlagInfo) kind() flagKind {
	switch {
	case strings.Contains(f.Kind, "diagnostic"):
		return diagnostic
	case strings.Contains(f.Kind, "experimental"):
		return experimental
	}
	return product
}

// flagFacts is all that is known of one flag.
type flagFacts struct {
	typ   flagType
	kinds [len(buildsListed)]flagKind // in the builds of buildsListed
	alias bool                        // another name, which no JVM prints
	change
}

// catalog knows flags by their name, which is case-sensitive.
type catalog map[string]flagFacts

func newCatalog() catalog {
	c := make(catalog, 1600)
	var facts flagFacts
	for line := range strings.Lines(flagTable + otherFlags) {
		word, names, _ := strings.Cut(line, " ")
		if typ, kinds, begins := strings.Cut(word, ":"); begins {
			facts = flagFacts{typ: flagType(strings.TrimPrefix(typ, "any"))}
			for i := range facts.kinds {
				facts.kinds[i] = flagKind(strings.IndexByte("-pde", kinds[i]))
			}
		}
		for name := range strings.FieldsSeq(names) {
			c[name] = facts
		}
	}
	for _, ch := range readChanges(flagChangesText) {
		f := c[ch.name]
		f.change, f.alias = ch.change, ch.form == "alias"
		c[ch.name] = f
	}
	return c
}

// build is one whose flags are listed.
type build struct {
	major   int
	version string
}

// early reports whether the build is of a version before its release, which may still get flags; updates have a dot.
func (b build) early() bool {
	return strings.HasSuffix(b.version, "-ea") && !strings.Contains(b.version, ".")
}

// buildsListed are those of flagTable, by version: Debian's, by the names that they print. "ea" is early access.
var buildsListed = [...]build{{8, "1.8.0_504"}, {11, "11.0.33-ea"}, {17, "17.0.21.0.3"}, {21, "21.0.13.0.3"}, {25, "25.0.5.0.3"}, {26, "26.0.2.1"},
	{27, "27.0.1.0.3"}, {28, "28-ea"}}

// listOf finds the list of a version, or of the next older one; exact: it is its own.
// -1: older than all.
func listOf(major int) (at int, exact bool) {
	at = -1
	for i, b := range buildsListed {
		if b.major <= major {
			at, exact = i, b.major == major
		}
	}
	return at, exact
}

// support is whether a version takes a flag, as far as the lists and the history of
// flags tell.
type support byte

const (
	supported    support = iota
	removed              // an older version had it, no newer one has
	tooNew               // it came with a newer version
	inOtherBuild         // the version's list lacks it; a newer version's list or the history of flags has it
	unknown              // no list has it
	notInJVM             // the JVM at hand does not print it
)

// support reports whether a version takes the flag: as its list has it, and for a
// version without a list unless the flag is known to be gone from it or to have come
// later. Version 0 is an unknown one, which takes everything.
func (f flagFacts) support(major int) support {
	at, exact := listOf(major)
	switch {
	case f.gone > 0 && major >= f.gone:
		return removed
	case f.since > 0 && major > 0 && major < f.since:
		return tooNew
	case at < 0, f.kinds[at] != absent, f.unprinted(major), f.change != (change{}) && !exact:
		return supported
	case f.change != (change{}), exact && present(f.kinds[at+1:]):
		return inOtherBuild
	case present(f.kinds[at+1:]):
		return supported // it may have come between the two
	case present(f.kinds[:at]):
		return removed
	}
	return unknown
}

// unprinted reports whether a version accepts the flag without printing it; 0 is an unknown version.
func (f flagFacts) unprinted(major int) bool {
	return f.alias || f.ignored > 0 && (major == 0 || major >= f.ignored)
}

// present reports whether one of the builds has the flag.
func present(kinds []flagKind) bool {
	return slices.ContainsFunc(kinds, func(k flagKind) bool { return k != absent })
}

// history is the change, with the version by which the flag went as the lists have it
// where the history does not say.
func (f flagFacts) history() change {
	ch := f.change
	for i := len(buildsListed) - 1; i > 0 && ch.gone == 0 && f.kinds[i] == absent; i-- {
		if f.kinds[i-1] != absent {
			ch.gone = buildsListed[i].major
		}
	}
	return ch
}

// kind is what the flag demands in a version. Where the lists before and after it
// differ, the one that demands more: a superfluous unlock does no harm.
func (f flagFacts) kind(major int) flagKind {
	at, exact := listOf(major)
	switch {
	case exact && f.kinds[at] != absent:
		return f.kinds[at]
	case at >= 0 && at+1 < len(buildsListed) && f.kinds[at] != absent:
		return max(f.kinds[at], f.kinds[at+1])
	}
	return slices.Max(f.kinds[:])
}

// nearest is the name that differs least from one that is not known, if it differs by
// little.
func nearest(name string, names iter.Seq[string]) string {
	best, least := "", 4
	for known := range names {
		if max(len(known)-len(name), len(name)-len(known)) >= least {
			continue
		}
		d := suggest.Distance(name, known)
		if strings.EqualFold(name, known) {
			d = 1 // a name in the wrong case is near
		}
		if d < least || d == least && best != "" && known < best {
			best, least = known, d
		}
	}
	if least > max(1, len(name)/4) {
		return ""
	}
	return best
}
