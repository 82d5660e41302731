package cgroup

import (
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
	r, err := open(root)
	if err != nil {
		return 0, "", false
	}
	defer func() { _ = r.root.Close() }()
	if len(dirs) == 0 {
		own := r.chain("memory").dirs
		if len(own) == 0 {
			return 0, "", false
		}
		dirs = own[:1]
	}
	var files []string
	for _, d := range dirs {
		n, file, found := r.oomKills(d)
		switch {
		case found:
			count += n
			files = append(files, file)
		case !r.isDir(d) || r.exists(path.Join(d, "memory.oom_control")):
			return 0, "", false
		} // else it is of another controller of v1
	}
	return count, strings.Join(files, ", "), len(files) > 0
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
		value, _ := field(text, "oom_kill ") // other lines begin with oom_kill too
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			return n, file, true
		}
	}
	return 0, "", false
}
