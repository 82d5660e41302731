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
	Last *Ended `json:"last,omitempty"`
}

// Statuses lists all hooks, in the order of the events and then their own.
func (r *Runner) Statuses() []Status {
	last, running := map[string]Ended{}, map[string][]string{}
	for _, l := range r.all() {
		l.mu.Lock()
		for _, e := range l.kept.Last {
			key := string(e.Event) + "/" + e.Hook
			if had, ok := last[key]; !ok || had.At.Before(e.At) {
				last[key] = e
			}
		}
		for _, e := range l.kept.Queue {
			for _, t := range e.Trying {
				key := string(e.Event) + "/" + t.Hook
				running[key] = append(running[key], e.Service)
			}
		}
		l.mu.Unlock()
	}
	var out []Status
	all := r.opts.Book().All()
	for _, event := range lifecycle.Events() {
		order := 0
		for k := range all {
			b := &all[k]
			if b.Event != event {
				continue
			}
			order++
			s := Status{Event: event, Order: order, Name: b.Name, Plugin: b.Plugin, Source: b.Source, Does: b.Does(), Services: b.Services, Unmet: b.Unmet, Running: running[b.full()]}
			if e, ok := last[b.full()]; ok {
				s.Last = &e
			}
			out = append(out, s)
		}
	}
	return out
}

// Troubles are the hooks of a service's present life that failed, each as a line.
func (r *Runner) Troubles(service string) (out []string) {
	l := r.lane(service, false)
	if l == nil {
		return nil
	}
	book := r.opts.Book()
	l.mu.Lock()
	defer l.mu.Unlock()
	var start uint64
	for _, e := range l.kept.Last {
		start = max(start, e.Start)
	}
	for _, e := range l.kept.Last {
		known := slices.ContainsFunc(book.For(e.Event, service), func(b Bound) bool { return b.Title() == e.Hook })
		if !e.OK && e.Start == start && known {
			out = append(out, fmt.Sprintf("hook %s/%s failed at %s: %s", e.Event, e.Hook, e.At.UTC().Format(time.TimeOnly), e.Why))
		}
	}
	return out
}

// Port is the one that a service was ready on last; 0: it is not known.
func (r *Runner) Port(service string) int {
	l := r.lane(service, false)
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.Port
}

// ErrNoHook says that there is nothing to run.
var ErrNoHook = errors.New("there is no such hook")

// maxByHand bounds how many runs by hand are under way at once: a hook that runs
// itself by hand would go on until there is no memory.
const maxByHand = 16

// ErrTooMany says that too many runs by hand are under way.
var ErrTooMany = fmt.Errorf("%d runs by hand are under way, and no more are begun: does a hook run itself?", maxByHand)

// RunByHand runs the hooks of an event, or the one of a title, as if o happened,
// in their order. Nobody waits for them, what they give counts for nothing, and no
// other hook waits. When ctx is done they are ended.
func (r *Runner) RunByHand(ctx context.Context, o lifecycle.Occurrence, title string) ([]Outcome, error) {
	hooks, err := r.picked(o, title)
	if err != nil {
		return nil, err
	}
	if r.byHands.Add(1) > maxByHand {
		r.byHands.Add(-1)
		return nil, ErrTooMany
	}
	defer r.byHands.Add(-1)
	inner, cancel := context.WithCancelCause(r.ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { cancel(errEnded{whyCancelled}) })
	defer stop()
	var outcomes []Outcome
	for k := 0; k < len(hooks); {
		group := hooks[k:together(hooks, k)]
		results := make([]Outcome, len(group))
		var all crowd
		for i := range group {
			all.begin(func() { results[i] = r.byHand(inner, o, &group[i]) }) // ends with the hook
		}
		all.wait()
		outcomes, k = append(outcomes, results...), k+len(group)
	}
	return outcomes, nil
}

// picked are the hooks to be run by hand.
func (r *Runner) picked(o lifecycle.Occurrence, title string) ([]Bound, error) {
	book := r.opts.Book()
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
			return nil, fmt.Errorf("%w that counts here: %s does not: %s", ErrNoHook, b.full(), b.Unmet)
		default:
			return []Bound{b}, nil
		}
	}
	return nil, fmt.Errorf("%w as %s/%s; of this event there are: %v", ErrNoHook, o.Event, title, named)
}

// byHand runs one, with its tries.
func (r *Runner) byHand(ctx context.Context, o lifecycle.Occurrence, b *Bound) Outcome {
	t := try{Try: 1, First: time.Now()}
	retries := b.policy().Retries
	var out Outcome
	for {
		r.mu.Lock()
		r.hand++
		t.ID = fmt.Sprintf("%s@hand/%d.%d", idPrefix, time.Now().UnixNano(), r.hand)
		r.mu.Unlock()
		t.Begun = time.Now()
		at := &attempt{r: r, b: b, o: o, ctx: ctx, try: &t}
		at.bounds(time.Time{})
		out, _ = at.run(nil)
		t.release()
		out.Hook, out.Plugin, out.Tries = b.Name, b.Plugin, t.Try
		r.counts.add(b, out, time.Since(t.Begun))
		if out.OK || t.Try > retries || !pause(ctx, b.RetryEvery, time.Time{}) {
			out.Took = time.Since(t.First)
			return out
		}
		t.Try++
	}
}
