package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/supervisor/incident"
	"github.com/stoker-init/stoker/supervisor/probe"
)

func (s *Service) stable() {
	s.confirm(time.Duration(s.env.now() - s.saved.UpSince))
	s.resetCounters()
	s.setDeadline(-1)
	s.save()
}

func (s *Service) watchRunning() {
	s.stopWatching()
	if s.launch == nil {
		return
	}
	ctx, cancel := context.WithCancel(s.life)
	s.stopWatching = cancel
	s.watchHealth(ctx)
	s.watchDebugger(ctx)
	if s.launch.Live == nil { // findings of an earlier configuration
		if k := &s.saved; k.LiveFailures > 0 || k.Reported {
			k.LiveFailures, k.LiveSuccesses, k.LiveError, k.Reported = 0, 0, "", false
			s.save()
		}
		return
	}
	gen, p, live, checker, failing := s.saved.Gen, s.proc, s.cfg.Live, s.launch.Live, s.saved.LiveFailures > 0 || s.saved.Reported
	go func() { // ends with ctx
		for {
			select {
			case <-time.After(live.Every):
			case <-ctx.Done():
				return
			}
			h := event{kind: EvLiveOK, gen: gen}
			if err := probe.Check(ctx, checker, p, live.Timeout); err != nil {
				h.kind, h.err, failing = EvLiveFailed, err, true
			}
			if failing && ctx.Err() == nil {
				s.report(ctx, h)
			}
		}
	}()
}

func (s *Service) liveFailed(h event) {
	s.saved.LiveFailures++
	s.saved.LiveSuccesses, s.saved.LiveError = 0, clip(h.err.Error())
	then := s.cfg.Live.Then
	if s.saved.Debugging.Text != "" {
		then = LiveReport
	}
	if s.saved.LiveFailures < s.cfg.Live.Failures || s.saved.Reported && then == LiveReport {
		s.save()
		return
	}
	why := fmt.Sprintf("not alive: %d checks in a row failed, the last: %s", s.saved.LiveFailures, s.saved.LiveError)
	s.log.Error("service is not alive", "failures", s.saved.LiveFailures, "error", s.saved.LiveError, "then", then)
	s.occur(lifecycle.Unhealthy, why)
	s.saved.Reported = s.saved.Reported || then == LiveReport
	s.applyLiveThen(then, incident.CauseUnhealthy, why)
}

func (s *Service) applyLiveThen(then string, cause incident.Cause, why string) {
	if then != LiveReport {
		s.setReason(why)
	}
	s.saved.EndsContainer = s.saved.EndsContainer || then == LiveStopContainer
	s.record(s.failure(cause, clip(why), 0))
	s.save()
	switch then {
	case LiveReport:
	case LiveStopContainer:
		s.env.checkEnd()
	default:
		s.stop(Backoff, 0)
	}
}

func (s *Service) liveOK() {
	k := &s.saved
	if k.LiveFailures == 0 && !k.Reported {
		return
	}
	k.LiveFailures = 0
	k.LiveSuccesses++
	if k.Reported && k.LiveSuccesses >= s.cfg.Live.Successes {
		s.log.Info("service is alive again")
		k.Reported = false
	}
	if !k.Reported {
		k.LiveSuccesses = 0
	}
	s.save()
}

func (s *Service) enterStopped(h event) {
	s.saved.StopRequestedBy = h.req.by
	s.enter(Stopped, -1)
}

// retryWithConfig retries at once if the new configuration may be the repair.
func (s *Service) retryWithConfig(h event) {
	if s.saved.ConfigHash == s.configHash {
		s.save()
		return
	}
	s.start(h)
}

// applyConfig takes over what can be while the process runs, and else restarts it.
func (s *Service) applyConfig(h event) {
	fresh := s.saved.ConfigHash == "" // it is not known with what it was started, or it is not
	switch {
	case s.saved.State == Starting && s.proc == nil && s.saved.Phase == PhaseBegin:
		s.attempt() // what is being prepared may be the old one
	case s.proc == nil:
		s.save()
	case !fresh && s.saved.ConfigHash != s.configHash:
		s.log.Info("service is restarted: its configuration has changed")
		s.saved.StopRequestedBy = h.req.by
		s.stop(Starting, 0)
	default:
		s.save()
		s.attach()
	}
}

// attach asks the launcher for the Launch of a running process; EvAttached follows.
func (s *Service) attach() {
	gen, launcher, learned := s.saved.Gen, s.launcher, s.saved.AttachData
	go func() { // ends when Attach does, which obeys its ctx
		ctx, cancel := context.WithTimeout(s.life, attachTime)
		defer cancel()
		l, err := launcher.Attach(ctx, learned)
		if l == nil && err == nil {
			err = errors.New("nothing is known of it")
		}
		s.report(s.life, event{kind: EvAttached, gen: gen, launch: l, err: err})
	}()
}

// attached goes on with the Launch of a process that runs already.
func (s *Service) attached(h event) {
	if s.proc == nil {
		return
	}
	if h.err != nil {
		s.log.Warn("cannot find out everything about a running service", "error", h.err)
		if h.launch == nil && s.saved.State == Running { // without probes it is not known to be alive
			s.addNote("it is not probed until its next start: " + h.err.Error())
			s.save()
		}
	}
	if h.launch != nil {
		s.launch = h.launch
		if h.launch.Port != 0 {
			s.saved.Port = h.launch.Port
		}
		if s.launch.Spec.Argv == nil {
			s.launch.Spec.Argv, _ = procfs.Cmdline(s.proc.Pid())
			s.launch.Spec.Dir, _ = procfs.Cwd(s.proc.Pid()) // that of another user's process needs CAP_SYS_PTRACE
		}
	}
	if s.saved.State == Starting && s.launch == nil {
		s.waiting = "cannot check its readiness: " + h.err.Error()
	}
	s.publish()
	switch s.saved.State {
	case Starting:
		switch {
		case s.launch != nil:
			s.attend()
		case s.saved.Debugging.Text != "": // its end is not seen without a launch
			s.setDeadline(time.Duration(s.saved.StartLeft))
		} // else its time runs out, or another configuration helps
	case Running:
		s.watchRunning()
	case Stopping:
		switch s.saved.Phase {
		case PhaseBegin, PhaseRequests:
			s.endRequests()
		case PhaseCommand:
			s.terminate()
		}
	}
}
