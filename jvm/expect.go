package jvm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Expected is what a flag of the JVM has to be after a start with the merged
// options.
type Expected struct {
	Flag string // as -XX:+PrintFlagsFinal names it
	// Want is as the JVM prints it: bytes, but KiB for ThreadStackSize; true, false.
	Want   string
	Option Option // which sets it
	slack  int64  // that a JVM may round by
}

// Slacks of sizes: HotSpot rounds the heap up to its regions (G1's have at most
// 32 MiB) and to its smallest one, everything else to pages or granules.
const (
	heapSlack = 32 * mib
	sizeSlack = 2 * mib
)

// Expect returns the flags that show whether a JVM has applied the merged options: heap, caps, stacks, collector, CPUs,
// and every enforced -XX option.
func Expect(options []Option) []Expected {
	var out []Expected
	for _, o := range options {
		id, stack := keyOf(o), stackOf(keyOf(o))
		e := Expected{Flag: id.name, Option: o, Want: id.value}
		n, err := sizeOf(id.value)
		enforced := o.Layer == Enforced && strings.HasPrefix(o.Args[0], "-XX:")
		switch {
		case id.name == "ThreadStackSize" && stack != nil:
			e.Want, e.slack = fmt.Sprint(*stack/1024), 64
		case id.name == "ActiveProcessorCount" && n > 0:
		case id.name == "ThreadStackSize", id.name == "ActiveProcessorCount": // the JVM decides itself
			continue
		case id.family == "gc" && id.value == "+", enforced && id.value == "+":
			e.Want = "true"
		case id.is(sized) && err == nil && (enforced || slices.Contains(budgeted, id.name)):
			e.Want, e.slack = fmt.Sprint(n), sizeSlack
			if strings.HasPrefix(id.family, "heap.") {
				e.slack = heapSlack
			}
		case enforced && id.value == "-":
			e.Want = "false"
		case !enforced || id.repeatable():
			continue
		}
		out = append(out, e)
	}
	return out
}

// budgeted are the sizes that the budget is made of.
var budgeted = []string{"MaxHeapSize", "InitialHeapSize", "MaxMetaspaceSize", "ReservedCodeCacheSize", "MaxDirectMemorySize"}

// Differs reports whether the JVM printed another value.
func (e Expected) Differs(got string) bool {
	if got == e.Want {
		return false
	}
	if want, err := sizeOf(e.Want); err == nil {
		if n, err := sizeOf(got); err == nil {
			return n-want > e.slack || want-n > e.slack
		}
	}
	want, err1 := strconv.ParseFloat(e.Want, 64)
	n, err2 := strconv.ParseFloat(got, 64)
	return err1 != nil || err2 != nil || n != want
}

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
