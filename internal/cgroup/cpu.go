package cgroup

import (
	"fmt"
	"maps"
	"path"
	"strconv"
	"strings"
)

// maxCPU bounds CPU numbers in lists; NR_CPUS of Linux is at most 8192.
const maxCPU = 1 << 16

// readQuota reads the smallest CPU quota of the chain: "150000 100000" or "max 100000" in cpu.max of v2, and on v1 two files, of
// which the quota -1 means none.
func (r *reader) readQuota(c chain) {
	name, none := "cpu.cfs_quota_us", "-1"
	if c.version == 2 {
		name, none = "cpu.max", "max"
	}
	for _, dir := range c.dirs {
		file := path.Join(dir, name)
		text, ok := r.readOr(CPUUnreadable, file)
		quota, period, _ := strings.Cut(text, " ")
		if !ok || quota == none && (period != "" || c.version == 1) {
			continue
		}
		if c.version == 1 {
			var err error
			if period, err = r.read(path.Join(dir, "cpu.cfs_period_us")); err != nil {
				r.warn(CPUUnreadable, "cannot read the period of %s: %v", file, cause(err))
				continue
			}
			text += " " + period
		}
		cores, err := ratio(quota, period)
		switch {
		case err != nil:
			r.warn(CPUMalformed, "%s holds %s, not a quota and a period", file, shorten(text))
		case r.limits.CPUQuota == nil || cores < *r.limits.CPUQuota:
			r.limits.CPUQuota, r.limits.Sources.CPUQuota = &cores, file
		}
	}
}

func ratio(quota, period string) (float64, error) {
	q, errQ := strconv.ParseInt(quota, 10, 64)
	p, errP := strconv.ParseInt(period, 10, 64)
	if errQ != nil || errP != nil || q <= 0 || p <= 0 {
		return 0, fmt.Errorf("quota %q and period %q must be numbers above 0", quota, period)
	}
	return float64(q) / float64(p), nil
}

// cpusetOf returns the smallest cpuset of the chain and its file. The effective list is preferred: the configured one may be empty
// (inherited) or contain offline CPUs.
func (r *reader) cpusetOf(c chain) (set map[int]bool, source string) {
	names := []string{"cpuset.effective_cpus", "cpuset.cpus"}
	if c.version == 2 {
		names = []string{"cpuset.cpus.effective", "cpuset.cpus"}
	}
	for _, dir := range c.dirs {
		for _, name := range names {
			file := path.Join(dir, name)
			s, ok := r.cpuList(file)
			if !ok {
				continue
			}
			if both := intersect(set, s); set == nil || (len(both) > 0 && len(both) < len(set)) {
				set, source = both, file
			}
			break
		}
	}
	return set, source
}

// affinity returns the CPUs of Cpus_allowed_list in proc/self/status.
func (r *reader) affinity() (map[int]bool, string) {
	file := "/" + r.proc + "/status"
	text, _ := r.readOr(CPUUnreadable, file)
	list, ok := field(text, "Cpus_allowed_list:")
	if !ok {
		return nil, ""
	}
	set, err := parseCPUList(list)
	if err != nil {
		r.warn(CPUMalformed, "Cpus_allowed_list of %s holds %s", file, shorten(list))
		return nil, ""
	}
	return set, file
}

// online returns the online CPUs, or only their number from proc/cpuinfo.
func (r *reader) online() (set map[int]bool, n int, source string) {
	const file = "/sys/devices/system/cpu/online"
	if set, ok := r.cpuList(file); ok {
		return set, len(set), file
	}
	text, ok := r.readOr(CPUUnreadable, "/proc/cpuinfo")
	if !ok {
		return nil, 0, ""
	}
	for line := range strings.Lines(text) {
		key, _, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) == "processor" {
			n++
		}
	}
	return nil, n, "/proc/cpuinfo"
}

// cpuList reads a CPU list; ok is false for an empty one.
func (r *reader) cpuList(file string) (map[int]bool, bool) {
	text, ok := r.readOr(CPUUnreadable, file)
	if !ok || text == "" {
		return nil, false
	}
	set, err := parseCPUList(text)
	if err != nil {
		r.warn(CPUMalformed, "%s holds %s, not a list of CPUs", file, shorten(text))
		return nil, false
	}
	return set, true
}

// parseCPUList parses the kernel's form "0-3,8".
func parseCPUList(text string) (map[int]bool, error) {
	set := map[int]bool{}
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, errA := strconv.Atoi(first)
		b, errB := strconv.Atoi(last)
		if errA != nil || errB != nil || a < 0 || b < a || b >= maxCPU {
			return nil, fmt.Errorf("cannot read CPU list %q", text)
		}
		for ; a <= b; a++ {
			set[a] = true
		}
	}
	return set, nil
}

// intersect returns the common CPUs; a nil set is unrestricted.
func intersect(a, b map[int]bool) map[int]bool {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	both := maps.Clone(a)
	maps.DeleteFunc(both, func(cpu int, _ bool) bool { return !b[cpu] })
	return both
}

// shorten quotes file content for a one-line warning.
func shorten(text string) string {
	if len(text) > 40 {
		text = text[:40] + "..."
	}
	return strconv.Quote(text)
}
