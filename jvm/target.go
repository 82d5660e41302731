package jvm

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// checkTarget compares the merged options with what the version of the target is
// known to accept: it fails for what the version does not have, warns of what it only
// tolerates, adds the unlock flags that are needed, and drops what
// -XX:+IgnoreUnrecognizedVMOptions would hide.
func checkTarget(r *Result, t Target, asked bool) {
	c := targetCheck{Result: r, target: t, major: t.JavaMajor, asked: asked, flags: newCatalog(), needed: map[string]Option{}}
	c.ignoring = slices.ContainsFunc(r.Options, func(o Option) bool { return o.Args[0] == "-XX:+IgnoreUnrecognizedVMOptions" })
	r.Options = slices.DeleteFunc(slices.Clone(r.Options), func(o Option) bool { return !c.check(o) })
	c.addUnlocks()
	r.Options = unlockFirst(r.Options)
}

// listed reports whether the flags of the target's port are among those we know.
func (t Target) listed() bool {
	return slices.Contains([]string{"", "x86_64", "amd64", "aarch64", "arm64"}, t.Arch)
}

// targetCheck is one such comparison.
type targetCheck struct {
	*Result
	target   Target
	major    int
	asked    bool // the JVM itself is going to be
	flags    catalog
	ignoring bool
	needed   map[string]Option // by unlock flag: the strongest option that needs it
}

// refuse is for an option that the version does not have. It is a warning if the JVM is going to be asked, which may
// be a vendor's or a later one.
func (c *targetCheck) refuse(code string, o Option, why string, args ...any) {
	c.Result.refuse(code, o, why, args...)
	if last := len(c.Errors) - 1; c.asked && VersionDependent(code) {
		c.Warnings, c.Errors = append(c.Warnings, c.Errors[last]), c.Errors[:last]
	}
}

// check reports whether o stays.
func (c *targetCheck) check(o Option) bool {
	arg := o.Args[0]
	if id := keyOf(o); c.major == 8 && id.is(sized) && hasPrefix(id.value, "0x", "0X") {
		n, _ := unsignedSize(id.value) // valid: it was checked before
		c.refuse(BadValue, o, "Java 8 reads no hexadecimal numbers; write %d", n)
	}
	if strings.HasPrefix(arg, "-XX:") {
		return c.checkFlag(o)
	}
	switch ch, ok := findOption(arg); {
	case !ok:
		c.refuse(UnknownOption, o, "no Java from %d to %d has it%s", buildsListed[0].major, buildsListed[len(buildsListed)-1].major,
			didYouMean(nearestOption(arg)))
	case c.major > 0 && c.major < ch.since:
		c.refuse(UnknownOption, o, "Java %d does not have it, it came with %d", c.major, ch.since)
	default:
		c.checkHistory(o, ch)
	}
	return true
}

// checkHistory fails or warns by an option's history. An unknown version takes everything.
func (c *targetCheck) checkHistory(o Option, ch change) {
	instead := cmp.Or(ch.instead, "leave it out")
	switch {
	case ch.gone > 0 && c.major >= ch.gone:
		c.refuse(RemovedOption, o, "Java %d no longer has it (removed by %d); %s", c.major, ch.gone, instead)
	case ch.ignored > 0 && c.major >= ch.ignored:
		c.warn(Deprecated, "%s does nothing in Java %d (since %d); %s", o.located(), c.major, ch.ignored, instead)
	case ch.deprecated > 0 && c.major >= ch.deprecated:
		c.warn(Deprecated, "%s is deprecated since Java %d; %s", o.located(), ch.deprecated, instead)
	}
}

// checkFlag is check for a -XX flag.
func (c *targetCheck) checkFlag(o Option) bool {
	name, _, _ := cutFlag(o.Args[0])
	f, standing := c.flagSupport(name)
	switch standing {
	case supported:
		c.checkHistory(o, f.change)
	case inOtherBuild:
		c.warnUnlisted(o, f)
	default:
		return c.rejectFlag(o, name, f, standing)
	}
	if why := f.misspelt(o.Args[0], c.major); why != "" {
		c.refuse(BadValue, o, "%s", why)
	}
	if unlock := unlockFlags[f.kind(c.major)]; unlock != "" {
		if first, there := c.needed[unlock]; !there || o.rank() > first.rank() {
			c.needed[unlock] = o
		}
	}
	return true
}

