package jvm

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

const mib = 1 << 20

// Bounds of the heap rule, in bytes.
const (
	minOffHeap      = 800 * mib  // the rule's lower bound
	maxOffHeap      = 2048 * mib // the rule's upper bound
	smallLimit      = 1600 * mib // below: half and half
	smallOffHeap    = 256 * mib
	smallestLimit   = 384 * mib
	serverMemory    = 1792 * mib // below, HotSpot itself takes SerialGC
	supervisorBytes = 20 * mib
)

// Limits is what the container has.
type Limits struct {
	// CPUs is the number of CPUs that the JVM shall see; below 1 counts as 1.
	CPUs int
	// CPUQuota is the quota in cores; nil: none.
	CPUQuota *float64
	// Memory is the effective memory in bytes; 0: it could not be found, and
	// nothing is sized.
	Memory int64
	// MemorySource and CPUSource name the file that each came from.
	MemorySource, CPUSource string
}

// Target is the JVM and the application that options are made for.
type Target struct {
	JavaMajor   int    // 0: unknown, treated as a current one
	JavaVersion string // as in the release file; tells updates of 8 apart
	Arch        string // as in the release file; empty: x86_64
	MaxThreads  int    // of the connectors; 0: Tomcat's 200
	Reserve     int64  // bytes set aside for jobs and sessions
}

// Fixed are the sizes that higher layers have decided; nil and "" leave them to
// the rule.
type Fixed struct {
	Heap, Metaspace, CodeCache, Direct, Stack *int64 // bytes
	Collector                                 string // such as UseG1GC
	CPUs                                      *int   // ActiveProcessorCount
}

// Sizing is what the rule makes of a container.
type Sizing struct {
	Limit      int64 // bytes that are shared out
	CPUs       int
	Heap       int64 // bytes, as all sizes here
	Metaspace  int64
	CodeCache  int64
	Direct     int64
	Stack      int64
	Collector  string // such as UseG1GC
	Budget     Budget
	Warnings   []Problem
	heapWhy    string
	stackWhy   string
	limitWhy   string
	cpuWhy     string
	gcWhy      string
	target     Target
	parallelGC int // GC threads
}

// Size shares out the smaller of limits and flavor. It refuses, with a
// *RefusedError, a container in which nothing useful fits; a heap fixed by a
// higher layer turns that into a warning. It fails for a flavor that cannot be
// read.
func Size(limits Limits, flavor Flavor, target Target, fixed Fixed) (Sizing, error) {
	s := Sizing{CPUs: max(limits.CPUs, 1), Limit: limits.Memory, target: target}
	s.limitWhy, s.cpuWhy = "of "+orUnknown(limits.MemorySource), "from "+orUnknown(limits.CPUSource)
	if limits.CPUQuota != nil {
		s.cpuWhy = fmt.Sprintf("%g cores rounded up, from %s", *limits.CPUQuota, orUnknown(limits.CPUSource))
	}
	if err := s.applyFlavor(flavor, limits); err != nil {
		return s, err
	}
	if fixed.CPUs != nil && *fixed.CPUs > 0 {
		s.CPUs = *fixed.CPUs
	}
	s.chooseCollector(fixed, limits)
	s.chooseStack(fixed)
	if s.Limit <= 0 {
		s.Warnings = append(s.Warnings, Problem{MemoryUnknown, "cannot find how much memory there is; the JVM's own defaults hold"})
		return s, nil
	}
	refused := s.Limit < smallestLimit
	if refused && fixed.Heap == nil {
		return s.refuse(fixed)
	}
	s.share(fixed)
	if over := s.Budget.Sum() - s.Limit; over > 0 {
		s.Warnings = append(s.Warnings, Problem{BudgetExceeded, fmt.Sprintf(
			"the regions add up to %s, %s more than the limit of %s", mibText(s.Budget.Sum()), mibText(over), mibText(s.Limit))})
	}
	return s, nil
}

// share fills in every size and the table for s.Limit.
func (s *Sizing) share(fixed Fixed) {
	s.chooseHeap(fixed)
	s.chooseCaps(fixed)
	s.Budget = s.budget()
}

// refuse finds the smallest container that works for this application (many
// threads need more than 384 MiB) and shows what would be in it.
func (s Sizing) refuse(fixed Fixed) (Sizing, error) {
	refused := &RefusedError{Limit: s.Limit, Source: s.limitWhy}
	limit := s.Limit
	s.limitWhy = "of the smallest container that works"
	for s.Limit = smallestLimit; ; s.Limit += 16 * mib {
		s.share(fixed)
		// Beyond 64 GiB the reserve or the caps were no sizes of this world.
		if s.Budget.Sum() <= s.Limit || s.Limit > 64<<30 {
			break
		}
	}
	refused.Smallest, refused.Budget = s.Limit, s.Budget
	s.Limit = limit
	return s, refused
}

func orUnknown(source string) string {
	if source == "" {
		return "an unknown source"
	}
	return source
}

