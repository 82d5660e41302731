package launch

import (
	"fmt"
	"slices"

	"github.com/stoker-init/stoker/jvm"
)

// variableOptions are options that came from a variable.
type variableOptions struct {
	name  string
	words []string
	given []string // those that were in it before setenv.sh
}

// variable adds the options of an environment variable.
func (l *sources) variable(to *[]jvm.Option, name string) error {
	split := jvm.SplitOptions
	if slices.Contains(jvm.ReadVariables(), name) {
		split = jvm.SplitVMOptions
	}
	words, err := split(l.env.Vars[name])
	if err != nil {
		return fmt.Errorf("cannot take JVM options from %s: %w", name, err)
	}
	given, _ := split(l.serviceEnv.Vars[name]) // only to compare
	*to = append(*to, l.withSource(variableOptions{name, words, given})...)
	return nil
}

// withSource gives options of a variable with their source. setenv.sh usually puts its
// own before or behind those that are there, whose source stays what it was.
func (l *sources) withSource(w variableOptions) []jvm.Option {
	was, now, n := l.serviceEnv.Source(w.name), l.env.Source(w.name), len(w.given)
	switch {
	case was == now || n > len(w.words):
	case slices.Equal(w.words[:n], w.given):
		return append(jvm.ParseArgs(was, w.given), jvm.ParseArgs(now, w.words[n:])...)
	case slices.Equal(w.words[len(w.words)-n:], w.given):
		return append(jvm.ParseArgs(now, w.words[:len(w.words)-n]), jvm.ParseArgs(was, w.given)...)
	}
	return jvm.ParseArgs(now, w.words)
}
