package supervisor

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor/incident"
)

func (s *Supervisor) environment() environment {
	return environment{s, s, s, s.incidents, s.opts.Listener, s.opts.Entered}
}

func (s *Supervisor) startProcess(ctx context.Context, spec proc.Spec) (Process, error) {
	spec.KeepReserve = true
	p, err := s.m.Start(ctx, spec)
	if err != nil {
		return nil, err // not a *proc.Process that is nil within an interface
	}
	return p, nil
}

// Log returns the captured output of a service; nil: there is none.
func (s *Supervisor) Log(name string) *logs.Log {
	set := s.set.Load()
	if set.services[name] == nil {
		return nil
	}
	if l := s.m.Logs.Get(name); l != nil {
		return l
	}
	l, err := s.m.Logs.Open(name, set.defined[name].Log)
	if err != nil {
		if _, logged := s.uncaptured.LoadOrStore(name, true); !logged {
			s.log.Error("cannot keep the output of a service; it goes to the container's own", "name", name, "error", err)
		}
		return nil
	}
	s.uncaptured.Delete(name)
	return l
}

func (s *Supervisor) saveState(name string, state any) {
	if err := s.m.FDStore().PutJSON(servicePrefix+name, state); err != nil {
		s.log.Error("cannot keep the state of a service", "name", name, "error", err)
	}
}

func (s *Supervisor) logAfterOutput(name string) {
	if l := s.m.Logs.Get(name); l != nil && s.opts.LogAfter != nil {
		end := l.End()
		s.opts.LogAfter(func() { l.AwaitForwarded(end, outputTime) })
	}
}

func (s *Supervisor) oomCount(cgroups []string, fresh bool) incident.OOMCount {
	switch {
	case s.opts.OOM == nil:
		return incident.OOMCount{}
	case len(cgroups) > 0:
		return s.opts.OOM(cgroups)
	}
	s.oomMu.Lock()
	defer s.oomMu.Unlock()
	if now := time.Now(); fresh || now.Sub(s.oomAt) > oomAge {
		s.oom, s.oomAt = s.opts.OOM(nil), now
	}
	return s.oom
}

func (s *Supervisor) checkEnd() {
	select {
	case s.endedForGood <- struct{}{}:
	default:
	}
}

func (s *Supervisor) now() int64 { return initproto.BootNow() }

func (s *Supervisor) updateStopPlan() {
	if s.planDue.CompareAndSwap(false, true) {
		time.AfterFunc(planDelay, s.putPlan)
	}
}

// putPlan renews the plan by which the init stops the services, one after the other, if no supervisor works.
func (s *Supervisor) putPlan() {
	s.planMu.Lock()
	defer s.planMu.Unlock()
	s.planDue.Store(false)
	var alive []*Snapshot
	set := s.set.Load()
	for _, svc := range slices.Backward(set.inOrder) {
		if snap := svc.snap.Load(); snap.process != nil {
			alive = append(alive, snap)
		}
	}
	var plan strings.Builder
	plan.WriteString(initproto.BudgetLine(set.StopTimeout))
	for _, a := range alive {
		limit := min(a.stopTimeout, set.StopTimeout*3/4/time.Duration(len(alive)))
		plan.WriteString(initproto.PlanLine(a.process.Pid(), a.process.StartTicks(), a.stopSignal, limit))
	}
	if plan.String() == s.plan {
		return
	}
	s.plan = plan.String()
	if err := s.m.FDStore().Put(initproto.StopPlan, []byte(s.plan)); err != nil {
		s.log.Error("cannot keep the stop plan", "error", err)
	}
}

func (c *Config) autostart() bool { return c.Autostart == nil || *c.Autostart }
