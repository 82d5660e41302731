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

// stable forgets the past of a service that has run for long enough.
func (s *Service) stable(happening) {
	s.forgive()
	s.setDeadline(-1)
	s.keep()
}

// lookAlive begins to look at liveness, if anybody wants that, and to listen.
func (s *Service) lookAlive() {
	s.unlook()
	if s.launch == nil {
		return
	}
	ctx, cancel := context.WithCancel(s.life)
	s.unlook = cancel
	s.listen(ctx)
	s.confirmLater(ctx)
	s.watchDebugger(ctx)
	if s.launch.Live == nil { // what was found when somebody still looked would stay for ever
		if k := &s.kept; k.Sick > 0 || k.Reported {
			k.Sick, k.Well, k.LiveErr, k.Reported = 0, 0, "", false
			s.keep()
		}
		return
	}
	gen, p, live, checker, sick := s.kept.Gen, s.proc, s.cfg.Live, s.launch.Live, s.kept.Sick > 0 || s.kept.Reported
	go func() { // ends with ctx
		for {
			select {
			case <-time.After(live.Every):
			case <-ctx.Done():
				return
			}
			h := happening{event: EvWell, gen: gen}
			if err := probe.Check(ctx, checker, p, live.Timeout); err != nil {
				h.event, h.err, sick = EvSick, err, true
			}
			if sick && ctx.Err() == nil {
				s.report(ctx, h)
			}
		}
	}()
}

// sick counts a look at liveness that failed.
func (s *Service) sick(h happening) {
	s.kept.Sick++
	s.kept.Well, s.kept.LiveErr = 0, clip(h.err.Error())
	then := s.cfg.Live.Then
	if s.kept.Debugging.Text != "" {
		then = LiveReport
	}
	if s.kept.Sick < s.cfg.Live.Failures || s.kept.Reported && then == LiveReport {
		s.keep()
		return
	}
	why := fmt.Sprintf("not alive: %d looks in a row failed, the last: %s", s.kept.Sick, s.kept.LiveErr)
	s.log.Error("service is not alive", "looks", s.kept.Sick, "error", s.kept.LiveErr, "then", then)
	s.reach(lifecycle.Unhealthy, why)
	s.kept.Reported = s.kept.Reported || then == LiveReport
	s.giveUp(then, incident.CauseUnhealthy, why)
}

// giveUp does with a service that is not well what live.then says.
func (s *Service) giveUp(then string, cause incident.Cause, why string) {
	switch then {
	case LiveReport:
		s.recordIssue(cause, why)
		s.keep()
	case LiveStopContainer:
		s.blame(why)
		s.kept.Ends = true
		s.keep()
		s.recordFailure(cause, 0)
		s.world.Rested()
	default:
		s.blame(why)
		s.recordFailure(cause, 0)
		s.stop(Delayed, 0)
	}
}

// well counts a look at liveness that went well after one that did not.
func (s *Service) well(happening) {
	if s.kept.Sick == 0 && !s.kept.Reported {
		return
	}
	s.kept.Sick = 0
	if s.kept.Well++; s.kept.Reported && s.kept.Well < s.cfg.Live.Successes {
		s.keep()
		return
	}
	if s.kept.Reported {
		s.log.Info("service is alive again")
	}
	s.kept.Reported, s.kept.Well = false, 0
	s.keep()
}

// rest gives up what was to come; one that is not configured any more goes.
func (s *Service) rest(h happening) {
	s.kept.Asked = h.req.by
	s.enter(Stopped, -1)
}

// changed is another configuration that has nothing to act on.
func (s *Service) changed(happening) { s.keep() }

// changedFailed tries again at once where the new configuration may be the repair.
func (s *Service) changedFailed(h happening) {
	if s.kept.Made == s.made {
		s.keep()
		return
	}
	s.start(h)
}

// changedUp takes over what can be while the process runs, and else starts it
// anew.
func (s *Service) changedUp(h happening) {
	fresh := s.kept.Made == "" // it is not known with what it was started, or it is not
	switch {
	case s.kept.State == Starting && s.proc == nil && !s.kept.Held && s.kept.Awaited == nil:
		s.try() // what is being prepared may be the old one
	case s.proc == nil:
		s.keep()
	case !fresh && s.kept.Made != s.made:
		s.log.Info("service is started anew: its configuration has changed")
		s.kept.Asked = h.req.by
		s.stop(Starting, 0)
	default:
		s.keep()
		s.attach()
	}
}

// attachTime bounds Launcher.Attach.
const attachTime = 5 * time.Second

// attach asks the launcher for what belongs to a process that runs already; the
// answer is EvAttached.
func (s *Service) attach() {
	gen, launcher, learned := s.kept.Gen, s.launcher, s.kept.Learned
	go func() { // ends when Attach does, which obeys its ctx
		ctx, cancel := context.WithTimeout(s.life, attachTime)
		defer cancel()
		l, err := launcher.Attach(ctx, learned)
		if l == nil && err == nil {
			err = errors.New("nothing is known of it")
		}
		s.report(s.life, happening{event: EvAttached, gen: gen, launch: l, err: err})
	}()
}

// attached goes on with what is known of a process that runs already.
func (s *Service) attached(h happening) {
	if s.proc == nil {
		return
	}
	if h.err != nil {
		s.log.Warn("cannot find out everything about a running service", "error", h.err)
		if h.launch == nil && s.kept.State == Running { // without probes it is not known to be alive
			s.addNote("it is not probed until its next start: " + h.err.Error())
			s.keep()
		}
	}
	if h.launch != nil {
		s.launch = h.launch
		if h.launch.Port != 0 {
			s.kept.Port = h.launch.Port
		}
		if s.launch.Spec.Argv == nil {
			s.launch.Spec.Argv, _ = procfs.Cmdline(s.proc.Pid())
			s.launch.Spec.Dir, _ = procfs.Cwd(s.proc.Pid()) // that of another user's process needs CAP_SYS_PTRACE
		}
	}
	if s.kept.State == Starting && s.launch == nil {
		s.probeErr = "nobody knows how to see that it is ready: " + h.err.Error()
	}
	s.publish()
	switch s.kept.State {
	case Starting:
		switch {
		case s.launch != nil:
			s.attend()
		case s.kept.Debugging.Text != "": // its end is not seen without a launch
			s.setDeadline(time.Duration(s.kept.StartLeft))
		} // else its time runs out, or another configuration helps
	case Running:
		s.lookAlive()
	case Stopping:
		if k := &s.kept; k.Asking || !k.Held && k.Awaited == nil && !k.Draining && !k.Told && !k.Signaled && !k.Dumped {
			s.askEnd()
		}
	}
}
