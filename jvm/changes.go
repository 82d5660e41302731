package jvm

import (
	_ "embed"
	"strconv"
	"strings"
)

//go:embed flagchanges.txt
var flagChangesText string

//go:embed optionchanges.txt
var optionChangesText string

// change is the history of flags, or of other options, that not every version
// takes. A zero is "never, as far as we know".
type change struct {
	names      string     // between white space
	form       optionForm // of options
	since      int        // the first version that has it
	deprecated int        // from here on it works, with a warning
	ignored    int        // from here on it is accepted, with a warning, and does nothing
	gone       int        // from here on, at the latest, the JVM does not start with it
	instead    string     // what to do; empty: leave it out
}

// optionForm is how an option is told from others.
type optionForm byte

const (
	exact optionForm = iota
	prefix
	separated
)

// flagChanges is the history of -XX flags.
func flagChanges() []change { return readChanges(flagChangesText) }

// optionChanges is the history of the other options.
func optionChanges() []change { return readChanges(optionChangesText) }

// propertyChanges are system properties that a version refuses.
var propertyChanges = []change{
	{names: "java.ext.dirs", gone: 9, instead: "put the jars on the class path"},
	{names: "java.endorsed.dirs", gone: 9, instead: "use --upgrade-module-path instead"},
	{names: "java.security.manager", deprecated: 17, gone: 24, instead: "the Security Manager is disabled for good (JEP 486)"},
}

// readChanges reads a table: a line of facts, such as "since 21 gone 26; what to do", and below it indented lines of
// names.
func readChanges(text string) []change {
	var out []change
	for line := range strings.Lines(text) {
		switch line[0] {
		case '#':
			continue
		case '\t':
			out[len(out)-1].names += line
			continue
		}
		facts, instead, _ := strings.Cut(strings.TrimSpace(line), "; ")
		ch := change{instead: instead}
		versions := map[string]*int{"since": &ch.since, "deprecated": &ch.deprecated, "ignored": &ch.ignored, "gone": &ch.gone}
		words := strings.Fields(facts)
		for i, word := range words {
			switch {
			case word == "prefix":
				ch.form = prefix
			case word == "separated":
				ch.form = separated
			case versions[word] != nil:
				*versions[word], _ = strconv.Atoi(words[i+1])
			}
		}
		out = append(out, ch)
	}
	return out
}

// matches reports whether the form of one name fits an argument.
func (f optionForm) matches(name, arg string) bool {
	rest, ok := strings.CutPrefix(arg, name)
	switch f {
	case prefix:
		return ok
	case separated:
		// The short forms know no "=".
		return ok && (rest == "" || rest[0] == '=' && strings.HasPrefix(name, "--"))
	}
	return ok && rest == ""
}

// findOption looks an argument up that is no -XX flag; ok is false for one that
// no version has.
func findOption(arg string) (ch change, ok bool) {
	for _, known := range optionChanges() {
		for name := range strings.FieldsSeq(known.names) {
			if known.form.matches(name, arg) {
				return known, true
			}
		}
	}
	return change{}, false
}

// nearestOption is the known option that differs least from an argument's name.
func nearestOption(arg string) string {
	given, _, _ := strings.Cut(arg, "=")
	return nearest(given, func(yield func(string) bool) {
		for _, known := range optionChanges() {
			for name := range strings.FieldsSeq(known.names) {
				if name != given && !yield(name) {
					return
				}
			}
		}
	})
}
