package trust

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/mounts"
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
	all, _ := mounts.Parse(string(table))
	k := slices.IndexFunc(all, func(m *mounts.Mount) bool { return strconv.Itoa(m.ID) == id })
	if k < 0 || !within(path, all[k].Mountpoint) {
		return mount{}
	}
	own, m := all[k], mount{readOnly: true}
	inside := filepath.Join(own.Root, strings.TrimPrefix(path, strings.TrimSuffix(own.Mountpoint, "/")))
	for _, l := range all {
		writable := first(l.Options) == "rw" && first(l.VFSOptions) == "rw"
		if l.Major == own.Major && l.Minor == own.Minor && writable && within(inside, l.Root) {
			m.elsewhere = filepath.Join(l.Mountpoint, strings.TrimPrefix(inside, strings.TrimSuffix(l.Root, "/")))
		}
	}
	return m
}

// first is the first of a list of options, which is rw or ro.
func first(options string) string {
	head, _, _ := strings.Cut(options, ",")
	return head
}
