package config

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// rlimitNames are the resource limits of setrlimit(2), without RLIMIT_.
func rlimitNames() []string {
	return []string{"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
		"rtprio", "rttime", "sigpending", "stack"}
}

// capabilityNames are the names of capabilities(7), without CAP_.
func capabilityNames() []string {
	return []string{"ALL", "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN",
		"DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE",
		"MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP",
		"SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT",
		"SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM"}
}

// rlimitFault says what is wrong with a resource limit's value: "1024",
// "1024:4096" (soft and hard) or "unlimited".
func rlimitFault(value string) (message, hint string) {
	const forms = `write "1024", "1024:4096" (soft and hard) or "unlimited"`
	first, second, both := strings.Cut(value, ":")
	soft, ok := rlimitNumber(first)
	if !ok {
		return quote("", value) + " is not a limit", forms
	}
	if !both {
		return "", ""
	}
	hard, ok := rlimitNumber(second)
	switch {
	case !ok:
		return quote("", value) + " is not a limit", forms
	case soft > hard:
		return fmt.Sprintf("the soft limit %s is above the hard one, %s", first, second), "write the soft one first"
	}
	return "", ""
}

// rlimitNumber reads one limit; the kernel's word for none is the highest number.
func rlimitNumber(s string) (uint64, bool) {
	if s == "unlimited" {
		return math.MaxUint64, true
	}
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n != math.MaxUint64
}

// validIONice knows "idle", "best-effort", "best-effort:0" to ":7" and
// "realtime:0" to ":7".
func validIONice(s string) bool {
	class, level, leveled := strings.Cut(s, ":")
	digit := len(level) == 1 && level[0] >= '0' && level[0] <= '7'
	switch class {
	case "idle":
		return !leveled
	case "best-effort":
		return !leveled || digit
	case "realtime":
		return digit
	}
	return false
}

// validCapability takes a name with or without CAP_, in capitals or not.
func validCapability(s string) bool {
	_, found := slices.BinarySearch(capabilityNames(), capability(s))
	return found
}

func capability(s string) string { return strings.TrimPrefix(strings.ToUpper(s), "CAP_") }

// limits checks what the kernel is told about a service's processes.
func (v *validator) limits(path string, s Service) {
	rlimits := join(path, "rlimits")
	for _, name := range slices.Sorted(maps.Keys(s.Rlimits)) {
		at := join(rlimits, name)
		if !slices.Contains(rlimitNames(), name) {
			v.bad(at, didYouMean(strings.TrimPrefix(strings.ToLower(name), "rlimit_"), rlimitNames()), "%s is not a resource limit", quote("", bounded(name)))
			continue
		}
		if message, hint := rlimitFault(s.Rlimits[name]); message != "" {
			v.bad(at, hint, "%s", message)
		}
	}
	v.between(join(path, "nice"), s.Nice, -20, 19)
	v.between(join(path, "oom_score_adj"), s.OOMScoreAdj, -1000, 1000)
	if at := join(path, "ionice"); s.IONice != "" && !validIONice(s.IONice) {
		v.bad(at, "write idle, best-effort, best-effort:0 to :7, or realtime:0 to :7", "%s is not a class of I/O", quote("", s.IONice))
	}
	for i, name := range s.DropCapabilities {
		if !validCapability(name) {
			v.bad(index(join(path, "drop_capabilities"), i), didYouMean(capability(name), capabilityNames()), "%s is not a capability", quote("", name))
		}
	}
	cgroup := join(path, "cgroup")
	// Written so that NaN fails too.
	if at := join(cgroup, "cpus"); !(s.Cgroup.CPUs > 0) && (s.Cgroup.CPUs != 0 || v.isSet(at)) {
		v.bad(at, "remove the key for no limit of its own", "%v is not above 0", s.Cgroup.CPUs)
	}
	v.size(join(cgroup, "memory"), s.Cgroup.Memory)
}

func (v *validator) between(path string, n *int, low, high int) {
	if n != nil && (*n < low || *n > high) {
		v.bad(path, "", "%d is not between %d and %d", *n, low, high)
	}
}
