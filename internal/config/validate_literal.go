package config

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/redact"
)

// What a shell would expand, and stoker does not. $NAME only if it is or begins the value
// of an option: elsewhere it may be meant, as in a program of awk.
const (
	braced   = `\$\{[A-Za-z_][A-Za-z0-9_]*\}`
	unbraced = `^(?:-[^$]*=)?\$[A-Z_][A-Z0-9_]*(?:$|[/:])`
)

// variableIn returns the first variable that a shell would expand; empty: none.
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

// literal warns of a variable in a text in which nothing is expanded.
func (v *validator) literal(at, text string) {
	if name := variableIn(text); name != "" {
		v.Warn(at, notExpanded(at), "%s is taken literally: nothing is expanded here", layeredyaml.Quote("", name))
	}
}

// notExpanded is the hint for a variable where nothing is expanded.
func notExpanded(at string) string {
	for strings.HasSuffix(at, "]") {
		at = at[:strings.LastIndexByte(at, '[')]
	}
	return "write the value itself, or set it by the variable " + schema.Variable(at)
}

// orNotExpanded is hint, or that for a variable if the text has one.
func orNotExpanded(at, text, hint string) string {
	if variableIn(text) != "" {
		return "nothing is expanded here: " + notExpanded(at)
	}
	return hint
}

// arguments is literal for a command. The script of a shell is not checked.
func (v *validator) arguments(at string, argv []string) {
	shell := false
	for i, arg := range argv {
		if shell && regexp.MustCompile(`^-[a-z]*c$`).MatchString(arg) {
			return
		}
		shell = shell || slices.Contains([]string{"sh", "bash", "dash", "ash", "ksh", "zsh"}, path.Base(arg))
		if name := variableIn(arg); name != "" {
			v.Warn(layeredyaml.Index(at, i), "write "+layeredyaml.LastKey(at)+": ["+layeredyaml.QuoteList([]string{"sh", "-c",
				"exec " + shellLine(argv)})+"]",
				"%s is taken literally: no shell runs the command", layeredyaml.Quote("", name))
			return
		}
	}
}

// shellLine renders a command for a shell that expands its variables.
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
