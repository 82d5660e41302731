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
	// Unbounded: nothing keeps the region at Bytes.
	Unbounded bool `json:"unbounded,omitempty"`
}

// Budget is how the memory is shared out; its sum is compared with the limit.
type Budget []Region

// Sum returns the bytes of all regions.
func (b Budget) Sum() int64 {
	var n int64
	for _, r := range b {
		n += r.Bytes
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

// DoesNotFitError says that nothing useful fits into the container.
type DoesNotFitError struct {
	Limit    int64 // bytes there are
	Source   string
	Smallest int64 // bytes that would do
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

// gcShare is the collector's own memory as a share of the heap: measured with
// native memory tracking for 17 and 25 and rounded up.
func (s *Sizing) gcShare() float64 {
	switch s.Collector {
	case "UseSerialGC", "UseEpsilonGC":
		return 0.005
	case "UseG1GC":
		if s.target.JavaMajor >= 25 {
			return 0.025
		}
	}
	return 0.04
}

// gcBytes is the collector's own memory for a heap.
func (s *Sizing) gcBytes(heap int64) int64 {
	n := int64(float64(heap) * s.gcShare())
	switch s.Collector {
	case "UseSerialGC", "UseEpsilonGC":
		return n + mib
	case "UseParallelGC", "UseParallelOldGC":
		n += 10 * mib
	default:
		n += 40 * mib
	}
	// 64 CPUs instead of 2 were seen to cost 84 MiB.
	return n + int64(max(s.parallelGC-2, 0))*2*mib
}

func (s *Sizing) baseBytes() int64 {
	if s.small() {
		return 40 * mib
	}
	return 64 * mib
}

func (s *Sizing) vmThreads() int64 { return 8 + int64(s.parallelGC) }

// fixedBytes is everything but heap and caps.
func (s *Sizing) fixedBytes(heap int64) int64 {
	return s.threads()*s.Stack + s.vmThreads()*mib + s.gcBytes(heap) + s.baseBytes() + supervisorBytes + s.reserve
}

// capPlan holds the sizes of one of the three regions that HotSpot leaves open, or as large as the heap. A size that
// is decided already is all of them.
type capPlan struct {
	least  int64
	enough int64 // before thread stacks are made larger
	usual  int64 // where memory is not short
	given  bool
}

// capPlans are those of metaspace, code cache and direct memory.
func (s *Sizing) capPlans() [3]capPlan {
	plans := [3]capPlan{{64 * mib, 192 * mib, 192 * mib, false}, {48 * mib, 160 * mib, 240 * mib, false},
		{16 * mib, 64 * mib, 64 * mib, false}}
	if s.small() {
		plans[0].enough, plans[0].usual = 128*mib, 128*mib
		plans[1].enough, plans[1].usual = 128*mib, 128*mib
	}
	// What has no cap is reckoned with its usual size, or it would take the
	// others' memory.
	uncapped := [3]int64{plans[0].usual, usualCodeCache, plans[2].usual}
	rules := [3]*bool{s.rules.Metaspace, s.rules.CodeCache, s.rules.DirectMemory}
	profile := [3]*int64{s.numbers.metaspace, s.numbers.codeCache, s.numbers.direct}
	for i, size := range [3]*int64{s.fixed.Metaspace, s.fixed.CodeCache, s.fixed.Direct} {
		switch {
		case size != nil:
		case !on(rules[i]):
			size = &uncapped[i]
		default:
			size = profile[i]
		}
		if size != nil {
			plans[i] = capPlan{*size, *size, *size, true}
		}
	}
	return plans
}

// usualCodeCache is HotSpot's own with tiered compilation, in bytes.
const usualCodeCache = 240 * mib

// capSums is what the three regions need together to have enough, and their usual sizes.
func (s *Sizing) capSums() (enough, usual int64) {
	for _, p := range s.capPlans() {
		enough += p.enough
		usual += p.usual
	}
	return enough, usual
}

// chooseCaps bounds the three regions. They get a minimum, then what is left up to what
// is enough, then up to the usual size, then half of the rest; a margin stays for what no
// flag bounds (malloc, page cache).
func (s *Sizing) chooseCaps() {
	plans := s.capPlans()
	left := s.Limit - s.Heap - s.fixedBytes(s.Heap)
	var caps, enough, usual [3]int64
	for i, p := range plans {
		caps[i], enough[i], usual[i] = p.least, p.enough, p.usual
		left -= p.least
	}
	left -= raise(&caps, enough, left)
	left -= raise(&caps, usual, left)
	if spare := left - min(left/2, s.usable()/20); spare >= 2*mib {
		half := spare / 2
		half -= half % mib
		for _, i := range []int{0, 2} {
			if !plans[i].given {
				caps[i] += half
			}
		}
	}
	s.Metaspace, s.CodeCache, s.Direct = caps[0], caps[1], caps[2]
}

// raise brings caps nearer to other sizes, each by its share of what is left, and gives the
// bytes that this takes.
func raise(caps *[3]int64, to [3]int64, left int64) int64 {
	var want, given int64
	for i := range caps {
		want += to[i] - caps[i]
	}
	if left <= 0 || want <= 0 {
		return 0
	}
	have := min(left, want)
	for i := range caps {
		more := (to[i] - caps[i]) * have / want
		more -= more % mib
		caps[i] += more
		given += more
	}
	return given
}

// budget lists every region; what is left over is the last one.
func (s *Sizing) budget() Budget {
	t := s.threads()
	threads := "connectors and 30 more"
	if s.numbers.threads > 0 {
		threads = s.ofProfile()
	}
	// capped is a region whose size a flag holds, unless its rule is off.
	capped := func(region string, bytes int64, flag string, rule *bool, given *int64, without string, open bool) Region {
		if given != nil || on(rule) {
			return Region{region, bytes, flag, false}
		}
		return Region{region, bytes, without, open}
	}
	b := Budget{
		capped("heap", s.Heap, s.heapWhy, s.rules.Heap, s.fixed.Heap, s.heapWhy, !s.unlimited),
		capped("metaspace", s.Metaspace, "MaxMetaspaceSize", s.rules.Metaspace, s.fixed.Metaspace, "no cap: the usual size", true),
		capped("code cache", s.CodeCache, "ReservedCodeCacheSize", s.rules.CodeCache, s.fixed.CodeCache, "HotSpot's own cap", false),
		capped("direct memory", s.Direct, "MaxDirectMemorySize", s.rules.DirectMemory, s.fixed.Direct,
			"no cap: the usual size; as large as the heap, and Netty as much again", true),
		{"thread stacks", t * s.Stack, fmt.Sprintf("%d threads (%s) of %d KiB", t, threads, s.Stack/1024), false},
		{"VM threads", s.vmThreads() * mib, fmt.Sprintf("%d of 1 MiB", s.vmThreads()), false},
		{"GC structures", s.gcBytes(s.Heap), fmt.Sprintf("%s, %.3g %% of the heap and a base", s.Collector, s.gcShare()*100), false},
		{"JVM base", s.baseBytes(), "symbols, class archive, arenas, malloc", false},
		{"stoker", supervisorBytes, "init and supervisor", false},
	}
	if s.reserve > 0 {
		b = append(b, Region{"reserve", s.reserve, "set aside for jobs and sessions", false})
	}
	if left := s.Limit - b.Sum(); left > 0 {
		why := "page cache, JNI libraries, heap of malloc"
		if s.unlimited {
			why = "the rest of the machine"
		}
		b = append(b, Region{"margin", left, why, false})
	}
	return b
}
