// Package terminal gives the controlling terminal to a process group and takes it back, and sets its modes.
package terminal

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Settings are those of the terminal on stdin; the zero value: it is none.
type Settings struct{ termios *unix.Termios }

// Save returns the settings of the terminal on stdin.
func Save() Settings {
	termios, err := unix.IoctlGetTermios(0, unix.TCGETS)
	if err != nil {
		return Settings{}
	}
	return Settings{termios}
}

// OnTerminal reports whether stdin was a terminal.
func (s Settings) OnTerminal() bool { return s.termios != nil }

// Restore makes the caller's group the foreground group again and puts the settings back:
// a shell that runs stoker gets its terminal as it was, also after a command that died in
// raw mode.
func (s Settings) Restore() {
	if s.termios == nil {
		return
	}
	_ = SetForeground(0, unix.Getpgrp()) // fails if the terminal is no longer ours
	s.Reset()
}

// SetForeground makes pgrp the foreground group of the terminal fd.
func SetForeground(fd, pgrp int) error {
	var err error
	blockTTOU(func() { err = unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, pgrp) })
	return err
}

// blockTTOU runs f on a thread that blocks SIGTTOU. A background process that changes its
// terminal is stopped by that signal, and one that catches it (as the init does) would be
// interrupted again and again; blocked, the change is allowed (tcsetpgrp(3)).
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

// Raw has the terminal pass every key and every byte of output on, as cfmakeraw(3). Reset ends that.
func (s Settings) Raw() error {
	if s.termios == nil {
		return unix.ENOTTY
	}
	raw := *s.termios
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(0, unix.TCSETS, &raw)
}

// Reset puts the settings back, whatever group is in the foreground.
func (s Settings) Reset() {
	if s.termios != nil {
		blockTTOU(func() { _ = unix.IoctlSetTermios(0, unix.TCSETS, s.termios) })
	}
}

// Size returns the rows and columns of the terminal fd; 0: it is none, or has no size.
func Size(fd int) (rows, columns uint16) {
	size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return size.Row, size.Col
}
