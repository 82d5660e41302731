package hooks

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

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
	return checkScript(path)
}

// maxFirstLine bounds what is read of a script, in bytes: what the kernel reads.
const maxFirstLine = 256

// checkScript names what execve(2) would only give a number for.
func checkScript(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return nil // it can be executable and not readable
	}
	defer f.Close()
	head := make([]byte, maxFirstLine)
	n, _ := f.Read(head)
	head = head[:n]
	switch line, isScript := bytes.CutPrefix(head, []byte("#!")); {
	case isScript:
		line, _, _ = bytes.Cut(line, []byte("\n"))
		return checkInterpreter(path, string(line))
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf#!")):
		return fmt.Errorf("%s begins with a byte order mark before its #!: save it as UTF-8 without one", path)
	case n == 0:
		return fmt.Errorf("%s is empty", path)
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return nil
	}
	return nil // of a kind that only the kernel knows; it says ENOEXEC where it does not
}

func checkInterpreter(path, line string) error {
	if strings.HasSuffix(line, "\r") {
		return fmt.Errorf(`the first line of %s ends with a carriage return (it has Windows line ends): sed -i 's/\r$//' %s`, path, path)
	}
	words := strings.Fields(line)
	if len(words) == 0 {
		return fmt.Errorf("the #! line of %s names no interpreter, such as /bin/sh", path)
	}
	info, err := os.Stat(words[0])
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("the interpreter %s of %s is not here: install it, or name another one in the #! line", words[0], path)
	case err == nil && (info.IsDir() || info.Mode().Perm()&0o111 == 0):
		return fmt.Errorf("the interpreter %s of %s is not a program", words[0], path)
	}
	return nil // where it cannot be seen, whoever executes it may see more
}

// explainStart words why a program could not be started.
func explainStart(err error, path string) string {
	if errors.Is(err, syscall.ENOEXEC) && path != "" {
		return fmt.Sprintf("%s is no program of this machine, and has no #! line: begin a script with #!/bin/sh", path)
	}
	if errors.Is(err, fs.ErrNotExist) && path != "" {
		if why := checkScript(path); why != nil {
			return why.Error()
		}
	}
	return err.Error()
}
