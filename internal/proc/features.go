package proc

import (
	"errors"
	"os"
	"sync/atomic"

	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/waitid"
	"golang.org/x/sys/unix"
)

// Features are kernel features that may be missing. A field that is set switches one off.
type Features struct {
	CloneParent bool // gVisor takes the flag and ignores it
	Pidfd       bool // Linux < 5.3, or a seccomp profile older than it
	GroupSignal bool // Linux < 6.9
	Splice      bool // gVisor, or an output that does not support it
}

// featureSet knows which features are missing.
type featureSet struct {
	denied        Features
	parentChecked bool        // of the loop
	ownChildren   bool        // of the loop: the init cannot reap, so the supervisor does
	noPidfd       atomic.Bool // learned from a refusal
	noGroup       atomic.Bool
}

// refusedPidfd says whether err means that pidfds do not work here.
func (f *featureSet) refusedPidfd(err error) bool {
	if f.denied.Pidfd || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) && !f.permitted() {
		f.noPidfd.Store(true)
		return true
	}
	return false
}

// permitted tells a real EPERM from that of a seccomp filter: the kernel always allows a
// signal 0 to the own process.
func (f *featureSet) permitted() bool {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.PidfdSendSignal(fd, 0, nil, 0) == nil
}

func (f *featureSet) groupSignal() bool {
	return !f.denied.GroupSignal && !f.denied.Pidfd && !f.noGroup.Load()
}

// refusedGroup says whether err means that groups cannot be signalled by pidfd.
func (f *featureSet) refusedGroup(err error) bool {
	if errors.Is(err, unix.EINVAL) || f.refusedPidfd(err) {
		f.noGroup.Store(true)
		return true
	}
	return false
}

// open returns a pidfd of a process; -1: none can be had.
func (f *featureSet) open(pid int) int {
	if f.denied.Pidfd || f.noPidfd.Load() {
		return -1
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1
	}
	return fd
}

// checkParent compares the first child's parent with the init. Where the kernel ignores
// CLONE_PARENT the supervisor reaps its children itself, and they do not outlive it.
func (m *Manager) checkParent(p *Process) {
	if m.features.parentChecked {
		return
	}
	b, err := procfs.ReadStat(p.rec.Pid)
	if err != nil || b.Parent != os.Getpid() && b.Parent != m.initPid {
		return // it has ended: the next child shows it
	}
	m.features.parentChecked = true
	if b.Parent == os.Getpid() {
		m.features.ownChildren = true
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
	m.do(func() { ok = !m.features.ownChildren })
	return ok
}
