package training

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/wholefile"
	"golang.org/x/sys/unix"
)

// workPrefix begins the names of the folders in which archives are made.
const workPrefix = ".making-"

// abandonedAfter is the age from which a folder that nothing has locked was left by a command that was killed.
const abandonedAfter = time.Minute

// workFolder is what a training needs of the disk: a folder of stoker's own within that of the archives.
type workFolder struct {
	path string
	lock *os.File // the folder: the lock ends with the process
}

// made is the folder of the service's user in which the JVM writes, runtime the one for launch.Shared, which is stoker's: the service must
// not put anything into it.
func (w *workFolder) made() string    { return filepath.Join(w.path, "made") }
func (w *workFolder) runtime() string { return filepath.Join(w.path, "run") }

// newWorkFolder makes a folder for the service of user (nil: stoker's own) within dir, which is made too, and removes abandoned ones. Its
// path has no links.
func newWorkFolder(dir string, user *asuser.User) (*workFolder, error) {
	if err := wholefile.MakeFolder(dir, 0o755); err != nil {
		return nil, err
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	removeAbandoned(dir)
	path, err := os.MkdirTemp(dir, workPrefix)
	if err != nil {
		return nil, err
	}
	w := &workFolder{path: path}
	if w.lock, err = lockFolder(path, unix.LOCK_NB); err == nil {
		err = errors.Join(os.Chmod(path, 0o711), os.Mkdir(w.made(), 0o700))
	}
	if err == nil && user != nil {
		err = giveFolder(w.made(), user)
	}
	if err != nil {
		w.remove()
		return nil, err
	}
	return w, nil
}

// giveFolder makes a folder that of a user, who needs to get there.
func giveFolder(path string, user *asuser.User) error {
	if err := os.Chown(path, int(user.UID), int(user.GID)); err != nil || os.Geteuid() != 0 {
		return err
	}
	err := user.Identity().Do(func() error {
		_, err := os.Stat(path)
		return err
	})
	if err != nil {
		return fmt.Errorf("the service's user %s cannot reach it (%w); it, and each folder above, needs the mode a+x", user.Name, err)
	}
	return nil
}

func (w *workFolder) remove() {
	_ = os.RemoveAll(w.path) // a later command removes what is left
	if w.lock != nil {
		w.lock.Close()
	}
}

// lockFolder locks a folder until the file is closed. block is unix.LOCK_NB not to wait for another command, or 0.
func lockFolder(path string, block int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|block); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// removeAbandoned removes the folders of commands that were killed.
func removeAbandoned(dir string) {
	entries, _ := os.ReadDir(dir) // what cannot be listed cannot be removed
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.IsDir() || !strings.HasPrefix(e.Name(), workPrefix) || time.Since(info.ModTime()) < abandonedAfter {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if lock, err := lockFolder(path, unix.LOCK_NB); err == nil {
			(&workFolder{path, lock}).remove()
		}
	}
}

// freeSpace is how much can be written in a folder, in bytes.
func freeSpace(dir string) (int64, bool) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0, false
	}
	return int64(st.Bavail) * st.Bsize, true
}
