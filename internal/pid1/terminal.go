package pid1

import (
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// terminal is what the controlling terminal was like when the init started.
type terminal struct{ state *unix.Termios }

// saveTerminal remembers the settings of the terminal on stdin, if there is one.
func saveTerminal() *terminal {
	state, err := unix.IoctlGetTermios(0, unix.TCGETS)
	if err != nil {
		return &terminal{}
	}
	return &terminal{state: state}
}

// restore puts the settings back and makes the init's group the foreground
// group again: whoever runs stoker by hand gets the terminal as it was, also
// when the command died in raw mode.
func (t *terminal) restore() {
	if t.state == nil {
		return
	}
	_ = TakeForeground(0, unix.Getpgrp()) // no longer our terminal: then it is nobody's loss
	blockTTOU(func() { _ = unix.IoctlSetTermios(0, unix.TCSETS, t.state) })
}

// TakeForeground makes pgrp the foreground group of the terminal fd.
func TakeForeground(fd, pgrp int) error {
	var err error
	blockTTOU(func() { err = unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, pgrp) })
	return err
}

// blockTTOU runs f on a thread that blocks SIGTTOU. A background process that
// changes its terminal is stopped by that signal, and one that catches it (as
// the init does) would be interrupted for ever; blocked, the change is allowed
// (tcsetpgrp(3)).
func blockTTOU(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set, old unix.Sigset_t
	n := int(unix.SIGTTOU) - 1
	set.Val[n/64] |= 1 << (n % 64)
	unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old)
	f()
	unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
}

// closeOnExecFrom marks every descriptor from first on, so that nothing that we
// were started with reaches a service.
func closeOnExecFrom(first int) {
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
