package jvm

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Profile is a named flavor: the sizes that were bought, and its numbers of the rule. Sizes are text such as "512MiB"; an
// absent one has its default.
type Profile struct {
	Name  string `yaml:"name"`
	Match Match  `yaml:"match"`

	CPUs   float64 `yaml:"cpus"`   // as Flavor has it
	Memory string  `yaml:"memory"` // as Flavor has it

	OffHeapShare  float64 `yaml:"off_heap_share"` // of the memory, below 1; 0.2 otherwise
	OffHeapMin    string  `yaml:"off_heap_min"`   // 800MiB otherwise
	OffHeapMax    string  `yaml:"off_heap_max"`   // 2GiB otherwise
	SmallLimit    string  `yaml:"small_limit"`    // below it half is heap; twice OffHeapMin otherwise
	SmallOffHeap  string  `yaml:"small_off_heap"` // at least beside that half; 256MiB otherwise
	SmallestLimit string  `yaml:"smallest_limit"` // below it nothing is started; 384MiB otherwise
	Stack         string  `yaml:"stack"`          // of one thread
	Threads       int     `yaml:"threads"`        // all Java threads; maxThreads and 30 otherwise
	Metaspace     string  `yaml:"metaspace"`      // the cap
	CodeCache     string  `yaml:"code_cache"`     // the cap
	Direct        string  `yaml:"direct"`         // the cap
	Reserve       string  `yaml:"reserve"`        // instead of Config.Reserve
	Collector     string  `yaml:"collector"`      // Serial, Parallel, G1, ...: what is between Use and GC
}

// ValueError is an error in one key of a Profile.
type ValueError struct {
	Key     string // such as "off_heap_min"; a dotted path in sections
	Message string
}

// numbers are those of the rule, in bytes where nothing else is said.
type numbers struct {
	offHeapShare                        float64
	offHeapMin, offHeapMax              int64 // the bounds of the memory beside the heap
	smallLimit, smallOffHeap, smallest  int64
	stack, metaspace, codeCache, direct *int64
	reserve                             *int64
	threads                             int
	collector                           string // such as UseG1GC
}

// Check returns all errors in the profile's values.
func (p Profile) Check() []ValueError {
	_, faults := p.numbers()
	return faults
}

// numbers are the usual ones with those of the profile in their place.
func (p Profile) numbers() (n numbers, faults []ValueError) {
	r := &profileReader{}
	n.offHeapMin = r.sizeOr("off_heap_min", p.OffHeapMin, 800*mib)
	n.offHeapMax = r.sizeOr("off_heap_max", p.OffHeapMax, max(2048*mib, n.offHeapMin))
	n.smallLimit = r.sizeOr("small_limit", p.SmallLimit, 2*n.offHeapMin) // the minimum would be more than half below
	n.smallOffHeap = r.sizeOr("small_off_heap", p.SmallOffHeap, 256*mib)
	n.smallest = r.sizeOr("smallest_limit", p.SmallestLimit, 384*mib)
	n.offHeapShare = cmp.Or(p.OffHeapShare, 0.2)
	if n.offHeapMax < n.offHeapMin {
		r.bad("off_heap_max", "%s is below off_heap_min, %s", mibText(n.offHeapMax), mibText(n.offHeapMin))
	}
	if n.smallLimit <= n.offHeapMin {
		r.bad("small_limit", "%s leaves no heap beside off_heap_min, %s", mibText(n.smallLimit), mibText(n.offHeapMin))
	}
	if n.smallest < n.smallOffHeap+minHeap {
		r.bad("smallest_limit", "%s leaves no heap beside small_off_heap, %s", mibText(n.smallest), mibText(n.smallOffHeap))
	}
	if !(n.offHeapShare > 0 && n.offHeapShare < 1) {
		r.bad("off_heap_share", "%g is no share of the memory: a number between 0 and 1, such as 0.2", n.offHeapShare)
	}
	r.size("memory", p.Memory, 0, maxBytes) // used as a flavor's
	n.reserve = r.size("reserve", p.Reserve, 0, maxBytes)
	n.metaspace, n.direct = r.size("metaspace", p.Metaspace, mib, maxBytes), r.size("direct", p.Direct, mib, maxBytes)
	n.codeCache = r.size("code_cache", p.CodeCache, 3*mib, maxCodeCache)
	n.stack = r.size("stack", p.Stack, minStack, maxStack)
	if n.threads = p.Threads; n.threads < 0 || n.threads > maxThreads {
		r.bad("threads", "%d is no number of threads", n.threads)
	}
	r.cpus("cpus", p.CPUs)
	if p.Collector != "" {
		n.collector = "Use" + p.Collector + "GC"
		if !slices.Contains(strings.Fields(collectors), n.collector) {
			r.bad("collector", "%q is no collector: write Serial, Parallel, G1, Z, Shenandoah, Epsilon", p.Collector)
		}
	}
	p.Match.check(r)
	return n, r.faults
}

// profileReader reads the values of a profile and collects their errors.
type profileReader struct{ faults []ValueError }

func (r *profileReader) bad(key, format string, args ...any) {
	r.faults = append(r.faults, ValueError{key, fmt.Sprintf(format, args...)})
}

func (r *profileReader) cpus(key string, n float64) {
	if !(n >= 0 && n <= maxCPUs) {
		r.bad(key, "%g is no number of CPUs", n)
	}
}

// size reads a size in bytes; nil for none and for a bad one.
func (r *profileReader) size(key, text string, least, most int64) *int64 {
	if text == "" {
		return nil
	}
	n, err := boundedMemory(text, most)
	switch {
	case err != nil:
		r.bad(key, "%s", err)
		return nil
	case n < least:
		r.bad(key, "%s is below the smallest that a JVM starts with, %d KiB", text, least/1024)
		return nil
	}
	if least >= mib {
		n -= n % mib // as the option is written
	}
	return &n
}

// sizeOr is size with another one where none is given.
func (r *profileReader) sizeOr(key, text string, usual int64) int64 {
	if n := r.size(key, text, 0, maxBytes); n != nil {
		return *n
	}
	return usual
}
