package supervisor

import (
	"context"
	"errors"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// endsRequests reports whether requests may end before the stop signal: in a stop that was requested, of a service that was ready.
func (s *Service) endsRequests() bool {
	limit := s.cfg.Stop.Requests
	asked := s.saved.StopRequestedBy != "" && s.occurred(lifecycle.Ready) && !s.leaderEnded()
	return asked && limit != nil && *limit > 0
}

// endRequests has the process end its requests, for at most three quarters of the time, or goes on with the stop. Without a launch, which
// EvAttached brings, it waits for one.
func (s *Service) endRequests() {
	if !s.endsRequests() || s.launch != nil && s.launch.EndRequests == nil {
		s.terminate()
		return
	}
	limit := s.stopLeft()
	if s.saved.Phase != PhaseRequests {
		whole := s.stopTimeout()
		limit = min(*s.cfg.Stop.Requests, whole-whole/signalShare)
		if s.saved.KillBy == 0 { // the time that requests take is missing to the signal
			s.saved.KillBy = s.env.now() + int64(whole)
			if s.canDump() {
				s.saved.KillBy += int64(dumpTime)
			}
		}
		s.enterPhase(PhaseRequests, limit)
	}
	if s.launch == nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.life, max(limit-min(commandErrorTime, limit/4), time.Millisecond))
	s.cancel = cancel
	gen, l, p := s.saved.Gen, s.launch, s.proc
	go func() { // ends with EndRequests, which obeys ctx
		defer cancel()
		summary, err := l.EndRequests(ctx, p)
		s.report(s.life, event{kind: EvRequestsEnded, gen: gen, text: summary, err: err})
	}()
}

// requestsEnded goes on with the stop, whatever is left.
func (s *Service) requestsEnded(h event) {
	if !s.leaderEnded() {
		if h.err != nil {
			s.log.Warn("requests may be cut off", "pid", s.proc.Pid(), "why", h.err)
			s.addNote("requests may have been cut off by the stop: " + h.err.Error())
		} else {
			s.log.Info("requests ended", "pid", s.proc.Pid(), "summary", h.text)
		}
	}
	s.terminate()
}

// cutRequests goes on with the stop before EndRequests has returned.
func (s *Service) cutRequests(why string) {
	s.cancel()
	s.requestsEnded(event{err: errors.New(why)})
}
