// Package trust checks whether other users could change a file or folder that stoker is about to rely on. It goes by ownership, mode
// and mounts; it reads and executes nothing.
package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

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

// Mode returns the mode of a file for chmod(1), with the set-user-ID, set-group-ID and sticky bits: "0755", "1777".
func Mode(info fs.FileInfo) string {
	bits := uint32(info.Mode().Perm())
	for bit, set := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if info.Mode()&bit != 0 {
			bits |= set
		}
	}
	return fmt.Sprintf("%04o", bits)
}

// File returns an error if users other than root and uid could change an open file. A file on a read-only mount passes.
func File(f *os.File, uid int) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	e := checkMode(f.Name(), info, uid)
	if e == nil {
		return nil
	}
	return e.allowReadOnly(mountOf(int(f.Fd())))
}

// Entry is File for a path; a final link is not followed. A folder must not be writable by others either.
func Entry(path string, uid int) error {
	info, err := os.Lstat(path)
	if err != nil {
		return statError(path, err)
	}
	e := checkMode(path, info, uid)
	if e == nil {
		return nil
	}
	return e.allowReadOnly(mountAt(path))
}

// checkMode checks owner and mode. A link has no mode of its own: it can be changed by those who can change its folder.
func checkMode(path string, info fs.FileInfo, uid int) *Error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return &Error{Path: path, Mode: Mode(info), Why: "has no visible owner", Fix: "use another file system"}
	}
	e := &Error{Path: path, Mode: Mode(info), UID: st.Uid}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return nil
	case st.Uid != 0 && int(st.Uid) != uid:
		e.Why, e.Fix = "can be changed by its owner", "chown root "+path+", or mount it read-only"
	case info.Mode().Perm()&0o022 != 0:
		e.Why, e.Fix = "can be changed by others", "chmod go-w "+path+", or mount it read-only"
	default:
		return nil
	}
	return e
}

// allowReadOnly drops the error on a read-only mount, unless the same files are mounted writable elsewhere.
func (e *Error) allowReadOnly(m mount) error {
	switch {
	case !m.readOnly:
		return e
	case m.writableAt != "":
		e.Why += fmt.Sprintf(" at %s, where the same is mounted for writing", m.writableAt)
		return e
	}
	return nil
}

// Path returns an error if users other than root and uid could change or replace what path leads to. It checks every folder and link
// on the way from /.
//
// In a sticky folder such as /tmp others can neither remove nor replace entries of root, so a root-owned folder in it is trusted. A
// file or link in it is not: others may have moved it there from a folder of their own, which is impossible for a folder of root.
func Path(path string, uid int) error {
	_, err := pathSteps(path, uid)
	return err
}

// Folder is Path for a folder for new entries. It may be writable by others if it has the sticky bit.
func Folder(path string, uid int) error {
	err := Path(path, uid)
	var e *Error
	if !errors.As(err, &e) || !e.trusts(uid) {
		return err
	}
	place, placeErr := filepath.EvalSymlinks(path)
	if info, statErr := os.Lstat(e.Path); placeErr != nil || statErr != nil || e.Path != place || info.Mode()&fs.ModeSticky == 0 {
		return err
	}
	return nil
}

// Program is Path for a program to execute. It returns the folder of the program, opened before the check, and the program's name in
// it. Executed by that name in that folder, it is the checked program even if a parent folder is replaced.
func Program(path string, uid int) (folder *os.File, name string, err error) {
	place, err := filepath.EvalSymlinks(path)
	if err == nil {
		place, err = filepath.Abs(place)
	}
	if err != nil {
		return nil, "", statError(path, err)
	}
	folder, err = os.OpenFile(filepath.Dir(place), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, "", statError(path, err)
	}
	steps, err := pathSteps(path, uid)
	if err == nil && (!sameFile(steps, filepath.Dir(place), folder, ".") || !sameFile(steps, place, folder, filepath.Base(place))) {
		err = fmt.Errorf("%s was replaced during the check", path)
	}
	if err != nil {
		folder.Close()
		return nil, "", err
	}
	return folder, filepath.Base(place), nil
}

// sameFile reports whether the step checked for path is the file of that name in an open folder.
func sameFile(steps []step, path string, folder *os.File, name string) bool {
	var st unix.Stat_t
	if unix.Fstatat(int(folder.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return false
	}
	return slices.ContainsFunc(steps, func(s step) bool {
		seen, ok := s.info.Sys().(*syscall.Stat_t)
		return ok && s.path == path && seen.Dev == st.Dev && seen.Ino == st.Ino
	})
}

// pathSteps checks every step of a path; the last one is what path leads to.
func pathSteps(path string, uid int) ([]step, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, statError(path, err)
	}
	steps, err := follow("/", path)
	if err != nil {
		return nil, statError(path, err)
	}
	open := map[string]*Error{} // sticky folders that others can add entries to
	for k, s := range steps {
		e := checkMode(s.path, s.info, uid)
		if around := open[filepath.Dir(s.path)]; e == nil && around != nil && !s.info.IsDir() {
			around.Why += ": the sticky bit keeps what is root's from being replaced, and not others from adding names"
			return nil, around
		}
		if e == nil {
			continue
		}
		err := e.allowReadOnly(mountAt(s.path))
		switch sticky := s.info.IsDir() && s.info.Mode()&fs.ModeSticky != 0 && e.trusts(uid); {
		case err == nil:
		case sticky && k < len(steps)-1:
			open[s.path] = e
		default:
			return nil, err
		}
	}
	return steps, nil
}

// trusts reports whether the owner is root or uid.
func (e *Error) trusts(uid int) bool { return e.UID == 0 || int(e.UID) == uid }

// step is a folder or link on a path, or its final file.
type step struct {
	path string // with resolved parents
	info fs.FileInfo
}

// maxLinks is how many symbolic links the kernel follows in one path.
const maxLinks = 40

// follow resolves a path from a folder as the kernel does, and returns each step once.
func follow(place, path string) (out []step, err error) {
	seen := map[string]bool{}
	visit := func(at string) (fs.FileInfo, error) {
		info, err := os.Lstat(at)
		if err == nil && !seen[at] {
			seen[at] = true
			out = append(out, step{at, info})
		}
		return info, err
	}
	links := 0
	for rest := strings.Split(path, "/"); len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if _, err := visit(place); err != nil {
			return nil, err
		}
		switch name {
		case "", ".":
			continue
		case "..":
			place = filepath.Dir(place)
			continue
		}
		next := filepath.Join(place, name)
		info, err := visit(next)
		if err != nil {
			return nil, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			place = next
			continue
		}
		target, err := os.Readlink(next)
		if links++; err == nil && links > maxLinks {
			err = syscall.ELOOP
		}
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(target, "/") {
			place = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	_, err = visit(place)
	return out, err
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

func statError(path string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		path, err = p.Path, p.Err
	}
	return fmt.Errorf("cannot look at %s: %w", path, err)
}
