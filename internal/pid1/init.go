package pid1

import (
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// Exit codes of the init itself; every other code is the supervisor's word.
const (
	// CodeBroken ends a container whose supervisor never worked, or that was
	// stopped by the init alone because no supervisor did.
	CodeBroken = 70
)

// Caught are the signals that reach the container, and what was found out before they
// could be asked for.
type Caught struct {
	signals chan os.Signal
	tasks   tasks
	lack    error // there are no threads to catch signals with
}

// Catch asks for the signals that are sent to a container's first process: until
// then Go's runtime ends it on them, with no clean-up, even as PID 1, so it must
// be the first statement of main. Each costs a hand-over between two threads,
// some 40 us; CatchRest asks for the others when there is time. The hand-overs need
// threads: where a low limit can be seen they are made before.
func Catch() *Caught {
	runtime.GOMAXPROCS(1) // nothing in an init can run in parallel: spare the hand-overs, and threads
	c := &Caught{signals: make(chan os.Signal, 128)}
	if fewTasksSeen() {
		if c.lack = c.tasks.make(signalThreads, 0); c.lack != nil {
			return c
		}
	}
	CatchInto(c.signals)
	return c
}

// CatchInto asks for them with a channel of the caller's.
func CatchInto(c chan<- os.Signal) {
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
}

// CatchRest asks for the other signals that a process can get. SIGCHLD stays out
// because its delivery alone costs about 20 us for each child that ends, and
// SIGURG because the runtime sends it to itself; the runtime ignores those from
// 32 on if nobody asks for them.
func CatchRest(c chan<- os.Signal) {
	signal.Notify(c, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGWINCH, syscall.SIGABRT,
		syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGCONT,
		syscall.SIGILL, syscall.SIGTRAP, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV, syscall.SIGSTKFLT,
		syscall.SIGXCPU, syscall.SIGXFSZ, syscall.SIGVTALRM, syscall.SIGPROF, syscall.SIGIO, syscall.SIGPWR, syscall.SIGSYS)
}

// returnDelay is after the first supervisor's first Ping: its services then have
// had the processors to themselves.
const returnDelay = 2 * time.Second

// Options are what the init is told.
type Options struct {
	Args []string  // argv of the supervisor; Args[0] is its name in ps
	Env  []string  // its environment
	Log  io.Writer // where the init's own few lines go
	// Version is what this binary calls itself.
	Version string
	// Command gives what the init runs where it cannot start a supervisor; nil: a
	// supervisor is needed.
	Command func() *Command
}

// initState is the init. One goroutine owns all of it.
type initState struct {
	opts    Options
	pid1    bool
	sigs    chan os.Signal
	waiter  *waiter
	bag     *bag
	events  events
	keeper  keeper
	bins    binaries
	out     []packet  // the replay to a new supervisor, not yet sent
	blocked bool      // the supervisor's queue is full
	stop    int       // stop requests so far
	stopAt  time.Time // when it was first asked to stop; zero: it was not
	plan    *planRun
	sweep   *sweep
	log     *logger
	tty     *terminal
	burst   burst
	tasks   tasks
	lack    error       // there are no threads or descriptors for an init at all
	began   bool        // a child that is no supervisor was, or may have been, started
	command *commandRun // run without a supervisor
	sync    bool        // a Sync waits for its answer
}

// Run is the init role. It returns the exit code of the container when nothing is left to
// wait for.
func Run(caught *Caught, opts Options) int {
	i := &initState{
		opts: opts, pid1: os.Getpid() == 1, sigs: caught.signals, tasks: caught.tasks, lack: caught.lack,
		waiter: newWaiter(), bag: newBag(), log: newLogger(opts.Log), tty: saveTerminal(),
	}
	i.bins.now, i.bins.before = i.own(), i.own()
	defaultSignals()
	closeOnExecFrom(3)
	if !i.pid1 {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			i.log.printf("cannot become a subreaper: %v; orphans of the services will not be waited for", err)
		}
	}
	if i.lack == nil {
		i.lack = descriptorsFor(ownFiles)
	}
	if i.lack != nil {
		i.notStarted(time.Now(), i.lack)
	}
	code := i.loop()
	i.tty.restore()
	i.log.close()
	return code
}

// loop is the life of the init: every state change happens here.
func (i *initState) loop() int {
	timer := time.NewTimer(0)
	for {
		i.work(time.Now())
		if i.sweep != nil && i.sweep.done {
			return i.sweep.code
		}
		timer.Reset(time.Until(i.due()))
		select {
		case s := <-i.sigs:
			i.signal(s.(syscall.Signal))
		case <-i.waiter.ready:
			i.reap()
		case <-i.keeper.readable():
			i.receive()
			i.keeper.conn.resume()
		case <-i.bag.unread.readable():
			i.written()
		case <-timer.C:
			if i.burst.pause && !time.Now().Before(i.burst.until) {
				i.burst.pause = false
				i.waiter.resume()
			}
		}
	}
}

