package workspace

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Open opens a workspace. A job of root may have put a link in its place.
func Open(path string) (*os.Root, error) {
	info, err := os.Lstat(path)
	if err == nil && !info.IsDir() {
		err = errors.New("the workspace is not a folder any more")
	}
	if err != nil {
		return nil, err
	}
	return os.OpenRoot(path)
}

// Wipe removes a workspace, also folders that the job has taken its own rights to.
func Wipe(path string) error {
	err := os.RemoveAll(path)
	if !errors.Is(err, fs.ErrPermission) || os.Chmod(path, 0o700) != nil {
		return err
	}
	root, err := Open(path)
	if err != nil {
		return err
	}
	_ = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error { // what fails here fails below again
		if err == nil && entry.IsDir() {
			_ = root.Chmod(name, 0o700) // before it is read
		}
		return nil
	})
	return errors.Join(root.Close(), os.RemoveAll(path))
}

// DiskUsage is the space that the files below a folder take, in bytes; what is beyond limit is not looked at.
func DiskUsage(dir string, limit int64) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error { // what cannot be read is not counted
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		if info, err := entry.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				total += st.Blocks * 512 // the unit of stat(2)
			}
		}
		if total > limit {
			return fs.SkipAll
		}
		return nil
	})
	return total
}
