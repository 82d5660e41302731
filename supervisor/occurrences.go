package supervisor

import (
	"slices"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/redact"
)

// A round is a start of a service with everything that comes of it, until all of
// that is gone. What it has reached is kept together with the state that it led to,
// and told after that: a supervisor that dies in between leaves it to the next one.

// maxMomentReason bounds the reason of a moment: a round has several of them.
const maxMomentReason = 512

// occurred says whether the present round has come to a event.
func (s *Service) occurred(event lifecycle.Event) bool {
	return slices.Contains(s.saved.Reached, event)
}

// occur puts down that the present round has come to a event; the next keep tells
// of it. False: it had come to it before, and that is not told twice.
func (s *Service) occur(event lifecycle.Event, reason string) bool {
	k := &s.saved
	if s.occurred(event) {
		return false
	}
	k.Reached = append(k.Reached, event)
	if s.env.listener == nil {
		return true
	}
	o := lifecycle.Occurrence{Event: event, Service: s.name, Start: k.Start, Attempt: k.Attempt, Pid: k.Pid, Port: k.Port,
		Reason: redact.Clip(reason, maxMomentReason), At: time.Now()}
	switch event {
	case lifecycle.StartFailed, lifecycle.Exited, lifecycle.Fatal, lifecycle.Stopped:
		setExit(&o, k.Exit)
		o.OOM = k.OOMKilled
	}
	if event == lifecycle.Exited || event == lifecycle.Stopped {
		well := k.Exit != nil && k.Exit.Success && !s.cfg.Restart.wanted(true)
		expected := k.StopRequestedBy != "" || well
		o.Expected = &expected
	}
	switch event {
	case lifecycle.PreStop, lifecycle.Exited, lifecycle.Stopped:
		o.Budget = time.Duration(k.Budget)
	}
	k.Unpublished = append(k.Unpublished, o)
	return true
}

// occurBlocking is reach for a event that is waited for, at most for limit if that is
// not negative; false: there is nothing to wait for.
func (s *Service) occurBlocking(event lifecycle.Event, reason string, limit time.Duration) bool {
	c := s.env.listener
	if !s.occur(event, reason) || c == nil || !c.Wants(event, s.name) {
		return false
	}
	m := &s.saved.Unpublished[len(s.saved.Unpublished)-1]
	if limit >= 0 {
		m.Until = m.At.Add(limit)
	}
	awaited := *m
	s.saved.Awaited, s.saved.Phase = &awaited, PhaseHooks
	return true
}

// publishOccurrences tells of what was reached, after it was kept.
func (s *Service) publishOccurrences() {
	c := s.env.listener
	if c == nil {
		return
	}
	for _, m := range s.saved.Unpublished {
		c.Tell(m)
	}
	s.unsaved = s.unsaved || len(s.saved.Unpublished) > 0 // the fd store says that they may not have been told
	s.saved.Unpublished = nil
}

// awaitHooks waits for what belongs to the event that is awaited; the answer is
// EvHooked.
func (s *Service) awaitHooks() {
	ctx, gen, m, c := s.begin(), s.saved.Gen, *s.saved.Awaited, s.env.listener
	go func() { // ends with Await, which obeys ctx
		var err error
		if c != nil { // an earlier supervisor may have had one
			err = c.Await(ctx, m)
		}
		s.report(ctx, event{kind: EvHooksDone, gen: gen, err: err, text: string(m.Event)})
	}()
}

// hooksDone says whether an answer is that of the hooks that are awaited, which are
// not from then on.
func (s *Service) hooksDone(h event) bool {
	if s.saved.Phase != PhaseHooks || string(s.saved.Awaited.Event) != h.text {
		return false
	}
	s.endHooks()
	return true
}

// endHooks ends the phase of hooks.
func (s *Service) endHooks() {
	if s.saved.Awaited = nil; s.saved.Phase == PhaseHooks {
		s.saved.Phase = PhaseBegin
	}
}

