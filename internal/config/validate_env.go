package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/reference"
)

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
	for _, m := range regexp.MustCompile(`\$+([A-Za-z_][A-Za-z0-9_]*)`).FindAllStringSubmatch(env[key], -1) {
		name := m[1]
		_, other := env[name]
		if strings.HasPrefix(m[0], "$$") || !other && !v.environ[name] {
			continue
		}
		v.Warn(at, "write ${"+name+"}", "$%s is taken literally: no shell reads it", name)
	}
	pieces, err := reference.Split(env[key])
	if err != nil {
		return
	}
	for _, p := range pieces {
		// ${user.home} is a program's own; ${NAME-x} and ${NAME%x} are a shell's.
		_, fallback, known := reference.Variable(p.Text)
		if p.Ref && fallback != nil && strings.Contains(*fallback, "${") {
			v.Warn(at, "write another line for it", "${%s} ends at its first }: references do not nest", layeredyaml.Shorten(printable.Line(p.Text)))
		}
		if p.Ref && !known && !strings.Contains(p.Text, ".") && regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*[-:=+?#%^,/@!]`).MatchString(p.Text) {
			v.Warn(at, "write $${ if that is what you want", "${%s} is taken literally: only ${NAME} and ${NAME:-TEXT} are references",
				layeredyaml.Shorten(printable.Line(p.Text)))
		}
	}
}
