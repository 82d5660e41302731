package jvm

import (
	"fmt"
	"slices"
	"strings"
)

// MaxOptionFile bounds an option file, in bytes, for callers that read one.
const MaxOptionFile = 1 << 20

// Expand replaces the options that name a file of options (@file,
// -XX:VMOptionsFile=file, -XX:Flags=file) by what read gives for it, so that the
// merge sees everything. The content stays where the file was named; that of
// -XX:Flags goes in front, since the JVM reads it first and every option overrides it.
// Files do not name other files, as in the JVM. The problems are errors: a file
// that cannot be read, or one within a file.
func Expand(options []Option, read func(path string) ([]byte, error)) ([]Option, []Problem) {
	var flags, out []Option
	var problems []Problem
	for _, o := range options {
		kind, path := optionFile(o)
		if kind == "" {
			out = append(out, o)
			continue
		}
		content, err := parseOptionFile(kind, path, read)
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

// What an argument that names a file of options begins with.
const (
	argfile       = "@"
	vmOptionsFile = "-XX:VMOptionsFile="
	flagsFile     = "-XX:Flags="
)

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

// OptionFile reports whether an option names a file of options, and which.
func OptionFile(option string) (path string, ok bool) {
	kind, path := optionFile(Option{Args: []string{option}})
	return path, kind != ""
}

func parseOptionFile(kind, path string, read func(string) ([]byte, error)) ([]Option, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	switch kind {
	case argfile:
		return ParseArgfile(path, string(data)), nil
	case flagsFile:
		return ParseFlagsFile(path, string(data)), nil
	default:
		return ParseVMOptionsFile(path, string(data))
	}
}

// Expand does for all three layers what the function Expand does for one, and
// keeps the problems for Render.
func (in *Input) Expand(read func(layer Layer, path string) ([]byte, error)) {
	layers := [...]Layer{Default, User, Enforced}
	for i, options := range [...]*[]Option{&in.Default, &in.User, &in.Enforced} {
		named := slices.Clone(*options)
		for k := range named {
			named[k].Layer = layers[i]
		}
		var problems []Problem
		*options, problems = Expand(named, func(path string) ([]byte, error) { return read(layers[i], path) })
		in.Errors = append(in.Errors, problems...)
	}
}
