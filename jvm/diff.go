package jvm

import (
	"fmt"
	"slices"
)

// Diff describes how a restart would change the options of a JVM: before and after are its
// arguments in order. An option with another value is one change. The strongest layer, last in
// a command line, comes first: the others often follow from it. Empty: nothing would change.
func Diff(before, after []string) []string {
	if slices.Equal(before, after) {
		return nil
	}
	gone, added := difference(ParseArgs("", before), ParseArgs("", after)), difference(ParseArgs("", after), ParseArgs("", before))
	var out []string
	for _, o := range slices.Backward(added) {
		family := keyOf(o).family
		k := slices.IndexFunc(gone, func(g Option) bool { return keyOf(g).family == family })
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

// difference returns the options of a that b lacks, each as often as it lacks it.
func difference(a, b []Option) []Option {
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
