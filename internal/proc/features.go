package proc

import (
	"errors"
	"os"
	"syscall"

	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/waitid"
	"golang.org/x/sys/unix"
)

// Features are kernel features that may be missing. A field that is set switches one off.
type Features struct {
	CloneParent bool // gVisor takes the flag and ignores it
	Pidfd       bool // Linux < 5.3, or a seccomp profile older than it
	Splice      bool // gVisor, or an output that does not support it
}

// signal sends a signal to the process with a pid and a start time. The pidfd is opened
// first: while it is open, the check is about the process that it stands for. Without pidfds
// the process would have to be reaped, and its pid given out again, between this check and
// the signal.
func (m *Manager) signal(pid int, start uint64, sig syscall.Signal) error {
	fd := -1
	if !m.opts.Deny.Pidfd {
		var err error
		if fd, err = unix.PidfdOpen(pid, 0); err == nil {
			defer unix.Close(fd)
		}
	}
	if !hasStart(pid, start) {
		return ErrGone
	}
	if fd >= 0 {
		err := unix.PidfdSendSignal(fd, sig, nil, 0)
		if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) { // EPERM may be of a seccomp filter
			return errGone(err)
		}
	}
	return errGone(unix.Kill(pid, sig))
}

// errGone maps ESRCH to ErrGone.
func errGone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return ErrGone
	}
	return err
}

// checkParent compares the first child's parent with the init. Where the kernel ignores
// CLONE_PARENT the supervisor reaps its children itself, and they do not outlive it.
func (m *Manager) checkParent(p *Process) {
	if m.parentChecked {
		return
	}
	b, err := procfs.ReadStat(p.rec.Pid)
	if err != nil || b.Parent != os.Getpid() && b.Parent != m.init.Pid {
		return // it has ended: the next child shows it
	}
	m.parentChecked = true
	if b.Parent == os.Getpid() {
		m.ownChildren = true
		m.warn("this kernel ignores CLONE_PARENT: services are children of the supervisor, and its death would lose them")
	}
}

// waitOwn reaps a child of the supervisor. It ends with the child.
func (m *Manager) waitOwn(pid int) {
	x, err := waitid.Reap(pid, 0)
	if err == nil {
		m.do(func() { m.exited(x) })
	}
}

func (m *Manager) warn(msg string) {
	if m.opts.Warn != nil {
		m.opts.Warn(msg)
	}
}

// Survives says whether processes outlive this supervisor.
func (m *Manager) Survives() bool {
	ok := false
	m.do(func() { ok = !m.ownChildren })
	return ok
}
