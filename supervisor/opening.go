package supervisor

import (
	"context"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/redact"
)

// notOpen is what services wait for at first.
const notOpen = "the container's init and network-ready hooks are not through"

// beginOpening begins with the container's own first stages. If anybody wants them,
// no service starts before they are through: opened says so, or why they forbid it.
// closeUp brings them to an end.
func (s *Supervisor) beginOpening(ctx context.Context, rec *proc.Recovered, stops bool) (opened <-chan error, closeUp func()) {
	c := s.opts.Listener
	begun := rec.Has(openItem)
	if c == nil || rec.Starts > 1 && !begun && s.resumed {
		return nil, func() {} // an earlier supervisor has been through them
	}
	stages := []lifecycle.Event{lifecycle.Init, lifecycle.NetworkReady}
	if !begun && !c.Wants(stages[0], "") && !c.Wants(stages[1], "") {
		for _, stage := range stages {
			if !stops {
				c.Tell(lifecycle.Occurrence{Event: stage, At: time.Now()})
			}
		}
		return nil, func() {}
	}
	s.opening.Store(true)
	if stops {
		return nil, func() {}
	}
	if err := s.m.FDStore().Put(openItem, nil); err != nil {
		s.log.Error("cannot keep that the container's first hooks run", "error", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	through := make(chan error, 1)
	go func() { // ends with the stages, which obey ctx
		for _, stage := range stages {
			if err := c.Await(ctx, lifecycle.Occurrence{Event: stage, At: time.Now()}); err != nil {
				through <- err
				return
			}
		}
		through <- nil
	}()
	return through, cancel
}

// endOpening lets the services start.
func (s *Supervisor) endOpening() {
	s.opening.Store(false)
	s.m.FDStore().Delete(openItem)
	s.wakeWaiters()
}

// shutdownUnopened ends the container whose first stages forbid it to go on.
func (s *Supervisor) shutdownUnopened(ctx context.Context, err error) int {
	s.log.Error("the container ends: " + err.Error())
	s.saveStop(stopState{Until: initproto.BootNow() + int64(s.set.Load().stopTimeout), Code: 1, Why: err.Error()})
	return s.shutdown(ctx, 0, 0)
}

// leastLast is what the last stages get when the budget is used up: enough to be
// brought to an end.
const leastLast = 100 * time.Millisecond

// ownShare is what the end of the container keeps of the budget for itself: never
// more than half of what there is to share.
func (s *Supervisor) ownShare() time.Duration {
	if s.opts.Listener == nil {
		return 0
	}
	budget := s.set.Load().stopTimeout
	return max(min(s.opts.Listener.Reserve(budget), (budget-reserve)/2), 0)
}

// lastStages goes through what is to be done when the services have stopped: what
// is still under way of theirs, then the container's own exit, which keeps its share
// of the time that is left.
func (s *Supervisor) lastStages(ctx context.Context, st stopState, own time.Duration, code int, through chan<- struct{}) {
	defer close(through)
	c := s.opts.Listener
	left := func() time.Duration { return max(time.Duration(st.Until-initproto.BootNow())-reserve, 0) }
	rest := left()
	if c.Wants(lifecycle.Exit, "") {
		rest -= min(own, rest/2)
	}
	settle, cancel := context.WithTimeout(ctx, rest)
	c.Settle(settle)
	cancel()
	why := st.Why
	if why == "" {
		why = "asked to stop"
	}
	now := time.Now()
	m := lifecycle.Occurrence{Event: lifecycle.Exit, At: now, Reason: redact.Clip(why, maxMomentReason), ExitCode: &code,
		Until: now.Add(left()), Budget: s.set.Load().stopTimeout}
	if !c.Wants(lifecycle.Exit, "") {
		c.Tell(m)
		return
	}
	exit, cancel := context.WithTimeout(ctx, left())
	defer cancel()
	if err := c.Await(exit, m); err != nil {
		s.log.Warn("the container ends in spite of its exit hooks", "error", err)
	}
}
