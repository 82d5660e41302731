package jvm

import (
	"fmt"
	"strings"
)

// Key identifies what the options follow from: CPUs, quota and memory.
func (l Limits) Key() string {
	return fmt.Sprintf("cpus %d, %g cores, memory %d, unlimited %t", l.CPUs, l.cores(), l.Memory, l.Unlimited)
}

// Changes describes what differs from earlier limits, such as "the memory limit is 2 GiB now (it was 1 GiB)"; empty: nothing that options
// follow from.
func (l Limits) Changes(before Limits) string {
	var out []string
	switch {
	case l.Unlimited && !before.Unlimited:
		out = append(out, fmt.Sprintf("there is no memory limit now (it was %s)", SizeText(before.Memory)))
	case before.Unlimited && !l.Unlimited:
		out = append(out, fmt.Sprintf("the memory limit is %s now (there was none)", SizeText(l.Memory)))
	case l.Memory != before.Memory:
		out = append(out, fmt.Sprintf("the memory limit is %s now (it was %s)", SizeText(l.Memory), SizeText(before.Memory)))
	}
	switch {
	case l.CPUs != before.CPUs:
		out = append(out, fmt.Sprintf("the number of CPUs is %d now (it was %d)", l.CPUs, before.CPUs))
	case l.cores() != before.cores():
		out = append(out, fmt.Sprintf("the CPU quota is %g cores now (it was %g)", l.cores(), before.cores()))
	}
	return strings.Join(out, ", ")
}

// canShrink reports whether the collector was measured to give memory back on request if the heap is begun with InitialHeapSize and
// MaxHeapFreeRatio=100, and to leave the heap alone otherwise.
func (s *Sizing) canShrink() bool {
	return s.Collector == "UseG1GC" && s.target.JavaMajor >= 11 || s.Collector == "UseParallelGC" && s.target.JavaMajor >= 26
}

// SizeText writes bytes as GiB where that is exact, otherwise as MiB with at most one decimal.
func SizeText(n int64) string {
	if n > 0 && n%(1024*mib) == 0 {
		return fmt.Sprintf("%d GiB", n/(1024*mib))
	}
	return mibText(n)
}
