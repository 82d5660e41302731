package hotspot

import (
	"strings"
)

// Flag is a flag of a JVM, as the JVM prints it.
type Flag struct {
	Type string // "bool", "size_t", "ccstr", ...
	Kind string // "product", "C2 diagnostic", "experimental", ...
	// Value as printed: sizes in bytes, ThreadStackSize and its like in KiB. One
	// of a flag that accumulates is a line each.
	Value string
	// Origin is "default", "ergonomic", "command line", ...; Java 8 does not say.
	Origin string
}

// Flags are the flags of a JVM by name.
type Flags map[string]Flag

// maxFlags bounds a table; Java 25 with everything unlocked has fewer than 1000.
const maxFlags = 4096

// ParseFlags reads the table that -XX:+PrintFlagsFinal and jcmd's VM.flags -all
// print:
//
//	size_t MaxHeapSize = 67108864 {product} {command line}
//
// Java 8 has one pair of braces, and ":=" where the value is not the default.
// Whatever else there is between, such as warnings, is skipped.
func ParseFlags(text string) Flags {
	flags := Flags{}
	last := "" // the name that a line with "+=" may add to
	for line := range strings.Lines(text) {
		head, rest, found := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		words := strings.Fields(strings.TrimRight(head, "+: "))
		switch {
		case !found || len(flags) >= maxFlags:
		case len(words) == 1 && words[0] == last && strings.HasSuffix(head, "+"):
			f := flags[last]
			value, kind, origin := cutGroups(rest)
			f.Value, f.Kind, f.Origin = f.Value+"\n"+value, kind, origin
			flags[last] = f
		case len(words) == 2 && isFlagName(words[0]) && isFlagName(words[1]) && !strings.HasSuffix(head, "+"):
			f := Flag{Type: words[0]}
			f.Value, f.Kind, f.Origin = cutGroups(rest)
			last = words[1]
			flags[last] = f
		}
	}
	return flags
}

// cutGroups takes "{kind} {origin}" off the end of a value; Java 8 has the kind alone.
func cutGroups(rest string) (value, kind, origin string) {
	var groups []string // the last first
	for len(groups) < 2 {
		rest = strings.TrimRight(rest, " \t")
		open := strings.LastIndexByte(rest, '{')
		if open < 0 || !strings.HasSuffix(rest, "}") {
			break
		}
		groups = append(groups, rest[open+1:len(rest)-1])
		rest = rest[:open]
	}
	switch len(groups) {
	case 2:
		kind, origin = groups[1], groups[0]
	case 1:
		kind = groups[0]
	}
	return strings.TrimSpace(rest), kind, origin
}

// isFlagName reports whether a word may be the name or type of a flag.
func isFlagName(word string) bool {
	const ofNames = "_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	return word != "" && strings.Trim(word, ofNames) == ""
}

// ChangedFlags returns the lines of ParseFlags' table whose flags do not have their default:
// set by an option, or chosen by the JVM for this machine.
func ChangedFlags(text string) string {
	var changed strings.Builder
	for line := range strings.Lines(text) {
		head, rest, found := strings.Cut(line, "=")
		if !found {
			continue
		}
		if _, _, origin := cutGroups(strings.TrimRight(rest, "\r\n")); strings.HasSuffix(head, ":") || origin != "" && origin != "default" {
			changed.WriteString(line)
		}
	}
	return changed.String()
}
