package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/proc"
)

// wakeWaiters checks the services that wait for others.
func (s *Supervisor) wakeWaiters() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// reconcile starts and stops what services wait for, and unblocks them. It uses the present states only, so any
// supervisor can go on with it.
func (s *Supervisor) reconcile(ctx context.Context) {
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		set := s.set.Load()
		for _, svc := range set.inOrder {
			switch snap := svc.snap.Load(); {
			case !snap.waitingForDeps:
			case snap.State == Starting:
				s.letStart(ctx, set, svc.name, snap)
			case snap.State == Stopping:
				s.letStop(ctx, set, svc.name, snap)
			}
		}
	}
}

func (s *Supervisor) letStart(ctx context.Context, set *activeSet, name string, snap *Snapshot) {
	for _, r := range set.requires[name] {
		if set.services[r].snap.Load().State == Stopped && !s.Stopping() {
			s.startRequired(ctx, set.services[r], set.services[name])
		}
	}
	if why := s.mayStart(name); why != snap.Waiting {
		set.services[name].report(ctx, event{kind: EvUnblocked, gen: snap.Starts})
	}
}

func (s *Supervisor) letStop(ctx context.Context, set *activeSet, name string, snap *Snapshot) {
	kind := EvStop
	if snap.then == Starting {
		kind = EvRestart
	}
	for _, d := range set.requiredBy[name] {
		dep := set.services[d].snap.Load()
		if s.Stopping() {
			break // every service is asked, with the limit of that stop
		}
		if kind == EvRestart && dep.State == Starting && dep.waitingForDeps {
			continue // it waits for us already, and must not be restarted each time
		}
		switch dep.State {
		case Starting, Running, Backoff:
			by := snap.stopRequestedBy + ", by way of " + name + ", which it requires"
			set.services[d].demand(ctx, request{event: kind, by: by, accepted: true})
		}
	}
	if why := s.mayStop(name); why != snap.Waiting {
		set.services[name].report(ctx, event{kind: EvUnblocked, gen: snap.Starts})
	}
}

// demand sends a request of the reconciliation; the state tells what came of it.
func (s *Service) demand(ctx context.Context, r request) {
	ctx, cancel := context.WithTimeout(ctx, demandTime)
	defer cancel()
	if err := s.ask(ctx, r); errors.Is(err, context.DeadlineExceeded) { // it is busy
		s.env.wakeWaiters()
	}
}

// startRequired starts a service that another one waits for, unless that one is being stopped.
func (s *Supervisor) startRequired(ctx context.Context, svc, waiting *Service) {
	s.stopsMu.RLock()
	defer s.stopsMu.RUnlock()
	if snap := waiting.snap.Load(); s.stops[waiting.name] == 0 && snap.State == Starting && snap.waitingForDeps {
		svc.demand(ctx, request{event: EvStart, by: waiting.name + ", which requires it"})
	}
}

// mayStart returns what a service waits for: required ones must be up, those that it only follows must not be starting.
func (s *Supervisor) mayStart(name string) string {
	set := s.set.Load()
	var why []string
	if opening := s.opening.Load(); opening != nil {
		why = append(why, *opening)
	}
	for _, r := range set.requires[name] {
		snap := set.services[r].snap.Load()
		if snap.State == Running && !snap.Oneshot || snap.Oneshot && snap.State == Exited && snap.succeeded() {
			continue
		}
		why = append(why, fmt.Sprintf("%s, which it requires, is %s", r, snap.State))
	}
	for _, a := range set.after[name] {
		snap := set.services[a].snap.Load()
		if snap.State == Starting || snap.State == Backoff || snap.Oneshot && snap.State == Running ||
			snap.State == Stopping && snap.then != Stopped {
			why = append(why, fmt.Sprintf("%s, which it comes after, is %s", a, snap.State))
		}
	}
	return strings.Join(why, "; ")
}

