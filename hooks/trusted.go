package hooks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/program"
	"github.com/stoker-init/stoker/internal/trust"
	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// OpenTrusted is proc.Spec.Open for a program that is executed as user; nil: as stoker's own. If
// stoker is root it refuses programs, and interpreters of scripts, that others than root and that
// user could have changed or put there. It is nil if stoker is not root.
func OpenTrusted(user *asuser.User) func(path string) (*os.File, string, error) {
	if os.Geteuid() != 0 {
		return nil
	}
	uid := user.ID()
	return func(path string) (*os.File, string, error) {
		folder, name, err := trust.Program(path, uid)
		if err != nil {
			return nil, "", fmt.Errorf("refused as root: %w", err)
		}
		if interpreter := program.Interpreter(path); interpreter != "" {
			if err := trust.Path(interpreter, uid); err != nil {
				folder.Close()
				return nil, "", fmt.Errorf("refused as root: the interpreter of %s: %w", path, err)
			}
		}
		return folder, name, nil
	}
}

// checkExecutable explains why a hook file cannot be executed, in more words than the kernel's.
func checkExecutable(path string) error {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("cannot find %s: %w", path, untrusted.Cause(err))
	}
	info, err := os.Stat(resolved)
	switch {
	case err != nil:
		return fmt.Errorf("cannot look at %s: %w", path, untrusted.Cause(err))
	case info.IsDir():
		return fmt.Errorf("%s is a folder, and not a program", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file", path)
	case info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s is not executable (mode %04o): chmod +x %s", path, info.Mode().Perm(), path)
	}
	var st unix.Statfs_t
	if unix.Statfs(resolved, &st) == nil && st.Flags&unix.ST_NOEXEC != 0 {
		return fmt.Errorf("%s is on a mount that forbids execution (noexec): mount it with exec, or copy the file elsewhere", path)
	}
	if fault := program.ScriptFault(path); fault.Why != "" {
		return fmt.Errorf("cannot execute %s: %s", path, strings.TrimSuffix(fault.Why+": "+fault.Hint, ": "))
	}
	return nil
}
