// Package procfs reads what the kernel shows of processes in /proc; see proc(5). It is
// the only reader of /proc/PID. It sends no signals and keeps nothing.
package procfs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxText bounds what is read of a process's memory, in bytes: execve(2) takes 6 MiB of
// arguments and variables at most.
const maxText = 8 << 20

var errTooLarge = errors.New("it is too large")

// Path is the path of a file or link of a process, such as "cwd" or "root/tmp".
func Path(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

// Open opens the directory of a process. It stands for that process even when another
// gets the same pid: its entries vanish with the process.
func Open(pid int) (*os.File, error) { return os.Open(Path(pid, "")) }

// Owner is the effective user of a process, as the owner of its directory shows it.
func Owner(pid int) (uid int, err error) {
	var st unix.Stat_t
	err = unix.Stat(Path(pid, ""), &st)
	return int(st.Uid), err
}

// Pids lists the processes that are visible, as far as /proc can be read.
func Pids() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // as far as it got
	return ParsePids(names)
}

// ParsePids returns the decimal numbers among words.
func ParsePids(words []string) []int {
	pids := make([]int, 0, len(words))
	for _, word := range words {
		if pid, err := strconv.Atoi(word); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Children lists the children of a process's main thread, zombies included: the kernel
// gives orphans to that thread of a reaper. ok is false where the kernel does not list
// them (it needs CONFIG_PROC_CHILDREN).
func Children(pid int) (children []int, ok bool) {
	data, err := os.ReadFile(Path(pid, "task/"+strconv.Itoa(pid)+"/children"))
	return ParsePids(strings.Fields(string(data))), err == nil
}

// Comm is the name of a process's main thread.
func Comm(pid int) (string, error) {
	data, err := os.ReadFile(Path(pid, "comm"))
	return strings.TrimSuffix(string(data), "\n"), err
}

// Exe is the path of what a process executes. It ends with " (deleted)" when the file has been
// removed or replaced.
func Exe(pid int) (string, error) { return os.Readlink(Path(pid, "exe")) }

// Cwd is the working directory of a process.
func Cwd(pid int) (string, error) { return os.Readlink(Path(pid, "cwd")) }

// Cmdline is the command line of a process; empty for a zombie.
func Cmdline(pid int) ([]string, error) { return readStrings(pid, "cmdline") }

// Environ is the environment that a process was started with.
func Environ(pid int) ([]string, error) { return readStrings(pid, "environ") }

// readStrings reads strings that end with NUL. They are in the memory of the process,
// which may move their ends (prctl(2), PR_SET_MM_MAP), so what is read is bounded.
func readStrings(pid int, name string) ([]string, error) {
	file, err := os.Open(Path(pid, name))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxText+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxText:
		return nil, fmt.Errorf("%w: more than %d bytes", errTooLarge, maxText)
	case len(data) == 0:
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00"), nil
}

// EachFD calls f with the path and the target of each open file of a process, such as
// "socket:[INODE]", until f returns false.
func EachFD(pid int, f func(path, target string) (more bool)) error {
	dir, err := os.Open(Path(pid, "fd"))
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1024) // there may be a million
		for _, name := range names {
			path := dir.Name() + "/" + name
			target, err := os.Readlink(path)
			if errors.Is(err, fs.ErrPermission) {
				return err
			}
			if err == nil && !f(path, target) {
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Maps reports whether a process has mapped a file. Links in its path are followed.
func Maps(pid int, file string) (found bool, err error) {
	if file, err = filepath.EvalSymlinks(file); err != nil {
		return false, err
	}
	f, err := os.Open(Path(pid, "maps"))
	if err != nil {
		return false, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() && !found {
		found = strings.HasSuffix(lines.Text(), " "+file)
	}
	return found, lines.Err()
}