// flagSupport finds out whether the target has a flag. A JVM that was asked knows best: what it
// prints it has, and nothing else but ignored flags and other names, which are not printed.
func (c *targetCheck) flagSupport(name string) (flagFacts, support) {
	f, known := c.flags[name]
	if own, printed := c.target.Flags[name]; printed {
		f.typ, f.gone, f.ignored = own.typ(), 0, 0 // what it ignores it does not print
		for i := range f.kinds {
			f.kinds[i] = own.kind()
		}
		return f, supported
	}
	asked := c.target.Flags != nil
	switch s := f.support(c.major); {
	case !known && !asked && !c.target.listed(): // another port may have flags of its own
		return f, supported
	case !known:
		return f, unknown
	case asked && (s == inOtherBuild || s == supported && !f.unprinted(c.major)):
		return f, notInJVM
	default:
		return f, s
	}
}

// rejectFlag says why the target does not take a flag; it says whether the option stays.
func (c *targetCheck) rejectFlag(o Option, name string, f flagFacts, s support) bool {
	if c.ignoring && o.Layer != Enforced {
		code := Bypass
		if s == removed {
			code = Deprecated
		}
		c.warn(code, "%s is left out: %s does not have it, and -XX:+IgnoreUnrecognizedVMOptions hides that", o.located(), c.java())
		return false
	}
	at, exact := listOf(c.major)
	released := exact && !buildsListed[at].early()
	near := ""
	if s == unknown {
		near = nearest(name, c.names())
	}
	switch {
	case s == removed:
		c.checkHistory(o, f.history())
	case s == tooNew:
		c.refuse(UnknownOption, o, "Java %d does not have it, it came with %d", c.major, f.since)
	case s == notInJVM:
		c.refuse(UnknownOption, o, "%s does not have it, only another build or version", c.java())
	case c.target.Flags == nil && near == "" && !released && c.major > 0:
		c.warn(UnknownOption, "%s may be refused: no list of flags has it, and there is none of a released Java %d; no JVM was asked",
			o.located(), c.major)
	default:
		c.refuse(UnknownOption, o, "%s has no such flag; names are case-sensitive%s", c.java(), didYouMean(near))
	}
	return true
}

// warnUnlisted warns of a flag that an update may have brought.
func (c *targetCheck) warnUnlisted(o Option, f flagFacts) {
	at, _ := listOf(c.major)
	newer := slices.IndexFunc(f.kinds[at+1:], func(k flagKind) bool { return k != absent })
	if newer < 0 {
		c.warn(UnknownOption, "%s may be refused: the list of Java %s does not have it, only other builds of Java %d, and no JVM was asked",
			o.located(), buildsListed[at].version, c.major)
		return
	}
	c.warn(UnknownOption, "%s may be refused: the list of Java %s does not have it, that of %s does; "+
		"an update may have brought it, and no JVM was asked", o.located(), buildsListed[at].version, buildsListed[at+1+newer].version)
}

// java names the target in messages, and what is known of its flags.
func (c *targetCheck) java() string {
	at, exact := listOf(c.major)
	switch {
	case c.target.Flags != nil && c.target.JavaVersion != "":
		return "the JVM at hand, " + c.target.JavaVersion + ","
	case c.target.Flags != nil:
		return "the JVM at hand"
	case exact:
		return fmt.Sprintf("Java %d (by the list of %s; no JVM was asked)", c.major, buildsListed[at].version)
	case c.major > 0:
		return fmt.Sprintf("Java %d (no JVM was asked)", c.major)
	}
	return "Java (no JVM was asked)"
}

// names are those of the flags that the target takes, for suggestions.
func (c *targetCheck) names() iter.Seq[string] {
	if c.target.Flags != nil {
		return maps.Keys(c.target.Flags)
	}
	return func(yield func(string) bool) {
		for name, f := range c.flags {
			if f.support(c.major) == supported && !yield(name) {
				return
			}
		}
	}
}

// addUnlocks adds missing unlock flags that options need,
// and takes away a weaker layer's -XX:-Unlock.
func (c *targetCheck) addUnlocks() {
	for _, unlock := range slices.Sorted(maps.Keys(c.needed)) {
		o := c.needed[unlock]
		added := ruleOption("unlock", fmt.Sprintf("%s needs it", o.located()), "-XX:+%s", unlock)
		at := slices.IndexFunc(c.Options, func(k Option) bool { return keyOf(k).name == unlock })
		switch {
		case at < 0:
			c.Options = append(c.Options, added)
		case keyOf(c.Options[at]).value != "-":
		case c.Options[at].rank() < o.rank():
			locked := c.Options[at]
			added.Replaced = []Option{locked}
			c.Options[at] = added
			c.warn(Adjusted, "%s is dropped: %s needs the opposite", locked.located(), o.located())
		default:
			c.refuse(InvalidCombination, o, "%s forbids what it needs", c.Options[at].located())
		}
	}
}

// didYouMean is a hint; empty without a name.
func didYouMean(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", name)
}
