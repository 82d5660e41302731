// Package resize changes a running JVM when the memory limit falls below what the JVM may use, and takes the changes back when the limit
// rises again. It decides neither the limit nor whether the JVM is restarted.
package resize

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
)

// JVM is a running JVM; *hotspot.Attached is one.
type JVM interface {
	Command(ctx context.Context, name string, args ...string) (string, error)
}

// Setting is a flag of a running JVM and its value before it was changed.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Free ratios, in percent of the heap, with which a collection leaves a small heap.
const (
	minFree = 5
	maxFree = 10
)

// errFixedHeap is returned for a collector that keeps its heap as it is.
var errFixedHeap = errors.New("its collector does not give memory back while it runs")

// shrink has a JVM give memory back. heap is the size in bytes that its heap should have. It returns the flags that it changed, and what
// it did.
func shrink(ctx context.Context, at JVM, heap int64, collect bool) (before []Setting, did string, err error) {
	text, err := at.Command(ctx, "jcmd", "VM.flags -all")
	if err != nil {
		return nil, "", err
	}
	flags := hotspot.ParseFlags(text)
	uses := func(collector string) bool { return flags[collector].Value == "true" }
	number := func(name string) int64 { n, _ := strconv.ParseInt(flags[name].Value, 10, 64); return n } // printed by the JVM
	want := map[string]int64{}
	var names []string // in the order in which they are set
	switch {
	case uses("UseZGC"), uses("UseShenandoahGC"):
		names = []string{"SoftMaxHeapSize"}
		want["SoftMaxHeapSize"] = max(min(heap, number("MaxHeapSize")), number("MinHeapSize"))
	case uses("UseG1GC"), uses("UseParallelGC"):
		names = []string{"MinHeapFreeRatio", "MaxHeapFreeRatio"} // the first must not be above the second
		want["MinHeapFreeRatio"] = min(minFree, number("MinHeapFreeRatio"), number("MaxHeapFreeRatio"))
		want["MaxHeapFreeRatio"] = min(maxFree, number("MaxHeapFreeRatio"))
	default:
		return nil, "", errFixedHeap
	}
	var done []string
	for _, name := range names {
		was := flags[name].Value
		if want[name] == number(name) {
			continue
		}
		if err := set(ctx, at, name, fmt.Sprint(want[name])); err != nil {
			return before, "", err
		}
		before = append(before, Setting{name, was})
		value := fmt.Sprint(want[name])
		if name == "SoftMaxHeapSize" {
			value = jvm.SizeText(want[name])
			if delay := flags["ZUncommitDelay"].Value; uses("UseZGC") && delay != "" {
				value += " (ZGC gives memory back that it has not used for " + delay + " s)"
			}
		}
		done = append(done, name+" is "+value)
	}
	if collect {
		answer, err := at.Command(ctx, "jcmd", "GC.run")
		if err != nil {
			return before, "", err
		}
		if strings.Contains(answer, "disabled") { // -XX:+DisableExplicitGC
			done = append(done, "the JVM collects later, as its options disable a collection on request")
		} else {
			done = append(done, "the JVM has collected its heap")
		}
	}
	return before, cmp.Or(strings.Join(done, ", "), "its flags are as they should be"), nil
}

// restore sets flags to what they were, the last one first.
func restore(ctx context.Context, at JVM, before []Setting) error {
	for k := len(before) - 1; k >= 0; k-- {
		if err := set(ctx, at, before[k].Name, before[k].Value); err != nil {
			return err
		}
	}
	return nil
}

// set sets a flag of a running JVM.
func set(ctx context.Context, at JVM, name, value string) error {
	_, err := at.Command(ctx, "setflag", name, value)
	return err
}
