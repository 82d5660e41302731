package jvm

import (
	"fmt"
	"strings"
)

// find returns the last option that sets a flag, and the number it sets it to; i
// is -1 if there is none with a number.
func (m *merger) find(name string) (i int, n int64) {
	i = -1
	for k, o := range m.kept {
		if id := identify(o); id.name == name {
			if v, err := sizeOf(id.value); err == nil {
				i, n = k, v
			}
		}
	}
	return i, n
}

// settleHeap lets our initial heap follow a maximum that somebody else has set.
func (m *merger) settleHeap() {
	start, _ := m.find("InitialHeapSize")
	if start < 0 || !m.kept[start].Generated {
		return
	}
	if top, most := m.find("MaxHeapSize"); top >= 0 {
		if !m.kept[top].Generated {
			m.follow(start, most, m.kept[top])
		}
		return
	}
	for _, o := range m.kept {
		if identify(o).family == "heap.max" {
			m.warn(Adjusted, "%s is left out: the maximum heap is set by %s", m.kept[start], o)
			m.drop(start)
			return
		}
	}
}

// pair are two flags of which the first must not be above the second.
type pair struct {
	low, high string
	fatal     bool   // the JVM refuses it; otherwise it shrinks one of them
	only, not string // the only collector that minds, and the one that does not; empty: any, none
	// What they are where they are not given; 0: it depends.
	lowDefault, highDefault int64
}

