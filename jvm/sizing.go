package jvm

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
)

const mib = 1 << 20

const (
	serverMemory    = 1792 * mib // below, HotSpot itself takes SerialGC
	supervisorBytes = 20 * mib
	minHeap         = 8 * mib // below, nothing is worth starting
	smallStack      = 256 << 10
	halfStack       = 512 << 10
	maxThreads      = 1 << 20
	maxCPUs         = 1 << 16
	maxBytes        = 1 << 50 // more than any container has; sums of such sizes do not overflow
	// HotSpot's own bounds.
	minStack     = 136 << 10
	maxStack     = 1 << 30
	maxCodeCache = 2 << 30
	// HotSpot's default heap is at least this, where that is not more than MinRAMPercentage.
	leastDefaultHeap = 126 * mib
	// compressedHeap is where compressed object pointers end; HotSpot's default heap stays below.
	compressedHeap = 32 << 30
)

// Limits are the CPUs and the memory of the container.
type Limits struct {
	// CPUs is the number of CPUs that the JVM should see; below 1 means 1.
	CPUs int
	// CPUQuota is the quota in cores; nil: none.
	CPUQuota *float64
	// Memory is the effective memory in bytes; 0: it could not be found, and
	// nothing is sized.
	Memory int64
	// Unlimited says that no limit is set, and Memory is the machine's.
	Unlimited bool
	// MemoryHigh is the smallest memory.high in bytes, above which the kernel throttles; 0: none.
	MemoryHigh int64
	// PIDs is the most processes and threads that the container may have; 0: no limit.
	PIDs int64
	// MemorySource and CPUSource name the file that each came from.
	MemorySource, CPUSource string
}

// Target is the JVM and the application that options are made for.
type Target struct {
	JavaMajor   int    // 0: unknown
	JavaVersion string // as in the release file; has the update of Java 8
	Arch        string // as in the release file; empty: x86_64
	Libc        string // gnu or musl, as in the release file; empty: gnu
	MaxThreads  int    // of the connectors; 0: Tomcat's 200
	// Flags are those that the JVM itself prints, by name; nil: it was not asked, and
	// the lists of the versions are used.
	Flags map[string]FlagInfo
}

// FlagInfo is type and kind of a -XX flag as -XX:+PrintFlagsFinal prints them: "size_t", "C2
// diagnostic".
type FlagInfo struct{ Type, Kind string }

// Fixed are the sizes that higher layers have decided; nil and "" leave them to
// the rule.
type Fixed struct {
	Heap, Metaspace, CodeCache, Direct, Stack *int64 // bytes
	CPUs, GCThreads                           *int64 // ActiveProcessorCount, ParallelGCThreads
	Collector                                 string // such as UseG1GC
	By                                        string // the options that set heap, metaspace, code cache and direct memory
	ConcGC                                    bool   // ConcGCThreads is set, and must not be above GCThreads
	NettyCounts                               bool   // Netty may count direct memory on its own
}

// boundedMemory is ParseMemory for a size that must not be above most.
func boundedMemory(text string, most int64) (int64, error) {
	n, err := ParseMemory(text)
	if err == nil && n > most {
		return 0, fmt.Errorf("cannot use a size of %s: the most is %s", text, mibText(most))
	}
	return n, err
}

// Sizing is the division of a container by the rule.
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
	fixed      Fixed
	rules      Rules
	numbers    numbers
	profile    string  // named in reasons; empty: none
	reserve    int64   // bytes
	cores      float64 // what CPUs was rounded up from
	parallelGC int     // GC threads
	extraGC    cost    // of the collector and its threads, beyond that of the rule's own choice
	unlimited  bool    // there is no limit: Limit is the machine's memory
	gcFixed    bool    // parallelGC is set by a higher layer
	floored    bool    // parallelGC is of cores rounded down
	bare       bool    // caps and stacks are left to the JVM, but for those of a profile
}

// Size divides the smaller of limits and flavor. It fails, with a
// *DoesNotFitError, a container in which nothing useful fits; a heap that is not
// the rule's to choose turns that into a warning. It fails for a policy that
// cannot be read.
func Size(limits Limits, policy Policy, target Target, fixed Fixed) (Sizing, error) {
	s := Sizing{CPUs: max(limits.CPUs, 1), Limit: min(limits.Memory, maxBytes), cores: limits.cores(), target: target, rules: policy.Rules,
		fixed: fixed, unlimited: limits.Unlimited && limits.Memory > 0}
	s.limitWhy, s.cpuWhy = "of "+orUnknown(limits.MemorySource), "from "+orUnknown(limits.CPUSource)
	if limits.CPUQuota != nil {
		s.cpuWhy = fmt.Sprintf("%g cores rounded up, from %s", *limits.CPUQuota, orUnknown(limits.CPUSource))
	}
	if err := s.applyPolicy(policy, limits); err != nil {
		return s, err
	}
	if s.fixed.CPUs != nil {
		s.CPUs = int(*s.fixed.CPUs)
	}
	if s.unlimited {
		s.leaveToJVM()
	}
	s.chooseCollector(limits, policy.CPUs)
	if s.Limit <= 0 {
		s.chooseStack()
		s.warn(MemoryUnknown, "cannot find how much memory there is; the JVM's own defaults hold")
		return s, nil
	}
	s.share()
	ours := s.ownHeap()
	if s.usable() < s.numbers.smallest || ours && s.Heap < minHeap {
		if ours {
			return s.doesNotFit()
		}
		s.warn(Adjusted, "%s %s is below the smallest workable limit, %s; it is tried because the heap is not the rule's to choose",
			mibText(s.Limit), s.limitWhy, mibText(s.numbers.smallest+s.reserve))
	}
	s.checkBudget()
	if ours && s.Heap >= compressedHeap {
		s.warn(Adjusted, "a heap of 32 GiB or more has no compressed object pointers; 31 GiB may hold as much")
	}
	return s, nil
}

