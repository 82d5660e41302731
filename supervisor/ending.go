package supervisor

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

// stop brings the process down; then says what follows: STOPPED, STARTING (a
// restart) or BACKOFF. limit cuts the time until KILL; 0: as configured.
func (s *Service) stop(then State, limit time.Duration) {
	switch s.kept.State {
	case Starting, Running:
		s.quit()
		if s.proc == nil { // nothing was started yet
			s.kept.Then = then
			s.followStop()
			return
		}
		s.log.Info("service stops", "pid", s.proc.Pid(), "signal", SignalName(s.stopSignal()), "why", s.whyStopped())
		s.enterStopping(then, limit)
	case Stopping: // the latest wish counts, and a shorter limit
		s.kept.Then = then
		s.hasten(limit)
		s.keep()
	case Delayed, Exited, Fatal:
		s.enter(Stopped, -1)
	case Stopped:
	}
}

// stopSignal is the one of the request, or the configured one.
func (s *Service) stopSignal() syscall.Signal {
	if s.kept.StopSig != 0 {
		return s.kept.StopSig
	}
	sig, err := ParseSignal(s.cfg.Stop.Signal)
	if err != nil {
		return syscall.SIGTERM // refused by the configuration's check
	}
	return sig
}

// enterStopping signals the group and waits for its end.
func (s *Service) enterStopping(then State, limit time.Duration) {
	s.kept.Then, s.kept.Signaled, s.kept.Dumped, s.kept.Killed = then, false, false, false
	s.kept.KillBy, s.poll = 0, firstPoll
	if limit > 0 {
		s.kept.KillBy = s.world.Now() + int64(limit)
	}
	s.enter(Stopping, s.patience(limit))
	s.signalStop()
}

// signalStop asks the group to end, once: many programs take a second request
// for impatience.
func (s *Service) signalStop() {
	s.proc.SignalGroup(s.stopSignal())
	s.proc.SignalGroup(syscall.SIGCONT) // a stopped process cannot obey
	s.kept.Signaled = true
	s.keep()
}

// Times of the escalation.
const (
	firstPoll = 2 * time.Millisecond // between looks at a group whose leader is gone
	lastPoll  = 100 * time.Millisecond
	dumpTime  = time.Second            // for a thread dump before KILL
	dumpLeast = 100 * time.Millisecond // with less a thread dump is not worth the wait
)

// patience is how long the stop signal may take to work. A limit includes the
// time for the thread dump.
func (s *Service) patience(limit time.Duration) time.Duration {
	if limit <= 0 {
		return s.cfg.Stop.Timeout
	}
	if s.dumps() && !s.kept.Dumped {
		limit = max(limit-dumpTime, limit/2)
	}
	return min(s.cfg.Stop.Timeout, limit)
}

// hasten cuts the time of a stop that is under way.
func (s *Service) hasten(limit time.Duration) {
	by := s.world.Now() + int64(limit)
	if limit <= 0 || s.kept.Killed || s.kept.KillBy != 0 && s.kept.KillBy <= by {
		return
	}
	s.kept.KillBy = by
	if wait := s.patience(limit); wait < s.stopLeft() {
		s.setDeadline(wait)
		if s.leaderGone() {
			s.awaitGroup()
		}
	}
}

// leaderGone says whether the end of the process itself has been dealt with.
func (s *Service) leaderGone() bool { return s.kept.UpSince == 0 }

// stopDeadline escalates: thread dump, KILL, and then again and again. While the
// leader is gone the deadline is also the next look at the group.
func (s *Service) stopDeadline() {
	if s.leaderGone() && len(s.proc.Members()) == 0 {
		s.groupGone()
		return
	}
	if left := s.stopLeft(); left > 0 && !s.kept.Killed {
		s.nextPoll(left)
		return
	}
	if wait, ok := s.dump(); ok {
		s.kept.Dumped = true
		s.setDeadline(wait)
		s.keep()
		return
	}
	if !s.kept.Killed {
		s.log.Warn("service does not stop, killing it", "pid", s.proc.Pid(), "members", s.proc.Members())
		s.kept.Killed = true
		s.keep()
	}
	s.proc.SignalGroup(syscall.SIGKILL)
	s.nextPoll(lastPoll)
}

// stopLeft is how much of the configured time is left.
func (s *Service) stopLeft() time.Duration {
	return time.Duration(s.kept.Deadline - s.world.Now())
}

// nextPoll sets the time of the next look, without touching the deadline that
// is kept.
func (s *Service) nextPoll(left time.Duration) {
	s.deadline = time.Now().Add(min(s.poll, left))
	s.poll = min(2*s.poll, lastPoll)
}

// dumps says whether the service can make a thread dump and shall.
func (s *Service) dumps() bool {
	return s.cfg.Stop.ThreadDump != nil && *s.cfg.Stop.ThreadDump && s.launch != nil && s.launch.DumpSignal != 0
}

// dump asks for a thread dump, and says how long it may take; false: none will
// come.
func (s *Service) dump() (time.Duration, bool) {
	wait := dumpTime
	if s.kept.KillBy != 0 {
		wait = min(wait, time.Duration(s.kept.KillBy-s.world.Now()))
	}
	if s.leaderGone() || s.kept.Dumped || s.kept.Killed || wait < dumpLeast || !s.dumps() || !s.proc.Catches(s.launch.DumpSignal) {
		return 0, false
	}
	s.log.Warn("service does not stop, asking for a thread dump", "pid", s.proc.Pid())
	return wait, s.proc.Signal(s.launch.DumpSignal) == nil
}

