package proc

import (
	"errors"
	"os"
	"sync/atomic"
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

	done      atomic.Bool // Done was called
	trackedAt int64       // when tracked knew it; CLOCK_BOOTTIME, ns
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
	p.capture.StopWaiting() // its descendants must not delay what follows
	close(p.exited)
	if p.done.Load() {
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
	p.done.Store(true)
	if p.rec.OwnLog != nil {
		p.capture.RetireLog()
	}
	p.HangUp()
	p.m.tracked.remove(p)
	removeCgroups(p.rec.Dirs)
	p.m.do(func() {
		if !p.capture.Ended() {
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
	p.capture.OnEnd(func() { go p.m.do(func() { p.m.remove(p) }) }) // ends with the request
}

// ErrGone says that there is no process left to signal.
var ErrGone = os.ErrProcessDone

// Signal sends sig to the process alone.
func (p *Process) Signal(sig syscall.Signal) error {
	if _, ok := p.Exit(); ok {
		return ErrGone
	}
	return p.m.signal(p.rec.Pid, p.rec.Start, sig)
}

// SignalGroup sends sig to all Members. After STOP none of them runs, and each is known from
// then on. ErrGone says that there is none; another error, that none of them could be signalled.
func (p *Process) SignalGroup(sig syscall.Signal) error {
	if p.done.Load() {
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
	case syscall.SIGSTOP:
		p.freeze()
		fallthrough
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

// signalGroup sends sig to the process group, also after its leader has ended: the kernel
// does not give its number out again while a member lives.
func (p *Process) signalGroup(sig syscall.Signal) error {
	if p.done.Load() || !p.ownsGroup() {
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
	for _, s := range p.m.snapshotSince(0).stats {
		if s.Pgrp == p.rec.Pid && s.Alive() && (p.rec.Group || s.Session == p.rec.Pid) {
			return true
		}
	}
	return false
}

// Catches says whether the process has a handler for sig now: a JVM in its first
// milliseconds, or one with -Xrs, has none for QUIT and would die of it.
func (p *Process) Catches(sig syscall.Signal) bool {
	status, err := procfs.ReadStatus(p.rec.Pid)
	return err == nil && status.Catches(int(sig))
}
