package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// supervisorEnv is the Supervisor as its services see it.
type supervisorEnv struct{ s *Supervisor }

// environment is what the services get.
func (s *Supervisor) environment() environment {
	w := supervisorEnv{s}
	return environment{w, w, w, s.incidents, s.opts.Listener}
}

func (w supervisorEnv) Start(ctx context.Context, spec proc.Spec) (Process, error) {
	spec.KeepReserve = true
	p, err := w.s.m.Start(ctx, spec)
	if err != nil {
		return nil, err // not a *proc.Process that is nil within an interface
	}
	return p, nil
}

func (w supervisorEnv) Log(name string) *logs.Log {
	if l, ok := w.s.logs.Load(name); ok {
		return l.(*logs.Log)
	}
	set := w.s.set.Load()
	if set.services != nil && set.services[name] == nil {
		return nil // it is not configured any more, and its log is given up
	}
	l, err := w.s.m.Logs.Open(name, set.defined[name].Log)
	if err != nil {
		w.s.log.Error("cannot keep the output of a service; it goes to the container's own", "name", name, "error", err)
		w.s.logs.Store(name, (*logs.Log)(nil)) // logged once
		return nil
	}
	w.s.logs.Store(name, l)
	return l
}

func (w supervisorEnv) SaveState(name string, state []byte) {
	if err := w.s.m.FDStore().PutJSON(servicePrefix+name, json.RawMessage(state)); err != nil {
		w.s.log.Error("cannot keep the state of a service", "name", name, "error", err)
	}
}

func (w supervisorEnv) ProcessesChanged() { w.s.updateStopPlan() }

func (w supervisorEnv) StateChanged() { w.s.wakeWaiters() }

func (w supervisorEnv) MayStart(name string) string { return w.s.mayStart(w.s.set.Load(), name) }

func (w supervisorEnv) MayStop(name string) string { return w.s.mayStop(w.s.set.Load(), name) }

// outputTime bounds how long our log waits for a service's output to be read.
const outputTime = 200 * time.Millisecond

func (w supervisorEnv) LogAfterOutput(name string) {
	l, ok := w.s.logs.Load(name)
	if !ok || l.(*logs.Log) == nil || w.s.opts.LogAfter == nil {
		return
	}
	end := l.(*logs.Log).End()
	w.s.opts.LogAfter(func() { l.(*logs.Log).AwaitForwarded(end, outputTime) })
}

// oomAge is how old a reading of the container's counter may be when a service is
// started: a hundred that start together need one. A reading takes up to half a millisecond.
const oomAge = 100 * time.Millisecond

func (w supervisorEnv) OOM(cgroups []string, fresh bool) incident.OOMCount {
	if w.s.opts.OOM == nil {
		return incident.OOMCount{}
	}
	if len(cgroups) > 0 {
		return w.s.opts.OOM(cgroups)
	}
	w.s.oomMu.Lock()
	defer w.s.oomMu.Unlock()
	if now := time.Now(); fresh || now.Sub(w.s.oomAt) > oomAge {
		w.s.oom, w.s.oomAt = w.s.opts.OOM(nil), now
	}
	return w.s.oom
}

func (w supervisorEnv) RemovedStopped(name string) {
	go w.s.remove(name) // ends with the service
}

func (w supervisorEnv) EndedForGood() {
	select {
	case w.s.endedForGood <- struct{}{}:
	default:
	}
}

func (w supervisorEnv) Now() int64 { return initproto.BootNow() }

// planEntry is a service's line of the stop plan.
type planEntry struct {
	pgid   int
	start  uint64
	signal syscall.Signal
	wait   time.Duration
}

// planDelay is how long changes are gathered before the stop plan is renewed: a
// hundred services that start together need one, not a hundred.
const planDelay = 2 * time.Millisecond

// updateStopPlan renews the stop plan after planDelay.
func (s *Supervisor) updateStopPlan() {
	if s.planDue.CompareAndSwap(false, true) {
		time.AfterFunc(planDelay, s.putPlan)
	}
}

// putPlan renews the stop plan, by which the init stops the services if no supervisor
// works. It stops one group after the other, so they share the budget.
func (s *Supervisor) putPlan() {
	s.planMu.Lock()
	defer s.planMu.Unlock()
	s.planDue.Store(false)
	var entries []*planEntry
	set := s.set.Load()
	for _, svc := range slices.Backward(set.inOrder) {
		if e := svc.plan.Load(); e != nil {
			entries = append(entries, e)
		}
	}
	var plan strings.Builder
	plan.WriteString(initproto.BudgetLine(set.StopTimeout))
	for _, e := range entries {
		share := set.StopTimeout * 3 / 4 / time.Duration(len(entries))
		plan.WriteString(initproto.PlanLine(e.pgid, e.start, e.signal, min(e.wait, share)))
	}
	if plan.String() == s.plan {
		return
	}
	s.plan = plan.String()
	if err := s.m.FDStore().Put(initproto.StopPlan, []byte(s.plan)); err != nil {
		s.log.Error("cannot keep the stop plan", "error", err)
	}
}

// savedID is the id of the process that belongs to a saved state.
func savedID(name string, state []byte) string {
	var k struct {
		Gen uint64 `json:"gen"`
	}
	if json.Unmarshal(state, &k) != nil {
		return ""
	}
	return fmt.Sprintf("%s.%d", name, k.Gen)
}

// autostart reports whether the service is started with the container.
func (c *Config) autostart() bool { return c.Autostart == nil || *c.Autostart }
