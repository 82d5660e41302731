// Package trust says whether others could change a file or a folder that stoker is
// about to rely on. It neither opens for reading nor executes anything, and does not
// judge what the file holds.
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

// Error says what others could change.
type Error struct {
	Path string
	Mode string // as chmod(1) takes it: "1777"
	UID  uint32 // its owner
	Why  string // "can be changed by others"
	Fix  string // what to do: "chmod go-w /app/hooks, or mount it read-only"
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s (mode %s, uid %d) %s: %s", e.Path, e.Mode, e.UID, e.Why, e.Fix)
}

// Mode is the mode of a file as chmod(1) takes it, with the set-user-ID, set-group-ID
// and sticky bits: "0755", "1777".
func Mode(info fs.FileInfo) string {
	bits := uint32(info.Mode().Perm())
	for bit, set := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if info.Mode()&bit != 0 {
			bits |= set
		}
	}
	return fmt.Sprintf("%04o", bits)
}

// File refuses an open file that others than root and uid could change. What is on a
// read-only mount cannot be changed.
func File(f *os.File, uid int) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	e := judge(f.Name(), info, uid)
	if e == nil {
		return nil
	}
	return e.unless(mountOf(int(f.Fd())))
}

// Entry is File by a path, without following a link at its end. In a folder others
// must not be able to put a name either.
func Entry(path string, uid int) error {
	info, err := os.Lstat(path)
	if err != nil {
		return unseen(path, err)
	}
	e := judge(path, info, uid)
	if e == nil {
		return nil
	}
	return e.unless(mountAt(path))
}

// judge goes by owner and mode. A link has no mode of its own: whoever may change the
// folder may change the link.
func judge(path string, info fs.FileInfo, uid int) *Error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return &Error{Path: path, Mode: Mode(info), Why: "has no owner that could be seen", Fix: "use another file system"}
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

// unless drops the error where the mount allows no change, and says where it could be
// made all the same.
func (e *Error) unless(m mount) error {
	switch {
	case !m.readOnly:
		return e
	case m.elsewhere != "":
		e.Why += fmt.Sprintf(" at %s, where the same is mounted for writing", m.elsewhere)
		return e
	}
	return nil
}

// Path refuses what path leads to if others than root and uid could change it, or could
// have put it there: it looks at every folder and link on the way from / on.
//
// The sticky bit keeps others from taking away or replacing what is root's in a folder
// that they may write to, such as /tmp; so a folder of root's in it can be relied on.
// A file or link cannot: others may have moved it there from a folder of their own,
// under a name of their choice. (A folder of root's they cannot move.)
func Path(path string, uid int) error {
	_, err := way(path, uid)
	return err
}

// Folder is Path for a folder that is about to get something of ours. It may be open to
// others where the sticky bit keeps them from taking that away.
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

// Program is Path for a program that is about to be executed. It gives the folder of the
// program, without links, open since before the check; name is the program's in it.
// Executed as that name in that folder, it is what was checked, also if root exchanges a
// folder above meanwhile.
func Program(path string, uid int) (folder *os.File, name string, err error) {
	place, err := filepath.EvalSymlinks(path)
	if err == nil {
		place, err = filepath.Abs(place)
	}
	if err != nil {
		return nil, "", unseen(path, err)
	}
	folder, err = os.OpenFile(filepath.Dir(place), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, "", unseen(path, err)
	}
	steps, err := way(path, uid)
	if err == nil && (!holds(steps, filepath.Dir(place), folder, ".") || !holds(steps, place, folder, filepath.Base(place))) {
		err = fmt.Errorf("%s leads to another place than a moment ago", path)
	}
	if err != nil {
		folder.Close()
		return nil, "", err
	}
	return folder, filepath.Base(place), nil
}

// holds says whether what was looked at by a path is what a name in an open folder is.
func holds(steps []step, path string, folder *os.File, name string) bool {
	var st unix.Stat_t
	if unix.Fstatat(int(folder.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return false
	}
	return slices.ContainsFunc(steps, func(s step) bool {
		seen, ok := s.info.Sys().(*syscall.Stat_t)
		return ok && s.path == path && seen.Dev == st.Dev && seen.Ino == st.Ino
	})
}

// way is what Path looks at; the last is what path leads to.
func way(path string, uid int) ([]step, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, unseen(path, err)
	}
	steps, err := follow("/", path)
	if err != nil {
		return nil, unseen(path, err)
	}
	open := map[string]*Error{} // folders that others may put names in
	for k, s := range steps {
		e := judge(s.path, s.info, uid)
		if around := open[filepath.Dir(s.path)]; e == nil && around != nil && !s.info.IsDir() {
			around.Why += ": the sticky bit keeps what is root's from being replaced, and not others from adding names"
			return nil, around
		}
		if e == nil {
			continue
		}
		err := e.unless(mountAt(s.path))
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

// trusts says whether the owner is root or uid.
func (e *Error) trusts(uid int) bool { return e.UID == 0 || int(e.UID) == uid }

// step is a folder, a link or in the end the thing itself on the way along a path.
type step struct {
	path string // without links above it
	info fs.FileInfo
}

// maxLinks is how many symbolic links the kernel follows in one path.
const maxLinks = 40

// follow goes the way that the kernel goes from a folder along a path, and notes each
// thing once.
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

// within says whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

func unseen(path string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		path, err = p.Path, p.Err
	}
	return fmt.Errorf("cannot look at %s: %w", path, err)
}
