package supervisor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/supervisor/incident"
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
			s.world.AddThreadDumpAt(s.name, s.kept.Gen, s.dumpAt(), out.End())
		}
		if s.kept.Killed && !info.Success {
			f := s.failure("", "", ran)
			if s.kept.Reason == "" {
				s.blame(incident.Classify(*f).Reason)
			}
			s.record(f)
		}
		s.kept.Awaited = nil
		s.reach(lifecycle.Exited, s.whyOver())
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
		s.failed(s.failureOfEnd(ran, left))
	}
	s.reach(lifecycle.Exited, s.kept.Reason)
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

// failed deals with an end that was not expected: status, log, events and incident give
// the same reason.
func (s *Service) failed(f *incident.Failure) {
	before, again := s.kept.Reason, s.kept.InARow > 0
	f.Reason = incident.Classify(*f).Reason
	s.blame(f.Reason)
	args, reason := []any{"pid", s.proc.Pid(), "how", f.Exit.String(), "ran", f.Ran}, f.Reason
	switch {
	case reason == f.Exit.String():
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
		s.reach(lifecycle.StartFailed, f.Reason)
	}
	s.record(f)
	if f.Found.Reason == "" && f.Left == "" {
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
		argv, _ := procfs.Cmdline(pid)
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
func (s *Service) judge(x proc.Exit) *incident.Exit {
	info := &incident.Exit{Code: x.Code, Signal: x.Signal, Core: x.Core, At: s.wall(x.At), Asked: s.kept.Asked}
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
func (s *Service) readOOM(info *incident.Exit) {
	if !info.Killed() || s.kept.Killed {
		return
	}
	s.oomAfter = s.world.OOM(s.proc.Cgroups(), true)
	s.kept.OOMKilled = s.kept.OOM.Rose(s.oomAfter) > 0
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
		s.reach(lifecycle.Fatal, s.kept.Reason)
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
