package config

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/lazyregexp"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/reference"
)

// What a shell would expand, and stoker does not. $NAME only if it is or begins the value
// of an option: elsewhere it may be meant, as in a program of awk.
var (
	braced      = lazyregexp.New(`\$\{[A-Za-z_][A-Za-z0-9_]*\}`)
	unbraced    = lazyregexp.New(`^(?:-[^$]*=)?(\$[A-Z_][A-Z0-9_]*)(?:$|[/:])`)
	anyVariable = lazyregexp.New(`\$+([A-Za-z_][A-Za-z0-9_]*)`)
	// otherExpansion is a reference of a shell that has no counterpart: ${NAME-x}, ${NAME%x}.
	otherExpansion = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*[-:=+?#%^,/@!]`)
	scriptOption   = lazyregexp.New(`^-[a-z]*c$`)
	shellWord      = lazyregexp.New(`^[A-Za-z0-9_./:=@%+,-]+$`)
)

// variableIn returns the first variable that a shell would expand; empty: none.
func variableIn(text string) string {
	if !strings.Contains(text, "$") {
		return "" // mostly, and the expressions need not be compiled
	}
	if found := braced().FindString(text); found != "" {
		return found
	}
	if m := unbraced().FindStringSubmatch(text); m != nil {
		return m[1]
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
		if shell && scriptOption().MatchString(arg) {
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
		case !shellWord().MatchString(w):
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// env checks the names and the references of variables. References to secrets are refused;
// script reports whether a shell evaluates $NAME in a variable.
func (v *validator) env(path string, env, secrets map[string]string, script func(name string) bool) {
	needs := map[string][]string{}
	_, errs := reference.Env(env, func(key, name string) (string, bool) {
		needs[key] = append(needs[key], name)
		return "", true // what is set is known when it is started
	})
	for _, key := range slices.Sorted(maps.Keys(env)) {
		at := layeredyaml.Join(path, key)
		v.envName(at, key)
		if err := errs[key]; err != nil {
			v.Bad(at, "", "%s", err)
		}
		for _, name := range needs[key] {
			if _, secret := secrets[name]; secret {
				v.Bad(at, "have the application read both", "refers to the secret %s: secrets are not put into other variables", name)
			}
		}
		if !script(key) {
			v.literalReferences(at, key, env)
		}
	}
}

// literalReferences warns of what looks like a reference and is literal.
func (v *validator) literalReferences(at, key string, env map[string]string) {
	if !strings.Contains(env[key], "$") {
		return
	}
	for _, m := range anyVariable().FindAllStringSubmatch(env[key], -1) {
		if _, other := env[m[1]]; !strings.HasPrefix(m[0], "$$") && (other || v.environ[m[1]]) {
			v.Warn(at, "write ${"+m[1]+"}", "$%s is taken literally: no shell reads it", m[1])
		}
	}
	pieces, _ := reference.Split(env[key]) // none with an error
	for _, p := range pieces {
		// ${user.home} is a program's own.
		_, fallback, known := reference.Variable(p.Text)
		text := layeredyaml.Shorten(printable.Line(p.Text))
		switch {
		case !p.Ref:
		case fallback != nil && strings.Contains(*fallback, "${"):
			v.Warn(at, "write another line for it", "${%s} ends at its first }: references do not nest", text)
		case !known && !strings.Contains(p.Text, ".") && otherExpansion().MatchString(p.Text):
			v.Warn(at, "write $${ if that is what you want", "${%s} is taken literally: only ${NAME} and ${NAME:-TEXT} are references", text)
		}
	}
}
