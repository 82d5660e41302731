package cgroup

import (
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/mounts"
)

// mount is a visible mount of a file system.
type mount struct {
	root    string   // the mounted folder of the file system
	point   string   // mount point
	fstype  string   // cgroup, cgroup2, fuse.lxcfs, ...
	options []string // of the superblock: the controllers of a v1 hierarchy
}

// parseMountinfo returns the visible mounts: a later mount hides an earlier one at the same point. bad is the number of malformed
// lines.
func parseMountinfo(text string) (visible []mount, bad int) {
	lines, bad := mounts.Parse(text)
	at := map[string]int{}
	for _, l := range lines {
		if !strings.HasPrefix(l.Root, "/") || !strings.HasPrefix(l.Mountpoint, "/") {
			if l.FSType != "nsfs" { // namespace files have a root such as "net:[4026531840]"
				bad++
				continue
			}
			l.Root, l.Mountpoint = "", ""
		}
		m := mount{root: l.Root, point: l.Mountpoint, fstype: l.FSType, options: strings.Split(l.VFSOptions, ",")}
		if i, hidden := at[m.point]; hidden {
			visible[i] = m
			continue
		}
		at[m.point] = len(visible)
		visible = append(visible, m)
	}
	return visible, bad
}

// has reports whether it is a mount of a v1 controller, or of unified.
func (m mount) has(controller string) bool {
	if controller == unified {
		return m.fstype == "cgroup2"
	}
	return m.fstype == "cgroup" && slices.Contains(m.options, controller)
}
