package pid1

import (
	"io"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/headroom"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/initstore"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/signals"
	"github.com/stoker-init/stoker/internal/spawn"
	"github.com/stoker-init/stoker/internal/terminal"
	"github.com/stoker-init/stoker/internal/waitid"
	"golang.org/x/sys/unix"
)

// Caught holds the signals that reach the container.
type Caught struct {
	signals chan os.Signal
	threads threads
	err     error // no room for the threads that catch signals
}

// Catch catches the signals that a container is stopped and asked with. It must be the
// first statement of main: until then Go's runtime ends the process on them.
func Catch() *Caught {
	runtime.GOMAXPROCS(1) // nothing in an init can run in parallel: spare the hand-overs, and threads
	c := &Caught{signals: make(chan os.Signal, 128)}
	if limit, ok := headroom.TaskLimit(); ok && limit < fewTasks {
		if c.err = c.threads.reserve(signalThreads, 0); c.err != nil {
			return c
		}
	}
	signals.NotifyFirst(c.signals)
	return c
}

// Options configure the init.
type Options struct {
	Args    []string  // argv of the supervisor; Args[0] is its name in ps
	Env     []string  // its environment
	Log     io.Writer // where the init's own few lines go
	Version string    // of this binary
	// Command is run if no supervisor can be started; nil: a supervisor is needed.
	Command func() *Command
}

// initState is the init. One goroutine owns all of it.
type initState struct {
	opts       Options
	isPID1     bool
	sigs       chan os.Signal
	waiter     *waitid.Waiter
	store      *initstore.Store
	events     eventQueue
	supervisor supervisorProc
	binaries   binaries
	out        []packet  // not yet sent to the supervisor; goes before the events
	blocked    bool      // the supervisor's queue is full
	stops      int       // stop requests so far
	stopAt     time.Time // of the first of them; zero: there was none
	planRun    *planRun
	killAll    *killAll
	log        logger
	tty        terminal.Settings
	threads    threads
	startErr   error // no room for the threads or descriptors of an init
	started    bool  // a child other than a supervisor was, or may have been, started
	command    *commandProcess
	syncAsked  bool // a Sync is to be answered
}

// initFiles are the descriptors that a start needs, and Go's poller, which cannot fail.
const initFiles = 8

// Run is the init. It returns the exit code of the container when no child is left.
func Run(caught *Caught, opts Options) int {
	i := &initState{
		opts: opts, isPID1: os.Getpid() == 1, sigs: caught.signals, threads: caught.threads, startErr: caught.err,
		waiter: waitid.NewWaiter(), store: initstore.New(), log: newLogger(opts.Log), tty: terminal.Save(),
	}
	i.binaries.current, i.binaries.previous = i.ownBinary(), i.ownBinary()
	signals.ResetIgnored()
	spawn.CloseOnExecFrom(3)
	if !i.isPID1 {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			i.log.printf("cannot become a subreaper: %v; orphans of the services will not be reaped", err)
		}
	}
	if i.startErr == nil {
		i.startErr = headroom.Files(initFiles)
	}
	if i.startErr != nil {
		i.startFailed(time.Now(), i.startErr)
	}
	code := i.loop()
	i.tty.Restore()
	i.log.close()
	return code
}

// loop makes every change of state.
func (i *initState) loop() int {
	timer := time.NewTimer(0)
	for {
		i.work(time.Now())
		if i.killAll != nil && i.killAll.done {
			return i.killAll.code
		}
		timer.Reset(time.Until(i.due()))
		select {
		case s := <-i.sigs:
			i.signal(s.(syscall.Signal))
		case <-i.waiter.Ready:
			i.reap()
		case <-i.supervisor.readable.Ready():
			i.receive()
			i.supervisor.readable.Resume()
		case <-i.store.Watch.Written():
			i.pipesWritten()
		case <-timer.C:
			i.waiter.EndPause(time.Now())
		}
	}
}

// stopMargin is how much longer than the supervisor the init waits for the end of a stop.
const stopMargin = 500 * time.Millisecond

// stopDeadline is when the init ends a stop itself; false: no stop, or no time limit known.
func (i *initState) stopDeadline() (time.Time, bool) {
	if i.stopAt.IsZero() {
		return time.Time{}, false
	}
	budget := initproto.PlanBudget(i.store.StopPlan())
	return i.stopAt.Add(budget + stopMargin), budget > 0
}

