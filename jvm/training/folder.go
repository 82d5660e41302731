package training

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/asuser"
	"golang.org/x/sys/unix"
)

// workPrefix begins the names of the folders in which archives are made.
const workPrefix = ".making-"

// abandonedAfter is the age from which a folder that nothing has locked was left by a command that was killed.
const abandonedAfter = time.Minute

// workFolder is where a JVM writes an archive: a folder of the service's user within that of the archives.
type workFolder struct {
	path string
	lock *os.File // the folder: the lock ends with the process
}

// newWorkFolder makes a folder for user (nil: stoker's own) within dir, which is made too, and removes abandoned ones.
func newWorkFolder(dir string, user *asuser.User) (*workFolder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	removeAbandoned(dir)
	path, err := os.MkdirTemp(dir, workPrefix)
	if err != nil {
		return nil, err
	}
	w := &workFolder{path: path}
	if w.lock, err = lockFolder(path, unix.LOCK_NB); err == nil && user != nil {
		err = os.Chown(path, int(user.UID), int(user.GID))
	}
	if err != nil {
		w.remove()
		return nil, fmt.Errorf("cannot give %s to the service: %w", path, err)
	}
	return w, nil
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