// checkBudget warns where the regions do not fit, or where a region has no bound.
func (s *Sizing) checkBudget() {
	sum := s.Budget.Sum()
	switch over := sum - s.Limit; {
	case over > 0 && s.bare && !s.unlimited:
		s.warn(BudgetExceeded, "the regions add up to %s, %s more than the limit of %s: beside %s there is no room for the caps that a usual "+
			"application needs, so the rule gives no caps, no stack size and no start of the heap; %s", mibText(sum), mibText(over),
			mibText(s.Limit), cmp.Or(s.fixed.By, "a heap of "+mibText(s.Heap)), s.remedy())
		return
	case over > 0:
		s.warn(BudgetExceeded, "the regions add up to %s, %s more than the limit of %s", mibText(sum), mibText(over), mibText(s.Limit))
	}
	if open := s.Budget.Unbounded(); len(open) > 0 && !s.unlimited {
		s.warn(BudgetUnbounded, "the sum has no bound: %s without a cap", strings.Join(open, " and "))
	}
}

// leaveToJVM switches the rules off that share a limit out: without one all the memory of
// the machine would go to one heap. What a profile decides stays.
func (s *Sizing) leaveToJVM() {
	off := false
	s.rules.Heap, s.bare = &off, true
	if s.fixed.Heap == nil {
		s.warn(MemoryUnlimited, "there is no memory limit: the JVM's own default sizes its heap, up to a quarter of the machine's %s; "+
			"give the container a limit (docker run -m 2g, resources.limits.memory), or set jvm.flavor.memory", mibText(s.Limit))
	}
}

// usable is the limit less the reserve.
func (s *Sizing) usable() int64 { return s.Limit - s.reserve }

// small reports whether the container is one of those that are shared half and half.
func (s *Sizing) small() bool { return s.usable() < s.numbers.smallLimit }

// share fills in every size and the table for s.Limit.
func (s *Sizing) share() {
	s.chooseStack()
	s.giveWay(s.chooseHeap())
	s.fitStack()
	s.chooseCaps()
	s.Budget = s.budget()
}

// doesNotFit finds the smallest container that works for this application (many
// threads need more than 384 MiB) and shows what would be in it.
func (s Sizing) doesNotFit() (Sizing, error) {
	refused := &DoesNotFitError{Limit: s.Limit, Source: s.limitWhy}
	limit := s.Limit
	s.limitWhy = "of the smallest container that works"
	for s.Limit = s.numbers.smallest + s.reserve; ; s.Limit += 16 * mib {
		s.share()
		// Caps that need 64 GiB more fit into no real machine.
		if s.Heap >= minHeap && s.Budget.Sum() <= s.Limit || s.usable() > s.numbers.smallest+64<<30 {
			break
		}
	}
	refused.Smallest, refused.Budget = s.Limit, s.Budget
	s.Limit = limit
	return s, refused
}

func (s *Sizing) warn(code, format string, args ...any) {
	s.Warnings = append(s.Warnings, Problem{code, fmt.Sprintf(format, args...)})
}

func orUnknown(source string) string { return cmp.Or(source, "an unknown source") }

// applyPolicy takes the numbers of the policy and its profile, and lowers the
// limits to what was bought.
func (s *Sizing) applyPolicy(p Policy, limits Limits) error {
	if p.Reserve != "" {
		n, err := boundedMemory(p.Reserve, maxBytes)
		if err != nil {
			return fmt.Errorf("cannot use jvm.reserve: %w", err)
		}
		s.reserve = n
	}
	profile := cmp.Or(p.Profile, &Profile{})
	n, faults := profile.numbers()
	if len(faults) > 0 {
		return fmt.Errorf("cannot use flavor %q: %s: %s", profile.Name, faults[0].Key, faults[0].Message)
	}
	s.numbers, s.profile = n, profile.Name
	if n.reserve != nil {
		s.reserve = *n.reserve
	}
	flavor := Flavor{Memory: cmp.Or(p.Flavor.Memory, profile.Memory), CPUs: cmp.Or(p.Flavor.CPUs, profile.CPUs)}
	return s.applyFlavor(flavor, limits)
}

