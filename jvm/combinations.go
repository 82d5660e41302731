package jvm

import (
	"fmt"
	"slices"
)

// adjustShare takes away an initial, minimum or soft maximum heap that is above
// the maximum that a percentage of a higher layer gives: the JVM would take the
// larger one, and the percentage would be void, or it would not start. memory is
// in bytes; 0: unknown.
func (r *Result) adjustShare(memory int64) {
	top, ok := strongest(r.Options, []string{"MaxRAMPercentage", "MaxRAMFraction", "MaxRAM"})
	size := r.index(func(id optionKey) bool { return id.name == "MaxHeapSize" })
	heap := fixedBy(r.Options, memory).Heap
	if !ok || size >= 0 || heap == nil || memory <= 0 {
		return
	}
	for i := 0; i < len(r.Options); i++ {
		o := r.Options[i]
		id := keyOf(o)
		n, err := sizeOf(id.value)
		start := id.name == "InitialHeapSize" || id.name == "MinHeapSize" || id.name == "SoftMaxHeapSize"
		if start && err == nil && n > *heap && o.rank() < top.rank() {
			r.dropBelow(i, top, fmt.Sprintf("it is above the %s that %s gives", mibText(*heap), top.located()))
			i--
		}
	}
}

// adjustBase keeps what shares of the memory refer to: without container support that
// is the machine's memory, and no limit of the container.
func (r *Result) adjustBase() {
	off := r.index(func(id optionKey) bool { return id.name == "UseContainerSupport" && id.value == "-" })
	shares := []string{"MaxRAMPercentage", "MaxRAMFraction", "InitialRAMPercentage", "InitialRAMFraction", "MinRAMPercentage",
		"MinRAMFraction"}
	top, ok := strongest(r.Options, shares)
	switch {
	case off < 0 || !ok:
	case r.Options[off].rank() >= top.rank():
		r.warn(BudgetExceeded, "%s makes %s a share of the machine's memory; the budget is of the container's",
			r.Options[off].located(), top.located())
	default:
		r.dropBelow(off, top, top.located()+" is a share of the container's memory")
	}
}

// strongest finds the first option of the highest layer that sets one of some flags.
func strongest(options []Option, names []string) (top Option, ok bool) {
	for _, o := range options {
		if slices.Contains(names, keyOf(o).name) && (!ok || o.rank() > top.rank()) {
			top, ok = o, true
		}
	}
	return top, ok
}

// checkCombinations fails for options that HotSpot takes alone but not together.
func (r *Result) checkCombinations(l Limits, major int) {
	r.checkAlone(major)
	values := map[string]string{}
	from := map[string]Option{}
	collector := collectorOf(r.Options)
	for _, o := range r.Options {
		id := keyOf(o)
		values[id.name], from[id.name] = id.value, o
	}
	refuse := func(code, name, why string) { r.refuse(code, from[name], "%s", why) }
	if values["ParallelGCThreads"] == "0" && values["UseG1GC"] == "+" {
		refuse(InvalidCombination, "ParallelGCThreads", "UseG1GC needs at least 1")
	}
	if values["GCPauseIntervalMillis"] != "" && values["MaxGCPauseMillis"] == "" && collector == "UseG1GC" {
		refuse(InvalidCombination, "GCPauseIntervalMillis", "it needs MaxGCPauseMillis beside it")
	}
	if values["CICompilerCount"] == "1" && values["TieredStopAtLevel"] == "" && values["TieredCompilation"] != "-" &&
		values["mode"] != "-Xint" {
		refuse(BadValue, "CICompilerCount", "two kinds of compilers need at least 2")
	}
	usual := "UseG1GC"
	if major == 8 {
		usual = "UseParallelGC"
	}
	server := l.CPUs >= 2 && l.Memory >= serverMemory
	if values[usual] == "-" && collector == "" && server && values["AggressiveHeap"] != "+" {
		refuse(GCConflict, usual, "it takes the JVM's own choice away and names no other collector; add one, such as -XX:+UseParallelGC")
	}
}
