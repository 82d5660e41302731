package jvm

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// misquoted says why an argument is surely not meant literally: it has characters that are special elsewhere. Empty: it
// may be.
func misquoted(o Option) string {
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
	case keyOf(o).is(sized) && quoted(keyOf(o).value):
		return "the quotes are part of the value; leave them out"
	}
	if first, _, found := strings.Cut(arg, " "); found && TakesValue(first) {
		return "it is an option and its value in one item; write two items, or = between them where the option knows that"
	}
	if second, odd := secondOption(arg); second != "" && !freeText(arg) {
		if odd != 0 {
			return fmt.Sprintf("it holds the character %U, which is no blank to a JVM, and a second option, %q; write two items", odd, second)
		}
		return fmt.Sprintf("it is two options in one item, the second is %q; write two items", second)
	}
	return ""
}

// literalNote says what is probably not meant literally in an argument that a JVM accepts; empty: nothing.
func literalNote(o Option) string {
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

// number reports whether a text is one, with a unit or without.
func number(text string) bool {
	_, err := sizeOf(text)
	return err == nil
}

// quoted reports whether a value stands in quotes as a whole.
func quoted(value string) bool {
	n := len(value)
	return n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0]
}

// invisible reports whether a character looks like a blank, or is not shown, and separates
// nothing. They come with text from web pages and word processors.
func invisible(r rune) bool {
	return r > 0x7f && r != utf8.RuneError && (unicode.IsSpace(r) || unicode.Is(unicode.Cf, r))
}

// secondOption finds another option in an argument, behind a blank or behind a character
// that looks like one.
func secondOption(arg string) (second string, odd rune) {
	spaced := strings.Map(func(r rune) rune {
		if invisible(r) {
			odd = r
			return ' '
		}
		return r
	}, arg)
	args, ok := SplitJoined(spaced)
	if !ok {
		return "", 0
	}
	for _, a := range args[1:] {
		if _, known := findOption(a); known {
			return a, odd
		}
	}
	return "", 0
}

// freeText reports whether an option's value may be any text.
func freeText(arg string) bool {
	return hasPrefix(arg, "-D", "-javaagent:", "-agentlib:", "-agentpath:", "-Xbootclasspath/a:") || commands(arg)
}

// commands reports whether an option's value is a command, whose own options follow it.
func commands(arg string) bool {
	name, _, _ := cutFlag(arg)
	return strings.HasPrefix(arg, "-XX:") && (name == "OnOutOfMemoryError" || name == "OnError" || name == "CompileCommand")
}