// applyFlavor lowers the limits to what was bought, and says where they differ.
func (s *Sizing) applyFlavor(f Flavor, limits Limits) error {
	if f.Memory != "" {
		n, err := ParseMemory(f.Memory)
		if err != nil {
			return fmt.Errorf("cannot use flavor: %w", err)
		}
		if limits.Memory > 0 && n != limits.Memory && (!limits.Unlimited || n > limits.Memory) {
			s.warn(Adjusted, "the flavor's memory is %s, %s says %s; the smaller one is used", mibText(n), orUnknown(limits.MemorySource),
				mibText(limits.Memory))
		}
		if limits.Memory <= 0 || n < limits.Memory {
			s.Limit, s.limitWhy = min(n, maxBytes), "of the flavor"
		}
		s.unlimited = false
	}
	if f.CPUs < 0 || math.IsNaN(f.CPUs) || f.CPUs > maxCPUs {
		return fmt.Errorf("cannot use flavor: %g is no number of CPUs", f.CPUs)
	}
	if f.CPUs > 0 {
		n := max(int(math.Ceil(f.CPUs)), 1)
		if n != s.CPUs {
			s.warn(Adjusted, "the flavor has %g CPUs, %s says %d; the smaller one is used", f.CPUs, orUnknown(limits.CPUSource), s.CPUs)
		}
		if n < s.CPUs || limits.CPUs < 1 {
			s.CPUs, s.cpuWhy = n, "of the flavor"
		}
		s.cores = min(s.cores, f.CPUs)
		if limits.CPUs < 1 && limits.CPUQuota == nil {
			s.cores = f.CPUs
		}
	}
	return nil
}

// ofProfile is the reason for a number that the profile has.
func (s *Sizing) ofProfile() string { return fmt.Sprintf("of the flavor %q", s.profile) }

// chooseHeap applies the rule: memory - clamp(20 %, 800 MiB, 2 GiB); half of a
// small container, but 256 MiB beside the heap; less where the collector's own
// structures do not fit into 2 GiB, and the result is the one before that. A profile has other numbers.
func (s *Sizing) chooseHeap() (rule int64) {
	m, n := s.usable(), s.numbers
	text := fmt.Sprintf("%s %s", mibText(s.Limit), s.limitWhy)
	if s.reserve > 0 {
		text += fmt.Sprintf(" less %s set aside", mibText(s.reserve))
	}
	of := ""
	if s.profile != "" {
		of = ", " + s.ofProfile()
	}
	switch {
	case s.fixed.Heap != nil:
		s.Heap, s.heapWhy = *s.fixed.Heap, "set by a higher layer"
		return s.Heap
	case !on(s.rules.Heap):
		s.Heap, s.heapWhy = min(s.defaultHeap(), compressedHeap), "the rule is switched off: the JVM's own default"
		if s.unlimited {
			s.heapWhy = "no limit: the JVM's own default, a quarter of the machine's memory"
		}
		return s.Heap
	case s.small():
		s.Heap = max(min(m/2, m-n.smallOffHeap), 0)
		s.heapWhy = fmt.Sprintf("half of %s, at least %s beside it%s", text, mibText(n.smallOffHeap), of)
		s.Heap = wholeMiB(s.Heap)
		return s.Heap
	}
	off := min(max(int64(float64(m)*n.offHeapShare), n.offHeapMin), n.offHeapMax)
	s.Heap = m - off
	rule = s.Heap
	s.heapWhy = fmt.Sprintf("%s less %s (%.3g %%, at least %s, at most %s%s)", text, mibText(off),
		n.offHeapShare*100, mibText(n.offHeapMin), mibText(n.offHeapMax), of)
	if off == n.offHeapMax {
		// The collector's memory grows with the heap: solve heap + share * heap + the rest = limit.
		_, usual := s.capSums()
		rest := s.fixedRegions(0).Sum() + usual
		if most := max(int64(float64(s.Limit-rest)/(1+s.gcCost().share)), 0); most < s.Heap {
			s.Heap = most
			s.heapWhy = fmt.Sprintf("%s less what %s needs for a heap of this size", text, s.Collector)
		}
	}
	s.Heap = wholeMiB(s.Heap)
	return rule
}

// update returns the update number of a Java 8 version such as 1.8.0_412; 0: there is none.
func (t Target) update() int {
	_, after, _ := strings.Cut(t.JavaVersion, "_")
	digits, _, _ := strings.Cut(after, "-")
	n, _ := strconv.Atoi(digits)
	return n
}

// mibText writes bytes as MiB with at most one decimal.
func mibText(n int64) string {
	return strings.TrimSuffix(strconv.FormatFloat(float64(n)/mib, 'f', 1, 64), ".0") + " MiB"
}
