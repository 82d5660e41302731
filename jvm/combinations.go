package jvm

import "fmt"

// adjustShare takes away an initial, minimum or soft maximum heap that is above
// the maximum that a percentage of a higher layer gives: the JVM would take the
// larger one, and the percentage would be void, or it would not start. memory is
// in bytes; 0: unknown.
func (r *Result) adjustShare(memory int64) {
	top, ok := shareOption(r.Options)
	heap := fixedBy(r.Options, memory).Heap
	if !ok || heap == nil || memory <= 0 {
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
	off, share := -1, -1
	for i, o := range r.Options {
		switch id := keyOf(o); id.name {
		case "UseContainerSupport":
			if id.value == "-" {
				off = i
			}
		case "MaxRAMPercentage", "MaxRAMFraction", "InitialRAMPercentage", "InitialRAMFraction", "MinRAMPercentage", "MinRAMFraction":
			if share < 0 || o.rank() > r.Options[share].rank() {
				share = i
			}
		}
	}
	if off < 0 || share < 0 {
		return
	}
	o, top := r.Options[off], r.Options[share]
	if o.rank() >= top.rank() {
		r.warn(BudgetExceeded, "%s makes %s a share of the machine's memory; what is allotted here counts the container's",
			o.located(), top.located())
		return
	}
	r.dropBelow(off, top, fmt.Sprintf("%s is a share of the container's memory", top.located()))
}

// shareOption finds the strongest option that sizes the heap by a share; ok is
// false where a size is given, or nothing.
func shareOption(options []Option) (top Option, ok bool) {
	for _, o := range options {
		switch keyOf(o).name {
		case "MaxHeapSize":
			return Option{}, false
		case "MaxRAMPercentage", "MaxRAMFraction", "MaxRAM":
			if !ok || o.rank() > top.rank() {
				top, ok = o, true
			}
		}
	}
	return top, ok
}

// checkCombinations fails for options that HotSpot takes alone but not together.
func (r *Result) checkCombinations(l Limits, major int) {
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
