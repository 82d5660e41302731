package jvm

import (
	"fmt"
	"strings"
)

// Region is a part of the container's memory.
type Region struct {
	Region string `json:"region"`
	Bytes  int64  `json:"bytes"`
	Why    string `json:"why"`
	// Unbounded: the region may grow beyond Bytes.
	Unbounded bool `json:"unbounded,omitempty"`
}

// Budget is the division of the memory; its sum is compared with the limit.
type Budget []Region

// Sum returns the bytes of all regions.
func (b Budget) Sum() int64 {
	var n int64
	for _, r := range b {
		n += r.Bytes
	}
	return n
}

// Regions that others refer to: reserve is set aside for others, margin is what is left over.
const (
	reserve      = "reserve"
	margin       = "margin"
	threadStacks = "thread stacks"
)

// Own returns the bytes of all regions but the reserve.
func (b Budget) Own() int64 {
	n := b.Sum()
	for _, r := range b {
		if r.Region == reserve {
			n -= r.Bytes
		}
	}
	return n
}

// Unbounded names the regions that may grow beyond their bytes.
func (b Budget) Unbounded() []string {
	var names []string
	for _, r := range b {
		if r.Unbounded {
			names = append(names, r.Region)
		}
	}
	return names
}

// DoesNotFitError is returned for a container that is too small for a useful JVM.
type DoesNotFitError struct {
	Limit    int64 // bytes of the container
	Source   string
	Smallest int64 // bytes that are enough
	Budget   Budget
}

// Error names every region and the smallest limit that works.
func (e *DoesNotFitError) Error() string {
	parts := make([]string, len(e.Budget))
	for i, r := range e.Budget {
		parts[i] = r.Region + " " + mibText(r.Bytes)
	}
	return fmt.Sprintf("cannot fit a JVM into %s %s: the smallest workable limit is %s (%s); "+
		"give the container more memory, or set a heap to try anyway (-e JAVA_OPTS=-Xmx%dm, or jvm.user.options)",
		mibText(e.Limit), e.Source, mibText(e.Smallest), strings.Join(parts, ", "), e.Limit*3/4>>20)
}

// threads is the number of Java threads: the connectors' and 30 others, which is
// what a busy Tomcat was seen to have, or the profile's.
func (s *Sizing) threads() int64 {
	if n := s.numbers.threads; n > 0 {
		return int64(n)
	}
	n := s.target.MaxThreads
	if n <= 0 {
		n = 200
	}
	return int64(min(n, maxThreads)) + 30
}

// vmThreads is the number of the JVM's own threads.
func (s *Sizing) vmThreads() int64 { return 8 + int64(s.parallelGC) }

// fixedRegions are all regions but heap, caps and margin.
func (s *Sizing) fixedRegions(heap int64) Budget {
	t, vmThreads := s.threads(), s.vmThreads()
	threads := "connectors and 30 more"
	if s.numbers.threads > 0 {
		threads = s.ofProfile()
	}
	stack, counted := s.countedStack(), ""
	if stack < s.Stack {
		counted = fmt.Sprintf(", %d KiB of each counted", stack/1024)
	}
	gc := s.gcCost()
	base := int64(64 * mib)
	if s.small() {
		base = 40 * mib
	}
	b := Budget{
		{threadStacks, t * stack, fmt.Sprintf("%d threads (%s) of %d KiB%s", t, threads, s.Stack/1024, counted), false},
		{"VM threads", vmThreads * mib, fmt.Sprintf("%d of 1 MiB", vmThreads), false},
		{"GC structures", gc.of(heap), fmt.Sprintf("%s, %.3g %% of the heap and a base", s.Collector, gc.share*100), false},
		{"JVM base", base, "symbols, class archive, arenas, malloc", false},
		{"stoker", supervisorBytes, "init and supervisor", false},
	}
	if s.reserve > 0 {
		b = append(b, Region{reserve, s.reserve, "set aside for jobs and sessions", false})
	}
	return b
}

// memoryCap is one of the three regions that HotSpot leaves open, or as large as the heap.
type memoryCap struct {
	rule, region, flag string
	why                string // of the cap
	uncapped           string // what the region is without the cap
	open               bool   // it has no bound then
	given              bool   // the option is given
	fixed, profile     *int64 // a size that is decided already
	bytes              *int64 // what the region gets
	least              int64
	need               int64 // of a usual application
	enough             int64 // before thread stacks are made larger
	usual              int64 // where memory is not short
}

// decided is a size that the rule does not choose. A region without a bound is counted with its usual size, or it would
// take the memory of the others.
func (c memoryCap) decided() *int64 {
	switch {
	case c.fixed != nil:
		return c.fixed
	case !c.given && c.open:
		return &c.usual
	case !c.given:
		return nil
	}
	return c.profile
}

