package cgroup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/stoker-init/stoker/internal/mounts"
)

// maxFile bounds the size of a file in bytes; mountinfo of a host with thousands of containers is smaller.
const maxFile = 8 << 20

// reader reads files below one root. os.Root resolves symbolic links inside it and rejects those that lead out, so an examined tree
// cannot expose files of this machine.
type reader struct {
	root   *os.Root
	live   bool   // root is "/": its files are opened directly, in one step
	proc   string // "proc/self", or "proc/1" if that does not resolve
	limits Limits

	mounts    []*mounts.Mount   // cgroup and cgroup2 only
	own       map[string]string // own cgroup by v1 controller, and of unified
	lxcfsCPUs bool              // sys/devices/system/cpu is lxcfs's
}

// open returns a reader that knows the hierarchies. proc/self of another PID namespace does not resolve; its PID 1 is used then.
func open(root string) (*reader, error) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	r := &reader{root: dir, live: root == "/", proc: "proc/self", limits: Limits{EffectiveCPUs: 1, Warnings: []Warning{}}}
	_, selfErr := dir.Stat("proc/self")
	if _, err := dir.Stat("proc/1"); err == nil && selfErr != nil {
		r.proc = "proc/1"
	}
	r.findHierarchies()
	return r, nil
}

// read returns the trimmed text of a file. Only regular files are read, and opened without blocking: a FIFO must not hang the reader.
func (r *reader) read(name string) (string, error) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	at, open := name, r.root.OpenFile
	if r.live {
		at, open = "/"+name, os.OpenFile
	}
	f, err := open(at, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return "", fmt.Errorf("cannot read /%s: %w", name, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// readOr is read for a file that may be missing. ok is false then, and after a warning with code if the file is unusable.
func (r *reader) readOr(code, name string) (text string, ok bool) {
	text, err := r.read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", false
	case err != nil:
		r.warn(code, "cannot read %s: %v", name, cause(err))
		return "", false
	}
	return text, true
}

// field returns what follows a prefix in the first line that has it.
func field(text, prefix string) (value string, found bool) {
	for line := range strings.Lines(text) {
		if value, found = strings.CutPrefix(line, prefix); found {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

// cause removes the path, which the warning already names.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// isDir reports whether name is a folder below root.
func (r *reader) isDir(name string) bool {
	info, err := r.root.Stat(strings.TrimPrefix(path.Clean("/"+name), "/"))
	return err == nil && info.IsDir()
}

// exists reports whether name exists, readable or not.
func (r *reader) exists(name string) bool {
	_, err := r.root.Lstat(strings.TrimPrefix(path.Clean("/"+name), "/"))
	return err == nil
}
