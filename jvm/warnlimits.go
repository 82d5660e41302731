package jvm

import (
	"fmt"
	"slices"
)

// Codes of the warnings of limits that no option of the JVM can respect.
const (
	ThreadsLimited  = "threads-limited"
	MemoryThrottled = "memory-throttled"
)

// stokerThreads are the processes and threads of stoker itself, 12 of the init and 15 of the supervisor.
const stokerThreads = 27

// limitWarnings compares pids.max with the threads of the budget, and memory.high with what the JVM may use of it.
func (s *Sizing) limitWarnings(l Limits) (out []Problem) {
	java, vm := s.threads(), s.vmThreads()
	if need := java + vm + stokerThreads; l.PIDs > 0 && need > l.PIDs {
		out = append(out, Problem{ThreadsLimited, fmt.Sprintf("pids.max is %d, and %d are needed: %d threads of connectors and application, "+
			"%d of the JVM, %d of stoker; raise it (docker run --pids-limit), or lower maxThreads", l.PIDs, need, java, vm, stokerThreads)})
	}
	if sum := s.Budget.Needed(); l.MemoryHigh > 0 && sum > l.MemoryHigh && !s.unlimited {
		out = append(out, Problem{MemoryThrottled, fmt.Sprintf("memory.high is %s, and the regions may use %s: the kernel slows the JVM down "+
			"from there on, long before the limit; raise memory.high, or set jvm.flavor.memory to it", mibText(l.MemoryHigh), mibText(sum))})
	}
	return out
}

// Needed returns the bytes of all regions but what is left over.
func (b Budget) Needed() int64 {
	return slices.DeleteFunc(slices.Clone(b), func(r Region) bool { return r.Region == margin }).Sum()
}

// kernelRows are the rows of limits that only cause warnings.
func kernelRows(l Limits, b Budget) (rows [][]string) {
	if l.MemoryHigh > 0 {
		rows = append(rows, []string{"memory.high", mibText(l.MemoryHigh), "the kernel throttles above it"})
	}
	if l.PIDs > 0 {
		source := "pids.max"
		if k := slices.IndexFunc(b, func(r Region) bool { return r.Region == threadStacks }); k >= 0 {
			source += ", for " + b[k].Why
		}
		rows = append(rows, []string{"processes and threads", fmt.Sprint(l.PIDs), source})
	}
	return rows
}
