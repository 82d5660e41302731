package jvm

import (
	"fmt"
	"slices"
	"strings"
)

// MaxOptionFile bounds an option file, in bytes, for callers that read one.
const MaxOptionFile = 1 << 20

// What an argument that names a file of options begins with.
const (
	argfile       = "@"
	vmOptionsFile = "-XX:VMOptionsFile="
	flagsFile     = "-XX:Flags="
)

// syntaxOf is how the files are written. In a file of flags, and .hotspotrc, that is +Name, -Name and Name=value,
// separated by white space; quotes hold together, and # before a setting begins a comment.
func syntaxOf(kind string) syntax { return syntax{argfile: kind == argfile, flags: kind == flagsFile} }

// Expand replaces the options that name a file of options (@file, -XX:VMOptionsFile=file, -XX:Flags=file) by what read
// gives for it, so that the merge sees everything, and keeps the problems for Render.
func (in *Input) Expand(read func(layer Layer, path string) ([]byte, error)) {
	layers := [...]Layer{Default, User, Enforced}
	for i, options := range [...]*[]Option{&in.Default, &in.User, &in.Enforced} {
		named := slices.Clone(*options)
		for k := range named {
			named[k].Layer = layers[i]
		}
		var problems []Problem
		*options, problems = expand(named, func(path string) ([]byte, error) { return read(layers[i], path) })
		in.Errors = append(in.Errors, problems...)
	}
}

// expand is Input.Expand for one layer. The content stays where the file was named; that of
// -XX:Flags goes in front, since the JVM reads it first and every option overrides it.
// Files do not name other files, as in the JVM. The problems are errors: a file
// that cannot be read, or one within a file.
func expand(options []Option, read func(path string) ([]byte, error)) ([]Option, []Problem) {
	var flags, out []Option
	var problems []Problem
	for _, o := range options {
		kind, path := optionFile(o)
		if kind == "" {
			out = append(out, o)
			continue
		}
		data, err := read(path)
		var content []Option
		if err == nil {
			content, err = parseWords(path, string(data), syntaxOf(kind))
		}
		if err != nil {
			problems = append(problems, Problem{BadValue, fmt.Sprintf("cannot use %s: %v", o.Named(), err)})
			continue
		}
		for _, c := range content {
			c.Layer = o.Layer
			c.Source += ", named in " + o.Source
			switch inner, _ := optionFile(c); {
			case inner != "":
				problems = append(problems, Problem{Bypass, fmt.Sprintf(
					"cannot use %s: a file of options cannot name another one; name it in %s", c.Named(), o.Source)})
			case kind == flagsFile:
				flags = append(flags, c)
			default:
				out = append(out, c)
			}
		}
	}
	return append(flags, out...), problems
}

// OptionFile reports whether an option names a file of options, and which.
func OptionFile(option string) (path string, ok bool) {
	kind, path := optionFile(Option{Args: []string{option}})
	return path, kind != ""
}

// optionFile reports whether o names a file of options; kind is empty if not. "@@x" is an argument that
// begins with @, for the launcher too.
func optionFile(o Option) (kind, path string) {
	for _, kind := range [...]string{vmOptionsFile, flagsFile, argfile} {
		path, ok := strings.CutPrefix(o.Args[0], kind)
		if ok && len(o.Args) == 1 && (kind != argfile || path != "" && path[0] != '@') {
			return kind, path
		}
	}
	return "", ""
}

// ParseArgfile reads java's own @argfile syntax ("java @argfiles" of the JDK's
// guide): white space separates arguments; quotes ' and " hold them together
// until the end of the line; a backslash is special within quotes only, for \n \r \t
// \f, itself, a quote and, at the end of a line, the next line without its
// leading blanks; # outside of quotes starts a comment. Sources are name:line.
func ParseArgfile(name, content string) []Option {
	options, _ := parseWords(name, content, syntaxOf(argfile)) // nothing is an error in it
	return options
}

// parseWords makes options of the words of a file. Sources are name:line.
func parseWords(name, content string, as syntax) ([]Option, error) {
	words, lines, err := split(content, as)
	var options []Option
	for i, w := range words {
		if as.flags && w == "" {
			continue
		}
		if as.flags {
			w = "-XX:" + w
		}
		options = appendArg(options, w, fmt.Sprintf("%s:%d", name, lines[i]))
	}
	return options, err
}

// FormatArgfile writes options in the syntax that ParseArgfile and java read, one
// option a line.
func FormatArgfile(options []Option) string {
	escapes := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\f", `\f`)
	var b strings.Builder
	for _, o := range options {
		var words []string
		for _, arg := range o.Args {
			if arg == "" || strings.ContainsAny(arg, " \t\f\n\r#'\"") { // a backslash is ordinary outside of quotes
				arg = `"` + escapes.Replace(arg) + `"`
			}
			words = append(words, arg)
		}
		b.WriteString(strings.Join(words, " ") + "\n")
	}
	return b.String()
}