// endStart ends the present round, of which nothing is left.
func (s *Service) endStart() {
	s.endHooks()
	if !s.occurred(lifecycle.PreStart) {
		return
	}
	s.occurExited()
	s.occur(lifecycle.Stopped, s.endReason())
}

// occurExited makes up for the end of a process that no supervisor has seen.
func (s *Service) occurExited() {
	if s.occurred(lifecycle.Started) {
		s.occur(lifecycle.Exited, s.saved.Reason)
	}
}

// endReason is why a round is over; empty: it has done its work.
func (s *Service) endReason() string {
	if s.saved.StopRequestedBy != "" {
		return s.stopReason()
	}
	return s.saved.Reason
}

// preStart begins with the hooks that come before a start, once for a round, and
// says how long the state may last.
func (s *Service) preStart() time.Duration {
	if s.occurBlocking(lifecycle.PreStart, "", -1) {
		return -1 // they have limits of their own
	}
	return s.cfg.Ready.Within
}

// proceed goes on with a start: with the hooks that come before it, or with what
// is to be started.
func (s *Service) proceed() {
	if s.saved.Phase == PhaseHooks {
		s.awaitHooks()
		return
	}
	s.prepare()
}

// startHooksDone goes on with a start whose hooks are through.
func (s *Service) startHooksDone(h event) {
	switch {
	case !s.hooksDone(h):
	case h.err != nil:
		s.startFailed(h.err)
	default:
		s.setDeadline(s.cfg.Ready.Within)
		s.save()
		s.prepare()
	}
}

// preStop begins with the hooks that come before a living process is asked to end,
// and says how long they may take: half of what is left until KILL; negative: as
// long as they want.
func (s *Service) preStop() time.Duration {
	limit := s.killLimit()
	if limit >= 0 {
		limit /= 2
	}
	if s.leaderEnded() || !s.occurBlocking(lifecycle.PreStop, s.stopReason(), limit) {
		return -1
	}
	return limit
}

// proceedStop goes on with a stop: with the hooks that come before it, or with the
// drain.
func (s *Service) proceedStop() {
	if s.saved.Phase == PhaseHooks {
		s.awaitHooks()
		return
	}
	s.drain()
}

// stopHooksDone goes on with a stop whose hooks are through.
func (s *Service) stopHooksDone(h event) {
	if !s.hooksDone(h) {
		return
	}
	if h.err != nil {
		s.log.Warn("the stop goes on in spite of its hooks", "error", h.err)
	}
	s.cancel()
	s.drain()
}

// cutHooks goes on with a stop whose hooks are not through.
func (s *Service) cutHooks(why string) {
	s.log.Warn("the stop goes on without its hooks", "why", why)
	s.endHooks()
	s.cancel()
	s.drain()
}

// resumeStart takes up the round of an earlier supervisor. One that knew of no
// rounds has told nobody anything; what it had reached is not told now either.
func (s *Service) resumeStart(p Process) {
	k := &s.saved
	if p != nil {
		k.Pid = p.Pid()
	}
	if k.Start != 0 || k.Gen == 0 {
		return
	}
	k.Start, k.Attempt = k.Gen, k.InARow+1
	switch {
	case k.State == Running:
		k.Reached = []lifecycle.Event{lifecycle.PreStart, lifecycle.Started, lifecycle.Ready}
	case k.State == Stopping:
		k.Reached = []lifecycle.Event{lifecycle.PreStart, lifecycle.Started, lifecycle.PreStop}
	case k.State == Starting && k.UpSince != 0:
		k.Reached = []lifecycle.Event{lifecycle.PreStart, lifecycle.Started}
	case k.State == Starting && k.Phase != PhaseWaiting:
		k.Reached = []lifecycle.Event{lifecycle.PreStart}
	}
}

// republish tells again of what an earlier supervisor may not have told any more, and
// of a process that came into the fd store when our state did not.
func (s *Service) republish() {
	s.publishOccurrences()
	if s.proc != nil && s.saved.State == Starting && s.occur(lifecycle.Started, "") {
		s.save()
	}
}