func (s *Supervisor) mayStop(name string) string {
	set := s.set.Load()
	var why []string
	for _, d := range set.before[name] {
		snap := set.services[d].snap.Load()
		if snap.process != nil && (slices.Contains(set.requires[d], name) || s.Stopping() || snap.State == Stopping) {
			why = append(why, fmt.Sprintf("%s must stop first and is %s", d, snap.State))
		}
	}
	return strings.Join(why, "; ")
}

// Command starts, stops or restarts a service. What it requires is started with it; what requires it is stopped or
// restarted with it. A stop returns when every process of the service is gone. by is the requester, for the log and
// the status.
func (s *Supervisor) Command(ctx context.Context, name string, event Event, by string) error {
	_, err := s.Ask(ctx, name, event, by, nil)
	return err
}

// Ask is Command, and returns the number of the resulting start for AwaitStart. If a start later than number after
// has begun, nothing is done: a request whose answer was lost can be repeated.
func (s *Supervisor) Ask(ctx context.Context, name string, event Event, by string, after *uint64) (start uint64, err error) {
	set := s.set.Load()
	svc := set.services[name]
	if svc == nil {
		return 0, fmt.Errorf("cannot %s %q: there is no such service (there are: %s)", event, name, strings.Join(set.names, ", "))
	}
	if s.Stopping() && event != EvStop {
		return 0, fmt.Errorf("cannot %s %q: %w", event, name, proc.ErrStopping)
	}
	if event == EvStop {
		return 0, s.stopWith(ctx, set, name, by)
	}
	if after != nil && svc.snap.Load().Starts > *after {
		return *after + 1, nil
	}
	for _, r := range set.closure(set.requires, name) {
		switch snap := set.services[r].snap.Load(); {
		case snap.State == Stopped, snap.State == Fatal, snap.State == Exited && !snap.succeeded():
			if err := set.services[r].ask(ctx, request{event: EvStart, by: by + ", for " + name}); err != nil {
				return 0, err
			}
		}
	}
	number := new(uint64) // of its own: a service that is not waited for any more may still write it
	if err := svc.ask(ctx, request{event: event, by: by, after: after, start: number}); err != nil {
		return 0, err
	}
	return *number, nil
}

// RestartProcess restarts a service, and those that require it, if it is still RUNNING as process pid.
func (s *Supervisor) RestartProcess(ctx context.Context, name string, pid int, by string) error {
	svc := s.set.Load().services[name]
	switch {
	case svc == nil:
		return fmt.Errorf("cannot restart %q: there is no such service", name)
	case s.Stopping():
		return fmt.Errorf("cannot restart %q: %w", name, proc.ErrStopping)
	}
	return svc.ask(ctx, request{event: EvRestart, by: by, pid: pid})
}

func (s *Supervisor) stopWith(ctx context.Context, set *activeSet, name, by string) error {
	all := append(set.closure(set.requiredBy, name), name)
	s.countStops(all, 1)
	defer s.wakeWaiters() // after the count: one of them may be required again
	defer s.countStops(all, -1)
	var errs []chan error
	ask := func(svc *Service, by string) {
		got := make(chan error, 1)
		errs = append(errs, got)
		r := request{event: EvStop, by: by, secondRequest: svc.snap.Load().canHurry()}
		go func() { got <- svc.ask(ctx, r) }() // ends with the stop, or with ctx
	}
	for _, d := range set.closure(set.requiredBy, name) {
		if snap := set.services[d].snap.Load(); !snap.Settled {
			ask(set.services[d], by+", with "+name+", which it requires")
		}
	}
	ask(set.services[name], by)
	var err error
	for _, got := range errs {
		err = errors.Join(err, <-got)
	}
	return err
}

func (s *Supervisor) countStops(names []string, by int) {
	s.stopsMu.Lock()
	defer s.stopsMu.Unlock()
	if s.stops == nil {
		s.stops = map[string]int{}
	}
	for _, name := range names {
		if s.stops[name] += by; s.stops[name] == 0 {
			delete(s.stops, name)
		}
	}
}
