// Package cgroup determines the CPU and memory limits of a process tree: cgroup v1, v2 and hybrid, the smallest value over the own
// cgroup and every visible ancestor, with cpuset, affinity and machine size. Tree creates cgroups for services below the own one.
//
// All paths are relative to a root folder, so that a container can be examined from its host and a test can use a few files.
package cgroup

import (
	"fmt"
	"math"
	"slices"
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
	PIDsUnreadable       = "pids-unreadable"
	PIDsMalformed        = "pids-malformed"
)

// Limits are the granted resources. A nil number means that there is no limit; an unreadable one causes a warning and the use of the
// next best source.
type Limits struct {
	// Version is the cgroup version of the cpu controller, or of memory without it; 0 without either.
	Version int `json:"cgroup_version"`
	// CPUQuota is the smallest quota / period, in cores.
	CPUQuota *float64 `json:"cpu_quota_cores"`
	// CPUSet is the number of CPUs of the cpuset controller.
	CPUSet *int `json:"cpuset_count"`
	// EffectiveCPUs is the smallest of quota, cpuset, affinity and online
	// CPUs, rounded up as the JVM does, and at least 1.
	EffectiveCPUs int `json:"effective_cpus"`
	// MemoryLimit is the smallest limit in bytes; nil if none is below the machine's memory.
	MemoryLimit *int64 `json:"memory_limit_bytes"`
	// EffectiveMemory is the smaller of MemoryLimit and the machine's memory in bytes; nil if both are unreadable.
	EffectiveMemory *int64 `json:"effective_memory_bytes"`
	// MemoryHigh is the smallest memory.high in bytes, above which the kernel throttles; nil: none, as always on v1.
	MemoryHigh *int64 `json:"memory_high_bytes"`
	// PIDsLimit is the smallest limit of processes and threads; nil: none.
	PIDsLimit *int64 `json:"pids_limit"`
	// Sources names the file of each number.
	Sources Sources `json:"sources"`
	// Warnings is never nil.
	Warnings []Warning `json:"warnings"`
}

// Sources holds, for each number of Limits, the path of its file below the root; empty for no limit.
type Sources struct {
	CPUQuota        string `json:"cpu_quota_cores,omitempty"`
	CPUSet          string `json:"cpuset_count,omitempty"`
	EffectiveCPUs   string `json:"effective_cpus,omitempty"`
	MemoryLimit     string `json:"memory_limit_bytes,omitempty"`
	EffectiveMemory string `json:"effective_memory_bytes,omitempty"`
	MemoryHigh      string `json:"memory_high_bytes,omitempty"`
	PIDsLimit       string `json:"pids_limit,omitempty"`
}

// Warning is a read error or a note for the operator.
type Warning struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Read returns the limits below root; "/" is the live system. It reads nothing outside root. Missing, unreadable or malformed files
// become warnings.
func Read(root string) Limits {
	r, err := open(root)
	if err != nil {
		r = &reader{limits: Limits{EffectiveCPUs: 1, Warnings: []Warning{}}}
		r.warn(CgroupNotVisible, "cannot open root folder: %v; 1 CPU is assumed", err)
		return r.limits
	}
	defer func() { _ = r.root.Close() }()
	cpu, memory := r.limitChain("cpu"), r.limitChain("memory")
	r.limits.Version = r.version(cpu, memory)
	r.readQuota(cpu)
	r.readCPUs(r.limitChain("cpuset"))
	r.readMemory(memory)
	r.readPIDs(r.limitChain("pids"))
	return r.limits
}

// EffectiveMemory returns that of Read, and reads nothing else; nil: it is unreadable.
func EffectiveMemory(root string) *int64 {
	r, err := open(root)
	if err != nil {
		return nil
	}
	defer func() { _ = r.root.Close() }()
	r.readMemory(r.limitChain("memory"))
	return r.limits.EffectiveMemory
}

// readCPUs combines cpuset, affinity, online CPUs and the quota, which must have been read.
func (r *reader) readCPUs(cpuset chain) {
	l := &r.limits
	count, from := 0, ""
	take := func(n int, source string) {
		if n > 0 && (count == 0 || n < count) {
			count, from = n, source
		}
	}
	// The order decides which file is named for equal values.
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
	// Cpus_allowed_list also contains possible CPUs that are offline, and two lists of the same size need not overlap. lxcfs renumbers
	// the online CPUs, so only the counts are comparable there.
	all := intersect(set, affinity)
	if !r.lxcfsCPUs {
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
	if !slices.Contains(r.limits.Warnings, w) {
		r.limits.Warnings = append(r.limits.Warnings, w)
	}
}
