package jvm

import (
	"fmt"
	"slices"
	"strings"
)

// find returns the last option that sets a flag to a number, and the number; i is -1 if there is none.
func (r *Result) find(name string) (i int, n int64) {
	for i, o := range slices.Backward(r.Options) {
		if id := keyOf(o); id.name == name {
			if n, err := sizeOf(id.value); err == nil {
				return i, n
			}
		}
	}
	return -1, 0
}

// index returns the first option with such a key; -1: there is none.
func (r *Result) index(is func(optionKey) bool) int {
	return slices.IndexFunc(r.Options, func(o Option) bool { return is(keyOf(o)) })
}

// adjustHeap makes the rule's initial heap follow a maximum from another source.
func (r *Result) adjustHeap() {
	start, _ := r.find("InitialHeapSize")
	if start < 0 || !r.Options[start].Generated {
		return
	}
	if top, most := r.find("MaxHeapSize"); top >= 0 {
		if !r.Options[top].Generated {
			r.follow(start, most, r.Options[top])
		}
		return
	}
	if i := r.index(func(id optionKey) bool { return id.family == "heap.max" }); i >= 0 {
		r.warn(Adjusted, "%s is left out: the maximum heap is set by %s", r.Options[start], r.Options[i])
		r.drop(start)
	}
}

// adjustFreeRatio leaves the rule's free ratio out if the rule does not decide the initial heap.
func (r *Result) adjustFreeRatio() {
	i, _ := r.find("MaxHeapFreeRatio")
	if start, _ := r.find("InitialHeapSize"); i >= 0 && r.Options[i].Generated && (start < 0 || !r.Options[start].Generated) {
		r.drop(i)
	}
}

// orderedPair are two flags of which the first must not be above the second.
type orderedPair struct {
	low, high string
	fatal     bool   // the JVM does not start; otherwise it shrinks one of them
	only, not string // the only collector with this bound, and the one without it; empty: any, none
	// The defaults of the JVM; 0: they depend on other flags.
	lowDefault, highDefault int64
}

// orderedPairs were tried on 17 and 25. The pairs of the heap are ordered so that one pass
// is enough.
var orderedPairs = []orderedPair{
	{low: "MinHeapSize", high: "MaxHeapSize", fatal: true},
	{low: "InitialHeapSize", high: "MaxHeapSize", fatal: true},
	{low: "MinHeapSize", high: "InitialHeapSize", fatal: true},
	{low: "SoftMaxHeapSize", high: "MaxHeapSize", fatal: true},
	{low: "ConcGCThreads", high: "ParallelGCThreads", fatal: true, only: "UseG1GC"},
	{low: "InitialCodeCacheSize", high: "ReservedCodeCacheSize", fatal: true, highDefault: 48 * mib},
	{low: "MinHeapFreeRatio", high: "MaxHeapFreeRatio", fatal: true, not: "UseParallelGC", lowDefault: 40, highDefault: 70},
	{low: "MinMetaspaceFreeRatio", high: "MaxMetaspaceFreeRatio", fatal: true, lowDefault: 40, highDefault: 70},
	{low: "G1NewSizePercent", high: "G1MaxNewSizePercent", fatal: true, only: "UseG1GC", lowDefault: 5, highDefault: 60},
	{low: "MaxGCPauseMillis", high: "GCPauseIntervalMillis", fatal: true, only: "UseG1GC"},
	{low: "MetaspaceSize", high: "MaxMetaspaceSize"},
	{low: "CompressedClassSpaceSize", high: "MaxMetaspaceSize"},
}

// appliesTo reports whether the pair is a bound for a collector; empty: the JVM's own choice,
// which may be G1.
func (p orderedPair) appliesTo(collector string) bool {
	return (p.only == "" || collector == "" || collector == p.only) && (p.not == "" || collector != p.not)
}

// collectorOf is the one that is selected; empty: the JVM's own choice.
func collectorOf(options []Option) string {
	for _, o := range slices.Backward(options) {
		if id := keyOf(o); id.family == "gc" && id.value == "+" {
			return id.name
		}
	}
	return ""
}

// adjustPairs makes each pair agree: the option of the lower layer follows the other one.
func (r *Result) adjustPairs() {
	collector := collectorOf(r.Options)
	for _, p := range orderedPairs {
		i, n := r.find(p.low)
		if k, most := r.find(p.high); i >= 0 && k >= 0 && p.appliesTo(collector) {
			r.adjustPair(p, i, n, k, most)
		}
	}
}

// checkAlone fails for one of a pair that does not agree with the JVM's default of the other. From 27 on G1 has free ratios of 0 and 100.
func (r *Result) checkAlone(major int) {
	collector := collectorOf(r.Options)
	for _, p := range orderedPairs {
		i, n := r.find(p.low)
		k, most := r.find(p.high)
		sure := collector != "" || p.only+p.not == ""
		switch {
		case !sure, !p.appliesTo(collector), i >= 0 && k >= 0, p.high == "MaxHeapFreeRatio" && collector == "UseG1GC" && major >= 27:
		case i >= 0 && p.highDefault > 0 && n > p.highDefault:
			r.failAlone(i, p.high, p.highDefault)
		case k >= 0 && most < p.lowDefault:
			r.failAlone(k, p.low, p.lowDefault)
		}
	}
}

func (r *Result) failAlone(i int, other string, value int64) {
	r.fail(InvalidCombination, "cannot use %s alone: %s is %s by default; set it too", r.Options[i].located(), other, sizeText(value))
}

