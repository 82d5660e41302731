package supervisor

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/redact"
)

// What services wait for at first.
const (
	noNetwork = "the container's network is not configured"
	notOpen   = "the container's init and network-ready hooks are not through"
)

// Opened reports whether an earlier supervisor has been through the opening: the container's network and first hooks.
func (s *Supervisor) Opened(rec *proc.Recovered) bool {
	return rec.Starts > 1 && !rec.Has(openItem) && s.resumed
}

// beginOpening configures the container's network and runs its init and network-ready hooks, before which no service
// starts. opened has the error; closeUp ends them.
func (s *Supervisor) beginOpening(ctx context.Context, rec *proc.Recovered, stops bool) (opened <-chan error, closeUp func()) {
	c := s.opts.Listener
	if c == nil || s.Opened(rec) {
		return nil, func() {}
	}
	events := []lifecycle.Event{lifecycle.Init, lifecycle.NetworkReady}
	network := s.opts.Network != nil
	waits := network || rec.Has(openItem) || c.Wants(events[0], "") || c.Wants(events[1], "")
	switch {
	case network:
		s.holdServices(noNetwork)
	case waits:
		s.holdServices(notOpen)
	}
	if stops {
		return nil, func() {}
	}
	if !waits {
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
	go func() { through <- s.open(ctx, events) }() // ends with the network and the hooks, which obey ctx
	return through, cancel
}

// open configures the network and runs the hooks.
func (s *Supervisor) open(ctx context.Context, events []lifecycle.Event) error {
	if s.opts.Network != nil {
		waits := func(what string) { s.holdServices(noNetwork + ": " + what) }
		if err := s.opts.Network(ctx, waits); err != nil {
			return err
		}
		s.holdServices(notOpen)
	}
	for _, e := range events {
		if err := s.opts.Listener.Await(ctx, lifecycle.Occurrence{Event: e, At: time.Now()}); err != nil {
			return err
		}
	}
	return nil
}

// holdServices changes what the services wait for.
func (s *Supervisor) holdServices(why string) {
	s.opening.Store(&why)
	s.wakeWaiters()
}

func (s *Supervisor) endOpening() {
	s.opening.Store(nil)
	s.m.FDStore().Delete(openItem)
	s.wakeWaiters()
}

func (s *Supervisor) shutdownUnopened(ctx context.Context, err error) int {
	code, args := 1, []any{}
	if e, ok := errors.AsType[*exit.Error](err); ok {
		if e.Code != 0 {
			code = e.Code
		}
		if e.Hint != "" {
			args = append(args, "hint", e.Hint)
		}
	}
	s.log.Error("the container ends: "+err.Error(), args...)
	why := redact.Clip(err.Error(), maxOccurrenceReason)
	s.saveStop(stopState{Until: initproto.BootNow() + int64(s.set.Load().StopTimeout), Code: code, Why: why})
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
