package cgroup

import (
	"cmp"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/containerd/cgroups/v3"
	"github.com/stoker-init/stoker/internal/mounts"
)

// unified stands for a controller: it is the hierarchy of v2.
const unified = ""

// chain lists the folders of one controller: own cgroup first, then every visible ancestor. version is 1 or 2, or 0 without the
// controller.
type chain struct {
	version int
	dirs    []string
}

// findHierarchies reads proc/self/mountinfo and proc/self/cgroup.
func (r *reader) findHierarchies() {
	text, err := r.read(r.proc + "/mountinfo")
	visible, bad := parseMountinfo(text)
	switch {
	case err != nil:
		r.warn(CgroupNotVisible, "cannot read /%s/mountinfo: %v; the usual mount points are tried", r.proc, cause(err))
	case bad > 0:
		r.warn(CgroupNotVisible, "cannot read %d lines of /%s/mountinfo", bad, r.proc)
	}
	for _, m := range visible {
		switch {
		case m.FSType == "cgroup" || m.FSType == "cgroup2":
			r.mounts = append(r.mounts, m)
		case m.FSType == "fuse.lxcfs" && strings.HasPrefix(m.Mountpoint, "/sys/devices/system/cpu"):
			r.lxcfsCPUs = true
		}
	}
	if err != nil || len(visible) == 0 || bad > 0 {
		r.addUsualMounts()
	}
	text, err = r.read(r.proc + "/cgroup")
	if err == nil && text == "" {
		err = errors.New("the file is empty")
	}
	r.own, bad = parseCgroupFile(text)
	switch {
	case err != nil && len(r.mounts) > 0:
		r.warn(CgroupNotVisible, "cannot read the own cgroup from /%s/cgroup: %v; mount points are read", r.proc, cause(err))
	case bad > 0:
		r.warn(CgroupNotVisible, "cannot read %d lines of /%s/cgroup", bad, r.proc)
	}
}

// parseCgroupFile returns the own cgroup of every v1 controller and of unified. The parser of containerd/cgroups stops at the first
// bad line, so it is called for each line.
func parseCgroupFile(text string) (own map[string]string, bad int) {
	own = map[string]string{}
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		found, v2, err := cgroups.ParseCgroupFromReaderUnified(strings.NewReader(strings.TrimRight(line, "\r\n")))
		if err != nil {
			bad++
			continue
		}
		if v2 != "" {
			found[unified] = v2
		}
		for controller, dir := range found {
			if strings.HasPrefix(dir, "/") {
				own[controller] = dir
			} else {
				bad++
			}
		}
	}
	return own, bad
}

// addUsualMounts adds controllers that mountinfo lacks from the usual mount points.
func (r *reader) addUsualMounts() {
	found := slices.Clone(r.mounts)
	for _, u := range r.usualMounts() {
		if !slices.ContainsFunc(found, func(m *mounts.Mount) bool {
			has := func(controller string) bool { return controller != unified && isOf(m, controller) }
			return m.Mountpoint == u.Mountpoint || slices.ContainsFunc(strings.Split(u.VFSOptions, ","), has)
		}) {
			r.mounts = append(r.mounts, u)
		}
	}
}

// usualMounts returns the usual mount points, for an unusable mountinfo.
func (r *reader) usualMounts() []*mounts.Mount {
	const base = "/sys/fs/cgroup"
	if r.exists(base + "/cgroup.controllers") {
		return []*mounts.Mount{{Root: "/", Mountpoint: base, FSType: "cgroup2"}}
	}
	var usual []*mounts.Mount
	for _, dir := range []string{"cpu,cpuacct", "cpu", "cpuset", "memory"} {
		if r.isDir(base + "/" + dir) {
			usual = append(usual, &mounts.Mount{Root: "/", Mountpoint: base + "/" + dir, FSType: "cgroup", VFSOptions: dir})
		}
	}
	if r.exists(base+"/memory.max") || r.exists(base+"/cpu.max") {
		usual = append(usual, &mounts.Mount{Root: "/", Mountpoint: base, FSType: "cgroup2"})
	}
	return usual
}

