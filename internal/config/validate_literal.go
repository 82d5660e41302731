package config

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/redact"
)

// A shell would put a variable's value in the place of these; here they stay as they
// are. $NAME counts only where it is all of an option's value or begins it: elsewhere
// it may be meant, as in a program of awk.
const (
	braced   = `\$\{[A-Za-z_][A-Za-z0-9_]*\}`
	unbraced = `^(?:-[^$]*=)?\$[A-Z_][A-Z0-9_]*(?:$|[/:])`
)

// variableIn is what of a text a shell would have expanded; empty: nothing.
func variableIn(text string) string {
	if !strings.Contains(text, "$") {
		return "" // mostly, and the expressions are large
	}
	if found := regexp.MustCompile(braced).FindString(text); found != "" {
		return found
	}
	if found := regexp.MustCompile(unbraced).FindString(text); found != "" {
		return strings.TrimRight(found[strings.IndexByte(found, '$'):], "/:")
	}
	return ""
}

// literal warns of a value in which nothing is expanded though it looks so.
func (v *validator) literal(at, text string) {
	if name := variableIn(text); name != "" {
		v.Warn(at, notExpanded(at), "%s is taken literally: nothing is expanded here", layeredyaml.Quote("", name))
	}
}

// notExpanded is what to do instead of a reference to a variable.
func notExpanded(at string) string {
	for strings.HasSuffix(at, "]") {
		at = at[:strings.LastIndexByte(at, '[')]
	}
	return "write the value itself, or set it by the variable " + schema.Variable(at)
}

// orNotExpanded is the hint for a refused value: another one where it refers to a
// variable.
func orNotExpanded(at, text, hint string) string {
	if variableIn(text) != "" {
		return "nothing is expanded here: " + notExpanded(at)
	}
	return hint
}

// arguments is literal for a command. What a shell gets as its script is the shell's.
func (v *validator) arguments(at string, argv []string) {
	shell := false
	for i, arg := range argv {
		if shell && regexp.MustCompile(`^-[a-z]*c$`).MatchString(arg) {
			return
		}
		shell = shell || slices.Contains([]string{"sh", "bash", "dash", "ash", "ksh", "zsh"}, path.Base(arg))
		if name := variableIn(arg); name != "" {
			v.Warn(layeredyaml.Index(at, i), "write "+layeredyaml.LastKey(at)+": ["+layeredyaml.QuoteList([]string{"sh", "-c", "exec " + shellLine(argv)})+"]",
				"%s is taken literally: no shell runs the command", layeredyaml.Quote("", name))
			return
		}
	}
}

// shellLine is a command as a line for a shell, in which its variables are expanded.
func shellLine(argv []string) string {
	words := redact.Args(argv)
	for i, w := range words {
		switch {
		case variableIn(w) != "":
			words[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`").Replace(w) + `"`
		case !regexp.MustCompile(`^[A-Za-z0-9_./:=@%+,-]+$`).MatchString(w):
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
