package reference

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Env replaces each ${NAME} in the values of an environment by the value of NAME in it, or else by the result of below. A variable
// that refers to itself gets the value of below. ${...} around anything but a variable name is literal: ${user.home} is for the
// program. The errors are by key.
func Env(env map[string]string, below func(key, name string) (string, bool)) (map[string]string, map[string]error) {
	f := &expansion{env: env, below: below, done: map[string]string{}, errs: map[string]error{}}
	for _, key := range slices.Sorted(maps.Keys(env)) { // a stable order of errors
		f.value(key)
	}
	if len(f.errs) == 0 {
		return f.done, nil
	}
	return f.done, f.errs
}

// expansion is the state of Env.
type expansion struct {
	env   map[string]string
	below func(key, name string) (string, bool)
	done  map[string]string
	errs  map[string]error
	open  []string // keys being expanded, each needed by the one before
}

// value returns the value of a key and expands it at the first use.
func (f *expansion) value(key string) string {
	if value, ok := f.done[key]; ok {
		return value
	}
	pieces, err := Split(f.env[key])
	if err != nil {
		f.errs[key] = errors.New("a ${ in it is not closed by } (write $${ for a literal ${)") // the value may be a secret
	}
	f.open = append(f.open, key)
	var b strings.Builder
	for _, p := range pieces {
		b.WriteString(f.expandPiece(key, p))
	}
	f.open = f.open[:len(f.open)-1]
	f.done[key] = b.String()
	return f.done[key]
}

func (f *expansion) expandPiece(key string, p Piece) string {
	name, fallback, ok := Variable(p.Text)
	switch {
	case !p.Ref:
		return p.Text
	case !ok:
		return "${" + p.Text + "}"
	}
	value, set := "", true
	if _, own := f.env[name]; !own || name == key {
		value, set = f.below(key, name)
	} else if at := slices.Index(f.open, name); at >= 0 {
		f.errs[key] = fmt.Errorf("%s refer to each other", strings.Join(f.open[at:], " and "))
	} else {
		value = f.value(name)
	}
	switch {
	case value == "" && fallback != nil:
		return *fallback
	case !set:
		f.errs[key] = fmt.Errorf("%s is not set (write ${%s:-TEXT} for a default, or $${%s} for the text itself)", name, name, name)
	}
	return value
}
