package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/stoker-init/stoker/internal/trust"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// logFolder is the open folder of a log's file. Files are opened, renamed and removed
// in it by their names, so that it does not matter what becomes of its own.
type logFolder struct {
	dir    *os.File // O_PATH
	info   unix.Stat_t
	shared bool // others than root can put names into it
}

// openLogFolder opens the folder of the file at a path. What others can change on the
// way there may lead to another folder than the operator meant, and must not lead to one
// that they could not write to themselves: then it has to be theirs, or a mount, whose
// name they cannot change.
func openLogFolder(path string) (*logFolder, error) {
	dir, err := untrusted.OpenDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: cannot open its folder: %w", path, openCause(err))
	}
	f := &logFolder{dir: dir}
	if err = unix.Fstat(f.fd(), &f.info); err == nil {
		err = f.check()
	}
	if err != nil {
		f.close()
		return nil, fmt.Errorf("cannot open %s: %w", path, err)
	}
	return f, nil
}

// check refuses a folder that another user may have put here.
func (f *logFolder) check() error {
	us := os.Geteuid()
	f.shared = trust.File(f.dir, us) != nil
	var e *trust.Error
	if err := trust.Path(f.dir.Name(), us); !errors.As(err, &e) {
		return err
	}
	ours := func(uid uint32) bool { return uid == 0 || int(uid) == us }
	var changeable unix.Stat_t
	if unix.Stat(e.Path, &changeable) == nil && f.is(changeable) || f.mounted() {
		return nil
	}
	if ours(f.info.Uid) || f.info.Uid != e.UID && !ours(e.UID) {
		return fmt.Errorf("its folder belongs to user %d, and may have been put there by another: %w", f.info.Uid, e)
	}
	return nil
}

// mounted says whether something is mounted there.
func (f *logFolder) mounted() bool {
	var x unix.Statx_t
	err := unix.Statx(f.fd(), "", unix.AT_EMPTY_PATH, 0, &x)
	return err == nil && x.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

func (f *logFolder) fd() int { return int(f.dir.Fd()) }

func (f *logFolder) is(info unix.Stat_t) bool {
	return f.info.Dev == info.Dev && f.info.Ino == info.Ino
}

// stat looks at a name in the folder; a link is not followed.
func (f *logFolder) stat(name string, st *unix.Stat_t) error {
	return unix.Fstatat(f.fd(), name, st, unix.AT_SYMLINK_NOFOLLOW)
}

// open opens an ordinary file. A link is not followed and a FIFO's reader not waited
// for. In a folder of others the file must have no other name: that may be root's.
func (f *logFolder) open(path string, flags int) (fd int, st unix.Stat_t, err error) {
	fd, err = unix.Openat(f.fd(), filepath.Base(path), flags|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return -1, st, fmt.Errorf("cannot open %s: %w", path, err)
	}
	if err = unix.Fstat(fd, &st); err == nil {
		err = mustBeFile(path, st.Mode)
	}
	if err == nil && f.shared && st.Nlink > 1 {
		err = fmt.Errorf("cannot open %s: it has %d names (hard links), and others than root can write to its folder: remove it",
			path, st.Nlink)
	}
	if err != nil {
		unix.Close(fd)
		return -1, st, err
	}
	return fd, st, nil
}

// close also takes nil.
func (f *logFolder) close() {
	if f != nil {
		_ = f.dir.Close()
	}
}

// openCause is an error without the path that the message names already.
func openCause(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
