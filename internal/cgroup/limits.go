// Package cgroup finds out what CPU and memory the kernel really grants to a
// process tree: cgroup v1, v2 and hybrid, the smallest value over the own
// cgroup and every ancestor that can be seen, together with cpuset, affinity
// and the machine's own size. It measures no usage. Below the own cgroup it can
// make one for a service (Tree), and changes nothing else.
//
// Everything is read below a root folder, so that a container can be examined
// from its host and a layout can be tested from a handful of files.
package cgroup

import (
	"fmt"
	"math"
	"os"
)

// Codes of the warnings in Limits.
const (
	CPUUnreadable        = "cpu-unreadable"
	CPUMalformed         = "cpu-malformed"
	MemoryUnreadable     = "memory-unreadable"
	MemoryMalformed      = "memory-malformed"
	MemoryHighBelowMax   = "memory-high-below-max"
	PathOutsideNamespace = "path-outside-namespace"
	CgroupNotVisible     = "cgroup-not-visible"
)

// Limits is what the kernel grants. A nil number means that nothing sets it,
// never that it could not be read: that is a warning, and the number comes
// from the next best source.
type Limits struct {
	// Version is 1 or 2, of the hierarchy that carries the cpu controller
	// (memory where cpu is nowhere); 0 where there is neither.
	Version int `json:"cgroup_version"`
	// CPUQuota is the smallest quota / period, in cores.
	CPUQuota *float64 `json:"cpu_quota_cores"`
	// CPUSet is the number of CPUs of the cpuset controller.
	CPUSet *int `json:"cpuset_count"`
	// EffectiveCPUs is the smallest of quota, cpuset, affinity and online
	// CPUs, rounded up as the JVM does, and at least 1.
	EffectiveCPUs int `json:"effective_cpus"`
	// MemoryLimit is the smallest limit in bytes; nil when none is below the
	// machine's memory.
	MemoryLimit *int64 `json:"memory_limit_bytes"`
	// EffectiveMemory is the smaller of MemoryLimit and the machine's memory,
	// in bytes; nil when neither can be read.
	EffectiveMemory *int64 `json:"effective_memory_bytes"`
	// Sources names the file that each number came from.
	Sources Sources `json:"sources"`
	// Warnings is never nil.
	Warnings []Warning `json:"warnings"`
}

// Sources holds, for each number of Limits, the path below the root of the
// file that set it; empty when nothing did.
type Sources struct {
	CPUQuota        string `json:"cpu_quota_cores,omitempty"`
	CPUSet          string `json:"cpuset_count,omitempty"`
	EffectiveCPUs   string `json:"effective_cpus,omitempty"`
	MemoryLimit     string `json:"memory_limit_bytes,omitempty"`
	EffectiveMemory string `json:"effective_memory_bytes,omitempty"`
}

// Warning is something that could not be read or that an operator should know.
type Warning struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Read returns the limits that hold below root; "/" is the live system. It
// reads nothing outside root and always returns something usable: whatever is
// missing, unreadable or garbage becomes a warning.
func Read(root string) Limits {
	r := &reader{limits: Limits{EffectiveCPUs: 1, Warnings: []Warning{}}}
	dir, err := os.OpenRoot(root)
	if err != nil {
		r.warn(CgroupNotVisible, "cannot open root folder: %v; 1 CPU is assumed", err)
		return r.limits
	}
	defer func() { _ = dir.Close() }()
	r.root = dir
	r.readAll()
	return r.limits
}

func (r *reader) readAll() {
	r.findProc()
	h := r.findHierarchies()
	cpu, memory := h.of(r, "cpu"), h.of(r, "memory")
	r.limits.Version = h.version(cpu, memory)
	r.readQuota(cpu)
	r.readCPUs(h.of(r, "cpuset"), h.lxcfsCPUs)
	r.readMemory(memory)
}

// readCPUs combines cpuset, affinity, online CPUs and the quota, which must
// have been read before.
func (r *reader) readCPUs(cpuset chain, lxcfs bool) {
	l := &r.limits
	count, from := 0, ""
	take := func(n int, source string) {
		if n > 0 && (count == 0 || n < count) {
			count, from = n, source
		}
	}
	// The order decides which file is named when two say the same.
	set, source := r.cpusetOf(cpuset)
	if set != nil {
		n := len(set)
		l.CPUSet, l.Sources.CPUSet = &n, source
		take(n, source)
	}
	affinity, source := r.affinity()
	take(len(affinity), source)
	online, n, source := r.online()
	take(n, source)
	// Cpus_allowed_list also names CPUs that are possible but not online, and
	// two lists of the same size need not overlap. lxcfs renumbers the online
	// CPUs, so there only the counts can be compared.
	all := intersect(set, affinity)
	if !lxcfs {
		all = intersect(all, online)
	}
	if n := len(all); n > 0 && n < count {
		count = n
	}
	if l.CPUQuota != nil && (count == 0 || *l.CPUQuota < float64(count)) {
		count, from = int(math.Ceil(*l.CPUQuota)), l.Sources.CPUQuota
	}
	if count < 1 {
		count = 1
		r.warn(CPUUnreadable, "cannot find the number of CPUs in any file; 1 is assumed")
	}
	l.EffectiveCPUs, l.Sources.EffectiveCPUs = count, from
}

func (r *reader) warn(code, format string, args ...any) {
	w := Warning{Code: code, Message: fmt.Sprintf(format, args...)}
	for _, old := range r.limits.Warnings {
		if old == w {
			return
		}
	}
	r.limits.Warnings = append(r.limits.Warnings, w)
}
