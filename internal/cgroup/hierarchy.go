package cgroup

import (
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/containerd/cgroups/v3"
)

// hierarchies holds the mounts of the controllers and the cgroups of this process.
type hierarchies struct {
	mounts    []mount           // cgroup and cgroup2 only
	legacy    map[string]string // v1 controller -> own cgroup
	unified   string            // own cgroup of v2
	lxcfsCPUs bool              // sys/devices/system/cpu is lxcfs's
}

// chain lists the folders of one controller: own cgroup first, then every visible ancestor. version is 1 or 2, or 0 without the
// controller.
type chain struct {
	version int
	dirs    []string
}

// findHierarchies reads proc/self/mountinfo and proc/self/cgroup.
func (r *reader) findHierarchies() hierarchies {
	h := hierarchies{legacy: map[string]string{}}
	text, err := r.read(r.proc + "/mountinfo")
	mounts, bad := parseMountinfo(text)
	switch {
	case err != nil:
		r.warn(CgroupNotVisible, "cannot read /%s/mountinfo: %v; the usual mount points are tried", r.proc, cause(err))
	case bad > 0:
		r.warn(CgroupNotVisible, "cannot read %d lines of /%s/mountinfo", bad, r.proc)
	}
	for _, m := range mounts {
		switch {
		case m.fstype == "cgroup" || m.fstype == "cgroup2":
			h.mounts = append(h.mounts, m)
		case m.fstype == "fuse.lxcfs" && strings.HasPrefix(m.point, "/sys/devices/system/cpu"):
			h.lxcfsCPUs = true
		}
	}
	if err != nil || len(mounts) == 0 || bad > 0 {
		h.addUsualMounts(r)
	}
	text, err = r.read(r.proc + "/cgroup")
	if err != nil || text == "" {
		if len(h.mounts) > 0 {
			r.warn(CgroupNotVisible, "cannot read the own cgroup from /%s/cgroup: %s; mount points are read", r.proc, orEmpty(err))
		}
		return h
	}
	legacy, unified, bad := parseCgroupFile(text)
	if bad > 0 {
		r.warn(CgroupNotVisible, "cannot read %d lines of /%s/cgroup", bad, r.proc)
	}
	h.legacy, h.unified = legacy, unified
	return h
}

func orEmpty(err error) string {
	if err == nil {
		return "the file is empty"
	}
	return cause(err).Error()
}

// parseCgroupFile returns the own cgroup of every v1 controller and of v2. The parser of containerd/cgroups stops at the first bad
// line, so it is called for each line.
func parseCgroupFile(text string) (legacy map[string]string, unified string, bad int) {
	legacy = map[string]string{}
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		l, u, err := cgroups.ParseCgroupFromReaderUnified(strings.NewReader(strings.TrimRight(line, "\r\n")))
		if err != nil || (u != "" && !strings.HasPrefix(u, "/")) {
			bad++
			continue
		}
		for k, v := range l {
			if !strings.HasPrefix(v, "/") {
				bad++
				continue
			}
			legacy[k] = v
		}
		if u != "" {
			unified = u
		}
	}
	return legacy, unified, bad
}

// addUsualMounts adds controllers that mountinfo lacks from the usual mount points.
func (h *hierarchies) addUsualMounts(r *reader) {
	found := slices.Clone(h.mounts)
	for _, u := range r.usualMounts() {
		if !slices.ContainsFunc(found, func(m mount) bool {
			return m.point == u.point || slices.ContainsFunc(u.options, m.has)
		}) {
			h.mounts = append(h.mounts, u)
		}
	}
}

// usualMounts returns the usual mount points, for an unusable mountinfo.
func (r *reader) usualMounts() []mount {
	const base = "/sys/fs/cgroup"
	if r.exists(base + "/cgroup.controllers") {
		return []mount{{root: "/", point: base, fstype: "cgroup2"}}
	}
	var mounts []mount
	for _, dir := range []string{"cpu,cpuacct", "cpu", "cpuset", "memory"} {
		if r.isDir(base + "/" + dir) {
			mounts = append(mounts, mount{root: "/", point: base + "/" + dir, fstype: "cgroup", options: strings.Split(dir, ",")})
		}
	}
	if r.exists(base+"/memory.max") || r.exists(base+"/cpu.max") {
		mounts = append(mounts, mount{root: "/", point: base, fstype: "cgroup2"})
	}
	return mounts
}

