// Package resize changes a running JVM when the memory limit falls below what the JVM may use, and takes the changes back when the limit
// rises again. It decides neither the limit nor whether the JVM is restarted.
package resize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
)

// JVM is a running JVM; *hotspot.Attached is one.
type JVM interface {
	Command(ctx context.Context, name string, args ...string) (string, error)
}

// Setting is a flag of a running JVM that was changed.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"` // before
	Set   string `json:"set"`   // since then
}

// Free ratios, in percent of the heap, with which a collection leaves a small heap.
const (
	minFree = 5
	maxFree = 10
)

// errFixedHeap is returned for a collector that keeps its heap as it is.
var errFixedHeap = errors.New("its collector does not give memory back while it runs")

// plan returns the flags with which a JVM uses less. heap is the size in bytes that its heap should have. earlier are those set before: one
// that has another value now was changed by someone else, to a value that is kept for later.
func plan(flags hotspot.Flags, heap int64, earlier []Setting) (out []Setting, err error) {
	uses := func(collector string) bool { return flags[collector].Value == "true" }
	number := func(name string) int64 { n, _ := strconv.ParseInt(flags[name].Value, 10, 64); return n } // printed by the JVM
	lower := func(name string, most int64) {
		if _, known := flags[name]; !known { // by an old JVM
			return
		}
		value := flags[name].Value
		for _, s := range earlier {
			if s.Name == name && s.Set == value {
				value = s.Value
			}
		}
		before, _ := strconv.ParseInt(value, 10, 64)
		if set := min(before, most); set != before || set != number(name) {
			out = append(out, Setting{name, value, strconv.FormatInt(set, 10)})
		}
	}
	switch {
	case uses("UseZGC"), uses("UseShenandoahGC"):
		lower(softMax, max(heap, number("MinHeapSize")))
	case uses("UseG1GC"), uses("UseParallelGC"): // the first must not be above the second
		lower("MinHeapFreeRatio", min(minFree, number("MaxHeapFreeRatio")))
		lower("MaxHeapFreeRatio", maxFree)
	default:
		return nil, errFixedHeap
	}
	return out, nil
}

// softMax is the flag with the size up to which ZGC and Shenandoah let the heap grow if they can.
const softMax = "SoftMaxHeapSize"

// describe returns what the flags are, and with which JVM they are.
func describe(settings []Setting, flags hotspot.Flags) []string {
	var out []string
	for _, s := range settings {
		value := s.Set
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && s.Name == softMax {
			value = jvm.SizeText(n)
		}
		if delay := flags["ZUncommitDelay"].Value; delay != "" && flags["UseZGC"].Value == "true" {
			value += " (ZGC gives memory back that it has not used for " + delay + " s)"
		}
		out = append(out, s.Name+" is "+value)
	}
	return out
}

// readFlags returns the flags of a running JVM.
func readFlags(ctx context.Context, at JVM) (hotspot.Flags, error) {
	text, err := at.Command(ctx, "jcmd", "VM.flags -all")
	return hotspot.ParseFlags(text), err
}

// apply sets the flags that have another value.
func apply(ctx context.Context, at JVM, flags hotspot.Flags, settings []Setting) error {
	for _, s := range settings {
		if flags[s.Name].Value == s.Set {
			continue
		}
		if _, err := at.Command(ctx, "setflag", s.Name, s.Set); err != nil {
			return err
		}
	}
	return nil
}

// collect has a JVM collect its heap. did says what came of it; an error means that the JVM has not begun.
func collect(ctx context.Context, at JVM) (did string, err error) {
	answer, err := at.Command(ctx, "jcmd", "GC.run")
	switch {
	case errors.Is(err, context.DeadlineExceeded): // it has answered other commands just before
		return fmt.Sprintf("the JVM collects its heap; it had not finished within %s", adjustTime), nil
	case errors.Is(err, context.Canceled): // the supervisor ends
		return "the JVM collects its heap", nil
	case strings.Contains(answer, "disabled"): // -XX:+DisableExplicitGC
		return "the JVM collects later, as its options disable a collection on request", nil
	}
	return "the JVM has collected its heap", err
}

// restore sets flags to what they were, the last one first, except those that someone else has changed since.
func restore(ctx context.Context, at JVM, changed []Setting) error {
	flags, err := readFlags(ctx, at)
	for _, s := range slices.Backward(changed) {
		if err == nil && flags[s.Name].Value == s.Set && s.Set != s.Value {
			_, err = at.Command(ctx, "setflag", s.Name, s.Value)
		}
	}
	return err
}
