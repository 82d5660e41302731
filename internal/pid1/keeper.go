package pid1

import (
	"fmt"
	"runtime"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// keeper keeps a supervisor alive: what the init knows of those it had, and of
// the present one.
type keeper struct {
	life
	starts    int
	failures  int // deaths in a row that speak against starting again at once
	nextStart time.Time
	downSince time.Time // since when nobody reads the log pipes
	stopFail  int       // supervisors that failed after a stop request
	lacking   bool      // the latest could not be started for want of processes or threads, which was said
	halts     int       // stopped by a signal and continued, since it was last said
	haltSaid  time.Time
}

// life is what is known of the present supervisor.
type life struct {
	pid       int // 0: there is none
	conn      *link
	hello     bool // it has asked for the bag
	reads     bool // it has said that it reads the log pipes
	healthy   bool // it has adopted everything and pinged
	trial     bool // of a binary that is new
	startedAt time.Time
	helloAt   time.Time
	healthyAt time.Time
	heardAt   time.Time
	owed      time.Time // since when it has something to do and was not heard; zero: it has not
	lookAt    time.Time // when to begin to look whether services write
	haltedAt  time.Time // a signal stopped it; zero: it runs
	leaveBy   time.Time // when it must be gone: the next one is of another binary; zero: it may stay
	checking  bool
	ticks     ticks // while checking
	hung      bool  // it was killed by the watchdog
	awaitAck  bool  // a stop request is not acknowledged
	refused   bool  // the bag had no room for something of its
}

// ticks count steps of the init's own running time: one that comes late, because
// the container was paused or the machine suspended, starts the count again.
type ticks struct {
	at time.Time
	n  int
}

// tick counts a step that is due; gap says that the count began again.
func (t *ticks) tick(now time.Time, step time.Duration) (due, gap bool) {
	since := now.Sub(t.at)
	if since < step {
		return false, false
	}
	t.at = now
	if gap = since > 3*step; gap {
		t.n = -1
	}
	t.n++
	return true, gap
}

// patience is how the watchdog treats a silent supervisor: after quiet it is
// asked, and after limit further steps without an answer it is killed.
type patience struct {
	quiet, step time.Duration
	limit       int
}

// A supervisor pings every 30 s, and every 250 ms while the container stops. One
// that adopts may have to wait 10 s for a child between clone and exec.
func (k *keeper) patience(stopping bool) patience {
	switch {
	case stopping:
		return patience{500 * time.Millisecond, 100 * time.Millisecond, 5}
	case !k.hello || k.trial && !k.healthy:
		return patience{time.Second, time.Second, 9}
	case !k.healthy:
		return patience{20 * time.Second, time.Second, 10}
	default:
		return patience{40 * time.Second, time.Second, 10}
	}
}

// heard notes a sign of life. Where a certain one is awaited others do not count.
func (k *keeper) heard(now time.Time) {
	if k.awaitAck || k.trial && !k.healthy {
		return
	}
	k.heardAt, k.owed, k.checking, k.ticks = now, time.Time{}, false, ticks{}
}

// owe notes that the supervisor has something to do.
func (k *keeper) owe(now time.Time) {
	if k.healthy && k.owed.IsZero() {
		k.owed = now
	}
}

// stopRequested demands an acknowledgement from now on.
func (k *keeper) stopRequested(now time.Time) {
	k.heard(now)
	k.awaitAck = k.pid != 0
	if k.pid == 0 {
		k.nextStart = now
	}
}

// quietUntil is when a silent supervisor is asked.
func (k *keeper) quietUntil(p patience) time.Time {
	t := k.heardAt.Add(p.quiet)
	if early := k.owed.Add(owedTime); !k.owed.IsZero() && early.Before(t) {
		return early
	}
	return t
}

// due is when keep must look again.
func (k *keeper) due(stopping bool) time.Time {
	p := k.patience(stopping)
	switch {
	case k.pid == 0:
		return k.nextStart
	case !k.leaveBy.IsZero():
		return k.leaveBy
	case k.checking:
		return k.ticks.at.Add(p.step)
	default:
		return k.quietUntil(p)
	}
}

// watch says whether the supervisor must be asked, or is hung.
func (k *keeper) watch(now time.Time, stopping bool) (ask, hung bool) {
	p := k.patience(stopping)
	if !k.checking {
		if now.Before(k.quietUntil(p)) {
			return false, false
		}
		k.checking, k.ticks = true, ticks{at: now}
		return true, false
	}
	due, gap := k.ticks.tick(now, p.step)
	return due && gap, due && k.ticks.n >= p.limit
}

// drainAt is when log pipes count as read by nobody.
func (k *keeper) drainAt() time.Time {
	t := k.downSince.Add(drainAfter)
	if grace := k.helloAt.Add(adoptTime); k.hello && grace.After(t) {
		return grace
	}
	return t
}

// keep starts the supervisor, watches it and, where none can work, stops the
// services in its place.
func (i *initState) keep(now time.Time) {
	k := &i.keeper
	if !k.reads && i.bag.canDrain() && !now.Before(k.drainAt()) && !i.bag.startDraining() {
		k.downSince = now // tried again
	}
	if k.pid == 0 {
		if i.stop > 0 && k.stopFail >= 2 {
			i.log.printf("no supervisor works; stopping the services by the stop plan")
			i.plan = newPlanRun(initproto.ParsePlan(i.bag.plan), now, i.log)
		} else if !now.Before(k.nextStart) {
			i.startSupervisor(now)
		}
		return
	}
	i.unhalt(now)
	i.judge(now)
	i.look(now)
	if !k.leaveBy.IsZero() {
		if !now.Before(k.leaveBy) {
			k.leaveBy = now.Add(time.Second)
			unix.Kill(k.pid, unix.SIGKILL)
		}
		return
	}
	ask, hung := k.watch(now, i.stop > 0)
	if ask && k.hello {
		i.out = append(i.out, message(&initproto.Msg{Type: initproto.Check}))
	}
	switch {
	case !hung || k.hung:
	case k.trial && !k.healthy:
		i.fallBack("did not say in time that it works")
	default:
		k.hung = true
		i.log.printf("supervisor (pid %d) does not answer; killing it, the services go on", k.pid)
		unix.Kill(k.pid, unix.SIGKILL) // ours and not reaped: the pid is still its own
	}
}

// How long a stopped supervisor stays so, and how often that is said.
const (
	haltTime  = time.Second
	haltQuiet = time.Minute
)

// unhalt continues a supervisor that a signal has stopped: nobody reads the
// services' output meanwhile. One that is traced is left to its tracer.
func (i *initState) unhalt(now time.Time) {
	k := &i.keeper
	if k.haltedAt.IsZero() || i.stop == 0 && now.Before(k.haltedAt.Add(haltTime)) {
		return
	}
	k.haltedAt = time.Time{}
	if b, err := procfs.ReadStat(k.pid); err != nil || b.State != 'T' {
		return // somebody was quicker
	}
	unix.Kill(k.pid, unix.SIGCONT)
	if k.halts++; now.Sub(k.haltSaid) >= haltQuiet {
		i.log.printf("supervisor (pid %d) was stopped by a signal; it is continued (%d times by now)", k.pid, k.halts)
		k.haltSaid = now
	}
}

// startSupervisor starts one with a wire of its own.
func (i *initState) startSupervisor(now time.Time) {
	k := &i.keeper
	pid, conn, err := spawn(i.bins.now.exe(), i.opts)
	if err == nil {
		if err = i.tasks.make(0, supervisorTasks); err != nil { // it was not answered yet, and has started nothing
			unix.Kill(pid, unix.SIGKILL)
			conn.shut()
			waitFor(pid)
		}
	}
	i.waiter.resume()
	if err != nil {
		i.notStarted(now, err)
		return
	}
	if k.downSince.IsZero() { // the first one: while it starts there is time
		k.downSince = now
		CatchRest(i.sigs)
	}
	k.starts++
	k.lacking = false
	k.life = life{pid: pid, conn: conn, startedAt: now, heardAt: now, trial: i.bins.trial, awaitAck: i.stop > 0 && !i.events.stopAcked()}
	i.out = nil
}

// notStarted tries again later. Without threads of its own the init cannot go on: it
// would end when it needs one.
func (i *initState) notStarted(now time.Time, err error) {
	why := i.cannotStart(err)
	if i.alone(why) {
		return
	}
	k, lacks := &i.keeper, lacking(err)
	switch {
	case i.lack != nil || lacks && i.tasks.make(0, 0) != nil:
		i.log.printf("%s; ending the container", why)
		i.beginEnd(CodeBroken, 0)
		return
	case !lacks:
		i.log.printf("%s", why)
		i.trialDeath(fmt.Sprintf("no start: %v", err))
	case !k.lacking:
		i.log.printf("%s; trying again until there is room", why)
	}
	k.lacking = lacks
	i.failed(now)
}

// supervisorDied decides when the next one starts.
func (i *initState) supervisorDied(status syscall.WaitStatus) {
	k, now := &i.keeper, time.Now()
	if k.conn != nil {
		k.conn.shut()
	}
	was := k.life
	k.life, i.out = life{}, nil
	if i.sweep != nil {
		return
	}
	// One that worked for a moment only may not have come to read the pipes.
	if was.healthy && (now.Sub(was.healthyAt) >= drainAfter || !i.bag.behind()) {
		k.downSince = now
	}
	if !was.leaveBy.IsZero() {
		k.failures, k.nextStart = 0, now
		return
	}
	killed := status.Signaled() && status.Signal() == syscall.SIGKILL && !was.hung
	if !killed && i.alone(fmt.Sprintf("the supervisor (pid %d) has ended before it started anything: %s", was.pid, describe(status))) {
		return
	}
	i.log.printf("supervisor (pid %d) ended: %s; the services go on, starting it again", was.pid, describe(status))
	if was.healthy && (killed || now.Sub(was.startedAt) > 5*time.Second) {
		k.failures, k.nextStart = 0, now
	} else {
		i.failed(now)
		if killed && k.failures == 1 {
			k.nextStart = now // by somebody's hand while it started: no fault of its own
		}
	}
	i.trialDeath(describe(status))
}

// failed notes a supervisor that did not work: wait before the next one, and
// give up where there is nothing to protect.
func (i *initState) failed(now time.Time) {
	k := &i.keeper
	k.failures++
	k.nextStart = now.Add(min(5*time.Millisecond<<min(k.failures, 16), 5*time.Second))
	if i.stop > 0 {
		k.stopFail++
		k.nextStart = now
	}
	if k.failures >= loopDeaths && len(i.bag.items) == 0 && !k.lacking {
		if i.alone(fmt.Sprintf("the supervisor failed %d times", k.failures)) {
			return
		}
		i.log.printf("the supervisor failed %d times and nothing runs yet; ending the container", k.failures)
		i.beginEnd(CodeBroken, 0)
	}
}

// spawn starts a supervisor from exe.
func spawn(exe string, o Options) (int, *link, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, err
	}
	pid, err := start(exe, o.Args, o.Env, []uintptr{0, 1, 2, uintptr(pair[1])})
	unix.Close(pair[1])
	if err != nil {
		unix.Close(pair[0])
		return 0, nil, err
	}
	conn, err := newLink(pair[0])
	if err != nil {
		return 0, nil, err // the supervisor finds a dead wire and ends
	}
	return pid, conn, nil
}

// start starts a program in a process group of its own, so that a key press at the
// terminal is not also a signal to it, and with an empty signal mask: what our parent
// blocked is inherited by a Go child (the thread's mask is restored before exec), and
// by every service after it.
func start(exe string, argv, env []string, files []uintptr) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var old, none unix.Sigset_t
	unix.PthreadSigmask(unix.SIG_SETMASK, &none, &old)
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	return syscall.ForkExec(exe, argv, &syscall.ProcAttr{Env: env, Files: files, Sys: &syscall.SysProcAttr{Setpgid: true}})
}
