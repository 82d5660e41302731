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

// change is the history of a flag or another option that not every version takes. A zero is "never, as far
// as we know".
type change struct {
	since      int    // the first version that has it
	deprecated int    // from here on it works, with a warning
	ignored    int    // from here on it is accepted, with a warning, and does nothing
	gone       int    // from here on, at the latest, the JVM does not start with it
	instead    string // what to do; empty: leave it out
}

// namedChange is the history of one name. form says how an option is written: "exact", "prefix" or "separated".
type namedChange struct {
	name, form string
	change
}

// readChanges reads a table: a line of facts, such as "since 21 gone 26; what to do", and below it indented lines of
// names.
func readChanges(text string) (changes []namedChange) {
	var facts namedChange
	for line := range strings.Lines(text) {
		switch line[0] {
		case '#':
			continue
		case '\t':
			for facts.name = range strings.FieldsSeq(line) {
				changes = append(changes, facts)
			}
			continue
		}
		facts = namedChange{}
		line, facts.instead, _ = strings.Cut(strings.TrimSpace(line), "; ")
		versions := map[string]*int{"since": &facts.since, "deprecated": &facts.deprecated, "ignored": &facts.ignored, "gone": &facts.gone}
		words := strings.Fields(line)
		for i, word := range words {
			if versions[word] != nil {
				*versions[word], _ = strconv.Atoi(words[i+1])
			} else if i == 0 {
				facts.form = word
			}
		}
	}
	return changes
}

// findOption looks an argument up that is no -XX flag; ok is false for one that
// no version has.
func findOption(arg string) (ch change, ok bool) {
	for _, known := range readChanges(optionChangesText) {
		rest, ok := strings.CutPrefix(arg, known.name)
		separated := known.form == "separated" && hasPrefix(known.name, "--", "-D") && hasPrefix(rest, "=") // the short forms know no "="
		if ok && (rest == "" || known.form == "prefix" || separated) {
			return known.change, true
		}
	}
	return change{}, false
}

// AcceptedBy reports whether a version of Java has the option, as far as is known of options that are no -XX flags. Version 0 is an
// unknown one, which has everything.
func (o Option) AcceptedBy(major int) bool {
	ch, _ := findOption(o.Args[0])
	return major == 0 || major >= ch.since && (ch.gone == 0 || major < ch.gone)
}

// nearestOption is the known option that differs least from an argument's name.
func nearestOption(arg string) string {
	given, _, _ := strings.Cut(arg, "=")
	return nearest(given, func(yield func(string) bool) {
		for _, known := range readChanges(optionChangesText) {
			if known.name != given && !yield(known.name) {
				return
			}
		}
	})
}
