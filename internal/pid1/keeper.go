package pid1

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// keeper keeps a supervisor alive: what the init knows of the present one.
type keeper struct {
	pid       int
	conn      *link
	hello     bool // it has asked for the bag
	healthy   bool // it has adopted everything and pinged
	starts    int
	failures  int // deaths in a row that speak against starting again at once
	startedAt time.Time
	nextStart time.Time
	downSince time.Time // since when no supervisor is healthy

	heardAt  time.Time
	tickAt   time.Time
	ticks    int
	checking bool
	hung     bool // it was killed by the watchdog
	awaitAck bool // a stop request is not acknowledged
	stopFail int  // supervisors that failed after a stop request
}

// patience is how the watchdog treats a silent supervisor: after quiet it is
// asked, and after limit further steps without an answer it is killed.
type patience struct {
	quiet, step time.Duration
	limit       int
}

// A supervisor pings every 30 s, and every 250 ms while the container stops.
// Steps are counted only when they follow each other closely: a paused
// container or a suspended machine starts the count again.
func (k *keeper) patience(stopping bool) patience {
	switch {
	case stopping:
		return patience{500 * time.Millisecond, 100 * time.Millisecond, 5}
	case !k.hello:
		return patience{time.Second, time.Second, 9}
	default:
		return patience{75 * time.Second, time.Second, 10}
	}
}

// heard notes a sign of life.
func (k *keeper) heard(now time.Time) {
	if !k.awaitAck {
		k.heardAt, k.checking, k.ticks = now, false, 0
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

// due is when keep must look again.
func (k *keeper) due(stopping bool) time.Time {
	p := k.patience(stopping)
	switch {
	case k.pid == 0:
		return k.nextStart
	case k.checking:
		return k.tickAt.Add(p.step)
	default:
		return k.heardAt.Add(p.quiet)
	}
}

// watch says whether the supervisor must be asked, or is hung.
func (k *keeper) watch(now time.Time, stopping bool) (ask, hung bool) {
	p := k.patience(stopping)
	if !k.checking {
		if now.Sub(k.heardAt) < p.quiet {
			return false, false
		}
		k.checking, k.ticks, k.tickAt = true, 0, now
		return true, false
	}
	gap := now.Sub(k.tickAt)
	if gap < p.step {
		return false, false
	}
	k.tickAt = now
	if gap > 3*p.step {
		k.ticks = 0
		return true, false
	}
	k.ticks++
	return false, k.ticks >= p.limit
}

// keep starts the supervisor, watches it and, where none can work, stops the
// services in its place.
func (i *initState) keep(now time.Time) {
	k := &i.keeper
	if !k.healthy && i.bag.canDrain() && now.Sub(k.downSince) >= drainAfter {
		i.bag.startDraining()
	}
	if k.pid == 0 {
		if i.stop > 0 && k.stopFail >= 2 {
			i.log.printf("no supervisor works; stopping the services by the stop plan")
			i.plan = newPlanRun(parsePlan(i.bag.plan), now, i.log)
		} else if !now.Before(k.nextStart) {
			i.startSupervisor(now)
		}
		return
	}
	ask, hung := k.watch(now, i.stop > 0)
	if ask && k.hello {
		i.out = append(i.out, message(&Msg{Type: Check}))
	}
	if hung && !k.hung {
		k.hung = true
		i.log.printf("supervisor (pid %d) does not answer; killing it, the services go on", k.pid)
		unix.Kill(k.pid, unix.SIGKILL) // ours and not reaped: the pid is still its own
	}
}

// startSupervisor starts one with a wire of its own.
func (i *initState) startSupervisor(now time.Time) {
	k := &i.keeper
	pid, conn, err := spawn(i.opts)
	i.waiter.resume()
	if err != nil {
		i.log.printf("cannot start the supervisor %s: %v", i.opts.exe(), err)
		i.failed(now)
		return
	}
	if k.downSince.IsZero() { // the first one: while it starts there is time
		k.downSince = now
		CatchRest(i.sigs)
	}
	*k = keeper{pid: pid, conn: conn, starts: k.starts + 1, failures: k.failures, startedAt: now,
		downSince: k.downSince, heardAt: now, stopFail: k.stopFail, awaitAck: i.stop > 0 && !i.events.stopAcked()}
	i.out = nil
}

// supervisorDied decides when the next one starts.
func (i *initState) supervisorDied(status syscall.WaitStatus) {
	k, now := &i.keeper, time.Now()
	if k.conn != nil {
		k.conn.shut()
		k.conn = nil
	}
	pid := k.pid
	k.pid, k.hello, i.out = 0, false, nil
	if i.sweep != nil {
		return
	}
	killed := status.Signaled() && status.Signal() == syscall.SIGKILL && !k.hung
	was := k.healthy
	if was {
		k.downSince = now
	}
	k.healthy = false
	i.log.printf("supervisor (pid %d) ended: %s; the services go on, starting it again", pid, describe(status))
	if was && (killed || now.Sub(k.startedAt) > 5*time.Second) {
		k.failures, k.nextStart = 0, now
		return
	}
	i.failed(now)
	if killed && k.failures == 1 {
		k.nextStart = now // by somebody's hand while it started: no fault of its own
	}
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
	if k.failures >= 8 && len(i.bag.items) == 0 {
		i.log.printf("the supervisor failed %d times and nothing runs yet; ending the container", k.failures)
		i.beginEnd(CodeBroken, 0)
	}
}

// exe is the executable of the supervisor: this very binary, by its path (which
// also names the process in ps) while that is still the same file, and by the
// kernel's link after it was replaced or removed.
func (o Options) exe() string {
	const self = "/proc/self/exe"
	if o.Exe != "" {
		return o.Exe
	}
	path, err := os.Readlink(self)
	if err != nil {
		return self
	}
	here, err1 := os.Stat(self)
	there, err2 := os.Stat(path)
	if err1 != nil || err2 != nil || !os.SameFile(here, there) {
		return self
	}
	return path
}

// spawn starts a supervisor in a process group of its own, so that a key press
// at the terminal is not also a signal to it, and with an empty signal mask:
// what our parent blocked is inherited by a Go child (the thread's mask is
// restored before exec), and by every service after it.
func spawn(o Options) (int, *link, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, err
	}
	runtime.LockOSThread()
	var old, none unix.Sigset_t
	unix.PthreadSigmask(unix.SIG_SETMASK, &none, &old)
	pid, err := syscall.ForkExec(o.exe(), o.Args, &syscall.ProcAttr{
		Env: o.Env, Files: []uintptr{0, 1, 2, uintptr(pair[1])},
		Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	runtime.UnlockOSThread()
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
