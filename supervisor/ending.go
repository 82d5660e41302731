package supervisor

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/supervisor/incident"
)

func (s *Service) exited(h event) {
	info := s.exitOf(h.exit)
	s.saved.Exit = info
	s.saved.Uncounted = s.saved.Uncounted || s.saved.State == Running && slices.Contains(s.cfg.Restart.Limit.UncountedCodes, h.exit.Status())
	if s.saved.State == Running && s.saved.Deadline != 0 && h.exit.At >= s.saved.Deadline {
		s.resetCounters() // it had been stable; the timer only comes later than we do
	}
	ran := max(time.Duration(h.exit.At-s.saved.UpSince), 0).Round(time.Millisecond)
	s.saved.UpSince = 0
	s.confirm(ran)
	s.readOOM(info)
	s.env.logAfterOutput(s.name)
	if s.saved.State == Stopping {
		s.log.Info("service ended", "pid", s.proc.Pid(), "how", info.String(), "ran", ran)
		if s.saved.Phase == PhaseKill && !info.Success {
			f := s.failure("", "", ran)
			if s.saved.Reason == "" {
				s.setReason(incident.Classify(*f).Reason)
			}
			s.record(f)
		}
		s.recordDump()
		s.endHooks()
		s.occur(lifecycle.Exited, s.endReason())
		s.save()
		s.proc.Ack()
		s.awaitGroup()
		return
	}
	done := info.Success
	members := s.proc.Members()
	left := describe(members)
	if expected := done && (s.cfg.Oneshot || !s.cfg.Restart.wanted(true)); expected || done && left == "" {
		s.log.Info("service ended", "pid", s.proc.Pid(), "how", info.String(), "ran", ran)
		s.setReason("")
		if left != "" {
			note := "it left processes behind, which are ended: " + left
			s.log.Warn(note, "pid", s.proc.Pid())
			s.addNote(note)
		}
	} else {
		s.failed(s.failureOfEnd(ran, left))
	}
	s.occur(lifecycle.Exited, s.saved.Reason)
	if !done {
		s.askVariant(info, ran)
	}
	s.quit()
	// What the leader leaves behind would be in the way of the next start.
	p := s.proc
	if len(members) > 0 {
		s.enterStopping(Backoff, 0)
		p.Ack()
		s.awaitGroup()
		return
	}
	s.proc = nil
	s.applyRestartPolicy(done)
	p.Done()
	s.env.updateStopPlan()
}

// failed handles an unexpected end: status, log, events and incident give the same reason.
func (s *Service) failed(f *incident.Failure) {
	before, again := s.saved.Reason, s.saved.InARow > 0
	f.Reason = incident.Classify(*f).Reason
	s.setReason(f.Reason)
	args, reason := []any{"pid", s.proc.Pid(), "how", f.Exit.String(), "ran", f.Ran}, f.Reason
	switch {
	case reason == f.Exit.String():
	case again && reason == before:
		args = append(args, "reason", "as before", "tries", s.saved.InARow+1)
	case again: // the hint is in the log already
		reason, _, _ = strings.Cut(reason, "\nhint: ")
		fallthrough
	default:
		args = append(args, "reason", reason)
	}
	s.log.Info("service ended", args...)
	if s.saved.State == Starting {
		s.occur(lifecycle.StartFailed, f.Reason)
	}
	if f.Found.Reason == "" && f.Left == "" {
		f.Explain = s.explanation()
	}
	s.record(f)
}

// Limits of describe: processes, and characters of a command line, half from each end.
const (
	maxDescribed   = 5
	maxCommandLine = 80
)

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

// exitOf returns how the process ended, and if that is a success.
func (s *Service) exitOf(x proc.Exit) *incident.Exit {
	info := &incident.Exit{Code: x.Code, Signal: x.Signal, Core: x.Core, At: s.wall(x.At), Asked: s.saved.StopRequestedBy}
	info.Success = slices.Contains(s.cfg.SuccessCodes, x.Status()) ||
		s.saved.StopRequestedBy != "" && x.Status() == 128+int(s.stopSignal()) // by it, or by itself in the manner of shells and JVMs
	for _, name := range s.cfg.SuccessSignals {
		if sig, err := proc.ParseSignal(name); err == nil && x.Signal == sig {
			info.Success = true
		}
	}
	if s.isFailure() { // whatever code it ends with: a JVM that obeys TERM has one of success
		info.Success = false
	}
	return info
}

// isFailure reports whether the present start or run has failed: it ended before it was ready, or it is stopped
// without a request. A oneshot may end before it is ready.
func (s *Service) isFailure() bool {
	return s.saved.StopRequestedBy == "" && (s.saved.State == Starting && !s.cfg.Oneshot || s.saved.State == Stopping)
}

