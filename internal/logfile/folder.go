package logfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/stoker-init/stoker/internal/trust"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// folder is the open folder of a log's file. Files are opened, renamed and removed
// relative to it, so later changes of its path have no effect.
type folder struct {
	dir    *os.File // O_PATH
	info   unix.Stat_t
	shared bool // users other than root can add names
}

// openFolder opens the folder of the file at a path. If another user can change the path,
// it must not lead to a folder that this user cannot write to: the folder has to be the
// user's, or a mount point, whose name the user cannot change.
func openFolder(path string) (*folder, error) {
	dir, err := untrusted.OpenDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: cannot open its folder: %w", path, untrusted.Cause(err))
	}
	f := &folder{dir: dir}
	if err = unix.Fstat(f.fd(), &f.info); err == nil {
		err = f.check()
	}
	if err != nil {
		f.close()
		return nil, fmt.Errorf("cannot open %s: %w", path, err)
	}
	return f, nil
}

// check rejects a folder that another user may have put here.
func (f *folder) check() error {
	us := os.Geteuid()
	f.shared = trust.File(f.dir, us) != nil
	var e *trust.Error
	if err := trust.Path(f.dir.Name(), us); !errors.As(err, &e) {
		return err
	}
	ours := func(uid uint32) bool { return uid == 0 || int(uid) == us }
	var changeable unix.Stat_t
	if unix.Stat(e.Path, &changeable) == nil && f.is(changeable) || f.isMountPoint() {
		return nil
	}
	if ours(f.info.Uid) || f.info.Uid != e.UID && !ours(e.UID) {
		return fmt.Errorf("its folder belongs to user %d, and may have been put there by another: %w", f.info.Uid, e)
	}
	return nil
}

func (f *folder) isMountPoint() bool {
	var x unix.Statx_t
	err := unix.Statx(f.fd(), "", unix.AT_EMPTY_PATH, 0, &x)
	return err == nil && x.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

func (f *folder) fd() int { return int(f.dir.Fd()) }

func (f *folder) is(info unix.Stat_t) bool {
	return f.info.Dev == info.Dev && f.info.Ino == info.Ino
}

// stat does not follow a link.
func (f *folder) stat(name string, st *unix.Stat_t) error {
	return unix.Fstatat(f.fd(), name, st, unix.AT_SYMLINK_NOFOLLOW)
}

// open opens a regular file. It does not follow a link, nor wait for the reader of a FIFO.
// In a shared folder the file must have no other name, which could be root's.
func (f *folder) open(path string, mode uint32) (file *os.File, st unix.Stat_t, err error) {
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK
	fd, err := unix.Openat(f.fd(), filepath.Base(path), flags, mode)
	if err != nil {
		return nil, st, fmt.Errorf("cannot open %s: %w", path, err)
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
		return nil, st, err
	}
	return os.NewFile(uintptr(fd), path), st, nil
}

// close also takes nil.
func (f *folder) close() {
	if f != nil {
		_ = f.dir.Close()
	}
}
