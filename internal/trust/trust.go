// Package trust checks whether other users could change a file or folder that stoker is about to rely on. It goes by ownership, mode
// and mounts; it reads and executes nothing.
package trust

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// Error describes what other users could change.
type Error struct {
	Path string
	Mode string // for chmod(1): "1777"
	UID  uint32 // owner
	Why  string // "can be changed by others"
	Fix  string // the fix: "chmod go-w /app/hooks, or mount it read-only"
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s (mode %s, uid %d) %s: %s", e.Path, e.Mode, e.UID, e.Why, e.Fix)
}

// File returns an error if users other than root and uid could change an open file. A file on a read-only mount passes.
func File(f *os.File, uid int) error { return check(f.Name(), int(f.Fd()), uid) }

// Entry is File for a path; a final link is not followed. A folder must not be writable by others either.
func Entry(path string, uid int) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot look at %s: %w", path, err)
	}
	defer unix.Close(fd)
	return check(path, fd, uid)
}

func check(path string, fd, uid int) error {
	var is unix.Stat_t
	if err := unix.Fstat(fd, &is); err != nil {
		return fmt.Errorf("cannot look at %s: %w", path, err)
	}
	if e := checkMode(path, fd, &is, uid); e != nil {
		return e
	}
	return nil // no typed nil
}

// checkMode checks owner, mode and mount. A link has no mode of its own: it can be changed by those who can change its folder.
func checkMode(path string, fd int, is *unix.Stat_t, uid int) *Error {
	e := &Error{Path: path, Mode: fmt.Sprintf("%04o", is.Mode&0o7777), UID: is.Uid}
	switch {
	case is.Mode&unix.S_IFMT == unix.S_IFLNK:
		return nil
	case !e.trusts(uid):
		e.Why, e.Fix = "can be changed by its owner", "chown root "+path+", or mount it read-only"
	case is.Mode&0o022 != 0:
		e.Why, e.Fix = "can be changed by others", "chmod go-w "+path+", or mount it read-only"
	default:
		return nil
	}
	switch m := mountOf(fd); {
	case m.writableAt != "":
		e.Why += fmt.Sprintf(" at %s, where the same is mounted for writing", m.writableAt)
	case m.readOnly:
		return nil
	}
	return e
}

// trusts reports whether the owner is root or uid.
func (e *Error) trusts(uid int) bool { return e.UID == 0 || int(e.UID) == uid }

// Path returns an error if users other than root and uid could change or replace what path leads to. It checks every folder and link
// on the way from /.
//
// In a sticky folder such as /tmp others can neither remove nor replace entries of root, so a root-owned folder in it is trusted. A
// file or link in it is not: others may have moved it there from a folder of their own, which is impossible for a folder of root.
func Path(path string, uid int) error { return closed(walk(path, uid, false)) }

// Folder is Path for a folder for new entries. It may be writable by others if it has the sticky bit.
func Folder(path string, uid int) error { return closed(walk(path, uid, true)) }

// Program is Path for a program to execute. It returns the folder of the program and its name in it. Executed by that name in that
// folder, it is the checked program even if a parent folder is replaced.
func Program(path string, uid int) (folder *os.File, name string, err error) {
	return walk(path, uid, false)
}

// closed closes the folder of a target.
func closed(folder *os.File, _ string, err error) error {
	if folder != nil {
		folder.Close()
	}
	return err
}

// walk checks each step of a path while it is resolved. With sticky the last one may be a folder with the sticky bit.
func walk(path string, uid int, sticky bool) (folder *os.File, name string, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, "", err
	}
	open := map[string]*Error{} // folders with the sticky bit that others can add entries to
	var last string
	folder, name, err = untrusted.Walk(path, func(at string, fd int, is *unix.Stat_t) error {
		last = at
		isDir := is.Mode&unix.S_IFMT == unix.S_IFDIR
		e, around := checkMode(at, fd, is, uid), open[filepath.Dir(at)]
		switch {
		case e != nil && isDir && is.Mode&unix.S_ISVTX != 0 && e.trusts(uid):
			open[at] = e
		case e != nil:
			return e
		case around != nil && !isDir:
			around.Why += ": the sticky bit keeps what is root's from being replaced, and not others from adding names"
			return around
		}
		return nil
	})
	if err != nil {
		if !errors.As(err, new(*Error)) {
			err = fmt.Errorf("cannot look at %s: %w", path, err)
		}
		return nil, "", err
	}
	if e := open[last]; e != nil && !sticky {
		folder.Close()
		return nil, "", e
	}
	return folder, name, nil
}
