package supervisor

import (
	"fmt"
	"slices"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

// exited handles the end of the process.
func (s *Service) exited(h happening) {
	info := s.judge(h.exit)
	s.kept.Exit = info
	s.kept.Spared = s.kept.Spared || s.kept.State == Running && slices.Contains(s.cfg.Restart.Limit.UncountedCodes, h.exit.Status())
	if s.kept.State == Running && s.kept.Deadline != 0 && h.exit.At >= s.kept.Deadline {
		s.forgive() // it had been stable; the timer only comes later than we do
	}
	ran := max(time.Duration(h.exit.At-s.kept.UpSince), 0).Round(time.Millisecond)
	s.kept.UpSince = 0
	s.readOOM(info)
	s.world.LogAfterOutput(s.name)
	s.log.Info("service ended", "pid", s.proc.Pid(), "how", info.String(), "ran", ran)
	if s.kept.State == Stopping {
		if out := s.output(); out != nil && s.dumpAt() > 0 {
			s.world.Dumped(s.name, s.kept.Gen, s.dumpAt(), out.End())
		}
		if s.kept.Killed && !info.Success {
			s.note("", ran)
		}
		s.kept.Awaited = nil
		s.reach(StageExited, s.whyOver())
		s.keep()
		s.proc.Ack()
		s.awaitGroup()
		return
	}
	// A oneshot that ends well before it was seen to be ready has done its work.
	done := info.Success && (s.kept.State != Starting || s.cfg.Oneshot)
	if !info.Success || !done {
		why := info.String()
		if s.kept.State == Starting {
			why += " before it was ready"
		}
		s.blame(why)
		if s.kept.State == Starting {
			s.reach(StageStartFailed, why)
		}
		s.note("", ran)
		s.explain()
	} else {
		s.blame("")
	}
	s.reach(StageExited, s.kept.Reason)
	if !done {
		s.amend(info, ran)
	}
	s.quit()
	// What the leader leaves behind would be in the way of the next start.
	p := s.proc
	if len(p.Members()) > 0 {
		s.enterStopping(Delayed, 0)
		p.Ack()
		s.awaitGroup()
		return
	}
	s.proc = nil
	s.settle(done)
	p.Done()
	s.world.Changed()
}

// judge puts an exit down, and whether it counts as success.
func (s *Service) judge(x proc.Exit) *ExitInf {
	info := &ExitInf{Code: x.Code, Signal: x.Signal, Core: x.Core, At: s.wall(x.At), Asked: s.kept.Asked}
	info.Success = slices.Contains(s.cfg.SuccessCodes, x.Status()) ||
		s.kept.Asked != "" && x.Status() == 128+int(s.stopSignal()) // by it, or by itself in the manner of shells and JVMs
	for _, name := range s.cfg.SuccessSignals {
		if sig, err := ParseSignal(name); err == nil && x.Signal == sig {
			info.Success = true
		}
	}
	return info
}

// readOOM finds out whether the kernel's OOM killer ended the process, for those who
// act at the end: only a KILL that is not ours is a reason to look.
func (s *Service) readOOM(info *ExitInf) {
	if s.world.Companion() == nil || !killedFromOutside(info) || s.kept.Killed {
		return
	}
	s.oomAfter = s.world.OOM(s.proc.Cgroups(), true)
	s.kept.OOMKilled = s.kept.OOM.rose(s.oomAfter) > 0
}

// settle decides what follows an end that nobody asked for.
func (s *Service) settle(success bool) {
	if s.kept.Amend != "" {
		s.restart()
		return
	}
	if !s.cfg.Restart.wanted(success) {
		s.enter(Exited, -1)
		return
	}
	s.kept.InARow++
	if slow := s.kept.Slow; !s.kept.Spared && s.pastLimit() {
		if !slow {
			s.reachExited()
			s.reach(StageFatal, s.kept.Reason)
		}
		s.park()
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

// pastLimit counts an end, and says whether there are too many.
func (s *Service) pastLimit() bool {
	limit := s.cfg.Restart.Limit
	s.kept.Starts.add(s.world.Now(), limit.Within)
	s.kept.Slow = s.kept.Slow || len(s.kept.Starts) > limit.Starts
	return s.kept.Slow
}

// park makes a service FATAL that failed too often, and tries it rarely.
func (s *Service) park() {
	limit := s.cfg.Restart.Limit
	if *limit.RetryEvery == 0 {
		s.log.Error("service failed too often, giving up", "ends", len(s.kept.Starts), "within", limit.Within)
		s.enter(Fatal, -1)
		return
	}
	wait := spread(*limit.RetryEvery, s.random())
	s.log.Error("service failed too often, trying rarely", "ends", len(s.kept.Starts), "within", limit.Within, "next_in", wait.Round(time.Second))
	s.enter(Fatal, wait)
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
