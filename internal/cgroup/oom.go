package cgroup

import (
	"os"
	"path"
	"strconv"
	"strings"
)

// OOMKills returns the number of OOM kills in the cgroups at dirs (paths below root), or without dirs in the own cgroup of this
// process. A kill is counted in the cgroup of the process, whichever limit was hit, and on v2 also in all ancestors; on v1 a service's
// cgroup is not counted with the container's.
//
// source names the files. ok is false if one is unreadable: v1 counts since Linux 4.13. Two counts are comparable if their sources are
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

// oomKills reads the counter of one cgroup: memory.events of v2, memory.oom_control of v1. memory.events.local is used where
// memory.events is hidden.
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

// oomKillLine parses "oom_kill N"; other lines have the same prefix.
func oomKillLine(text string) (uint64, bool) {
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, "oom_kill "); found {
			n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
