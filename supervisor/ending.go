package supervisor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/redact"
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
	if s.kept.State == Stopping {
		s.log.Info("service ended", "pid", s.proc.Pid(), "how", info.String(), "ran", ran)
		if out := s.output(); out != nil && s.dumpAt() > 0 {
			s.world.Dumped(s.name, s.kept.Gen, s.dumpAt(), out.End())
		}
		if s.kept.Killed && !info.Success {
			c := s.caseOf("", "", ran)
			if s.kept.Reason == "" {
				s.blame(Classify(c.death()).Reason)
			}
			s.keepCase(c)
		}
		s.kept.Awaited = nil
		s.reach(StageExited, s.whyOver())
		s.keep()
		s.proc.Ack()
		s.awaitGroup()
		return
	}
	done := info.Success
	members := s.proc.Members()
	left := describe(members)
	if expected := done && (s.cfg.Oneshot || !s.cfg.Restart.wanted(true)); expected || done && left == "" {
		s.log.Info("service ended", "pid", s.proc.Pid(), "how", info.String(), "ran", ran)
		s.blame("")
		if left != "" {
			note := "it left processes behind, which are ended: " + left
			s.log.Warn(note, "pid", s.proc.Pid())
			s.addNote(note)
		}
	} else {
		s.failed(s.caseOfEnd(ran, left))
	}
	s.reach(StageExited, s.kept.Reason)
	if !done {
		s.amend(info, ran)
	}
	s.quit()
	// What the leader leaves behind would be in the way of the next start.
	p := s.proc
	if len(members) > 0 {
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

// failed puts down why a process ended that was not to end: what its incident says is
// what the status, the log and the stages say.
func (s *Service) failed(c *Case) {
	before, again := s.kept.Reason, s.kept.InARow > 0
	c.Reason = Classify(c.death()).Reason
	s.blame(c.Reason)
	args, reason := []any{"pid", s.proc.Pid(), "how", c.Exit.String(), "ran", c.Ran}, c.Reason
	switch {
	case reason == c.Exit.String():
	case again && reason == before:
		args = append(args, "reason", "as before", "tries", s.kept.InARow+1)
	case again: // the hint is in the log already
		reason, _, _ = strings.Cut(reason, "\nhint: ")
		fallthrough
	default:
		args = append(args, "reason", reason)
	}
	s.log.Info("service ended", args...)
	if s.kept.State == Starting {
		s.reach(StageStartFailed, c.Reason)
	}
	s.keepCase(c)
	if c.Found == "" && c.Left == "" {
		s.explain()
	}
}

// Limits of describe: processes, and characters of a command line, half from each end.
const (
	maxDescribed   = 5
	maxCommandLine = 80
)

// describe names processes by pid and command line; empty: there are none.
func describe(pids []int) string {
	var out []string
	for _, pid := range pids[:min(len(pids), maxDescribed)] {
		argv, _ := ReadCommand(pid)
		text := strings.TrimSpace(strings.Join(redact.Args(argv), " "))
		if long := []rune(text); len(long) > maxCommandLine { // the main class of a JVM stands at the end
			text = string(long[:maxCommandLine/2]) + " ... " + string(long[len(long)-maxCommandLine/2:])
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("pid %d (%s)", pid, text)))
	}
	if more := len(pids) - maxDescribed; more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}

// judge puts an exit down, and whether it counts as success.
func (s *Service) judge(x proc.Exit) *ExitInf {
	info := &ExitInf{Code: x.Code, Signal: x.Signal, Core: x.Core, At: s.wall(x.At), Asked: s.kept.Asked}
	info.Success = slices.Contains(s.cfg.SuccessCodes, x.Status()) ||
		s.kept.Asked != "" && x.Status() == 128+int(s.stopSignal()) // by it, or by itself in the manner of shells and JVMs
	for _, name := range s.cfg.SuccessSignals {
		if sig, err := proc.ParseSignal(name); err == nil && x.Signal == sig {
			info.Success = true
		}
	}
	if s.gaveUp() { // whatever code it ends with: a JVM that obeys TERM has one of success
		info.Success = false
	}
	return info
}

// gaveUp says whether the present start or run is one that failed: it has ended before
// it was ready, or it is stopped without a request. A oneshot that ends well
// before it was seen to be ready has done its work.
func (s *Service) gaveUp() bool {
	return s.kept.Asked == "" && (s.kept.State == Starting && !s.cfg.Oneshot || s.kept.State == Stopping)
}

// readOOM finds out whether the kernel's OOM killer ended the process: only a KILL that
// is not ours is a reason to look.
func (s *Service) readOOM(info *ExitInf) {
	if !killedFromOutside(info) || s.kept.Killed {
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
	if !s.kept.Spared && s.pastLimit() {
		s.park("it failed too often", "ends", len(s.kept.Starts), "within", s.cfg.Restart.Limit.Within)
		return
	}
	if s.kept.Lasting {
		s.park("what it failed by does not change by itself", "tries", s.kept.InARow)
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

// park makes a service FATAL, and tries it rarely. The stage FATAL is reached once,
// until the counters are 0 again.
func (s *Service) park(why string, args ...any) {
	if !s.kept.Fatal {
		s.kept.Fatal = true
		s.reachExited()
		s.reach(StageFatal, s.kept.Reason)
	}
	limit := s.cfg.Restart.Limit
	if *limit.RetryEvery == 0 {
		s.log.Error("service is given up", append([]any{"why", why}, args...)...)
		s.enter(Fatal, -1)
		return
	}
	wait := spread(*limit.RetryEvery, s.random())
	s.log.Error("service is tried again rarely", append([]any{"why", why, "next_in", wait.Round(time.Second)}, args...)...)
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
		return fmt.Sprintf("killed by signal %d (%s), core dumped", int(e.Signal), proc.SignalName(e.Signal))
	case e.Signal != 0:
		return fmt.Sprintf("killed by signal %d (%s)", int(e.Signal), proc.SignalName(e.Signal))
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
