package cgroup

import (
	"strings"
)

// mount is one line of mountinfo, as far as it matters here.
type mount struct {
	root    string   // the folder of the file system that is mounted
	point   string   // where
	fstype  string   // cgroup, cgroup2, fuse.lxcfs, ...
	options []string // of the superblock: the controllers of a v1 hierarchy
}

// parseMountinfo returns the mounts that can be seen: where two share a mount
// point the later one hides the earlier. Lines that make no sense are counted
// in bad and skipped.
func parseMountinfo(text string) (mounts []mount, bad int) {
	at := map[string]int{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		m, ok := parseMount(line)
		if !ok {
			bad++
			continue
		}
		if i, hidden := at[m.point]; hidden {
			mounts[i] = m
			continue
		}
		at[m.point] = len(mounts)
		mounts = append(mounts, m)
	}
	return mounts, bad
}

// parseMount reads one line: id parent major:minor root point options
// [optional fields] - fstype source superoptions.
func parseMount(line string) (mount, bool) {
	left, right, found := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !found || len(l) < 6 || len(r) < 1 {
		return mount{}, false
	}
	m := mount{root: unescape(l[3]), point: unescape(l[4]), fstype: r[0]}
	if !strings.HasPrefix(m.root, "/") || !strings.HasPrefix(m.point, "/") {
		// Namespace files have a root such as "net:[4026531840]".
		return mount{}, m.fstype == "nsfs"
	}
	if len(r) > 2 {
		m.options = strings.Split(r[2], ",")
	}
	return m, true
}

// unescape undoes the octal escapes that the kernel writes for blank, tab,
// newline and backslash.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(c byte) bool { return c >= '0' && c <= '7' }

// has says whether the superblock carries a v1 controller.
func (m mount) has(controller string) bool {
	if m.fstype != "cgroup" {
		return false
	}
	for _, o := range m.options {
		if o == controller {
			return true
		}
	}
	return false
}
