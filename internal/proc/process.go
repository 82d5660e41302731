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

// Process is a child of the init that this supervisor started or adopted.
type Process struct {
	m        *Manager
	rec      *record
	exited   chan struct{}
	capture  *logs.Capture // captured output; without pipes where nothing is captured
	terminal *os.File      // master side; nil: none

	trackedAt int64 // when tracked knew it; CLOCK_BOOTTIME, ns

	mu    sync.Mutex // guards what follows; held while a signal is sent
	pidfd int        // -1: none
	done  bool       // Done was called
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

// StartTicks is when it started, in clock ticks since boot; 0: unknown, since it had ended
// before its stat was read.
func (p *Process) StartTicks() uint64 { return p.rec.Start }

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

// ended notes the exit. It runs in the loop.
func (p *Process) ended(x initproto.Exit) {
	p.rec.Exit = &x
	p.capture.Flush()
	p.capture.Free() // its descendants must not delay what follows
	close(p.exited)
	if p.isDone() {
		p.m.ack(x.Seq)
	}
}

// Held says whether the process is a zombie that the init cannot reap, because a tracer
// holds it.
func (p *Process) Held() bool {
	s, err := procfs.ReadStat(p.rec.Pid)
	return err == nil && s.State == 'Z' && (p.rec.Start == 0 || s.Start == p.rec.Start)
}

// Ack acknowledges the exit: what follows from it is in the fd store. The other members
// are still of interest.
func (p *Process) Ack() {
	p.m.do(func() {
		p.m.putRecord(p.rec, false, nil)
		if p.rec.Exit != nil { // nil: a tracer holds the zombie
			p.m.ack(p.rec.Exit.Seq)
		}
	})
}

// Done ends the supervision of the process. Output of its descendants is captured as long
// as they hold the pipe. Of a process that lives, the exit will be discarded.
func (p *Process) Done() {
	p.mu.Lock()
	p.done = true
	if p.pidfd >= 0 {
		unix.Close(p.pidfd)
		p.pidfd = -1
	}
	p.mu.Unlock()
	p.capture.GiveUp()
	p.HangUp()
	p.m.tracked.remove(p)
	removeCgroups(p.rec.Dirs)
	p.m.do(func() {
		if !p.capture.AtEnd() {
			p.rec.Done = true
			p.m.putRecord(p.rec, false, nil)
			p.removeAtEnd()
		} else {
			p.m.remove(p)
		}
		if p.rec.Exit != nil {
			p.m.ack(p.rec.Exit.Seq)
		}
	})
}

// removeAtEnd drops a process that is done once its output has ended.
func (p *Process) removeAtEnd() {
	p.capture.WhenEnded(func() { go p.m.do(func() { p.m.remove(p) }) }) // ends with the request
}

// ErrGone says that there is no process left to signal.
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
	// Without a pidfd the start time identifies the process. It would have to be reaped, and
	// its pid given out again, between this check and the signal.
	if !hasStart(p.rec.Pid, p.rec.Start) {
		return ErrGone
	}
	return errGone(unix.Kill(p.rec.Pid, sig))
}

// groupFlag is PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9.
const groupFlag = 1 << 2

// SignalGroup sends sig to all Members. ErrGone says that there is none; another error,
// that none of them could be signalled.
func (p *Process) SignalGroup(sig syscall.Signal) error {
	if p.isDone() {
		return ErrGone
	}
	if sig == syscall.SIGTERM || sig == syscall.SIGINT || sig == syscall.SIGKILL {
		p.FreeOutput()
	}
	killed := sig == syscall.SIGKILL && p.killCgroups()
	var escaped map[int]procfs.Stat
	switch sig {
	case 0:
	case syscall.SIGKILL:
		p.freeze()
	default:
		escaped = p.escaped(0) // before the parents end by which they are known
	}
	err := p.signalGroup(sig)
	escapedErr := p.signalAll(sig, escaped)
	if sig == syscall.SIGKILL {
		escapedErr = p.killEscaped()
	}
	switch {
	case killed:
		return nil
	case escapedErr == nil || errors.Is(err, ErrGone):
		return escapedErr
	}
	return err
}

// signalGroup sends sig to the process group, also after its leader has ended: through the
// pidfd where the kernel can, else by the number of the group, which the kernel does not
// give out again while a member lives.
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

// ownsGroup says whether the group with the number of p is still the one that p began: p
// leads it, or it has no leader and a member that lives.
func (p *Process) ownsGroup() bool {
	if leader, err := procfs.ReadStat(p.rec.Pid); err == nil {
		return p.rec.Start == 0 || leader.Start == p.rec.Start
	}
	for _, s := range procfs.TakeSnapshot().Stats {
		if s.Pgrp == p.rec.Pid && s.Alive() && (p.rec.Group || s.Session == p.rec.Pid) {
			return true
		}
	}
	return false
}

// errGone maps ESRCH to ErrGone.
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
