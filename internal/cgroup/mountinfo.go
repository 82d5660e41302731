package cgroup

import (
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/mounts"
)

// parseMountinfo returns the visible mounts: a later mount hides an earlier one at the same point. bad is the number of malformed
// lines.
func parseMountinfo(text string) (visible []*mounts.Mount, bad int) {
	all, bad := mounts.Parse(text)
	at := map[string]int{}
	for _, m := range all {
		switch {
		case strings.HasPrefix(m.Root, "/") && strings.HasPrefix(m.Mountpoint, "/"):
		case m.FSType == "nsfs": // namespace files have a root such as "net:[4026531840]"
			continue
		default:
			bad++
			continue
		}
		if k, hidden := at[m.Mountpoint]; hidden {
			visible[k] = m
			continue
		}
		at[m.Mountpoint] = len(visible)
		visible = append(visible, m)
	}
	return visible, bad
}

// isOf reports whether it is a mount of a v1 controller, or of unified.
func isOf(m *mounts.Mount, controller string) bool {
	if controller == unified {
		return m.FSType == "cgroup2"
	}
	return m.FSType == "cgroup" && slices.Contains(strings.Split(m.VFSOptions, ","), controller)
}
