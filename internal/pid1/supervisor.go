package pid1

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/fdready"
	"github.com/stoker-init/stoker/internal/headroom"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/signals"
	"github.com/stoker-init/stoker/internal/spawn"
	"github.com/stoker-init/stoker/internal/waitid"
	"golang.org/x/sys/unix"
)

// supervisorProc is what the init knows of the supervisors it had, and of the present one.
type supervisorProc struct {
	instance
	starts         int
	failures       int // in a row, which delay the next start
	nextStart      time.Time
	unreadSince    time.Time // since when the log pipes are not read; zero: no supervisor was started yet
	stopFailures   int       // after a stop request
	shortLogged    bool      // the latest could not be started for want of processes or threads, which was logged
	resumes        int
	resumeLoggedAt time.Time
}

// instance is the present supervisor.
type instance struct {
	pid           int // 0: there is none
	conn          *initproto.Conn
	readable      *fdready.Notifier // of conn
	hello         bool              // it has asked for the fd store
	readsPipes    bool              // it has said that it reads the log pipes
	healthy       bool              // it has adopted everything and pinged
	onTrial       bool              // it is of a binary that is on trial
	startedAt     time.Time
	helloAt       time.Time
	healthyAt     time.Time
	aliveAt       time.Time // of its latest message that counts
	expectedSince time.Time // since when it has something to do and was silent; zero: it has not
	watchAt       time.Time // when to begin to watch the log pipes
	stoppedAt     time.Time // a signal stopped it; zero: it runs
	exitBy        time.Time // when it is killed: the next one is of another binary; zero: it may stay
	checking      bool      // CHECK was sent
	checkTicks    tickCounter
	killedHung    bool // by the watchdog
	awaitAck      bool // a stop request is not acknowledged
	refusalLogged bool // that the fd store had no room for one of its items
}

// How long log pipes may stay unread: longer than a supervisor needs to come back. One that
// has said Hello gets a moment more to take them over.
const (
	drainAfter = time.Second
	adoptTime  = 300 * time.Millisecond
)

// drainAt is when the log pipes count as unread.
func (s *supervisorProc) drainAt() time.Time {
	t := s.unreadSince.Add(drainAfter)
	if grace := s.helloAt.Add(adoptTime); s.hello && grace.After(t) {
		return grace
	}
	return t
}

// supervise starts the supervisor, watches it and, if none works, stops the services in
// its place.
func (i *initState) supervise(now time.Time) {
	s := &i.supervisor
	if !s.readsPipes && i.store.CanDrain() && !now.Before(s.drainAt()) && !i.store.StartDraining() {
		s.unreadSince = now // tried again
	}
	if s.pid == 0 {
		if i.stops > 0 && s.stopFailures >= 2 {
			i.log.printf("no supervisor works; stopping the services by the stop plan")
			i.planRun = &planRun{steps: initproto.ParsePlan(i.store.StopPlan()), deadline: now, log: i.log}
		} else if !now.Before(s.nextStart) {
			i.startSupervisor(now)
		}
		return
	}
	i.resumeStopped(now)
	i.checkTrial(now)
	i.watchPipes(now)
	if !s.exitBy.IsZero() {
		if !now.Before(s.exitBy) {
			s.exitBy = now.Add(time.Second)
			unix.Kill(s.pid, unix.SIGKILL)
		}
		return
	}
	check, hangs := s.watchdog(now, i.stops > 0)
	if check && s.hello {
		i.out = append(i.out, encode(&initproto.Msg{Type: initproto.Check}))
	}
	switch {
	case !hangs || s.killedHung:
	case s.onTrial && !s.healthy:
		i.revertBinary("did not report in time that it works")
	default:
		s.killedHung = true
		i.log.printf("supervisor (pid %d) does not answer; killing it, the services keep running", s.pid)
		unix.Kill(s.pid, unix.SIGKILL) // our child and not reaped: the pid is still its own
	}
}

