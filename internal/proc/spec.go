package proc

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/logs"
	"golang.org/x/sys/unix"
)

// Spec says what to start and how.
type Spec struct {
	ID   string       // names the process for good, e.g. "tomcat.5"; never used twice
	Argv []string     // Argv[0] is looked up in the PATH of Env when it has no slash
	Env  []string     // the whole environment
	Dir  string       // working directory; empty: ours
	User *asuser.User // nil: ours
	// Open checks the program that was found, and gives the folder in which it is, open
	// since before the check; nil: it is not checked. The program is executed as a name in
	// that folder. A script is executed by its path, which its interpreter opens and calls
	// $0, and so is every program where /proc is missing.
	Open func(path string) (folder *os.File, name string, err error)
	// Attributes need the exec shim, which takes a millisecond. Their Cgroups are removed
	// when the process is Done and no other is in them. A process that is not Foreground
	// leads a session of its own.
	execshim.Attributes

	Stdio Stdio
	// Modest refuses a start beside others that would take the descriptors kept for
	// operators.
	Modest bool
	// WhileStopping lets it start after a stop of the container was asked for.
	WhileStopping bool
}

// ErrStopping refuses a start because the container stops.
var ErrStopping = errors.New("the container stops")

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

// LookPath finds the program of a command without a Manager.
func LookPath(argv, env []string) (string, error) { return (&Spec{Argv: argv, Env: env}).lookPath() }

// lookPath finds the program as execvp(3) would, in the process's own PATH.
func (s *Spec) lookPath() (string, error) {
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		return "", &StartError{Path: "an empty command", Step: "execute", Err: syscall.EINVAL}
	}
	name := s.Argv[0]
	if strings.Contains(name, "/") {
		return name, s.executable(name)
	}
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, kv := range s.Env {
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
		err := s.executable(full)
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

// executable tells a missing or plainly unusable file apart before a process is
// made for it. What it lets through execve still judges.
func (s *Spec) executable(path string) error {
	info, err := os.Stat(s.at(path))
	switch {
	case err != nil:
		return &StartError{Path: path, Step: "execute", Err: errors.Unwrap(err)}
	case info.IsDir():
		return s.cannotExecute(path, syscall.EISDIR)
	case info.Mode()&0o111 == 0:
		return s.cannotExecute(path, syscall.EACCES)
	}
	// A carriage return may also become a part of the interpreter's argument, as in
	// "#!/usr/bin/env bash", which the kernel lets through.
	if fault := ScriptFault(s.at(path)); strings.HasPrefix(fault.Why, endsWithReturn) {
		return s.cannotExecute(path, syscall.ENOEXEC)
	}
	return nil
}

// at is where a path of the process is for us.
func (s *Spec) at(path string) string {
	if !filepath.IsAbs(path) && s.Dir != "" {
		return filepath.Join(s.Dir, path)
	}
	return path
}

// cannotExecute is the kernel's error with what can be seen of the file.
func (s *Spec) cannotExecute(path string, err error) *StartError {
	fault := programFault(s.at(path), err)
	return &StartError{Path: path, Step: "execute", Why: fault.Why, Hint: fault.Hint, Err: err}
}

// opened is a program that is executed as a name in an open folder.
type opened struct {
	folder *os.File // nil: it is executed by its path
	exe    string   // what the child executes
}

// folderFd is the descriptor of that folder in the child, behind those of the shim. It
// stays open after the execve, and allows no more than the path of the folder does.
const folderFd = execshim.FirstFreeFD

// open finds the program, and has it checked.
func (s *Spec) open() (path string, o opened, err error) {
	if path, err = s.lookPath(); err != nil || s.Open == nil {
		return path, opened{exe: path}, err
	}
	folder, name, err := s.Open(s.at(path))
	if err != nil {
		return path, o, err
	}
	if !exists(fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), name)) || isScript(folder, name) {
		folder.Close()
		return path, opened{exe: path}, nil
	}
	return path, opened{folder, fmt.Sprintf("/proc/self/fd/%d/%s", folderFd, name)}, nil
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

func (o opened) close() {
	if o.folder != nil {
		o.folder.Close()
	}
}

// childFds adds the folder to the descriptors of a child.
func (o opened) childFds(files []uintptr) []uintptr {
	if o.folder == nil {
		return files
	}
	files = slices.Clone(files)
	for len(files) < folderFd {
		files = append(files, ^uintptr(0)) // none
	}
	return append(files, o.folder.Fd())
}

// procPrefix marks the bag items that are processes.
const procPrefix = "proc/"

func isProc(name string) bool { return strings.HasPrefix(name, procPrefix) }

// record is what the bag knows of a process: enough for a supervisor that has
// never seen it. Without Pid it is an intent.
type record struct {
	ID    string          `json:"id"`
	Path  string          `json:"path"`
	Exact string          `json:"exact"` // hash of the command line
	Tail  string          `json:"tail"`  // hash of path and arguments, behind a script's interpreter
	Log   string          `json:"log,omitempty"`
	Late  *logs.Options   `json:"late,omitempty"` // of the log, which may not be there yet
	Time  int64           `json:"time"`           // before the clone; CLOCK_BOOTTIME, ns
	Pid   int             `json:"pid,omitempty"`
	Start uint64          `json:"start,omitempty"` // clock ticks since boot
	Group bool            `json:"group,omitempty"` // leads a group only, not a session
	Dirs  []string        `json:"dirs,omitempty"`  // its own cgroup
	Exit  *initproto.Exit `json:"exit,omitempty"`
	Done  bool            `json:"done,omitempty"` // only its output is still of interest
	// Merged says that both of its descriptors are the one pipe of both streams: a
	// supervisor that does not know this reads two.
	Merged bool `json:"merged,omitempty"`
	// Lost is how much the init had discarded of each pipe when the line before it
	// was ended in the log.
	Lost initproto.PipeBytes `json:"lost,omitzero"`
}

// newRecord is the intent to start s.
func newRecord(s *Spec, path string) *record {
	r := &record{ID: s.ID, Path: path, Group: s.Foreground, Merged: s.Stdio.Merge, Dirs: s.Cgroups, Time: initproto.BootNow()}
	r.Exact = hashArgs(s.Argv)
	r.Tail = hashArgs(append([]string{path}, s.Argv[1:]...))
	switch {
	case s.Stdio.Log != nil:
		r.Log = s.Stdio.Log.Name()
	case s.Stdio.Late != nil:
		r.Log, r.Late = s.ID, s.Stdio.Late
	}
	return r
}

// hashArgs identifies an argument list; a whole one may be larger than the bag's
// limit.
func hashArgs(argv []string) string {
	sum := sha256.Sum256([]byte(strings.Join(argv, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// atomicStats are counters that others read.
type atomicStats struct{ orphans atomic.Uint64 }
