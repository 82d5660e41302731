package hooks

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/trust"
	"golang.org/x/sys/unix"
)

// Guard looks whether a file may be executed in stoker's name. As root it refuses
// one that others could change, or could have put there: see trust.Path, from root
// on. uid is stoker's own.
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
		if err := trust.Path(root, path, uid); err != nil {
			return fmt.Errorf("refused as root: %w", err)
		}
	}
	if info.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("%s is not executable (mode %s): chmod +x %s", path, trust.Mode(info), path)
	}
	var st unix.Statfs_t
	if unix.Statfs(resolved, &st) == nil && st.Flags&unix.ST_NOEXEC != 0 {
		return fmt.Errorf("%s is on a mount that forbids execution (noexec): mount it with exec, or copy the file elsewhere", path)
	}
	return scriptError(path)
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