// version returns the version of the hierarchy of the cpu controller, else of memory.
func (r *reader) version(cpu, memory chain) int {
	version := cmp.Or(cpu.version, memory.version)
	if version == 0 && len(r.mounts) > 0 && !slices.ContainsFunc(r.mounts, func(m *mounts.Mount) bool { return m.FSType == "cgroup" }) {
		return 2
	}
	return version
}

// chain returns the folders of a controller. A controller is in one hierarchy only: one mounted by v1 is not in v2.
func (r *reader) chain(controller string) chain {
	if dirs := r.dirs(controller); dirs != nil {
		return chain{1, dirs}
	}
	if dirs := r.dirs(unified); r.carries(dirs, controller) {
		return chain{2, dirs}
	}
	return chain{}
}

// limitChain is chain without InitLeaf, whose limits are copies.
func (r *reader) limitChain(controller string) chain {
	c := r.chain(controller)
	if len(c.dirs) > 1 && path.Base(c.dirs[0]) == InitLeaf {
		c.dirs = c.dirs[1:]
	}
	return c
}

// carries reports whether a v2 hierarchy has the controller at any level; on hybrid systems it has none.
func (r *reader) carries(dirs []string, controller string) bool {
	probe := map[string]string{"cpu": "cpu.max", "memory": "memory.max", "cpuset": "cpuset.cpus.effective", "pids": "pids.max"}[controller]
	for _, d := range dirs {
		text, err := r.read(d + "/cgroup.controllers")
		if err == nil && containsWord(text, controller) {
			return true
		}
		if r.exists(d + "/" + probe) {
			return true
		}
	}
	return false
}

func containsWord(text, word string) bool { return slices.Contains(strings.Fields(text), word) }

// dirs returns the folders of the own cgroup, leaf first; nil if the controller is not mounted. Every mount that shows a part of the
// chain is used. Otherwise the mount point is the best guess, since in a container it is the own cgroup.
func (r *reader) dirs(controller string) (dirs []string) {
	found := slices.DeleteFunc(slices.Clone(r.mounts), func(m *mounts.Mount) bool { return !isOf(m, controller) })
	if len(found) == 0 {
		return nil
	}
	own, known := r.own[controller]
	for _, m := range found {
		if !known {
			break
		}
		for _, d := range r.chainIn(m, own) {
			if !slices.Contains(dirs, d) {
				dirs = append(dirs, d)
			}
		}
	}
	if len(dirs) > 0 {
		return dirs
	}
	m := found[max(slices.IndexFunc(found, isUsualMount), 0)]
	switch {
	case !known:
	case strings.HasPrefix(own, "/..") || strings.HasPrefix(m.Root, "/.."):
		r.warn(PathOutsideNamespace, "own cgroup %s is outside the cgroup namespace; %s is read", own, m.Mountpoint)
	default:
		r.warn(CgroupNotVisible, "own cgroup %s cannot be seen below %s; %s is read", own, m.Mountpoint, m.Mountpoint)
	}
	return []string{m.Mountpoint}
}

func isUsualMount(m *mounts.Mount) bool { return strings.HasPrefix(m.Mountpoint, "/sys/fs/cgroup") }

// chainIn returns own and its ancestors below one mount, or nil if the mount shows another part of the hierarchy.
func (r *reader) chainIn(m *mounts.Mount, own string) []string {
	if strings.HasPrefix(own, "/..") || strings.HasPrefix(m.Root, "/..") {
		return nil
	}
	root := strings.TrimSuffix(m.Root, "/")
	rel := strings.TrimPrefix(own, root)
	if !strings.HasPrefix(own, root) || (rel != "" && rel[0] != '/') {
		return nil
	}
	rel = path.Clean("/" + rel)
	if rel != "/" && !r.isDir(m.Mountpoint+rel) {
		// A path of the host: the part that exists here is an ancestor, or else the mount point, which a container sees as its own
		// cgroup.
		for rel != "/" && !r.isDir(m.Mountpoint+rel) {
			rel = path.Dir(rel)
		}
		if rel == "/" {
			return nil
		}
		r.warn(CgroupNotVisible, "own cgroup %s cannot be seen below %s; %s is read", own, m.Mountpoint, m.Mountpoint+rel)
	}
	var dirs []string
	for ; rel != "/"; rel = path.Dir(rel) {
		dirs = append(dirs, path.Join(m.Mountpoint, rel))
	}
	return append(dirs, m.Mountpoint)
}
