package jvm

import (
	"fmt"
	"math"
)

// chooseCollector takes the one that HotSpot before 27 would take itself, but says so: the JVM decides by rounded CPUs and
// would flip at the next change. From 27 on HotSpot takes G1 everywhere, which needs 41 MiB more for a heap of 256 MiB.
func (s *Sizing) chooseCollector(limits Limits, cpus string) {
	switch {
	case s.numbers.collector != "":
		s.Collector, s.gcWhy = s.numbers.collector, s.ofProfile()
	case !on(s.rules.Collector) && s.target.JavaMajor >= 27:
		s.Collector, s.gcWhy = "UseG1GC", "the rule is switched off: HotSpot's choice from 27 on"
	case s.CPUs < 2:
		s.Collector, s.gcWhy = "UseSerialGC", "1 CPU"
	case s.Limit > 0 && s.Limit < serverMemory:
		s.Collector, s.gcWhy = "UseSerialGC", "less than 1792 MiB"
	case s.target.JavaMajor == 8:
		s.Collector, s.gcWhy = "UseParallelGC", "2 or more CPUs and 1792 MiB or more, Java 8"
	default:
		s.Collector, s.gcWhy = "UseG1GC", "2 or more CPUs and 1792 MiB or more"
	}
	if q := limits.CPUQuota; q != nil && *q < 2 && s.CPUs == 2 && s.numbers.collector == "" {
		s.gcWhy += fmt.Sprintf("; stated because %g cores count as 2", *q)
	}
	s.chooseGCThreads(cpus)
	if s.fixed.Collector == "" {
		return
	}
	usual, threads := s.gcCost(), s.vmThreads()
	s.Collector, s.gcWhy = s.fixed.Collector, "set by a higher layer"
	s.chooseGCThreads(cpus)
	chosen := s.gcCost()
	s.extraGC = cost{chosen.share - usual.share, chosen.base - usual.base + (s.vmThreads()-threads)*mib}
}

// chooseGCThreads sets the number of GC threads.
func (s *Sizing) chooseGCThreads(cpus string) {
	s.parallelGC, s.gcFixed, s.floored = 0, false, false
	if s.Collector == "UseSerialGC" || s.Collector == "UseEpsilonGC" {
		return
	}
	s.parallelGC, s.gcFixed = gcThreads(s.CPUs), s.fixed.GCThreads != nil || s.fixed.ConcGC
	if s.fixed.GCThreads != nil {
		s.parallelGC = int(*s.fixed.GCThreads)
	}
	if s.gcFixed {
		return
	}
	if floor := max(int(math.Floor(s.cores)), 1); cpus == CPUsFloor && floor < s.CPUs && s.fixed.CPUs == nil && on(s.rules.ThreadPins) {
		s.parallelGC, s.floored = gcThreads(floor), true
	}
}

// cost is a collector's own memory: a share of the heap, and bytes.
type cost struct {
	share float64
	base  int64
}

// of returns the bytes for a heap.
func (c cost) of(heap int64) int64 { return int64(float64(heap)*c.share) + c.base }

// gcCost is what native memory tracking and the resident set showed on 11, 17, 21, 25, 27 and 28 with heaps of 256 MiB, 1 GiB and
// 4 GiB that were full and allocated from, rounded up (2 CPUs, MiB; committed, at its peak):
//
//	              256m  1g   4g
//	Serial        1     3    13
//	Parallel      18    46   159  before 25; then 10, 25, 83
//	G1            47    77   199  before 21; then 42, 60, 125
//	ZGC           146   168  233  before 25 (62 of the first two are touched); then 44, 84, 106
//	Shenandoah    9     34   130  and up to 18 more that are resident
//
// One CPU less saves 2 or 3 MiB, 64 instead of 2 cost 84 MiB.
func (s *Sizing) gcCost() cost {
	perThread := int64(max(s.parallelGC-2, 0)) * 2 * mib
	recent := s.target.JavaMajor >= 25
	switch s.Collector {
	case "UseSerialGC", "UseEpsilonGC":
		return cost{0.005, mib}
	case "UseParallelGC", "UseParallelOldGC":
		if recent {
			return cost{0.025, 10*mib + perThread}
		}
		return cost{0.04, 10*mib + perThread}
	case "UseZGC":
		if recent {
			return cost{0.05, 36*mib + perThread}
		}
		return cost{0.05, 56*mib + perThread}
	case "UseShenandoahGC":
		return cost{0.035, 24*mib + perThread}
	}
	if recent { // G1
		return cost{0.025, 40*mib + perThread}
	}
	return cost{0.04, 40*mib + perThread}
}
