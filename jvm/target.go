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
// known to take: it fails for what the version has not, warns of what it only
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

// fail is for what the version does not take. What a JVM has and has not, its
// vendor's and a later one too, it knows best itself.
func (c *targetCheck) fail(code, format string, args ...any) {
	if c.asked && VersionDependent(code) {
		c.warn(code, format, args...)
		return
	}
	c.Result.fail(code, format, args...)
}

// check reports whether o stays.
func (c *targetCheck) check(o Option) bool {
	arg := o.Args[0]
	switch {
	case strings.HasPrefix(arg, "-XX:"):
		return c.checkFlag(o)
	case strings.HasPrefix(arg, "-D"):
		key, value, _ := strings.Cut(arg[2:], "=")
		for _, ch := range propertyChanges {
			if ch.names != key {
				continue
			}
			if key == "java.security.manager" && (value == "disallow" || value == "allow" && c.major < ch.gone) {
				continue // 17 accepts both silently
			}
			c.checkHistory(o, ch)
		}
		return true
	}
	ch, ok := findOption(arg)
	switch {
	case !ok:
		c.fail(UnknownOption, "cannot use %q (%s): no Java from 8 to 25 has it%s", o, o.origin(), didYouMean(nearestOption(arg)))
	case c.major > 0 && c.major < ch.since:
		c.fail(UnknownOption, "cannot use %q (%s): Java %d does not have it, it came with %d", o, o.origin(), c.major, ch.since)
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
		c.fail(RemovedOption, "cannot use %q (%s): Java %d no longer has it (removed by %d); %s", o, o.origin(), c.major, ch.gone, instead)
	case ch.ignored > 0 && c.major >= ch.ignored:
		c.warn(Deprecated, "%s (%s) does nothing in Java %d (since %d); %s", o, o.origin(), c.major, ch.ignored, instead)
	case ch.deprecated > 0 && c.major >= ch.deprecated:
		c.warn(Deprecated, "%s (%s) is deprecated since Java %d; %s", o, o.origin(), ch.deprecated, instead)
	}
}

// checkFlag is check for a -XX flag.
func (c *targetCheck) checkFlag(o Option) bool {
	name, _, _ := cutFlag(o.Args[0])
	f, standing := c.flagSupport(name)
	switch standing {
	case supported:
		c.checkHistory(o, f.change)
	case inNewerBuild:
		c.warnUnlisted(o, f)
	default:
		return c.rejectFlag(o, name, f, standing)
	}
	if why := f.misspelt(o.Args[0]); why != "" {
		c.fail(BadValue, "cannot use %q (%s): %s", o, o.origin(), why)
	}
	if unlock := f.kind(c.major).unlock(); unlock != "" {
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
	if c.target.Flags == nil {
		switch {
		case known:
			return f, f.support(c.major)
		case !c.target.listed(): // another port may have flags of its own
			return f, supported
		}
		return f, unknown
	}
	if own, printed := c.target.Flags[name]; printed {
		f.typ, f.gone = own.typ(), 0
		for i := range f.kinds {
			f.kinds[i] = own.kind()
		}
		return f, supported
	}
	switch s := f.support(c.major); {
	case !known:
		return f, unknown
	case f.change == (change{}) && s != removed:
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
		c.warn(code, "%s (%s) is left out: %s does not have it, and -XX:+IgnoreUnrecognizedVMOptions hides that", o, o.origin(), c.java())
		return false
	}
	_, exact := listOf(c.major)
	near := ""
	if s == unknown {
		near = nearest(name, c.names())
	}
	switch {
	case s == removed:
		c.checkHistory(o, f.history())
	case s == tooNew:
		c.fail(UnknownOption, "cannot use %q (%s): Java %d does not have it, it came with %d", o, o.origin(), c.major, f.since)
	case s == notInJVM:
		c.fail(UnknownOption, "cannot use %q (%s): %s does not have it, only another build or version", o, o.origin(), c.java())
	case c.target.Flags == nil && near == "" && !exact && c.major > 0:
		c.warn(UnknownOption, "%s (%s) may be refused: no list of flags has it, and there is none of Java %d; no JVM was asked",
			o, o.origin(), c.major)
	default:
		c.fail(UnknownOption, "cannot use %q (%s): %s has no such flag; names are case-sensitive%s", o, o.origin(), c.java(), didYouMean(near))
	}
	return true
}

// warnUnlisted warns of a flag that an update may have brought.
func (c *targetCheck) warnUnlisted(o Option, f flagFacts) {
	at, _ := listOf(c.major)
	newer := at + 1 + slices.IndexFunc(f.kinds[at+1:], func(k flagKind) bool { return k != absent })
	c.warn(UnknownOption, "%s (%s) may be refused: the list of Java %s does not have it, that of %s does; "+
		"an update may have brought it, and no JVM was asked", o, o.origin(), buildsListed[at].version, buildsListed[newer].version)
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
		added := ruleOption("unlock", fmt.Sprintf("%s (%s) needs it", o, o.origin()), "-XX:+%s", unlock)
		at := slices.IndexFunc(c.Options, func(k Option) bool { return keyOf(k).name == unlock })
		switch {
		case at < 0:
			c.Options = append(c.Options, added)
		case keyOf(c.Options[at]).value != "-":
		case c.Options[at].rank() < o.rank():
			locked := c.Options[at]
			added.Replaced = []Option{locked}
			c.Options[at] = added
			c.warn(Adjusted, "%s (%s) is dropped: %s (%s) needs the opposite", locked, locked.origin(), o, o.origin())
		default:
			c.fail(InvalidCombination, "cannot use %q (%s): %s (%s) forbids what it needs", o, o.origin(), c.Options[at], c.Options[at].origin())
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
