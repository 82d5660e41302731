package jvm

import (
	"fmt"
	"strings"
)

// ParseArgfile reads java's own @argfile syntax ("java @argfiles" of the JDK's
// guide): white space separates arguments; quotes ' and " hold them together
// until the end of the line; a backslash is special within quotes only, for \n \r \t
// \f, itself, a quote and, at the end of a line, the next line without its
// leading blanks; # outside of quotes starts a comment. Sources are name:line.
func ParseArgfile(name, content string) []Option {
	words, lines, _ := split(content, syntax{argfile: true}) // nothing is an error in it
	return fromWords(name, words, lines)
}

// fromWords makes options of the arguments of a file and their lines.
func fromWords(name string, words []string, lines []int) []Option {
	var options []Option
	for i, w := range words {
		options = appendArg(options, w, fmt.Sprintf("%s:%d", name, lines[i]))
	}
	return options
}

// FormatArgfile writes options in the syntax that ParseArgfile and java read, one
// option a line.
func FormatArgfile(options []Option) string {
	var b strings.Builder
	for _, o := range options {
		for i, arg := range o.Args {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(quoteArgument(arg))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// quoteArgument puts quotes around what an argument file would read otherwise.
func quoteArgument(arg string) string {
	if arg != "" && !strings.ContainsAny(arg, " \t\f\n\r#'\"") {
		return arg // a backslash is ordinary outside of quotes
	}
	r := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\f", `\f`)
	return `"` + r.Replace(arg) + `"`
}

// ParseVMOptionsFile reads the syntax of -XX:VMOptionsFile, that of
// SplitVMOptions. Sources are name:line.
func ParseVMOptionsFile(name, content string) ([]Option, error) {
	words, lines, err := split(content, syntax{})
	return fromWords(name, words, lines), err
}

// ParseFlagsFile reads the syntax of -XX:Flags and .hotspotrc: +Name, -Name and
// Name=value, separated by white space; quotes hold together, and # before a
// setting begins a comment. The result are -XX options; sources are name:line.
func ParseFlagsFile(name, content string) []Option {
	words, lines, _ := split(content, syntax{flags: true}) // nothing is an error in it
	var options []Option
	for i, w := range words {
		if w != "" {
			options = append(options, Option{Args: []string{"-XX:" + w}, Source: fmt.Sprintf("%s:%d", name, lines[i])})
		}
	}
	return options
}