// pairs were tried on 17 and 25. Those of the heap come in the order in which
// following each other ends.
func pairs() []pair {
	return []pair{
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
}

// concerns says whether a collector minds the pair; empty: the JVM's own choice,
// which may be G1.
func (p pair) concerns(collector string) bool {
	return (p.only == "" || collector == "" || collector == p.only) && (p.not == "" || collector != p.not)
}

// collectorOf is the one that is selected; empty: the JVM's own choice.
func collectorOf(options []Option) string {
	name := ""
	for _, o := range options {
		if id := identify(o); id.family == "gc" && id.value == "+" {
			name = id.name
		}
	}
	return name
}

// settlePairs makes each pair agree: the option of the lower layer follows the
// other one.
func (m *merger) settlePairs() {
	collector := collectorOf(m.kept)
	for _, p := range pairs() {
		i, n := m.find(p.low)
		k, most := m.find(p.high)
		if i < 0 || k < 0 {
			m.checkAlone(p, collector)
			continue
		}
		if n <= most || most == 0 || !p.concerns(collector) {
			continue // 0 lets the JVM choose
		}
		low, high := m.kept[i], m.kept[k]
		if p.low == "MinHeapSize" && i < k && !strings.HasPrefix(high.Args[0], "-XX:") && identify(high).family == "heap.init" {
			continue // a later -Xms sets the minimum too
		}
		switch {
		case low.rank() < high.rank():
			m.warn(Adjusted, "%s (%s) is above %s (%s) and follows it", low, low.origin(), high, high.origin())
			m.follow(i, most, high)
		case low.rank() > high.rank():
			m.warn(Adjusted, "%s (%s) is below %s (%s) and follows it", high, high.origin(), low, low.origin())
			m.follow(k, n, low)
		case p.fatal:
			m.fail(InvalidCombination, "cannot use %s (%s) above %s (%s): the JVM would not start", low, low.origin(), high, high.origin())
		}
	}
}

// checkAlone fails for one of a pair that does not agree with the other's default:
// the JVM would not start.
func (m *merger) checkAlone(p pair, collector string) {
	if !p.concerns(collector) || collector == "" && p.not+p.only != "" {
		return
	}
	alone := func(i int, other string, value int64) {
		o := m.kept[i]
		m.fail(InvalidCombination, "cannot use %s (%s) alone: %s is %s by default; set it too", o, o.origin(), other, sizeText(value))
	}
	if i, n := m.find(p.low); i >= 0 && p.highDefault > 0 && n > p.highDefault {
		alone(i, p.high, p.highDefault)
	}
	if k, n := m.find(p.high); k >= 0 && n < p.lowDefault {
		alone(k, p.low, p.lowDefault)
	}
}

// settleThreads gives G1 as many parallel threads as somebody wants concurrent
// ones, where the number follows from our count of CPUs: up to 8 of these HotSpot
// takes a thread for each.
func (m *merger) settleThreads() {
	i, n := m.find("ConcGCThreads")
	parallel, _ := m.find("ParallelGCThreads")
	k, cpus := m.find("ActiveProcessorCount")
	if i < 0 || parallel >= 0 || k < 0 || cpus < 1 || cpus > 8 || n <= cpus || collectorOf(m.kept) != "UseG1GC" {
		return
	}
	o, count := m.kept[i], m.kept[k]
	if !count.Generated {
		m.fail(InvalidCombination, "cannot use %s (%s) with %s (%s): ParallelGCThreads is %d then; set it too", o, o.origin(), count, count.origin(), cpus)
		return
	}
	why := fmt.Sprintf("%s (%s) needs as many", o, o.origin())
	m.warn(Adjusted, "-XX:ParallelGCThreads=%d is set: %s", n, why)
	m.kept = append(m.kept, Option{Args: []string{fmt.Sprintf("-XX:ParallelGCThreads=%d", n)}, Layer: Default, Source: "rule CPUs", Why: why, Generated: true})
}

// settleYoung leaves out a young generation that is as large as the whole heap
// of a higher layer. The JVM would shrink it to all but a sliver of the heap.
func (m *merger) settleYoung() {
	top, heap := m.find("MaxHeapSize")
	if top < 0 {
		return
	}
	limit := m.kept[top]
	for _, name := range [...]string{"Xmn", "NewSize", "MaxNewSize"} {
		i, n := m.find(name)
		if i < 0 || n < heap {
			continue
		}
		young := m.kept[i]
		if young.rank() >= limit.rank() {
			m.warn(InvalidCombination, "%s (%s) leaves nothing of %s (%s); the JVM shrinks it", young, young.origin(), limit, limit.origin())
			continue
		}
		m.warn(Adjusted, "%s (%s) is left out: it leaves nothing of %s (%s)", young, young.origin(), limit, limit.origin())
		m.drop(i)
	}
}

// settleAggressive keeps -XX:+AggressiveHeap, which chooses ParallelGC too, from
// meeting another collector: the JVM refuses to start with both.
func (m *merger) settleAggressive() {
	for i, o := range m.kept {
		if id := identify(o); id.name != "AggressiveHeap" || id.value != "+" {
			continue
		}
		for k, c := range m.kept {
			id := identify(c)
			if id.family != "gc" || id.value != "+" || id.name == "UseParallelGC" {
				continue
			}
			said := m.warn
			switch {
			case c.rank() < o.rank():
				m.drop(k)
			case c.rank() > o.rank():
				m.drop(i)
			default:
				said = m.fail
			}
			said(GCConflict, "%s (%s) chooses UseParallelGC and cannot stand beside %s (%s)", o, o.origin(), c, c.origin())
			return
		}
	}
}

// drop takes option i out.
func (m *merger) drop(i int) { m.kept = append(m.kept[:i:i], m.kept[i+1:]...) }

// follow rewrites option i to the number of the option that it depends on.
func (m *merger) follow(i int, n int64, other Option) {
	o := &m.kept[i]
	if was, err := sizeOf(identify(*o).value); err == nil && was == n {
		return
	}
	was := *o
	was.Replaced = nil
	o.Args = []string{withNumber(*o, n)}
	o.Why = fmt.Sprintf("follows %s (%s)", other, other.origin())
	o.Replaced = append(o.Replaced, was)
}

// withNumber writes an option again with another number, in its own spelling.
func withNumber(o Option, n int64) string {
	id := identify(o)
	if !id.size {
		return fmt.Sprintf("-XX:%s=%d", id.name, n)
	}
	switch {
	case id.name == "MaxHeapSize" && !strings.HasPrefix(o.Args[0], "-XX:"):
		return "-Xmx" + sizeText(n)
	case id.name == "InitialHeapSize" && !strings.HasPrefix(o.Args[0], "-XX:"):
		return "-Xms" + sizeText(n)
	}
	return "-XX:" + id.name + "=" + sizeText(n)
}

// sizeText writes bytes in the largest unit that loses nothing, at most MiB.
func sizeText(n int64) string {
	switch {
	case n%mib == 0:
		return fmt.Sprintf("%dm", n/mib)
	case n%1024 == 0:
		return fmt.Sprintf("%dk", n/1024)
	}
	return fmt.Sprint(n)
}