// memoryCaps are those of metaspace, code cache and direct memory.
func (s *Sizing) memoryCaps() [3]memoryCap {
	r, n, f := &s.rules, s.numbers, s.fixed
	caps := [3]memoryCap{
		{rule: "metaspace", region: "metaspace", flag: "MaxMetaspaceSize", why: "unbounded otherwise",
			uncapped: "no cap: the usual size", open: true, given: on(r.Metaspace), fixed: f.Metaspace, profile: n.metaspace,
			bytes: &s.Metaspace, least: 64 * mib, need: 128 * mib, enough: 192 * mib, usual: 192 * mib},
		{rule: "code-cache", region: "code cache", flag: "ReservedCodeCacheSize", why: "240 MiB otherwise",
			uncapped: "HotSpot's own cap of 240 MiB", given: on(r.CodeCache), fixed: f.CodeCache, profile: n.codeCache,
			bytes: &s.CodeCache, least: 48 * mib, need: 64 * mib, enough: 160 * mib, usual: 240 * mib},
		{rule: "direct-memory", region: "direct memory", flag: "MaxDirectMemorySize", why: "as large as the heap otherwise",
			uncapped: "no cap: the usual size; as large as the heap, and Netty as much again", open: true, given: on(r.DirectMemory),
			fixed: f.Direct, profile: n.direct, bytes: &s.Direct, least: 16 * mib, need: 64 * mib, enough: 64 * mib, usual: 64 * mib},
	}
	for i := range caps {
		c := &caps[i]
		if c.open && unbounded(c.fixed) { // what the JVM prints where it has no cap
			c.fixed, c.given, c.uncapped = nil, false, "no cap: the usual size"
		}
		c.given = c.given && (!s.bare || c.profile != nil)
		if s.small() && c.enough > 128*mib && (c.given || c.open) { // HotSpot's own code cache is as large in a small container
			c.enough, c.usual = 128*mib, 128*mib
		}
		if s.bare && !s.unlimited && !c.given {
			c.usual, c.uncapped, c.open = c.need, "no cap: what a usual application needs", true
		}
		if s.sizesDecided() || !c.given {
			c.least = c.need
		}
		if size := c.decided(); size != nil {
			c.least, c.need, c.enough, c.usual = *size, *size, *size, *size
		}
	}
	return caps
}

// capSums is what the three regions need together to have enough, and their usual sizes.
func (s *Sizing) capSums() (enough, usual int64) {
	for _, c := range s.memoryCaps() {
		enough += c.enough
		usual += c.usual
	}
	return enough, usual
}

// chooseCaps bounds the three regions. They get a minimum, then what is left up to what
// is enough, then up to the usual size, then half of the rest; a margin stays for what no
// flag bounds (malloc, page cache).
func (s *Sizing) chooseCaps() {
	caps := s.memoryCaps()
	left := s.Limit - s.Heap - s.fixedRegions(s.Heap).Sum()
	for _, c := range caps {
		*c.bytes = c.least
		left -= c.least
	}
	left -= raise(caps, left, func(c memoryCap) int64 { return c.enough })
	left -= raise(caps, left, func(c memoryCap) int64 { return c.usual })
	if spare := left - min(left/2, s.usable()/20); spare >= 2*mib {
		for _, c := range [...]memoryCap{caps[0], caps[2]} {
			if c.decided() == nil {
				*c.bytes += wholeMiB(spare / 2)
			}
		}
	}
}

// raise brings the regions nearer to a size, each by its share of what is left, and returns the bytes that this takes.
func raise(caps [3]memoryCap, left int64, to func(memoryCap) int64) (taken int64) {
	var want int64
	for _, c := range caps {
		want += to(c) - *c.bytes
	}
	if left <= 0 || want <= 0 {
		return 0
	}
	for _, c := range caps {
		more := wholeMiB((to(c) - *c.bytes) * min(left, want) / want)
		*c.bytes += more
		taken += more
	}
	return taken
}

func wholeMiB(n int64) int64 { return n - n%mib }

// budget lists every region; what is left over is the last one.
func (s *Sizing) budget() Budget {
	b := Budget{{"heap", s.Heap, s.heapWhy, s.fixed.Heap == nil && !on(s.rules.Heap) && !s.unlimited}}
	for _, c := range s.memoryCaps() {
		if c.fixed != nil || c.given {
			b = append(b, Region{c.region, *c.bytes, c.flag, false})
		} else {
			b = append(b, Region{c.region, *c.bytes, c.uncapped, c.open})
		}
	}
	b = append(b, s.fixedRegions(s.Heap)...)
	if left := s.Limit - b.Sum(); left > 0 {
		why := "page cache, JNI libraries, heap of malloc"
		if s.unlimited {
			why = "the rest of the machine"
		}
		b = append(b, Region{margin, left, why, false})
	}
	return b
}
