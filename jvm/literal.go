package jvm

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckItem says what is wrong with an item of a list of options, each of which is one
// argument byte for byte: two options in one item, or quotes and blanks that were meant for
// a shell. Whether a JVM has the option is not asked.
func CheckItem(item string) error {
	if why := misread(Option{Args: []string{item}}); why != "" {
		return errors.New(why)
	}
	return nil
}

// misread says why an argument cannot be meant as it stands, with characters in it that
// would be special elsewhere; empty: it can.
func misread(o Option) string {
	arg := o.Args[0]
	first, _ := utf8.DecodeRuneInString(arg)
	name, _, _ := strings.Cut(arg, "=")
	name, _, _ = strings.Cut(name, ":/") // a path may hold everything
	switch {
	case arg == "":
		return ""
	case first == '"' || first == '\'':
		return "the quotes are part of it, as it is one argument already; leave them out"
	case strings.ContainsAny(name, `"'`) && !strings.HasPrefix(arg, "-D"):
		return "the quotes are part of its name, as it is one argument already; leave them out"
	case invisible(first):
		return fmt.Sprintf("it begins with the character %U, which is no blank to a JVM; delete it", first)
	case unicode.Is(unicode.Pd, first) && first != '-':
		return fmt.Sprintf("it begins with the dash %c (%U) and not with -; type it again", first, first)
	case identify(o).size && quoted(identify(o).value):
		return "the quotes are part of the value; leave them out"
	}
	if second, blank := secondOption(arg); second != "" && !freeText(arg) {
		if invisible(blank) {
			return fmt.Sprintf("the character %U before %q is no blank to a JVM, and these are two options; write two items", blank, second)
		}
		return fmt.Sprintf("it is two options in one item, the second is %q; write two items", second)
	}
	return ""
}

// doubtful says what is probably not meant of an argument that a JVM takes; empty: nothing.
func doubtful(o Option) string {
	arg := o.Args[len(o.Args)-1]
	_, value, _ := strings.Cut(arg, "=")
	last, _ := utf8.DecodeLastRuneInString(arg)
	switch {
	case quoted(value) && strings.HasPrefix(arg, "-XX:") && number(value[1:len(value)-1]): // refused by its type
	case quoted(value) && !strings.HasPrefix(arg, "-Xlog:"): // which knows quotes itself
		return "the quotes are part of the value, as it is one argument already; leave them out, unless they are meant"
	case last == '\r' || invisible(last):
		return fmt.Sprintf("the character %U at its end is part of it; delete it, unless it is meant", last)
	}
	if second, _ := secondOption(arg); second != "" && freeText(arg) && !commands(arg) {
		return fmt.Sprintf("its value goes on with %q, which looks like another option; write two items, unless it is meant", second)
	}
	return ""
}

// number says whether a text is one, with a unit or without.
func number(text string) bool {
	_, err := sizeOf(text)
	return err == nil
}

// quoted says whether a value stands in quotes as a whole.
func quoted(value string) bool {
	n := len(value)
	return n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0]
}

// invisible says whether a character looks like a blank or like nothing, and separates
// nothing: of what is copied from web pages and word processors.
func invisible(r rune) bool {
	return r > 0x7f && r != utf8.RuneError && (unicode.IsSpace(r) || unicode.Is(unicode.Cf, r))
}

// secondOption finds what looks like another option behind a blank, or behind a character
// that looks like one.
func secondOption(arg string) (second string, blank rune) {
	for i, r := range arg {
		if !unicode.IsSpace(r) && !invisible(r) {
			continue
		}
		rest := strings.TrimLeftFunc(arg[i:], func(r rune) bool { return unicode.IsSpace(r) || invisible(r) })
		end := strings.IndexFunc(rest, func(r rune) bool { return unicode.IsSpace(r) || invisible(r) })
		if end < 0 {
			end = len(rest)
		}
		if word := rest[:end]; strings.HasPrefix(word, "-") && len(word) > 2 {
			if _, known := findOption(word); known {
				return word, r
			}
		}
	}
	return "", 0
}

// freeText says whether an option's value may be any text.
func freeText(arg string) bool {
	for _, p := range []string{"-D", "-javaagent:", "-agentlib:", "-agentpath:", "-Xbootclasspath/a:"} {
		if strings.HasPrefix(arg, p) {
			return true
		}
	}
	return commands(arg)
}

// commands says whether an option's value is a command, whose own options follow it.
func commands(arg string) bool {
	name, _ := flagName(arg)
	return strings.HasPrefix(arg, "-XX:") && (name == "OnOutOfMemoryError" || name == "OnError" || name == "CompileCommand")
}