// adjustPair makes options i and k agree, which set the pair to n and most.
func (r *Result) adjustPair(p orderedPair, i int, n int64, k int, most int64) {
	low, high := r.Options[i], r.Options[k]
	setsMinimum := i < k && !strings.HasPrefix(high.Args[0], "-XX:") && p.high == "InitialHeapSize" // as a later -Xms does
	switch {
	case n <= most || most == 0 || p.low == "MinHeapSize" && setsMinimum: // 0 lets the JVM choose
	case low.rank() < high.rank():
		r.warn(Adjusted, "%s is above %s and follows it", low.located(), high.located())
		r.follow(i, most, high)
	case low.rank() > high.rank():
		r.warn(Adjusted, "%s is below %s and follows it", high.located(), low.located())
		r.follow(k, n, low)
	case p.fatal:
		r.fail(InvalidCombination, "cannot use %s above %s: the JVM would not start", low.located(), high.located())
	}
}

// adjustThreads raises ParallelGCThreads to a given ConcGCThreads where it follows from the
// rule's number of CPUs: with up to 8 CPUs HotSpot takes a thread for each.
func (r *Result) adjustThreads() {
	i, n := r.find("ConcGCThreads")
	parallel, _ := r.find("ParallelGCThreads")
	k, cpus := r.find("ActiveProcessorCount")
	if i < 0 || parallel >= 0 || k < 0 || cpus < 1 || cpus > 8 || n <= cpus || collectorOf(r.Options) != "UseG1GC" {
		return
	}
	o, count := r.Options[i], r.Options[k]
	if !count.Generated {
		r.fail(InvalidCombination, "cannot use %s with %s: ParallelGCThreads is %d then; set it too", o.located(), count.located(), cpus)
		return
	}
	why := fmt.Sprintf("%s needs as many", o.located())
	r.warn(Adjusted, "-XX:ParallelGCThreads=%d is set: %s", n, why)
	r.Options = append(r.Options, ruleOption("cpus", why, "-XX:ParallelGCThreads=%d", n))
}

// adjustYoung leaves out a young generation that is as large as the whole heap
// of a higher layer. The JVM would shrink it to all but a sliver of the heap.
func (r *Result) adjustYoung() {
	top, heap := r.find("MaxHeapSize")
	if top < 0 {
		return
	}
	limit := r.Options[top]
	for _, name := range [...]string{"Xmn", "NewSize", "MaxNewSize"} {
		i, n := r.find(name)
		if i < 0 || n < heap {
			continue
		}
		young := r.Options[i]
		if young.rank() >= limit.rank() {
			r.warn(InvalidCombination, "%s leaves nothing of %s; the JVM shrinks it", young.located(), limit.located())
			continue
		}
		r.warn(Adjusted, "%s is left out: it leaves nothing of %s", young.located(), limit.located())
		r.drop(i)
	}
}

// adjustAggressive drops -XX:+AggressiveHeap, which selects ParallelGC, or another collector:
// the JVM does not start with both.
func (r *Result) adjustAggressive() {
	i := r.index(func(id optionKey) bool { return id.name == "AggressiveHeap" && id.value == "+" })
	k := r.index(func(id optionKey) bool { return id.family == "gc" && id.value == "+" && id.name != "UseParallelGC" })
	if i < 0 || k < 0 {
		return
	}
	o, c := r.Options[i], r.Options[k]
	report := r.warn
	switch {
	case c.rank() < o.rank():
		r.drop(k)
	case c.rank() > o.rank():
		r.drop(i)
	default:
		report = r.fail
	}
	report(GCConflict, "%s chooses UseParallelGC and cannot stand beside %s", o.located(), c.located())
}

// drop takes option i out.
func (r *Result) drop(i int) { r.Options = append(r.Options[:i:i], r.Options[i+1:]...) }

// dropBelow takes option i out in favor of one of a higher layer.
func (r *Result) dropBelow(i int, higher Option, why string) {
	o, code := r.Options[i], Adjusted
	if higher.Layer == Enforced && o.Layer == User {
		code = UserOverrideDropped
	}
	r.warn(code, "%s is dropped: %s", o.located(), why)
	r.drop(i)
}

// follow rewrites option i to the number of the option that it depends on.
func (r *Result) follow(i int, n int64, other Option) {
	o := &r.Options[i]
	if was, err := sizeOf(keyOf(*o).value); err == nil && was == n {
		return
	}
	was := *o
	was.Replaced = nil
	o.Args = []string{withNumber(*o, n)}
	o.Why = fmt.Sprintf("follows %s", other.located())
	o.Replaced = append(o.Replaced, was)
}

// withNumber writes an option again with another number, in its own spelling.
func withNumber(o Option, n int64) string {
	id := keyOf(o)
	text := fmt.Sprint(n)
	if id.is(sized) {
		text = sizeText(n)
	}
	if spelling, ok := strings.CutSuffix(o.Args[0], id.value); ok {
		return spelling + text
	}
	return "-XX:" + id.name + "=" + text // of a fraction
}

// sizeText writes bytes exactly, in the largest unit up to MiB.
func sizeText(n int64) string {
	switch {
	case n%mib == 0:
		return fmt.Sprintf("%dm", n/mib)
	case n%1024 == 0:
		return fmt.Sprintf("%dk", n/1024)
	}
	return fmt.Sprint(n)
}
