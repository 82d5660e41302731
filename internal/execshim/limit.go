package execshim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Rlimit is a resource limit of a process, in the kernel's unit for it.
type Rlimit struct {
	Name     string `json:"name"` // "nofile"
	Resource int    `json:"resource"`
	Soft     uint64 `json:"soft"` // unix.RLIM_INFINITY: no limit
	Hard     uint64 `json:"hard"`
}

// rlimits are the numbers of the limits and what they count, by their names in setrlimit(2) and prlimit(1).
var rlimits = map[string]struct {
	number int
	unit   string
}{
	"as": {unix.RLIMIT_AS, "bytes"}, "core": {unix.RLIMIT_CORE, "bytes"}, "cpu": {unix.RLIMIT_CPU, "seconds"},
	"data": {unix.RLIMIT_DATA, "bytes"}, "fsize": {unix.RLIMIT_FSIZE, "bytes"}, "locks": {unix.RLIMIT_LOCKS, "pieces"},
	"memlock": {unix.RLIMIT_MEMLOCK, "bytes"}, "msgqueue": {unix.RLIMIT_MSGQUEUE, "bytes"},
	"nice": {unix.RLIMIT_NICE, "steps of priority"}, "nofile": {unix.RLIMIT_NOFILE, "the highest descriptor and one"},
	"nproc": {unix.RLIMIT_NPROC, "processes and threads of the user"}, "rss": {unix.RLIMIT_RSS, "bytes"},
	"rtprio": {unix.RLIMIT_RTPRIO, "steps of priority"}, "rttime": {unix.RLIMIT_RTTIME, "microseconds"},
	"sigpending": {unix.RLIMIT_SIGPENDING, "pieces"}, "stack": {unix.RLIMIT_STACK, "bytes"},
}

// ParseRlimit reads a limit: the name as in prlimit(1) or setrlimit(2) ("nofile",
// "RLIMIT_NOFILE"), the value "1024", "1024:4096" (soft and hard) or "unlimited".
func ParseRlimit(name, value string) (Rlimit, error) {
	l := Rlimit{Name: strings.TrimPrefix(strings.ToLower(name), "rlimit_")}
	known, ok := rlimits[l.Name]
	if !ok {
		return l, fmt.Errorf("there is no limit %.40q; the limits are %s", name, strings.Join(slices.Sorted(maps.Keys(rlimits)), ", "))
	}
	l.Resource = known.number
	soft, hard, two := strings.Cut(value, ":")
	if !two {
		hard = soft
	}
	var err error
	if l.Soft, err = parseLimit(l.Name, soft); err != nil {
		return l, err
	}
	if l.Hard, err = parseLimit(l.Name, hard); err != nil {
		return l, err
	}
	if l.Soft > l.Hard {
		return l, fmt.Errorf("the soft limit of %s, %s, is above the hard one, %s", l.Name, soft, hard)
	}
	return l, nil
}

// ParseRlimits reads a set of limits, in the order of their names.
func ParseRlimits(set map[string]string) ([]Rlimit, error) {
	var out []Rlimit
	for name, value := range set {
		l, err := ParseRlimit(name, value)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b Rlimit) int { return a.Resource - b.Resource })
	return out, nil
}

// parseLimit reads one number; the largest one is the kernel's "no limit".
func parseLimit(name, text string) (uint64, error) {
	if text == "unlimited" || text == "infinity" {
		return unix.RLIM_INFINITY, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || text[0] == '+' || n == unix.RLIM_INFINITY {
		return 0, fmt.Errorf(`%.40q is not a limit of %s: write a number, SOFT:HARD or "unlimited"; it counts %s`, text, name, rlimits[name].unit)
	}
	return n, nil
}

// Classes of ioprio_set(2), in the upper bits of its value.
const (
	ioRealtime   = 1
	ioBestEffort = 2
	ioIdle       = 3
	ioClassShift = 13
)

// ParseIONice reads "idle", "best-effort", "best-effort:0" to ":7" or
// "realtime:0" to ":7", and gives the value of ioprio_set(2).
func ParseIONice(text string) (int, error) {
	class, level, leveled := strings.Cut(text, ":")
	n := 4 // the kernel's own default
	if leveled {
		if len(level) != 1 || level[0] < '0' || level[0] > '7' {
			return 0, fmt.Errorf("%.40q is not a level of I/O priority: they go from 0, the first, to 7", level)
		}
		n = int(level[0] - '0')
	}
	switch class {
	case "idle":
		if !leveled {
			return ioIdle << ioClassShift, nil
		}
		return 0, fmt.Errorf("the I/O priority idle has no levels; write idle")
	case "best-effort":
		return ioBestEffort<<ioClassShift | n, nil
	case "realtime":
		return ioRealtime<<ioClassShift | n, nil
	}
	return 0, fmt.Errorf("%.40q is not an I/O priority: write idle, best-effort, best-effort:0 to :7, or realtime:0 to :7", text)
}

// ParseUmask reads an umask: octal digits, with or without 0 or 0o before them, at most 0777.
func ParseUmask(s string) (int, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if err != nil {
		return 0, fmt.Errorf("cannot read umask %.60q: it is not an octal number", s)
	}
	if n > 0o777 {
		return 0, fmt.Errorf("cannot read umask %.60q: it is above 0777", s)
	}
	return int(n), nil
}