// readOOM reads the OOM counter if the process was killed by a SIGKILL that is not ours.
func (s *Service) readOOM(info *incident.Exit) {
	if !info.Killed() || s.saved.Phase == PhaseKill {
		return
	}
	s.oomAfter = s.env.oomCount(s.proc.Cgroups(), true)
	s.saved.OOMKilled = s.saved.OOM.Rose(s.oomAfter) > 0
}

// applyRestartPolicy decides what follows an end that was not requested.
func (s *Service) applyRestartPolicy(success bool) {
	if s.saved.NextVariant != "" {
		s.restart()
		return
	}
	if !s.cfg.Restart.wanted(success) {
		s.enter(Exited, -1)
		return
	}
	s.saved.InARow++
	if !s.saved.Uncounted && s.pastLimit() {
		s.enterFatal("it failed too often", "ends", len(s.saved.Starts), "within", s.cfg.Restart.Limit.Within)
		return
	}
	if s.saved.Permanent {
		s.enterFatal("what it failed by does not change by itself", "tries", s.saved.InARow)
		return
	}
	wait := s.cfg.Restart.Backoff.wait(s.saved.InARow, s.random())
	if wait > 0 {
		s.log.Info("service will be started again", "in", wait.Round(time.Millisecond))
		s.enter(Backoff, wait)
		return
	}
	s.restart()
}

// pastLimit counts an end, and reports whether there are too many.
func (s *Service) pastLimit() bool {
	limit := s.cfg.Restart.Limit
	s.saved.Starts.add(s.env.now(), limit.Within)
	s.saved.PastLimit = s.saved.PastLimit || len(s.saved.Starts) > limit.Starts
	return s.saved.PastLimit
}

// enterFatal makes a service FATAL and retries it rarely. The event fatal occurs once, until the counters are reset.
func (s *Service) enterFatal(why string, args ...any) {
	if !s.saved.Fatal {
		s.saved.Fatal = true
		s.occurExited()
		s.occur(lifecycle.Fatal, s.saved.Reason)
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

func (s *Service) restart() {
	s.saved.Restarts++
	s.enterStarting()
}

// wait is the time before restart number n (from 1) in a row. random is in [0, 1).
func (b BackoffConfig) wait(n int, random float64) time.Duration {
	d := float64(*b.First)
	for range n - 1 {
		if d *= b.Factor; d >= float64(b.Max) {
			break
		}
	}
	d = min(d, float64(b.Max))
	return time.Duration(d + d**b.Jitter*random)
}

// startTimes counts starts within a time. Times are CLOCK_BOOTTIME, ns.
type startTimes []int64

func (h *startTimes) add(now int64, within time.Duration) {
	if len(*h) == maxHistory {
		*h = slices.Delete(*h, 0, 1)
	}
	*h = slices.DeleteFunc(*h, func(t int64) bool { return now-t >= int64(within) })
	*h = append(*h, now)
}

// spread is d +-20 %, so that containers that failed together do not restart together.
func spread(d time.Duration, random float64) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*random))
}

func (r Restart) wanted(success bool) bool {
	switch r.Policy {
	case Never:
		return false
	case OnFailure:
		return !success
	default:
		return true
	}
}

const (
	earlyExitOutput = 8 << 10 // bound of EarlyExit.Output, in bytes
	maxEarlyExits   = 16      // in a row without a stable time: from there on an end counts like any other
)

// askVariant asks the launcher for another variant of the start that has just failed.
func (s *Service) askVariant(info *incident.Exit, ran time.Duration) {
	ready := s.saved.State != Starting
	if s.launch == nil || s.launch.OnEarlyExit == nil || ready && ran >= earlyExitTime || s.saved.EarlyExits >= maxEarlyExits {
		return
	}
	d := EarlyExit{Exit: info, Ran: ran, Ready: ready}
	if out := s.output(); out != nil {
		s.proc.FlushOutput()
		d.Output = s.lastLines(out, max(s.saved.LogStart, out.End()-earlyExitOutput))
	}
	why := s.launch.OnEarlyExit(d)
	if why == "" {
		return
	}
	s.saved.NextVariant = clip(why)
	s.saved.EarlyExits++
	s.log.Warn("the next start is another one", "why", s.saved.NextVariant)
}

// lastLines returns the whole lines of both streams from an offset on, which the log may interleave.
func (s *Service) lastLines(out output, from int64) []byte {
	var b bytes.Buffer
	_ = out.Lines(s.life, from, false, func(line logs.Line) error { // ends with what there is
		b.Write(line.Text)
		return b.WriteByte('\n')
	})
	return b.Bytes()
}

// confirm reports to the launcher that a start has become stable.
func (s *Service) confirm(ran time.Duration) {
	if ran >= earlyExitTime && s.occurred(lifecycle.Ready) && s.launch != nil && s.launch.OnStable != nil {
		s.launch.OnStable()
	}
}
