package trust

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is what the mount of a file allows.
type mount struct {
	readOnly bool
	// elsewhere is where the same part of the file system is mounted for writing;
	// empty: nowhere in our mount namespace.
	elsewhere string
}

// mountAt is the mount of what is at a path, links not followed. What cannot be found
// out is not read-only.
func mountAt(path string) mount {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return mount{}
	}
	defer unix.Close(fd)
	return mountOf(fd)
}

// mountOf is the mount through which a file was opened.
func mountOf(fd int) mount {
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil || st.Flags&unix.ST_RDONLY == 0 {
		return mount{}
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/thread-self/fd/%d", fd))
	info, infoErr := os.ReadFile(fmt.Sprintf("/proc/thread-self/fdinfo/%d", fd))
	table, tableErr := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil || infoErr != nil || tableErr != nil {
		return mount{}
	}
	var id string
	for line := range strings.Lines(string(info)) {
		if value, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			id = strings.TrimSpace(value)
		}
	}
	return findMount(table, id, path)
}

// findMount looks up a mount by its number in the text of mountinfo, and another one by
// which the same path can be written.
func findMount(table []byte, id, path string) mount {
	var all []mountLine
	var own *mountLine
	for line := range bytes.Lines(table) {
		l, ok := parseLine(string(line))
		if !ok {
			continue
		}
		all = append(all, l)
		if l.id == id {
			own = &l
		}
	}
	if own == nil || !within(path, own.point) {
		return mount{}
	}
	m := mount{readOnly: true}
	inside := filepath.Join(own.root, strings.TrimPrefix(path, strings.TrimSuffix(own.point, "/")))
	for _, l := range all {
		if l.device == own.device && l.writable && within(inside, l.root) {
			m.elsewhere = filepath.Join(l.point, strings.TrimPrefix(inside, strings.TrimSuffix(l.root, "/")))
		}
	}
	return m
}

// mountLine is a line of mountinfo: id parent device root point options [fields] -
// fstype source superoptions.
type mountLine struct {
	id, device, root, point string
	writable                bool
}

func parseLine(line string) (mountLine, bool) {
	left, right, _ := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if len(l) < 6 || len(r) < 3 {
		return mountLine{}, false
	}
	for _, k := range []int{3, 4} {
		if text, err := strconv.Unquote(`"` + strings.ReplaceAll(l[k], `"`, `\"`) + `"`); err == nil { // \040 for a blank
			l[k] = text
		}
	}
	return mountLine{id: l[0], device: l[2], root: l[3], point: l[4],
		writable: first(l[5]) == "rw" && first(r[2]) == "rw"}, true
}

// first is the first of a list of options, which is rw or ro.
func first(options string) string {
	head, _, _ := strings.Cut(options, ",")
	return head
}
