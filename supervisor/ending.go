package supervisor

import (
	"fmt"
	"slices"
	"syscall"
	"time"
)

// stop brings the process down; then says what follows: STOPPED, STARTING (a
// restart) or BACKOFF. limit cuts the time before KILL.
func (s *Service) stop(then State, limit time.Duration) {
	wait := s.cfg.Stop.Timeout
	if limit > 0 {
		wait = min(wait, limit)
	}
	switch s.kept.State {
	case Starting, Running:
		s.cancel()
		s.kept.Then = then
		if s.proc == nil { // nothing was started yet
			s.kept.Gen++ // what is under way is of no interest any more
			s.followStop()
			return
		}
		s.log.Info("service stops", "pid", s.proc.Pid(), "signal", s.stopSignal(), "asked_by", s.kept.Asked)
		s.enterStopping(then, wait)
	case Stopping:
		// The latest wish counts, and a shorter limit.
		if then != Delayed {
			s.kept.Then = then
		}
		if limit > 0 && time.Until(s.deadline) > limit && !s.kept.Killed {
			s.setDeadline(limit)
		}
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
func (s *Service) enterStopping(then State, wait time.Duration) {
	s.kept.Then, s.kept.Killed, s.dumped, s.poll = then, false, false, firstPoll
	s.enter(Stopping, wait)
	s.proc.SignalGroup(s.stopSignal())
	s.proc.SignalGroup(syscall.SIGCONT) // a stopped process cannot obey
	if _, ended := s.proc.Exit(); ended {
		s.awaitGroup()
	}
}

// Times of the escalation.
const (
	firstPoll = 2 * time.Millisecond // between looks at a group whose leader is gone
	lastPoll  = 100 * time.Millisecond
	dumpTime  = time.Second // for a thread dump before KILL
)

// stopDeadline escalates: thread dump, KILL, and then again and again. While the
// leader is gone the deadline is also the next look at the group.
func (s *Service) stopDeadline() {
	_, ended := s.proc.Exit()
	if ended && len(s.proc.Members()) == 0 {
		s.groupGone()
		return
	}
	if left := s.stopLeft(); left > 0 && !s.kept.Killed {
		s.nextPoll(left)
		return
	}
	switch {
	case !ended && !s.dumped && !s.kept.Killed && s.dump():
		s.dumped = true
		s.setDeadline(dumpTime)
		s.keep()
	default:
		if !s.kept.Killed {
			s.log.Warn("service does not stop, killing it", "pid", s.proc.Pid(), "members", s.proc.Members())
		}
		s.kept.Killed = true
		s.proc.SignalGroup(syscall.SIGKILL)
		s.nextPoll(time.Hour)
		s.keep()
	}
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

// dump asks for a thread dump, and says whether one will come.
func (s *Service) dump() bool {
	if s.cfg.Stop.ThreadDump == nil || !*s.cfg.Stop.ThreadDump || s.launch == nil || s.launch.DumpSignal == 0 ||
		!s.proc.Catches(s.launch.DumpSignal) {
		return false
	}
	s.log.Warn("service does not stop, asking for a thread dump", "pid", s.proc.Pid())
	return s.proc.Signal(s.launch.DumpSignal) == nil
}

// exited handles the end of the process.
func (s *Service) exited() {
	x, _ := s.proc.Exit()
	info := &ExitInf{Code: x.Code, Signal: x.Signal, Core: x.Core, At: time.Now(), Asked: s.kept.Asked}
	info.Success = slices.Contains(s.cfg.SuccessCodes, x.Status()) ||
		s.kept.Asked != "" && x.Signal == s.stopSignal()
	s.kept.Exit = info
	ran := time.Duration(x.At - s.kept.UpSince).Round(time.Millisecond)
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
			s.kept.Reason = info.String()
			if s.kept.State == Starting {
				s.kept.Reason += " before it was ready"
			}
			s.explain()
		}
		s.cancel()
		// What the leader leaves behind would be in the way of the next start.
		if len(p.Members()) > 0 {
			s.enterStopping(Delayed, s.cfg.Stop.Timeout)
			p.Ack()
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
			s.kept.Reason = ""
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
