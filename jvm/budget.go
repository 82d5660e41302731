package jvm

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Region is a part of the container's memory.
type Region struct {
	Region string `json:"region"`
	Bytes  int64  `json:"bytes"`
	Why    string `json:"why"`
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

// MarshalJSON writes a list, also when it is empty.
func (b Budget) MarshalJSON() ([]byte, error) {
	return json.Marshal(append([]Region{}, b...))
}

// RefusedError says that nothing useful fits into the container.
type RefusedError struct {
	Limit    int64 // bytes there are
	Source   string
	Smallest int64 // bytes that would do
	Budget   Budget
}

// Error names every region and the smallest limit that works.
func (e *RefusedError) Error() string {
	parts := make([]string, len(e.Budget))
	for i, r := range e.Budget {
		parts[i] = r.Region + " " + mibText(r.Bytes)
	}
	return fmt.Sprintf("cannot fit a JVM into %s %s: the smallest workable limit is %s (%s); "+
		"give the container more memory, or set -Xmx in the user layer to try anyway",
		mibText(e.Limit), e.Source, mibText(e.Smallest), strings.Join(parts, ", "))
}

// threads is the number of Java threads: the connectors' and 30 others, which is
// what a busy Tomcat was seen to have.
func (t Target) threads() int64 {
	n := t.MaxThreads
	if n <= 0 {
		n = 200
	}
	return int64(n) + 30
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
	if s.Limit < smallLimit {
		return 40 * mib
	}
	return 64 * mib
}

func (s *Sizing) vmThreads() int64 { return 8 + int64(s.parallelGC) }

// fixedBytes is everything but heap and caps.
func (s *Sizing) fixedBytes(heap int64) int64 {
	return s.target.threads()*s.Stack + s.vmThreads()*mib + s.gcBytes(heap) + s.baseBytes() + supervisorBytes + s.target.Reserve
}

// chooseCaps bounds the three regions that HotSpot leaves open or as large as
// the heap. They get a minimum, then what is left up to the usual size, then
// half of the rest; a margin stays for what no flag bounds (malloc, page cache).
func (s *Sizing) chooseCaps(fixed Fixed) {
	least := [3]int64{64 * mib, 48 * mib, 16 * mib} // metaspace, code cache, direct
	usual := [3]int64{192 * mib, 240 * mib, 64 * mib}
	if s.Limit < smallLimit {
		usual = [3]int64{128 * mib, 128 * mib, 64 * mib}
	}
	given := [3]*int64{fixed.Metaspace, fixed.CodeCache, fixed.Direct}
	left := s.Limit - s.Heap - s.fixedBytes(s.Heap)
	var caps [3]int64
	var want int64
	for i := range caps {
		caps[i] = least[i]
		if given[i] != nil {
			caps[i] = *given[i]
		} else {
			want += usual[i] - least[i]
		}
		left -= caps[i]
	}
	if left > 0 && want > 0 {
		have := min(left, want)
		for i := range caps {
			if given[i] == nil {
				more := (usual[i] - least[i]) * have / want
				more -= more % mib
				caps[i] += more
				left -= more
			}
		}
	}
	if spare := left - min(left/2, s.Limit/20); spare >= 2*mib {
		half := spare / 2
		half -= half % mib
		for _, i := range []int{0, 2} {
			if given[i] == nil {
				caps[i] += half
			}
		}
	}
	s.Metaspace, s.CodeCache, s.Direct = caps[0], caps[1], caps[2]
}

// budget lists every region; what is left over is the last one.
func (s *Sizing) budget() Budget {
	t := s.target.threads()
	b := Budget{
		{"heap", s.Heap, s.heapWhy},
		{"metaspace", s.Metaspace, "MaxMetaspaceSize"},
		{"code cache", s.CodeCache, "ReservedCodeCacheSize"},
		{"direct memory", s.Direct, "MaxDirectMemorySize"},
		{"thread stacks", t * s.Stack, fmt.Sprintf("%d threads (connectors and 30 more) of %d KiB", t, s.Stack/1024)},
		{"VM threads", s.vmThreads() * mib, fmt.Sprintf("%d of 1 MiB", s.vmThreads())},
		{"GC structures", s.gcBytes(s.Heap), fmt.Sprintf("%s, %.3g %% of the heap and a base", s.Collector, s.gcShare()*100)},
		{"JVM base", s.baseBytes(), "symbols, class archive, arenas, malloc"},
		{"stoker", supervisorBytes, "init and supervisor"},
	}
	if s.target.Reserve > 0 {
		b = append(b, Region{"reserve", s.target.Reserve, "jobs and sessions"})
	}
	if left := s.Limit - b.Sum(); left > 0 {
		b = append(b, Region{"margin", left, "page cache, JNI libraries, heap of malloc"})
	}
	return b
}
