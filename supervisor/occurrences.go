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

// reached says whether the present round has come to a event.
func (s *Service) reached(event lifecycle.Event) bool { return slices.Contains(s.kept.Reached, event) }

// reach puts down that the present round has come to a event; the next keep tells
// of it. False: it had come to it before, and that is not told twice.
func (s *Service) reach(event lifecycle.Event, reason string) bool {
	k := &s.kept
	if s.reached(event) {
		return false
	}
	k.Reached = append(k.Reached, event)
	if s.world.listener == nil {
		return true
	}
	o := lifecycle.Occurrence{Event: event, Service: s.name, Start: k.Round, Attempt: k.Attempt, Pid: k.Pid, Port: k.Port,
		Reason: redact.Clip(reason, maxMomentReason), At: time.Now()}
	switch event {
	case lifecycle.StartFailed, lifecycle.Exited, lifecycle.Fatal, lifecycle.Stopped:
		setExit(&o, k.Exit)
		o.OOM = k.OOMKilled
	}
	if event == lifecycle.Exited || event == lifecycle.Stopped {
		well := k.Exit != nil && k.Exit.Success && !s.cfg.Restart.wanted(true)
		expected := k.Asked != "" || well
		o.Expected = &expected
	}
	switch event {
	case lifecycle.PreStop, lifecycle.Exited, lifecycle.Stopped:
		o.Budget = time.Duration(k.Budget)
	}
	k.Untold = append(k.Untold, o)
	return true
}

// reachAwaited is reach for a event that is waited for, at most for limit if that is
// not negative; false: there is nothing to wait for.
func (s *Service) reachAwaited(event lifecycle.Event, reason string, limit time.Duration) bool {
	c := s.world.listener
	if !s.reach(event, reason) || c == nil || !c.Wants(event, s.name) {
		return false
	}
	m := &s.kept.Untold[len(s.kept.Untold)-1]
	if limit >= 0 {
		m.Until = m.At.Add(limit)
	}
	awaited := *m
	s.kept.Awaited = &awaited
	return true
}

// tell tells of what was reached, after it was kept.
func (s *Service) tell() {
	c := s.world.listener
	if c == nil {
		return
	}
	for _, m := range s.kept.Untold {
		c.Tell(m)
	}
	s.stale = s.stale || len(s.kept.Untold) > 0 // the bag says that they may not have been told
	s.kept.Untold = nil
}

// awaitHooks waits for what belongs to the event that is awaited; the answer is
// EvHooked.
func (s *Service) awaitHooks() {
	ctx, gen, m, c := s.begin(), s.kept.Gen, *s.kept.Awaited, s.world.listener
	go func() { // ends with Await, which obeys ctx
		var err error
		if c != nil { // an earlier supervisor may have had one
			err = c.Await(ctx, m)
		}
		s.report(ctx, happening{event: EvHooked, gen: gen, err: err, text: string(m.Event)})
	}()
}

// through says whether an answer is that of the hooks that are awaited, which are
// not from then on.
func (s *Service) through(h happening) bool {
	if s.kept.Awaited == nil || string(s.kept.Awaited.Event) != h.text {
		return false
	}
	s.kept.Awaited = nil
	return true
}

// endRound ends the present round, of which nothing is left.
func (s *Service) endRound() {
	s.kept.Awaited = nil
	if !s.reached(lifecycle.PreStart) {
		return
	}
	s.reachExited()
	s.reach(lifecycle.Stopped, s.whyOver())
}

// reachExited makes up for the end of a process that no supervisor has seen.
func (s *Service) reachExited() {
	if s.reached(lifecycle.Started) {
		s.reach(lifecycle.Exited, s.kept.Reason)
	}
}

// whyOver is why a round is over; empty: it has done its work.
func (s *Service) whyOver() string {
	if s.kept.Asked != "" {
		return s.whyStopped()
	}
	return s.kept.Reason
}

// preStart begins with the hooks that come before a start, once for a round, and
// says how long the state may last.
func (s *Service) preStart() time.Duration {
	if s.reachAwaited(lifecycle.PreStart, "", -1) {
		return -1 // they have limits of their own
	}
	return s.cfg.Ready.Within
}

// proceed goes on with a start: with the hooks that come before it, or with what
// is to be started.
func (s *Service) proceed() {
	if s.kept.Awaited != nil {
		s.awaitHooks()
		return
	}
	s.prepare()
}

// startHooked goes on with a start whose hooks are through.
func (s *Service) startHooked(h happening) {
	switch {
	case !s.through(h):
	case h.err != nil:
		s.notBorn(h.err)
	default:
		s.setDeadline(s.cfg.Ready.Within)
		s.keep()
		s.prepare()
	}
}

// preStop begins with the hooks that come before a living process is asked to end,
// and says how long they may take: half of what is left until KILL; negative: as
// long as they want.
func (s *Service) preStop() time.Duration {
	limit := s.untilKill()
	if limit >= 0 {
		limit /= 2
	}
	if s.leaderGone() || !s.reachAwaited(lifecycle.PreStop, s.whyStopped(), limit) {
		return -1
	}
	return limit
}

// proceedStop goes on with a stop: with the hooks that come before it, or with the
// drain.
func (s *Service) proceedStop() {
	if s.kept.Awaited != nil {
		s.awaitHooks()
		return
	}
	s.drain()
}

// stopHooked goes on with a stop whose hooks are through.
func (s *Service) stopHooked(h happening) {
	if !s.through(h) {
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
	s.kept.Awaited = nil
	s.cancel()
	s.drain()
}

// resumeRound takes up the round of an earlier supervisor. One that knew of no
// rounds has told nobody anything; what it had reached is not told now either.
func (s *Service) resumeRound(p Process) {
	k := &s.kept
	if p != nil {
		k.Pid = p.Pid()
	}
	if k.Round != 0 || k.Gen == 0 {
		return
	}
	k.Round, k.Attempt = k.Gen, k.InARow+1
	switch {
	case k.State == Running:
		k.Reached = []lifecycle.Event{lifecycle.PreStart, lifecycle.Started, lifecycle.Ready}
	case k.State == Stopping:
		k.Reached = []lifecycle.Event{lifecycle.PreStart, lifecycle.Started, lifecycle.PreStop}
	case k.State == Starting && k.UpSince != 0:
		k.Reached = []lifecycle.Event{lifecycle.PreStart, lifecycle.Started}
	case k.State == Starting && !k.Held:
		k.Reached = []lifecycle.Event{lifecycle.PreStart}
	}
}

// retell tells again of what an earlier supervisor may not have told any more, and
// of a process that came into the bag when our state did not.
func (s *Service) retell() {
	s.tell()
	if s.proc != nil && s.kept.State == Starting && s.reach(lifecycle.Started, "") {
		s.keep()
	}
}
