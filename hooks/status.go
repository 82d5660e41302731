package hooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// Status is what can be said of a hook.
type Status struct {
	Event    lifecycle.Event `json:"event"`
	Order    int             `json:"order"` // among those of its event, from 1
	Name     string          `json:"name"`
	Plugin   string          `json:"plugin,omitempty"`
	Source   string          `json:"source"`
	Does     string          `json:"does"` // path, program, or method and URL
	Services []string        `json:"services,omitempty"`
	Unmet    string          `json:"unmet,omitempty"` // why it does not count here
	// Running are the services at whose event it runs now; "" is the container's.
	Running []string `json:"running,omitempty"`
	// Last is how it ended last; nil: it was not run.
	Last *LastOutcome `json:"last,omitempty"`
}

// Statuses lists all hooks, in the order of the events and then their own.
func (r *Runner) Statuses() []Status {
	last, running := map[string]LastOutcome{}, map[string][]string{}
	for _, l := range r.allQueues() {
		l.mu.Lock()
		for _, e := range l.saved.Last {
			key := string(e.Event) + "/" + e.Hook
			if had, ok := last[key]; !ok || had.At.Before(e.At) {
				last[key] = e
			}
		}
		for _, e := range l.saved.Runs {
			for _, t := range e.Running {
				key := string(e.Event) + "/" + t.Hook
				running[key] = append(running[key], e.Service)
			}
		}
		l.mu.Unlock()
	}
	var out []Status
	all := r.opts.Registry().All()
	for _, event := range lifecycle.Events() {
		order := 0
		for k := range all {
			b := &all[k]
			if b.Event != event {
				continue
			}
			order++
			s := Status{Event: event, Order: order, Name: b.Name, Plugin: b.Plugin, Source: b.Source, Does: b.Does(), Services: b.Services, Unmet: b.Unmet, Running: running[b.FullName()]}
			if e, ok := last[b.FullName()]; ok {
				s.Last = &e
			}
			out = append(out, s)
		}
	}
	return out
}

// Troubles are the hooks of a service's present life that failed, each as a line.
func (r *Runner) Failures(service string) (out []string) {
	l := r.queue(service, false)
	if l == nil {
		return nil
	}
	book := r.opts.Registry()
	l.mu.Lock()
	defer l.mu.Unlock()
	var start uint64
	for _, e := range l.saved.Last {
		start = max(start, e.Start)
	}
	for _, e := range l.saved.Last {
		known := slices.ContainsFunc(book.For(e.Event, service), func(b ResolvedHook) bool { return b.Title() == e.Hook })
		if !e.OK && e.Start == start && known {
			out = append(out, fmt.Sprintf("hook %s/%s failed at %s: %s", e.Event, e.Hook, e.At.UTC().Format(time.TimeOnly), e.Why))
		}
	}
	return out
}

// Port is the one that a service was ready on last; 0: it is not known.
func (r *Runner) Port(service string) int {
	l := r.queue(service, false)
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.saved.Port
}

// ErrNoHook says that there is nothing to run.
var ErrNoHook = errors.New("there is no such hook")

// maxByHand bounds how many runs by hand are under way at once: a hook that runs
// itself by hand would go on until there is no memory.
const maxManualRuns = 16

// ErrTooMany says that too many runs by hand are under way.
var ErrTooMany = fmt.Errorf("%d runs by hand are under way, and no more are begun: does a hook run itself?", maxManualRuns)

// RunByHand runs the hooks of an event, or the one of a title, as if o happened,
// in their order. Nobody waits for them, what they give counts for nothing, and no
// other hook waits. When ctx is done they are ended.
func (r *Runner) RunManually(ctx context.Context, o lifecycle.Occurrence, title string) ([]Outcome, error) {
	hooks, err := r.manualHooks(o, title)
	if err != nil {
		return nil, err
	}
	if r.manualRuns.Add(1) > maxManualRuns {
		r.manualRuns.Add(-1)
		return nil, ErrTooMany
	}
	defer r.manualRuns.Add(-1)
	inner, cancel := context.WithCancelCause(r.ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { cancel(cancelError{whyCancelled}) })
	defer stop()
	var outcomes []Outcome
	for k := 0; k < len(hooks); {
		group := hooks[k:groupEnd(hooks, k)]
		results := make([]Outcome, len(group))
		var all limiter
		for i := range group {
			all.run(func() { results[i] = r.runManually(inner, o, &group[i]) }) // ends with the hook
		}
		all.wait()
		outcomes, k = append(outcomes, results...), k+len(group)
	}
	return outcomes, nil
}

// picked are the hooks to be run by hand.
func (r *Runner) manualHooks(o lifecycle.Occurrence, title string) ([]ResolvedHook, error) {
	book := r.opts.Registry()
	if title == "" {
		hooks := book.For(o.Event, subjectOf(&o))
		if len(hooks) == 0 {
			return nil, fmt.Errorf("%w: none of %s counts here", ErrNoHook, o.Event)
		}
		return hooks, nil
	}
	var named []string
	for _, b := range book.All() {
		switch {
		case b.Event != o.Event:
		case b.Title() != title:
			named = append(named, b.Title())
		case b.Unmet != "":
			return nil, fmt.Errorf("%w that counts here: %s does not: %s", ErrNoHook, b.FullName(), b.Unmet)
		default:
			return []ResolvedHook{b}, nil
		}
	}
	return nil, fmt.Errorf("%w as %s/%s; of this event there are: %v", ErrNoHook, o.Event, title, named)
}

// byHand runs one, with its tries.
func (r *Runner) runManually(ctx context.Context, o lifecycle.Occurrence, b *ResolvedHook) Outcome {
	t := attempt{Try: 1, First: time.Now()}
	retries := b.policy().Retries
	var out Outcome
	for {
		r.mu.Lock()
		r.manualSeq++
		t.ID = fmt.Sprintf("%s@hand/%d.%d", idPrefix, time.Now().UnixNano(), r.manualSeq)
		r.mu.Unlock()
		t.Begun = time.Now()
		at := &execution{r: r, b: b, occurrence: o, ctx: ctx, attempt: &t}
		at.setDeadlines(time.Time{})
		out, _ = at.run(nil)
		t.cleanUp()
		out.Hook, out.Plugin, out.Tries = b.Name, b.Plugin, t.Try
		r.counters.add(b, out, time.Since(t.Begun))
		if out.OK || t.Try > retries || !pause(ctx, b.RetryEvery, time.Time{}) {
			out.Took = time.Since(t.First)
			return out
		}
		t.Try++
	}
}