// exited handles the end of the process.
func (s *Service) exited(x proc.Exit) {
	info := &ExitInf{Code: x.Code, Signal: x.Signal, Core: x.Core, At: s.wall(x.At), Asked: s.kept.Asked}
	info.Success = slices.Contains(s.cfg.SuccessCodes, x.Status()) ||
		s.kept.Asked != "" && x.Status() == 128+int(s.stopSignal()) // by it, or by itself in the manner of shells and JVMs
	s.kept.Exit = info
	if s.kept.State == Running && s.kept.Deadline != 0 && x.At >= s.kept.Deadline {
		s.forgive() // it had been stable; the timer only comes later than we do
	}
	ran := max(time.Duration(x.At-s.kept.UpSince), 0).Round(time.Millisecond)
	s.kept.UpSince = 0
	s.log.Info("service ended", "pid", s.proc.Pid(), "how", info.String(), "ran", ran)
	switch s.kept.State {
	case Stopping:
		s.keep()
		s.proc.Ack()
		s.awaitGroup()
	default:
		p := s.proc
		if !info.Success || s.kept.State == Starting {
			why := info.String()
			if s.kept.State == Starting {
				why += " before it was ready"
			}
			s.blame(why)
			s.explain()
		}
		s.quit()
		// What the leader leaves behind would be in the way of the next start.
		if len(p.Members()) > 0 {
			s.enterStopping(Delayed, 0)
			p.Ack()
			s.awaitGroup()
			return
		}
		s.proc = nil
		s.settle(info.Success && s.kept.State != Starting)
		p.Done()
		s.world.Changed()
	}
}

// awaitGroup looks whether the rest of the group is gone too.
func (s *Service) awaitGroup() {
	if len(s.proc.Members()) == 0 {
		s.groupGone()
		return
	}
	s.nextPoll(max(s.stopLeft(), firstPoll))
}

// groupGone ends STOPPING.
func (s *Service) groupGone() {
	p := s.proc
	s.proc = nil
	s.followStop()
	p.Done()
	s.world.Changed()
}

// followStop does what was to follow the stop.
func (s *Service) followStop() {
	switch s.kept.Then {
	case Starting:
		s.forgive()
		s.kept.Restarts = 0
		s.enterStarting()
	case Delayed:
		s.settle(s.kept.Exit != nil && s.kept.Exit.Success && s.kept.Reason == "")
	default:
		if s.kept.Asked != "" && s.kept.Exit != nil && s.kept.Exit.Success {
			s.blame("")
		}
		s.enter(Stopped, -1)
	}
}

// settle decides what follows an end that nobody asked for.
func (s *Service) settle(success bool) {
	if !s.cfg.Restart.wanted(success) {
		s.enter(Exited, -1)
		return
	}
	now := s.world.Now()
	s.kept.InARow++
	s.kept.Starts.add(now, s.cfg.Restart.Limit.Within)
	if limit := s.cfg.Restart.Limit; s.kept.Slow || len(s.kept.Starts) > limit.Starts {
		s.kept.Slow = true
		if *limit.RetryEvery == 0 {
			s.log.Error("service failed too often, giving up", "ends", len(s.kept.Starts), "within", limit.Within)
			s.enter(Fatal, -1)
			return
		}
		wait := spread(*limit.RetryEvery, s.random())
		s.log.Error("service failed too often, trying rarely", "ends", len(s.kept.Starts), "within", limit.Within, "next_in", wait.Round(time.Second))
		s.enter(Fatal, wait)
		return
	}
	wait := s.cfg.Restart.Backoff.wait(s.kept.InARow, s.random())
	if wait > 0 {
		s.log.Info("service will be started again", "in", wait.Round(time.Millisecond))
		s.enter(Delayed, wait)
		return
	}
	s.restart()
}

// restart is a start by policy.
func (s *Service) restart() {
	s.kept.Restarts++
	s.enterStarting()
}

// String puts an exit into words.
func (e *ExitInf) String() string {
	switch {
	case e.NotStarted:
		return "not started"
	case e.Signal != 0 && e.Core:
		return fmt.Sprintf("killed by signal %d (%s), core dumped", int(e.Signal), SignalName(e.Signal))
	case e.Signal != 0:
		return fmt.Sprintf("killed by signal %d (%s)", int(e.Signal), SignalName(e.Signal))
	default:
		return fmt.Sprintf("exit code %d", e.Code)
	}
}

// Status is the code by which shells report it.
func (e *ExitInf) Status() int {
	if e.Signal != 0 {
		return 128 + int(e.Signal)
	}
	return e.Code
}

// threadDump asks a JVM for one; anything else is left alone.
func (s *Service) threadDump() {
	p := s.process.Load()
	if p == nil || s.dumpSignal.Load() == 0 || !(*p).Catches(syscall.Signal(s.dumpSignal.Load())) {
		return
	}
	s.log.Info("thread dump asked for", "pid", (*p).Pid())
	(*p).Signal(syscall.Signal(s.dumpSignal.Load()))
}

// whyStopped is who asked for the stop, or what went wrong.
func (s *Service) whyStopped() string {
	if s.kept.Asked == "" {
		return "it failed"
	}
	return "asked for by " + s.kept.Asked
}
