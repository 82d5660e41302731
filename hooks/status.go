package hooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// Status describes a hook.
type Status struct {
	Event    lifecycle.Event `json:"event"`
	Order    int             `json:"order"` // among those of its event, from 1
	Name     string          `json:"name"`
	Plugin   string          `json:"plugin,omitempty"`
	Source   string          `json:"source"`
	Does     string          `json:"does"` // path, program, or method and URL
	Services []string        `json:"services,omitempty"`
	Unmet    string          `json:"unmet,omitempty"` // why it is inactive
	// Running are the services at whose event it runs now; "" is the container.
	Running []string `json:"running,omitempty"`
	// Last is how it ended last; nil: it was not run.
	Last *LastOutcome `json:"last,omitempty"`
}

// Statuses returns all hooks by event in their order.
func (r *Runner) Statuses() []Status {
	last, running := map[string]LastOutcome{}, map[string][]string{}
	for _, q := range r.allQueues() {
		q.mu.Lock()
		for _, l := range q.saved.Last {
			key := string(l.Event) + "/" + l.Hook
			if had, ok := last[key]; !ok || had.At.Before(l.At) {
				last[key] = l
			}
		}
		for _, e := range q.runs {
			for _, a := range e.Running {
				key := string(e.Event) + "/" + a.Hook
				running[key] = append(running[key], e.Service)
			}
		}
		q.mu.Unlock()
	}
	var out []Status
	order := map[lifecycle.Event]int{}
	for _, b := range r.opts.Registry().All() {
		order[b.Event]++
		s := Status{Event: b.Event, Order: order[b.Event], Name: b.Name, Plugin: b.Plugin, Source: b.Source, Does: b.Does(),
			Services: b.Services, Unmet: b.Unmet, Running: running[b.FullName()]}
		if l, ok := last[b.FullName()]; ok {
			s.Last = &l
		}
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b Status) int { return a.Event.Index() - b.Event.Index() })
	return out
}

// Failures are the hooks that failed since the latest start of a service, a line for each.
func (r *Runner) Failures(service string) (out []string) {
	q := r.queue(service, false)
	if q == nil {
		return nil
	}
	registry := r.opts.Registry()
	q.mu.Lock()
	defer q.mu.Unlock()
	var start uint64
	for _, l := range q.saved.Last {
		start = max(start, l.Start)
	}
	for _, l := range q.saved.Last {
		exists := slices.ContainsFunc(registry.For(l.Event, service), func(b ResolvedHook) bool { return b.Title() == l.Hook })
		if !l.OK && l.Start == start && exists {
			out = append(out, fmt.Sprintf("hook %s/%s failed at %s: %s", l.Event, l.Hook, l.At.UTC().Format(time.TimeOnly), l.Why))
		}
	}
	return out
}

// Port is the port of a service's latest readiness; 0: unknown.
func (r *Runner) Port(service string) int {
	q := r.queue(service, false)
	if q == nil {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.saved.Port
}

// ErrNoHook means that no hook can be run.
var ErrNoHook = errors.New("there is no such hook")

// maxManualRuns bounds concurrent manual runs: a hook might run itself.
const maxManualRuns = 16

// ErrTooMany means that there are too many manual runs.
var ErrTooMany = fmt.Errorf("%d runs by hand are under way, and no more are begun: does a hook run itself?", maxManualRuns)

// RunManually runs the hooks of an event, or the one with a title, as if o happened. Nothing waits
// for them, their output is not applied, and other hooks do not wait. They are cancelled with ctx.
func (r *Runner) RunManually(ctx context.Context, o lifecycle.Occurrence, title string) ([]Outcome, error) {
	hooks, err := r.manualHooks(o, title)
	if err != nil {
		return nil, err
	}
	defer r.manualRuns.Add(-1)
	if r.manualRuns.Add(1) > maxManualRuns {
		return nil, ErrTooMany
	}
	q := &queue{r: r, manual: true, name: "@hand"}
	e := newRun(&run{Occurrence: o})
	defer e.cancel(nil)
	stop := context.AfterFunc(ctx, func() { e.cancel(cancelError{whyCancelled}) })
	defer stop()
	outcomes, _ := q.runHooks(e, hooks) // nothing waits that could fail
	return outcomes, nil
}

// manualHooks returns the hooks for a manual run.
func (r *Runner) manualHooks(o lifecycle.Occurrence, title string) ([]ResolvedHook, error) {
	registry := r.opts.Registry()
	if title == "" {
		hooks := registry.For(o.Event, subjectOf(&o))
		if len(hooks) == 0 {
			return nil, fmt.Errorf("%w: no hook of %s is active here", ErrNoHook, o.Event)
		}
		return hooks, nil
	}
	var titles []string
	for _, b := range registry.All() {
		switch {
		case b.Event != o.Event:
		case b.Title() != title:
			titles = append(titles, b.Title())
		case b.Unmet != "":
			return nil, fmt.Errorf("%w that is active here: %s is not: %s", ErrNoHook, b.FullName(), b.Unmet)
		default:
			return []ResolvedHook{b}, nil
		}
	}
	return nil, fmt.Errorf("%w as %s/%s; of this event there are: %v", ErrNoHook, o.Event, title, titles)
}

// Results of a try.
const (
	ResultOK      = "ok"
	ResultFailed  = "failed"
	ResultTimeout = "timeout"
)

// Counter counts the tries of a hook with one result since the supervisor started.
type Counter struct {
	Event  lifecycle.Event
	Plugin string // that contributes it; empty: none
	Hook   string
	Result string // ResultOK, ResultFailed or ResultTimeout
	Runs   uint64
	Took   time.Duration // in total
}

// count counts a try.
func (r *Runner) count(h *ResolvedHook, out Outcome, took time.Duration) {
	key := Counter{Event: h.Event, Plugin: h.Plugin, Hook: h.Name, Result: ResultOK} // without counts
	switch {
	case out.TimedOut:
		key.Result = ResultTimeout
	case !out.OK:
		key.Result = ResultFailed
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n := cmp.Or(r.counters[key], key)
	n.Runs++
	n.Took += took
	r.counters[key] = n
}

// Counters returns the counters, sorted.
func (r *Runner) Counters() []Counter {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Values(r.counters), func(a, b Counter) int {
		return cmp.Or(cmp.Compare(a.Event.Index(), b.Event.Index()), cmp.Compare(a.Plugin, b.Plugin),
			cmp.Compare(a.Hook, b.Hook), cmp.Compare(a.Result, b.Result))
	})
}
