// Package program finds the program of a command as execvp(3) does, opens it for execution,
// and explains why a file cannot be executed. It starts nothing.
package program

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/stoker-init/stoker/internal/execshim"
	"golang.org/x/sys/unix"
)

// Command is a command line and what its program is looked up with.
type Command struct {
	Argv []string // Argv[0] is looked up in the PATH of Env when it has no slash
	Env  []string // the whole environment
	Dir  string   // working directory; empty: stoker's own
	// Open checks the program that was found, and returns the folder in which it is, open
	// since before the check; nil: it is not checked. The program is executed as a name in
	// that folder. A script is executed by its path, which its interpreter opens and calls
	// $0, and so is every program where /proc is missing.
	Open func(path string) (folder *os.File, name string, err error)
	// FDs is how many descriptors the program gets beside the standard streams.
	FDs int
}

// StartError says why a program could not be started.
type StartError struct {
	Path string // what was to be executed
	Step string // "find", "execute", "set the limit nofile of", ...
	Why  string // what Err does not say, "needs CAP_SYS_NICE"; empty: nothing
	Hint string // what to do; empty: that is plain
	Err  error
}

func (e *StartError) Error() string {
	why := ""
	if e.Why != "" {
		why = " (" + e.Why + ")"
	}
	if e.Hint != "" {
		why += "\nhint: " + e.Hint
	}
	return fmt.Sprintf("cannot %s %s: %v%s", e.Step, e.Path, e.Err, why)
}

func (e *StartError) Unwrap() error { return e.Err }

// Code is the exit code by which shells and container engines report it: 127
// for a program that does not exist, 126 for one that cannot be executed.
func (e *StartError) Code() int {
	if errors.Is(e.Err, fs.ErrNotExist) {
		return 127
	}
	return 126
}

// LookPath finds the program as execvp(3) does, in the PATH of Env.
func (c *Command) LookPath() (string, error) {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return "", &StartError{Path: "an empty command", Step: "execute", Err: syscall.EINVAL}
	}
	name := c.Argv[0]
	if strings.Contains(name, "/") {
		return name, c.executable(name)
	}
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, kv := range c.Env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	found := StartError{Err: syscall.ENOENT}
	for _, dir := range filepath.SplitList(path) {
		if dir == "" {
			dir = "."
		}
		full := dir + "/" + name
		err := c.executable(full)
		if err == nil {
			return full, nil
		}
		var unusable *StartError
		if errors.As(err, &unusable) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			found = *unusable
		}
	}
	found.Path, found.Step = fmt.Sprintf("%q in PATH (%s)", name, path), "find"
	return "", &found
}

// executable finds missing and plainly unusable files before a process is made. The kernel
// judges the rest.
func (c *Command) executable(path string) error {
	info, err := os.Stat(c.at(path))
	switch {
	case err != nil:
		return &StartError{Path: path, Step: "execute", Err: errors.Unwrap(err)}
	case info.IsDir():
		return c.CannotExecute(path, syscall.EISDIR)
	case info.Mode()&0o111 == 0:
		return c.CannotExecute(path, syscall.EACCES)
	}
	// A carriage return may also become a part of the interpreter's argument, as in
	// "#!/usr/bin/env bash", which the kernel lets through.
	if fault := ScriptFault(c.at(path)); strings.HasPrefix(fault.Why, endsWithReturn) {
		return c.CannotExecute(path, syscall.ENOEXEC)
	}
	return nil
}

// at is where a path of the process is for stoker.
func (c *Command) at(path string) string {
	if !filepath.IsAbs(path) && c.Dir != "" {
		return filepath.Join(c.Dir, path)
	}
	return path
}

// CannotExecute is the kernel's error with what can be seen of the file.
func (c *Command) CannotExecute(path string, err error) *StartError {
	fault := programFault(c.at(path), err)
	return &StartError{Path: path, Step: "execute", Why: fault.Why, Hint: fault.Hint, Err: err}
}

// Opened is a program that is executed as a name in an open folder.
type Opened struct {
	folder *os.File // nil: it is executed by its path
	// folderFD is the descriptor of that folder in the child, behind those of the shim and of the program. It stays open after the
	// execve, and allows no more than the path of the folder does.
	folderFD int
	Exe      string // what the child executes
}

// Find finds the program, and has it checked.
func (c *Command) Find() (path string, o Opened, err error) {
	if path, err = c.LookPath(); err != nil || c.Open == nil {
		return path, Opened{Exe: path}, err
	}
	folder, name, err := c.Open(c.at(path))
	if err != nil {
		return path, o, err
	}
	if !exists(fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), name)) || isScript(folder, name) {
		folder.Close()
		return path, Opened{Exe: path}, nil
	}
	fd := execshim.FirstFreeFD + c.FDs
	return path, Opened{folder, fd, fmt.Sprintf("/proc/self/fd/%d/%s", fd, name)}, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// isScript says whether the kernel hands a file to an interpreter.
func isScript(folder *os.File, name string) bool {
	fd, err := unix.Openat(int(folder.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	head := make([]byte, len("#!"))
	n, err := unix.Pread(fd, head, 0)
	return err == nil && string(head[:n]) == "#!"
}

// Close closes the folder.
func (o Opened) Close() {
	if o.folder != nil {
		o.folder.Close()
	}
}

// AddTo adds the folder to the descriptors of a child.
func (o Opened) AddTo(files []uintptr) []uintptr {
	if o.folder == nil {
		return files
	}
	files = slices.Clone(files)
	for len(files) < o.folderFD {
		files = append(files, ^uintptr(0)) // none
	}
	return append(files, o.folder.Fd())
}
