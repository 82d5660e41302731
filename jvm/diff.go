package jvm

import (
	"fmt"
	"slices"
)

// Diff says in words what a JVM would have that was started anew: before and after
// are arguments, in order, of which those that are no options may be part if they
// are the same. What sets the same is one change. The strongest layer's, which come
// last in a command line, are first here: the others often follow from them. Empty:
// nothing would change.
func Diff(before, after []string) []string {
	if slices.Equal(before, after) {
		return nil
	}
	gone, added := without(ParseArgs("", before), ParseArgs("", after)), without(ParseArgs("", after), ParseArgs("", before))
	var out []string
	for _, o := range slices.Backward(added) {
		family := identify(o).family
		k := slices.IndexFunc(gone, func(g Option) bool { return identify(g).family == family })
		if k < 0 {
			out = append(out, fmt.Sprintf("%s is new", o))
			continue
		}
		out = append(out, fmt.Sprintf("%s instead of %s", o, gone[k]))
		gone = slices.Delete(gone, k, k+1)
	}
	for _, o := range slices.Backward(gone) {
		out = append(out, fmt.Sprintf("%s is gone", o))
	}
	if len(out) == 0 {
		out = append(out, "the order of the options")
	}
	return out
}

// without returns the options of a that b lacks, each as often as it lacks it.
func without(a, b []Option) []Option {
	have := map[string]int{}
	for _, o := range b {
		have[o.String()]++
	}
	var out []Option
	for _, o := range a {
		if have[o.String()]--; have[o.String()] < 0 {
			out = append(out, o)
		}
	}
	return out
}
