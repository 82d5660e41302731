package cgroup

import (
	"errors"
	"io"
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

// oomFiles are the files that may count in a cgroup: of v2, where memory.events is hidden, of v1.
var oomFiles = []string{"memory.events", "memory.events.local", "memory.oom_control"}

// oomKills reads the counter of one cgroup.
func (r *reader) oomKills(dir string) (count uint64, file string, ok bool) {
	for _, name := range oomFiles {
		file := path.Join("/", dir, name)
		if text, err := r.read(file); err == nil {
			if n, ok := parseOOMKills(text); ok {
				return n, file, true
			}
		}
	}
	return 0, "", false
}

func parseOOMKills(text string) (uint64, bool) {
	value, _ := field(text, "oom_kill ") // other lines begin with oom_kill too
	n, err := strconv.ParseUint(value, 10, 64)
	return n, err == nil
}

// OOMCounter is the counter of OOM kills in the cgroup that this process was in when it was opened. Its file stays open.
type OOMCounter struct{ file *os.File }

// OpenOOMCounter opens the counter of OOMKills without dirs, for those who read it often.
func OpenOOMCounter(root string) (*OOMCounter, error) {
	_, source, ok := OOMKills(root)
	if !ok {
		return nil, errors.New("the own cgroup has no counter of OOM kills")
	}
	file, err := os.OpenInRoot(root, strings.TrimPrefix(source, "/"))
	return &OOMCounter{file}, err
}

// Read returns the number of OOM kills until now.
func (c *OOMCounter) Read() (count uint64, ok bool) {
	var text [1024]byte // the kernel writes less
	n, err := c.file.ReadAt(text[:], 0)
	if err != nil && err != io.EOF {
		return 0, false
	}
	return parseOOMKills(string(text[:n]))
}
