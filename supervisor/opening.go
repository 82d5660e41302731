package supervisor

import (
	"cmp"
	"context"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/redact"
)

// notOpen is what services wait for at first.
const notOpen = "the container's init and network-ready hooks are not through"

// beginOpening runs the container's init and network-ready hooks, before which no service starts. opened has their
// error; closeUp ends them.
func (s *Supervisor) beginOpening(ctx context.Context, rec *proc.Recovered, stops bool) (opened <-chan error, closeUp func()) {
	c, begun := s.opts.Listener, rec.Has(openItem)
	if c == nil || rec.Starts > 1 && !begun && s.resumed {
		return nil, func() {} // an earlier supervisor has been through them
	}
	events := []lifecycle.Event{lifecycle.Init, lifecycle.NetworkReady}
	hooks := begun || c.Wants(events[0], "") || c.Wants(events[1], "")
	s.opening.Store(hooks)
	if stops {
		return nil, func() {}
	}
	if !hooks {
		for _, e := range events {
			c.Tell(lifecycle.Occurrence{Event: e, At: time.Now()})
		}
		return nil, func() {}
	}
	if err := s.m.FDStore().Put(openItem, nil); err != nil {
		s.log.Error("cannot keep that the container's first hooks run", "error", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	through := make(chan error, 1)
	go func() { // ends with the hooks, which obey ctx
		for _, e := range events {
			if err := c.Await(ctx, lifecycle.Occurrence{Event: e, At: time.Now()}); err != nil {
				through <- err
				return
			}
		}
		through <- nil
	}()
	return through, cancel
}

func (s *Supervisor) endOpening() {
	s.opening.Store(false)
	s.m.FDStore().Delete(openItem)
	s.wakeWaiters()
}

func (s *Supervisor) shutdownUnopened(ctx context.Context, err error) int {
	s.log.Error("the container ends: " + err.Error())
	s.saveStop(stopState{Until: initproto.BootNow() + int64(s.set.Load().StopTimeout), Code: 1, Why: err.Error()})
	return s.shutdown(ctx, 0, 0)
}

// ownShare is the part of the stop budget for the end of the container, at most half.
func (s *Supervisor) ownShare() time.Duration {
	if s.opts.Listener == nil {
		return 0
	}
	budget := s.set.Load().StopTimeout
	return max(min(s.opts.Listener.Reserve(budget), (budget-reserve)/2), 0)
}

// runExitHooks waits for running hooks, then runs the exit hooks, which keep their share of the remaining time.
func (s *Supervisor) runExitHooks(ctx context.Context, st stopState, own time.Duration, code int, through chan<- struct{}) {
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
	why := cmp.Or(st.Why, "asked to stop")
	now := time.Now()
	m := lifecycle.Occurrence{Event: lifecycle.Exit, At: now, Reason: redact.Clip(why, maxOccurrenceReason), ExitCode: &code,
		Until: now.Add(left()), Budget: s.set.Load().StopTimeout}
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
