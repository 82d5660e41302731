package launch

import (
	"fmt"
	"slices"

	"github.com/stoker-init/stoker/jvm"
)

// variableOptions are the options of an environment variable.
type variableOptions struct {
	name  string
	words []string
	given []string // present before setenv.sh
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
	given, _ := split(l.serviceEnv.Vars[name]) // only for comparison
	*to = append(*to, l.withSource(variableOptions{name, words, given})...)
	return nil
}

// withSource returns the options of a variable with their source. setenv.sh usually prepends or appends options; the others keep their
// source.
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
