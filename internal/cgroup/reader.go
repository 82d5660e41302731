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
)

// maxFile bounds what is read of one file; mountinfo of a host with thousands
// of containers stays below it.
const maxFile = 8 << 20

// reader reads files below one root. os.Root resolves every symbolic link
// inside it and refuses those that lead out, so a link in an examined tree
// cannot make us read the machine that we run on.
type reader struct {
	root   *os.Root
	proc   string // "proc/self", or "proc/1" where that does not resolve
	limits Limits
}

// findProc picks the process whose cgroup counts. proc/self of another PID
// namespace does not resolve for us; its first process then stands for it.
func (r *reader) findProc() {
	for _, p := range []string{"proc/self", "proc/1"} {
		if _, err := r.root.Stat(p); err == nil {
			r.proc = p
			return
		}
	}
	r.proc = "proc/self"
}

// read returns a file's text without surrounding blanks. Only regular files
// are read, and opened without waiting: a FIFO in an examined tree must not hang
// us.
func (r *reader) read(name string) (string, error) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	f, err := r.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
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

// readOr is read for a file that may be missing: ok is false then, and also
// after a warning with code when it is there and cannot be used.
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

// cause strips the path that the warning has named already.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// isDir says whether name is a folder below root.
func (r *reader) isDir(name string) bool {
	info, err := r.root.Stat(strings.TrimPrefix(path.Clean("/"+name), "/"))
	return err == nil && info.IsDir()
}

// exists says whether name is there, readable or not.
func (r *reader) exists(name string) bool {
	_, err := r.root.Lstat(strings.TrimPrefix(path.Clean("/"+name), "/"))
	return err == nil
}
