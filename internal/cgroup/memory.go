package cgroup

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// noLimit is the smallest v1 number that means no limit. The kernel writes the largest multiple of its page size: 9223372036854771712
// for 4 KiB pages, ...759424 for 16 KiB, ...710272 for 64 KiB.
const noLimit = 1 << 62

// readMemory compares the smallest limit of the chain with the machine's memory.
func (r *reader) readMemory(c chain) {
	var limit *int64
	source := ""
	take := func(n int64, file string) {
		if limit == nil || n < *limit {
			limit, source = &n, file
		}
	}
	walked := c.version != 1
	for _, dir := range c.dirs {
		name := "memory.limit_in_bytes"
		if c.version == 2 {
			name = "memory.max"
		}
		file := path.Join(dir, name)
		if n, ok := r.bytesOf(file); ok {
			take(n, file)
		}
		// The kernel's value includes ancestors that are invisible here; the leaf's file is the most complete one.
		if !walked {
			n, limited, file, ok := r.hierarchicalLimit(dir)
			if walked = ok; limited {
				take(n, file)
			}
		}
	}
	l := &r.limits
	total, haveTotal := r.memTotal()
	if limit != nil && (!haveTotal || *limit < total) {
		l.MemoryLimit, l.Sources.MemoryLimit = limit, source
		l.EffectiveMemory, l.Sources.EffectiveMemory = limit, source
	} else if haveTotal {
		l.EffectiveMemory, l.Sources.EffectiveMemory = &total, "/proc/meminfo"
	} else {
		r.warn(MemoryUnreadable, "cannot find any memory limit nor the machine's memory")
	}
	if c.version == 2 {
		r.readHigh(c.dirs)
	}
}

// MemoryInUse returns the memory that is in use where l has its limit, in bytes, without what the kernel can drop at once. ok is false
// without a limit, and if the numbers are unreadable.
func MemoryInUse(root string, l Limits) (used int64, ok bool) {
	if l.MemoryLimit == nil {
		return 0, false
	}
	r, err := open(root)
	if err != nil {
		return 0, false
	}
	defer func() { _ = r.root.Close() }()
	dir := path.Dir(l.Sources.MemoryLimit)
	for file, unused := range map[string]string{"memory.current": "inactive_file ", "memory.usage_in_bytes": "total_inactive_file "} {
		text, err := r.read(path.Join(dir, file))
		if err != nil {
			continue
		}
		stat, _ := r.read(path.Join(dir, "memory.stat"))
		droppable, _ := field(stat, unused)
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if drop, dropErr := strconv.ParseInt(droppable, 10, 64); err == nil && dropErr == nil {
			return max(n-drop, 0), true
		}
	}
	return 0, false
}

// readHigh finds the smallest memory.high, and warns of each below the limit, at which the kernel throttles.
func (r *reader) readHigh(dirs []string) {
	l := &r.limits
	for _, dir := range dirs {
		file := path.Join(dir, "memory.high")
		n, ok := r.bytesOf(file)
		if ok && (l.MemoryHigh == nil || n < *l.MemoryHigh) {
			l.MemoryHigh, l.Sources.MemoryHigh = &n, file
		}
		if ok && (l.EffectiveMemory == nil || n < *l.EffectiveMemory) {
			r.warn(MemoryHighBelowMax, "%s is %d bytes: the kernel throttles above it although the limit is higher", file, n)
		}
	}
}

// bytesOf reads a limit file; ok is false without a limit, and after a warning if it is unreadable.
func (r *reader) bytesOf(file string) (int64, bool) {
	text, ok := r.readOr(MemoryUnreadable, file)
	if !ok {
		return 0, false
	}
	n, ok, err := parseLimit(text)
	if err != nil {
		r.warn(MemoryMalformed, "%s holds %s, not a number of bytes", file, shorten(text))
	}
	return n, ok
}

// parseLimit parses a number of bytes; ok is false for every form of no limit.
func parseLimit(text string) (n int64, ok bool, err error) {
	if text == "max" || text == "-1" {
		return 0, false, nil
	}
	u, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("cannot read limit %q: %w", text, err)
	}
	if u >= noLimit {
		return 0, false, nil
	}
	if u == 0 {
		return 0, false, fmt.Errorf("cannot use a limit of 0 bytes")
	}
	return int64(u), true, nil
}

// hierarchicalLimit reads hierarchical_memory_limit of v1's memory.stat. ok is false if it is missing or
// malformed, and limited is false if it means no limit.
func (r *reader) hierarchicalLimit(dir string) (n int64, limited bool, file string, ok bool) {
	file = path.Join(dir, "memory.stat")
	text, _ := r.readOr(MemoryUnreadable, file)
	value, ok := field(text, "hierarchical_memory_limit ")
	if !ok {
		return 0, false, "", false
	}
	n, limited, err := parseLimit(value)
	if err != nil {
		r.warn(MemoryMalformed, "hierarchical_memory_limit of %s is %s", file, shorten(value))
	}
	return n, limited, file, err == nil
}

// memTotal reads the machine's memory in bytes.
func (r *reader) memTotal() (int64, bool) {
	const file = "/proc/meminfo"
	text, _ := r.readOr(MemoryUnreadable, file)
	value, ok := field(text, "MemTotal:")
	if !ok {
		return 0, false
	}
	if f := strings.Fields(value); len(f) == 2 && f[1] == "kB" {
		if kb, err := strconv.ParseInt(f[0], 10, 64); err == nil && kb > 0 && kb < noLimit>>10 {
			return kb << 10, true
		}
	}
	r.warn(MemoryMalformed, "MemTotal of %s is %s", file, shorten(value))
	return 0, false
}