// startSupervisor starts one with a connection of its own.
func (i *initState) startSupervisor(now time.Time) {
	s := &i.supervisor
	pid, conn, err := startProcess(i.binaries.current.exe(), i.opts)
	if err == nil {
		if err = i.threads.reserve(0, headroom.SupervisorTasks); err != nil { // it has started nothing: its Hello was not answered
			unix.Kill(pid, unix.SIGKILL)
			conn.Close()
			waitid.ReapRaw(pid)
		}
	}
	i.waiter.Resume()
	if err != nil {
		i.startFailed(now, err)
		return
	}
	if s.unreadSince.IsZero() { // the first one: while it starts there is time
		s.unreadSince = now
		signals.NotifyRest(i.sigs)
	}
	s.starts++
	s.shortLogged = false
	s.instance = instance{pid: pid, conn: conn, readable: fdready.New(conn.SyscallConn()), startedAt: now, aliveAt: now,
		onTrial:  i.binaries.trial,
		awaitAck: i.stops > 0 && !i.events.stopAcked()}
	i.out = nil
}

// startProcess starts a supervisor from exe.
func startProcess(exe string, o Options) (int, *initproto.Conn, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, err
	}
	pid, err := spawn.Start(exe, o.Args, o.Env, []uintptr{0, 1, 2, uintptr(pair[1])})
	unix.Close(pair[1])
	if err != nil {
		unix.Close(pair[0])
		return 0, nil, err
	}
	conn, err := initproto.NewConn(pair[0])
	return pid, conn, err // without a connection the supervisor ends by itself
}

// startFailed tries again later. Without threads of its own the init cannot go on: it
// would end when it needs one.
func (i *initState) startFailed(now time.Time, err error) {
	why := fmt.Sprintf("cannot start the supervisor from %s: %v", i.binaries.current.exe(), err)
	if errors.Is(err, unix.EAGAIN) {
		why += headroom.TaskLimitText()
	}
	if i.runCommand(why) {
		return
	}
	s, short := &i.supervisor, headroom.Short(err)
	switch {
	case i.startErr != nil || short && i.threads.reserve(0, 0) != nil:
		i.log.printf("%s; ending the container", why)
		i.endContainer(exit.InitFailed, 0)
		return
	case !short:
		i.log.printf("%s", why)
		i.countDeath(fmt.Sprintf("no start: %v", err))
	case !s.shortLogged:
		i.log.printf("%s; trying again until there is room", why)
	}
	s.shortLogged = short
	i.countFailure(now)
}

// supervisorExited decides when the next supervisor starts.
func (i *initState) supervisorExited(status syscall.WaitStatus) {
	s, now := &i.supervisor, time.Now()
	s.disconnect()
	was := s.instance
	s.instance, i.out = instance{}, nil
	if i.killAll != nil {
		return
	}
	// One that worked for a moment only may not have come to read the pipes.
	if was.healthy && (now.Sub(was.healthyAt) >= drainAfter || !i.store.PipesMostlyFull()) {
		s.unreadSince = now
	}
	if !was.exitBy.IsZero() {
		s.failures, s.nextStart = 0, now
		return
	}
	killed := status.Signaled() && status.Signal() == syscall.SIGKILL && !was.killedHung
	if !killed && i.runCommand(fmt.Sprintf("the supervisor (pid %d) ended before it started anything: %s", was.pid, waitid.Describe(status))) {
		return
	}
	i.log.printf("supervisor (pid %d) ended: %s; the services keep running, starting it again", was.pid, waitid.Describe(status))
	if was.healthy && (killed || now.Sub(was.startedAt) > 5*time.Second) {
		s.failures, s.nextStart = 0, now
	} else {
		i.countFailure(now)
		if killed && s.failures == 1 {
			s.nextStart = now // from outside, while it started: no fault of its own
		}
	}
	i.countDeath(waitid.Describe(status))
}

// countFailure notes a supervisor that did not work: the next one waits. The container
// ends if there is nothing to protect.
func (i *initState) countFailure(now time.Time) {
	s := &i.supervisor
	s.failures++
	s.nextStart = now.Add(min(5*time.Millisecond<<min(s.failures, 16), 5*time.Second))
	if i.stops > 0 {
		s.stopFailures++
		s.nextStart = now
	}
	if s.failures >= loopDeaths && i.store.Empty() && !s.shortLogged {
		if i.runCommand(fmt.Sprintf("the supervisor failed %d times", s.failures)) {
			return
		}
		i.log.printf("the supervisor failed %d times and no service runs yet; ending the container", s.failures)
		i.endContainer(exit.InitFailed, 0)
	}
}
