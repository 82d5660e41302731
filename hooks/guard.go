package hooks

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/stoker-init/stoker/internal/proc"
)

// Guard looks whether a file may be executed in stoker's name. As root it refuses
// one that others could have written, or put there: the file itself and every
// folder from it up to root, symbolic links resolved. uid is stoker's own.
func Guard(path, root string, uid int) error {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("cannot find %s: %s", path, cause(err))
	}
	info, err := os.Stat(resolved)
	switch {
	case err != nil:
		return fmt.Errorf("cannot look at %s: %s", path, cause(err))
	case info.IsDir():
		return fmt.Errorf("%s is a folder, and not a program", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file", path)
	}
	if uid == 0 {
		if err := trusted(path, resolved, root, uid); err != nil {
			return err
		}
	}
	if info.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("%s is not executable (mode %04o): chmod +x %s", path, info.Mode().Perm(), path)
	}
	return scriptError(path)
}

// trusted walks from the file, and from the link that leads to it, up to the root of
// the tree; a link that leads out of the tree, up to the root of all.
func trusted(path, resolved, root string, uid int) error {
	top, err := filepath.EvalSymlinks(root)
	if err != nil {
		return fmt.Errorf("cannot find %s: %s", root, cause(err))
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("cannot find %s: %s", filepath.Dir(path), cause(err))
	}
	for _, at := range []string{resolved, folder} {
		for ; ; at = filepath.Dir(at) {
			if err := untouched(at, uid); err != nil {
				return err
			}
			if at == top || at == "/" {
				break
			}
		}
	}
	return nil
}

// untouched refuses what others than root and uid can write.
func untouched(path string, uid int) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("cannot look at %s: %s", path, cause(err))
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	mode := info.Mode().Perm()
	switch {
	case !ok:
		return fmt.Errorf("cannot see who owns %s", path)
	case st.Uid != 0 && int(st.Uid) != uid:
		return fmt.Errorf("refused as root: %s (mode %04o) belongs to uid %d, who could change it: chown root %s", path, mode, st.Uid, path)
	case mode&0o022 != 0:
		return fmt.Errorf("refused as root: %s (mode %04o, uid %d) can be changed by others: chmod go-w %s", path, mode, st.Uid, path)
	}
	return nil
}

// scriptError names what execve(2) would only give a number for.
func scriptError(path string) error {
	fault := proc.ScriptFault(path)
	switch {
	case fault.Why == "":
		return nil
	case fault.Hint == "":
		return fmt.Errorf("cannot execute %s: %s", path, fault.Why)
	}
	return fmt.Errorf("cannot execute %s: %s: %s", path, fault.Why, fault.Hint)
}