// work does what is due.
func (i *initState) work(now time.Time) {
	deadline, stopping := i.stopDeadline()
	switch {
	case i.killAll == nil && stopping && now.After(deadline):
		i.log.printf("the time for the stop is used up; killing what is left")
		i.endContainer(exit.InitFailed, 0)
		i.killAll.deadline = now // the supervisor has had its time too
	case i.killAll != nil:
		i.killAll.step(now, i)
	case i.command != nil:
		i.command.step(now)
	case i.planRun != nil:
		if i.planRun.step(now) {
			i.endContainer(exit.InitFailed, time.Second)
		}
	default:
		i.supervise(now)
	}
	if i.syncAsked {
		i.syncAsked = false
		i.reap()
		i.events.addSync()
	}
	i.flush()
}

// due is when work must be done next, if nothing else happens.
func (i *initState) due() time.Time {
	now := time.Now()
	next := now.Add(time.Hour)
	earlier := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	if i.blocked {
		earlier(now.Add(5 * time.Millisecond))
	}
	earlier(i.waiter.PausedUntil())
	switch {
	case i.killAll != nil || i.planRun != nil:
		earlier(now.Add(10 * time.Millisecond))
	case i.command != nil:
		earlier(i.command.killAt)
	default:
		s := &i.supervisor
		if deadline, ok := i.stopDeadline(); ok {
			earlier(deadline)
		}
		earlier(s.due(i.stops > 0))
		earlier(i.pipesDue())
		if !s.readsPipes && i.store.CanDrain() {
			earlier(s.drainAt())
		}
		if !s.stoppedAt.IsZero() {
			earlier(s.stoppedAt.Add(resumeAfter))
		}
		if i.binaries.trial && s.onTrial && s.healthy {
			earlier(i.binaries.healthTicks.at.Add(trialStep))
		}
	}
	return next
}

// signal handles a signal that reached the container.
func (i *initState) signal(sig syscall.Signal) {
	if sig == syscall.SIGPIPE {
		return // a write of ours to a reader that went away; the write reports it
	}
	if isStop(int(sig)) {
		if i.stops == 0 {
			i.stopAt = time.Now()
		}
		i.stops++
		i.supervisor.stopRequested(time.Now())
		if i.killAll != nil && i.stops > 1 {
			i.killAll.deadline = time.Time{} // of the present phase
		}
	}
	if i.command != nil {
		i.command.signal(sig, time.Now())
		return
	}
	i.events.addSignal(int(sig), i.stops)
}

// reap waits for every child that has ended. The socket is read after a child is seen and
// before it is reaped: what the supervisor said of the child is then known.
func (i *initState) reap() {
	reaped := 0
	var supervisorExit *initproto.Exit
	for ; reaped < 1000; reaped++ { // then other work is due
		pid, stopped, ok := waitid.Peek()
		if !ok {
			break
		}
		if stopped {
			waitid.TakeStop(pid)
			if s := &i.supervisor; pid == s.pid && s.stoppedAt.IsZero() {
				s.stoppedAt = time.Now()
			}
			continue
		}
		i.receive()
		var stat *procfs.Stat
		if i.store.HasIntent() {
			if s, err := procfs.ReadStat(pid); err == nil {
				stat = &s
			}
		}
		e, err := waitid.Reap(pid, unix.WNOHANG)
		if err != nil {
			continue // seen again by the next Peek
		}
		e.Stat = stat
		if pid == i.supervisor.pid {
			supervisorExit = &e
		} else {
			i.childExited(e)
		}
	}
	if supervisorExit != nil {
		i.receive()
		i.supervisorExited(supervisorExit.WaitStatus())
	}
	i.waiter.Reaped(time.Now(), reaped)
}

// childExited handles the exit of a child other than the supervisor.
func (i *initState) childExited(e initproto.Exit) {
	switch {
	case i.command != nil:
		if e.Pid == i.command.pid {
			i.endContainer(waitid.ShellCode(e.WaitStatus()), commandGrace)
		}
	case i.reportsExit(e.Pid):
		i.events.add(event{exit: e})
	default:
		i.events.orphans++
	}
}

// reportsExit reports whether the supervisor learns of a child's exit: always if an item of
// the fd store follows the child, however many events wait.
func (i *initState) reportsExit(pid int) bool {
	return i.store.Follows(pid) || i.store.MayFollow() && len(i.events.list) <= maxQueued
}

// endContainer ends what is left, and then the container with code.
func (i *initState) endContainer(code int, grace time.Duration) {
	i.killAll = &killAll{code: code, grace: min(max(grace, 0), 30*time.Second)}
	i.store.StopDraining()
}
