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

// mount describes the mount of a file.
type mount struct {
	readOnly bool
	// writableAt is where the same part of the file system is mounted for writing; empty: nowhere in this mount namespace.
	writableAt string
}

// mountOf returns the mount of an open file. An unknown mount counts as writable.
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
	_, rest, _ := strings.Cut(string(info), "mnt_id:")
	id, _, _ := strings.Cut(rest, "\n")
	return findMount(table, strings.TrimSpace(id), path)
}

// findMount looks up a mount id in the text of mountinfo, and a writable mount of the same path.
func findMount(table []byte, id, path string) mount {
	all, _ := mounts.Parse(string(table))
	k := slices.IndexFunc(all, func(m *mounts.Mount) bool { return strconv.Itoa(m.ID) == id })
	if k < 0 || !within(path, all[k].Mountpoint) {
		return mount{}
	}
	own, m := all[k], mount{readOnly: true}
	inside := filepath.Join(own.Root, strings.TrimPrefix(path, strings.TrimSuffix(own.Mountpoint, "/")))
	for _, l := range all {
		writable := strings.HasPrefix(l.Options+",", "rw,") && strings.HasPrefix(l.VFSOptions+",", "rw,")
		if l.Major == own.Major && l.Minor == own.Minor && writable && within(inside, l.Root) {
			m.writableAt = filepath.Join(l.Mountpoint, strings.TrimPrefix(inside, strings.TrimSuffix(l.Root, "/")))
		}
	}
	return m
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
