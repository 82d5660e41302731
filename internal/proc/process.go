package proc

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// Process is a child of the init that we started or adopted.
type Process struct {
	m        *Manager
	rec      *record
	exited   chan struct{}
	capture  *logs.Capture // captured output; nil: none
	terminal *os.File      // master side; nil: none

	mu       sync.Mutex     // guards pidfd and group
	pidfd    int            // -1: none
	done     bool           // Done was called
	escapees map[int]uint64 // members seen outside of the group, with their start
}

// Exit says how a process ended.
type Exit struct {
	Code   int            // 0 to 255; -1 when a signal ended it
	Signal syscall.Signal // 0: it exited
	Core   bool
	At     int64         // when it was reaped; CLOCK_BOOTTIME, ns
	CPU    time.Duration // user and system time
	RSS    int64         // largest resident set, bytes
}

// Status is the code by which shells report it: the exit code, or 128+signal.
func (e Exit) Status() int {
	if e.Signal != 0 {
		return 128 + int(e.Signal)
	}
	return e.Code
}

// ID is the name from its Spec.
func (p *Process) ID() string { return p.rec.ID }

// Pid is its process id, which is also its group's.
func (p *Process) Pid() int { return p.rec.Pid }

// StartTicks is when it started, in clock ticks since boot; 0: unknown, it had
// ended before we could look.
func (p *Process) StartTicks() uint64 { return p.rec.Start }

// StartedAt is when it was started; CLOCK_BOOTTIME, ns.
func (p *Process) StartedAt() int64 { return p.rec.Time }

// Exited is closed when the process has ended and what it had written by then
// is in its log.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Exit is how it ended; false while it runs.
func (p *Process) Exit() (Exit, bool) {
	select {
	case <-p.exited:
	default:
		return Exit{}, false
	}
	x := p.rec.Exit
	ws := x.WaitStatus()
	e := Exit{Code: ws.ExitStatus(), At: x.At, CPU: time.Duration(x.CPU), RSS: x.RSS}
	if ws.Signaled() {
		e.Signal, e.Core = ws.Signal(), ws.CoreDump()
	}
	return e, true
}

// ended runs in the loop.
func (p *Process) ended(x initproto.Exit) {
	p.rec.Exit = &x
	if p.capture != nil {
		p.capture.Flush()
		p.capture.Free() // what it left behind must not hold up what follows
	}
	close(p.exited)
	if p.isDone() { // given up before: nobody will say what followed
		p.m.ack(x.Seq)
	}
}

// Held says whether the process is dead and cannot be waited for: a tracer that
// does not let go has it.
func (p *Process) Held() bool {
	b, err := procfs.ReadStat(p.rec.Pid)
	return err == nil && b.State == 'Z' && (p.rec.Start == 0 || b.Start == p.rec.Start)
}

// Ack says that the exit has been dealt with and its consequences are in the
// bag, while the rest of its group is still of interest.
func (p *Process) Ack() {
	p.m.do(func() {
		p.m.putRecord(p.rec, false, nil)
		if p.rec.Exit != nil { // not where somebody holds the zombie
			p.m.ack(p.rec.Exit.Seq)
		}
	})
}

// Done says that the exit has been dealt with and the process is of no interest
// any more. Output of its descendants is captured for as long as they hold the
// pipe. A process that lives is left to itself: its end will be nobody's.
func (p *Process) Done() {
	p.mu.Lock()
	p.done = true
	if p.pidfd >= 0 {
		unix.Close(p.pidfd)
		p.pidfd = -1
	}
	p.mu.Unlock()
	if p.capture != nil {
		p.capture.GiveUp()
	}
	p.HangUp()
	p.m.tracked.remove(p)
	removeCgroups(p.rec.Dirs)
	p.m.do(func() {
		if p.capture != nil && !p.capture.AtEnd() {
			p.rec.Done = true
			p.m.putRecord(p.rec, false, nil)
			p.capture.WhenEnded(func() { go p.m.do(func() { p.m.remove(p) }) }) // ends with the request
		} else {
			p.m.remove(p)
		}
		if p.rec.Exit != nil {
			p.m.ack(p.rec.Exit.Seq)
		}
	})
}

// ErrGone says that there is nobody left to signal.
var ErrGone = os.ErrProcessDone

// Signal sends sig to the process alone.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.Exit(); ok {
		return ErrGone
	}
	if p.pidfd >= 0 {
		err := unix.PidfdSendSignal(p.pidfd, sig, nil, 0)
		if !p.m.features.refusedPidfd(err) {
			return errGone(err)
		}
	}
	// No pidfd: the pid is ours as long as its start time is. Between this look
	// and the signal the init would have to reap it and the kernel to come
	// around to the same number.
	if !p.alive() {
		return ErrGone
	}
	return errGone(unix.Kill(p.rec.Pid, sig))
}

// alive says whether the pid still belongs to this process.
func (p *Process) alive() bool {
	b, err := procfs.ReadStat(p.rec.Pid)
	return err == nil && (p.rec.Start == 0 || b.Start == p.rec.Start)
}

// groupFlag is PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9.
const groupFlag = 1 << 2

// SignalGroup sends sig to every one of the Members. ErrGone says that there is
// none; another error, that none of them could be signalled.
func (p *Process) SignalGroup(sig syscall.Signal) error {
	if p.isDone() {
		return ErrGone
	}
	if sig == syscall.SIGTERM || sig == syscall.SIGINT || sig == syscall.SIGKILL {
		p.FreeOutput()
	}
	killed := sig == syscall.SIGKILL && p.killCgroups()
	var outside map[int]procfs.Stat
	if sig != syscall.SIGKILL && sig != 0 {
		outside = p.escaped(0) // before the parents die by which they are known
	}
	if sig == syscall.SIGKILL {
		p.freeze()
	}
	err := p.signalGroup(sig)
	strays := p.signalEscaped(sig, outside)
	if sig == syscall.SIGKILL {
		strays = p.killEscaped()
	}
	if killed {
		return nil
	}
	if strays == nil || errors.Is(err, ErrGone) {
		return strays
	}
	return err
}

// signalGroup sends sig to the members of the process's group. It works after
// the leader has ended: through the pidfd where the kernel can, else by the
// number of the group, which the kernel does not give out again while a member
// lives.
func (p *Process) signalGroup(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return ErrGone
	}
	if p.pidfd >= 0 && p.m.features.groupSignal() {
		err := unix.PidfdSendSignal(p.pidfd, sig, nil, groupFlag)
		if !p.m.features.refusedGroup(err) {
			return errGone(err)
		}
	}
	if !p.ownsGroup() {
		return ErrGone
	}
	return errGone(unix.Kill(-p.rec.Pid, sig))
}

// ownsGroup says whether the group of this number is still the one we made:
// its leader is our process, or it has no leader and a member that lives.
func (p *Process) ownsGroup() bool {
	if b, err := procfs.ReadStat(p.rec.Pid); err == nil {
		return p.rec.Start == 0 || b.Start == p.rec.Start
	}
	for _, b := range procfs.TakeSnapshot().Stats {
		if b.Pgrp == p.rec.Pid && b.Alive() && (p.rec.Group || b.Session == p.rec.Pid) {
			return true
		}
	}
	return false
}

// errGone maps ESRCH.
func errGone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return ErrGone
	}
	return err
}

// Catches says whether the process has a handler for sig now: a JVM in its first
// milliseconds, or one with -Xrs, has none for QUIT and would die of it.
func (p *Process) Catches(sig syscall.Signal) bool {
	status, err := procfs.ReadStatus(p.rec.Pid)
	return err == nil && status.Catches(int(sig))
}