// endMargin is how much later than the supervisor the init takes the time for a stop to
// be used up.
const endMargin = 500 * time.Millisecond

// stopEnd is when the time for the stop is used up; false: there is no stop, or the
// supervisor has not said how long it may take.
func (i *initState) stopEnd() (time.Time, bool) {
	if i.stopAt.IsZero() {
		return time.Time{}, false
	}
	budget := initproto.PlanBudget(i.bag.plan)
	return i.stopAt.Add(budget + endMargin), budget > 0
}

func (i *initState) stopLate(now time.Time) bool {
	end, ok := i.stopEnd()
	return ok && now.After(end)
}

// work does what has fallen due.
func (i *initState) work(now time.Time) {
	switch {
	case i.sweep == nil && i.stopLate(now):
		i.log.printf("the time for the stop is used up; killing what is left")
		i.beginEnd(CodeBroken, 0)
		i.sweep.deadline = now // the supervisor has had its time too
	case i.sweep != nil:
		i.sweep.step(now, i)
	case i.command != nil:
		i.command.step(now)
	case i.plan != nil:
		if i.plan.step(now) {
			i.beginEnd(CodeBroken, time.Second)
		}
	default:
		i.keep(now)
	}
	if i.sync {
		i.sync = false
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
	if i.burst.pause {
		earlier(i.burst.until)
	}
	switch {
	case i.sweep != nil || i.plan != nil:
		earlier(now.Add(10 * time.Millisecond))
	case i.command != nil:
		earlier(i.command.killAt)
	default:
		k := &i.keeper
		if end, ok := i.stopEnd(); ok {
			earlier(end)
		}
		earlier(k.due(i.stop > 0))
		earlier(i.lookDue())
		if !k.reads && i.bag.canDrain() {
			earlier(k.drainAt())
		}
		if !k.haltedAt.IsZero() {
			earlier(k.haltedAt.Add(haltTime))
		}
		if i.bins.trial && k.trial && k.healthy {
			earlier(i.bins.good.at.Add(trialStep))
		}
	}
	return next
}

// signal takes a signal that reached the container.
func (i *initState) signal(sig syscall.Signal) {
	if sig == syscall.SIGPIPE {
		return // a write of ours to a reader that went away; the write reports it
	}
	if stopSignal(int(sig)) {
		if i.stop == 0 {
			i.stopAt = time.Now()
		}
		i.stop++
		i.keeper.stopRequested(time.Now())
		if i.sweep != nil && i.stop > 1 {
			i.sweep.hurry()
		}
	}
	if i.command != nil {
		i.command.signal(sig, time.Now())
		return
	}
	i.events.addSignal(int(sig), i.stop)
}

// reap waits for every child that has ended. The socket is read after a child
// is seen and before it is judged: whatever the supervisor said before the
// child was born is then known.
func (i *initState) reap() {
	n, supervisor := 0, syscall.WaitStatus(0)
	died := false
	for ; n < 1000; n++ {
		pid, stopped, ok := peekChild()
		if !ok {
			break
		}
		if stopped {
			noteStop(pid)
			if k := &i.keeper; pid == k.pid && k.haltedAt.IsZero() {
				k.haltedAt = time.Now()
			}
			continue
		}
		i.receive()
		var stat *procfs.Stat
		if i.bag.open > 0 {
			if s, err := procfs.ReadStat(pid); err == nil {
				stat = &s
			}
		}
		var status syscall.WaitStatus
		var use syscall.Rusage
		if got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, &use); err != nil || got != pid {
			continue // EINTR: seen again by the next look
		}
		if pid == i.keeper.pid {
			died, supervisor = true, status
			continue
		}
		if i.command != nil {
			if pid == i.command.pid {
				i.beginEnd(exitCode(status), commandGrace)
			}
			continue
		}
		if !i.tells(pid) {
			i.events.orphans++
			continue
		}
		i.events.addExit(initproto.Exit{Pid: pid, Status: uint32(status), At: initproto.BootNow(), Stat: stat,
			CPU: use.Utime.Nano() + use.Stime.Nano(), RSS: use.Maxrss << 10})
	}
	if died {
		i.receive()
		i.supervisorDied(supervisor)
	}
	if i.burst.count(time.Now(), n) {
		return // the waiter stays quiet for a moment: many exits, one wake-up
	}
	i.waiter.resume()
}

// tells says whether the end of a child is told to the supervisor. That of one it
// has named is, however many wait to be acknowledged.
func (i *initState) tells(pid int) bool {
	return i.bag.follows(pid) || i.bag.awaits(pid) && len(i.events.list) <= maxHeld
}

// beginEnd starts the end of the container: whatever is left is ended, then code.
func (i *initState) beginEnd(code int, grace time.Duration) {
	i.sweep = &sweep{code: code, grace: min(max(grace, 0), 30*time.Second)}
	i.bag.stopDraining()
}
