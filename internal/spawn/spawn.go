// Package spawn starts programs for the init, which waits for them itself.
package spawn

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Start starts a program in a process group of its own, so that a key press at the
// terminal is not also a signal to it, and with an empty signal mask: what our parent
// blocked is inherited by a Go child (the thread's mask is restored before exec), and by
// every service after it.
func Start(exe string, argv, env []string, files []uintptr) (pid int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var old, none unix.Sigset_t
	unix.PthreadSigmask(unix.SIG_SETMASK, &none, &old)
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	return syscall.ForkExec(exe, argv, &syscall.ProcAttr{Env: env, Files: files, Sys: &syscall.SysProcAttr{Setpgid: true}})
}

// Replace executes a program in place of this one, as execvp(3) finds it. It returns if
// that fails.
func Replace(argv, env []string) error {
	if strings.Contains(argv[0], "/") {
		return syscall.Exec(argv[0], argv, env)
	}
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	var found error = unix.ENOENT
	for _, dir := range strings.Split(path, ":") {
		if dir == "" {
			dir = "."
		}
		if err := syscall.Exec(dir+"/"+argv[0], argv, env); err != unix.ENOENT && err != unix.ENOTDIR {
			found = err
		}
	}
	return found
}

// OwnExe is the executable of this process: its path (which also names the process in ps)
// while that is still the same file, and the kernel's link after it was replaced or removed.
func OwnExe() string {
	const self = "/proc/self/exe"
	path, err := os.Readlink(self)
	if err != nil {
		return self
	}
	here, err1 := os.Stat(self)
	there, err2 := os.Stat(path)
	if err1 != nil || err2 != nil || !os.SameFile(here, there) {
		return self
	}
	return path
}

// CloseOnExecFrom marks every descriptor from first on, so that nothing that we were
// started with reaches a child.
func CloseOnExecFrom(first int) {
	if unix.CloseRange(uint(first), ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	// Linux < 5.11, or a seccomp profile older than the call.
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil && fd >= first {
			unix.CloseOnExec(fd)
		}
	}
}