// applyFlavor lowers the limits to what was bought, and says where they differ.
func (s *Sizing) applyFlavor(f Flavor, limits Limits) error {
	if f.Memory != "" {
		n, err := ParseMemory(f.Memory)
		if err != nil {
			return fmt.Errorf("cannot use flavor: %w", err)
		}
		if limits.Memory > 0 && n != limits.Memory {
			s.Warnings = append(s.Warnings, Problem{Adjusted, fmt.Sprintf(
				"the flavor's memory is %s, %s says %s; the smaller counts", mibText(n), orUnknown(limits.MemorySource), mibText(limits.Memory))})
		}
		if limits.Memory <= 0 || n < limits.Memory {
			s.Limit, s.limitWhy = n, "of the flavor"
		}
	}
	if f.CPUs < 0 || math.IsNaN(f.CPUs) || f.CPUs > 1<<16 {
		return fmt.Errorf("cannot use flavor: %g is no number of CPUs", f.CPUs)
	}
	if f.CPUs > 0 {
		n := max(int(math.Ceil(f.CPUs)), 1)
		if n != s.CPUs {
			s.Warnings = append(s.Warnings, Problem{Adjusted, fmt.Sprintf(
				"the flavor has %g CPUs, %s says %d; the smaller counts", f.CPUs, orUnknown(limits.CPUSource), s.CPUs)})
		}
		if n < s.CPUs || limits.CPUs < 1 {
			s.CPUs, s.cpuWhy = n, "of the flavor"
		}
	}
	return nil
}

// chooseCollector takes the one that HotSpot itself would take, but says so:
// the JVM decides by rounded CPUs and would flip at the next change.
func (s *Sizing) chooseCollector(fixed Fixed, limits Limits) {
	switch {
	case fixed.Collector != "":
		s.Collector, s.gcWhy = fixed.Collector, "set by a higher layer"
	case s.CPUs < 2:
		s.Collector, s.gcWhy = "UseSerialGC", "1 CPU"
	case s.Limit > 0 && s.Limit < serverMemory:
		s.Collector, s.gcWhy = "UseSerialGC", "less than 1792 MiB"
	case s.target.JavaMajor == 8:
		s.Collector, s.gcWhy = "UseParallelGC", "2 or more CPUs and 1792 MiB or more, Java 8"
	default:
		s.Collector, s.gcWhy = "UseG1GC", "2 or more CPUs and 1792 MiB or more"
	}
	if q := limits.CPUQuota; q != nil && *q < 2 && s.CPUs == 2 && fixed.Collector == "" {
		s.gcWhy += fmt.Sprintf("; stated because %g cores count as 2", *q)
	}
	if s.Collector == "UseSerialGC" || s.Collector == "UseEpsilonGC" {
		return
	}
	s.parallelGC = s.CPUs
	if s.CPUs > 8 {
		s.parallelGC = 8 + (s.CPUs-8)*5/8
	}
}

func (s *Sizing) chooseStack(fixed Fixed) {
	s.Stack, s.stackWhy = 256*1024, "a small stack for each of many threads; deep recursion needs more"
	switch s.target.Arch {
	case "", "x86_64", "amd64", "aarch64", "arm64":
	default:
		s.Stack, s.stackWhy = 512*1024, "the smallest stack is larger on "+s.target.Arch
	}
	if fixed.Stack != nil {
		s.Stack = *fixed.Stack
	}
}

// chooseHeap applies the rule: memory - clamp(20 %, 800 MiB, 2 GiB); half of a
// small container, but 256 MiB beside the heap; less where the collector's own
// structures do not fit into 2 GiB.
func (s *Sizing) chooseHeap(fixed Fixed) {
	m := s.Limit
	if fixed.Heap != nil {
		s.Heap, s.heapWhy = *fixed.Heap, "set by a higher layer"
		return
	}
	if m < smallLimit {
		s.Heap = min(m/2, m-smallOffHeap)
		s.heapWhy = fmt.Sprintf("half of %s %s, at least 256 MiB beside it", mibText(m), s.limitWhy)
		s.Heap -= s.Heap % mib
		return
	}
	off := min(max(m/5, minOffHeap), maxOffHeap)
	s.Heap = m - off
	s.heapWhy = fmt.Sprintf("%s %s less %s (20 %%, at least 800 MiB, at most 2 GiB)", mibText(m), s.limitWhy, mibText(off))
	if off == maxOffHeap {
		// gcBytes grows with the heap: solve heap + gc(heap) + the rest = m.
		rest := s.fixedBytes(0) + 496*mib // the usual caps
		if most := int64(float64(m-rest) / (1 + s.gcShare())); most < s.Heap {
			s.Heap = most
			s.heapWhy = fmt.Sprintf("%s %s less what %s needs for a heap of this size", mibText(m), s.limitWhy, s.Collector)
		}
	}
	s.Heap -= s.Heap % mib
	if s.Heap >= 32<<30 {
		s.Warnings = append(s.Warnings, Problem{Adjusted, "a heap of 32 GiB or more has no compressed object pointers; 31 GiB may hold as much"})
	}
}

// update returns the update number of a Java 8 version such as 1.8.0_412.
func (t Target) update() int {
	_, after, _ := strings.Cut(t.JavaVersion, "_")
	n, err := strconv.Atoi(strings.SplitN(after, "-", 2)[0])
	if err != nil {
		return 0
	}
	return n
}

// mibText writes bytes as MiB with at most one decimal.
func mibText(n int64) string {
	return strings.TrimSuffix(strconv.FormatFloat(float64(n)/mib, 'f', 1, 64), ".0") + " MiB"
}