// version returns the version of the hierarchy of the cpu controller, else of memory.
func (h hierarchies) version(cpu, memory chain) int {
	for _, c := range []chain{cpu, memory} {
		if c.version != 0 {
			return c.version
		}
	}
	legacy := false
	for _, m := range h.mounts {
		legacy = legacy || m.fstype == "cgroup"
	}
	if len(h.mounts) > 0 && !legacy {
		return 2
	}
	return 0
}

// of returns the folders of a controller. A controller is in one hierarchy only: one mounted by v1 is not in v2.
func (h hierarchies) of(r *reader, controller string) chain {
	var mounts []mount
	for _, m := range h.mounts {
		if m.has(controller) {
			mounts = append(mounts, m)
		}
	}
	if len(mounts) > 0 {
		own, known := h.legacy[controller]
		return chain{version: 1, dirs: r.resolve(mounts, own, known)}
	}
	for _, m := range h.mounts {
		if m.fstype == "cgroup2" {
			mounts = append(mounts, m)
		}
	}
	if len(mounts) == 0 {
		return chain{}
	}
	dirs := r.resolve(mounts, h.unified, h.unified != "")
	if !r.carries(dirs, controller) {
		return chain{}
	}
	return chain{version: 2, dirs: dirs}
}

// carries reports whether a v2 hierarchy has the controller at any level; on hybrid systems it has none.
func (r *reader) carries(dirs []string, controller string) bool {
	probe := map[string]string{"cpu": "cpu.max", "memory": "memory.max", "cpuset": "cpuset.cpus.effective"}[controller]
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

func containsWord(text, word string) bool {
	for _, f := range strings.Fields(text) {
		if f == word {
			return true
		}
	}
	return false
}

// resolve returns the folders of the own cgroup, leaf first. Every mount that shows a part of the chain is used. Otherwise the mount
// point is the best guess, since in a container it is the own cgroup.
func (r *reader) resolve(mounts []mount, own string, known bool) []string {
	var dirs []string
	seen := map[string]bool{}
	if known {
		for _, m := range mounts {
			for _, d := range r.chainIn(m, own) {
				if !seen[d] {
					seen[d] = true
					dirs = append(dirs, d)
				}
			}
		}
	}
	if len(dirs) > 0 {
		return dirs
	}
	sort.SliceStable(mounts, func(i, j int) bool { return isUsualMount(mounts[i]) && !isUsualMount(mounts[j]) })
	point := mounts[0].point
	switch {
	case !known:
	case strings.HasPrefix(own, "/..") || strings.HasPrefix(mounts[0].root, "/.."):
		r.warn(PathOutsideNamespace, "own cgroup %s is outside the cgroup namespace; %s is read", own, point)
	default:
		r.warn(CgroupNotVisible, "own cgroup %s cannot be seen below %s; %s is read", own, point, point)
	}
	return []string{point}
}

func isUsualMount(m mount) bool { return strings.HasPrefix(m.point, "/sys/fs/cgroup") }

// chainIn returns own and its ancestors below one mount, or nil if the mount shows another part of the hierarchy.
func (r *reader) chainIn(m mount, own string) []string {
	if strings.HasPrefix(own, "/..") || strings.HasPrefix(m.root, "/..") {
		return nil
	}
	root := strings.TrimSuffix(m.root, "/")
	rel := strings.TrimPrefix(own, root)
	if !strings.HasPrefix(own, root) || (rel != "" && rel[0] != '/') {
		return nil
	}
	rel = path.Clean("/" + rel)
	if rel != "/" && !r.isDir(m.point+rel) {
		// A path of the host: the part that exists here is an ancestor, or else the mount point, which a container sees as its own
		// cgroup.
		for rel != "/" && !r.isDir(m.point+rel) {
			rel = path.Dir(rel)
		}
		if rel == "/" {
			return nil
		}
		r.warn(CgroupNotVisible, "own cgroup %s cannot be seen below %s; %s is read", own, m.point, m.point+rel)
	}
	var dirs []string
	for ; rel != "/"; rel = path.Dir(rel) {
		dirs = append(dirs, path.Join(m.point, rel))
	}
	return append(dirs, m.point)
}
