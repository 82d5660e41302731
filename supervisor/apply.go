package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/stoker-init/stoker/internal/proc"
)

// noLauncher belongs to a service that is not configured any more: it only ends.
type noLauncher struct{}

func (noLauncher) Prepare(context.Context) (*Launch, error) {
	return nil, errors.New("it is not configured any more")
}

func (noLauncher) Attach(context.Context, string) (*Launch, error) { return &Launch{}, nil }

// Apply replaces the set: removed services are stopped, new ones are started, and those that changed names get their
// new configuration. It returns when all requests are sent. A supervisor that takes over meanwhile reaches the same
// state.
func (s *Supervisor) Apply(want ServiceSet, changed []string, by string) error {
	<-s.running // in a moment: the API answers before the services are begun
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	if s.Stopping() {
		return fmt.Errorf("cannot apply the configuration: %w", proc.ErrStopping)
	}
	old := s.set.Load()
	services := maps.Clone(old.services)
	fresh := map[string]bool{}
	for _, d := range want.Definitions {
		if services[d.Name] == nil {
			services[d.Name] = newService(d, s.environment(), s.opts.Log)
			services[d.Name].saved.Gen = s.startCounts[d.Name]
			fresh[d.Name] = true
		}
	}
	next := newActiveSet(want, services)
	s.set.Store(next)
	for name := range fresh {
		go services[name].run(s.ctx) // ends with the supervisor, or when it is not configured any more
	}
	for _, name := range old.names {
		if _, stays := next.defined[name]; !stays {
			r := request{event: EvStop, by: by, removed: true}
			go func() { _ = services[name].ask(s.ctx, r) }() // ends with the stop, or with the supervisor
		}
	}
	for _, name := range next.order {
		d, ok := next.defined[name]
		if !ok {
			continue
		}
		s.configureLog(name)
		back := services[name].snap.Load().Removed
		if !fresh[name] && (back || slices.Contains(changed, name)) {
			if err := services[name].ask(s.ctx, request{event: EvReconfigured, def: &d, by: by}); err != nil {
				return err
			}
		}
		if (fresh[name] || back) && d.Config.autostart() {
			if err := services[name].ask(s.ctx, request{event: EvStart, by: by}); err != nil {
				return err
			}
		}
	}
	s.updateStopPlan()
	s.wakeWaiters()
	s.checkEnd() // what is over already may end the container by the new configuration
	return nil
}

// configureLog changes the handling of a configured service's output, from now on.
func (s *Supervisor) configureLog(name string) {
	d, ok := s.set.Load().defined[name]
	if !ok || s.m.Logs.Get(name) == nil {
		return
	}
	if _, err := s.m.Logs.Open(name, d.Log); err != nil {
		s.log.Error("the output of a service goes on as before", "name", name, "error", err)
	}
}

func (s *Supervisor) removeStopped(name string) {
	go s.remove(name) // ends with the service
}

func (s *Supervisor) remove(name string) {
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	old := s.set.Load()
	svc := old.services[name]
	if svc == nil || !svc.snap.Load().Removed || svc.snap.Load().State != Stopped {
		return // it is configured again
	}
	svc.end()
	<-svc.over
	services := maps.Clone(old.services)
	delete(services, name)
	s.set.Store(newActiveSet(old.ServiceSet, services))
	if l := s.m.Logs.Get(name); l != nil { // before its state: a supervisor after us finds that and does this again
		l.Retire()
	}
	if len(s.startCounts) >= maxStartCounts {
		clear(s.startCounts)
	}
	s.startCounts[name] = svc.saved.Gen
	if err := s.m.FDStore().PutJSON(countsItem, s.startCounts); err != nil {
		s.log.Error("cannot keep how often a service was started", "name", name, "error", err)
	}
	s.m.FDStore().Delete(servicePrefix + name)
	s.log.Info("service is gone: it is not configured any more", "name", name)
	s.wakeWaiters()
}

func (s *Service) continueReload() {
	if _, gone := s.launcher.(noLauncher); gone {
		s.request(request{event: EvStop, by: "the configuration", removed: true, reply: make(chan error, 1)})
		return
	}
	if s.reconfigured && s.cfg.autostart() {
		s.request(request{event: EvStart, by: "the configuration", reply: make(chan error, 1)})
	} else if s.reconfigured {
		s.save()
	}
	if s.saved.ConfigHash != "" && s.saved.ConfigHash != s.configHash {
		s.dispatch(event{kind: EvReconfigured, req: &request{event: EvReconfigured, by: "the configuration"}})
	}
}
