package supervisor

import (
	"context"
	"slices"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/redact"
)

// Listener gets the lifecycle events of the container and of its services. The
// occurrences of one service come in their order, and so does what follows from them.
type Listener interface {
	// Wants reports whether an event of a service has any hooks. It is called often and does not wait.
	Wants(event lifecycle.Event, service string) bool
	// Tell publishes an occurrence and does not wait for its hooks. When it returns the
	// occurrence is kept, also for a later supervisor; one that is known has no effect.
	Tell(o lifecycle.Occurrence)
	// Await is Tell, and waits for the hooks, also for those of an occurrence that is known. When ctx is done, which it
	// may be at once, they are ended. The error says why what follows the event must not.
	Await(ctx context.Context, o lifecycle.Occurrence) error
	// Settle waits for all hooks, and ends those that run when ctx is done.
	Settle(ctx context.Context)
	// Reserve is the part of a stop's budget that is needed when the services have stopped.
	Reserve(budget time.Duration) time.Duration
}

// Events of a start are saved together with the state that they led to, and published
// after that: if the supervisor dies in between, the next one publishes them.

func (s *Service) occurred(event lifecycle.Event) bool {
	return slices.Contains(s.saved.Reached, event)
}

// occur notes an event of the present start, which the next save publishes; false: it has occurred before.
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
		Reason: redact.Clip(reason, maxOccurrenceReason), At: time.Now()}
	switch event {
	case lifecycle.StartFailed, lifecycle.Exited, lifecycle.Fatal, lifecycle.Stopped:
		o.OOM = k.OOMKilled
		if x := k.Exit; x != nil && x.Signal != 0 {
			o.Signal = proc.SignalName(x.Signal)
		} else if x != nil {
			o.ExitCode = &x.Code
		}
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

// occurBlocking is occur for an event whose hooks must end first, within limit unless negative; false: no hooks.
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

func (s *Service) publishOccurrences() {
	c := s.env.listener
	if c == nil {
		return
	}
	for _, m := range s.saved.Unpublished {
		c.Tell(m)
	}
	s.unsaved = s.unsaved || len(s.saved.Unpublished) > 0 // the fd store has them as unpublished
	s.saved.Unpublished = nil
}

// awaitHooks waits for the hooks of the phase; EvHooksDone follows.
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

// hooksDone ends the phase of hooks if h is about those.
func (s *Service) hooksDone(h event) bool {
	if s.saved.Phase != PhaseHooks || string(s.saved.Awaited.Event) != h.text {
		return false
	}
	s.endHooks()
	return true
}

func (s *Service) endHooks() {
	if s.saved.Awaited = nil; s.saved.Phase == PhaseHooks {
		s.saved.Phase = PhaseBegin
	}
}

// endStart ends the present start, of which nothing is left.
func (s *Service) endStart() {
	s.endHooks()
	if !s.occurred(lifecycle.PreStart) {
		return
	}
	s.occurExited()
	s.occur(lifecycle.Stopped, s.endReason())
}

// occurExited makes up for an end that no supervisor has seen.
func (s *Service) occurExited() {
	if s.occurred(lifecycle.Started) {
		s.occur(lifecycle.Exited, s.saved.Reason)
	}
}

// endReason is why the start is over; empty: it has succeeded.
func (s *Service) endReason() string {
	if s.saved.StopRequestedBy != "" {
		return s.stopReason()
	}
	return s.saved.Reason
}

// preStart runs the pre-start hooks, once for a start, and returns the limit of the state.
func (s *Service) preStart() time.Duration {
	if s.occurBlocking(lifecycle.PreStart, "", -1) {
		return -1 // they have limits of their own
	}
	return s.cfg.Ready.Within
}

func (s *Service) proceed() {
	if s.saved.Phase == PhaseHooks {
		s.awaitHooks()
		return
	}
	s.prepare()
}

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

// preStop runs the pre-stop hooks of a living process and returns their limit, half of the time until KILL; negative:
// none.
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

func (s *Service) proceedStop() {
	if s.saved.Phase == PhaseHooks {
		s.awaitHooks()
		return
	}
	s.drain()
}

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

func (s *Service) cutHooks(why string) {
	s.log.Warn("the stop goes on without its hooks", "why", why)
	s.endHooks()
	s.cancel()
	s.drain()
}

// republish publishes what the previous supervisor may not have published, and the start of a process that was not
// saved.
func (s *Service) republish() {
	s.publishOccurrences()
	if s.proc != nil && s.saved.State == Starting && s.occur(lifecycle.Started, "") {
		s.save()
	}
}
