package cgroup

import (
	"os"
	"path"
	"strconv"
	"strings"
)

// OOMKills says how many processes the kernel's OOM killer has ended in the
// cgroups at dirs (paths below root), or with none in the own cgroup of this
// process. A kill is counted in the cgroup that the process was in, whichever
// limit was hit, and on v2 in all that contain it as well; on v1 the cgroup of
// a service is not counted with the container's.
//
// source names the files. ok is false where one of them cannot be read: v1
// counts since Linux 4.13. Two numbers can be compared if their sources are
// equal.
func OOMKills(root string, dirs ...string) (count uint64, source string, ok bool) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return 0, "", false
	}
	defer func() { _ = dir.Close() }()
	r := &reader{limits: Limits{Warnings: []Warning{}}, root: dir}
	if len(dirs) == 0 {
		r.findProc()
		h := r.findHierarchies()
		own := h.of(r, "memory")
		if len(own.dirs) == 0 {
			return 0, "", false
		}
		dirs = own.dirs[:1]
	}
	var files []string
	for _, d := range dirs {
		n, file, found := r.oomKills(d)
		if !found {
			return 0, "", false
		}
		count += n
		files = append(files, file)
	}
	return count, strings.Join(files, ", "), true
}

// oomKills reads one cgroup's counter: memory.events of v2, memory.oom_control of
// v1. memory.events.local has it where the other is hidden.
func (r *reader) oomKills(dir string) (count uint64, file string, ok bool) {
	for _, name := range []string{"memory.events", "memory.events.local", "memory.oom_control"} {
		file := path.Join("/", dir, name)
		text, err := r.read(file)
		if err != nil {
			continue
		}
		if n, ok := oomKillLine(text); ok {
			return n, file, true
		}
	}
	return 0, "", false
}

// oomKillLine finds "oom_kill N"; other lines begin alike.
func oomKillLine(text string) (uint64, bool) {
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, "oom_kill "); found {
			n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
