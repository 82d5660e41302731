package hooks

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

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

type counterKey struct{ hook, result string }

type counters struct {
	mu sync.Mutex // guards by
	by map[counterKey]*Counter
}

func newCounters() *counters { return &counters{by: map[counterKey]*Counter{}} }

// add counts a try.
func (c *counters) add(b *ResolvedHook, out Outcome, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	result := ResultOK
	switch {
	case out.TimedOut:
		result = ResultTimeout
	case !out.OK:
		result = ResultFailed
	}
	key := counterKey{b.FullName(), result}
	n := c.by[key]
	if n == nil {
		n = &Counter{Event: b.Event, Plugin: b.Plugin, Hook: b.Name, Result: result}
		c.by[key] = n
	}
	n.Runs++
	n.Took += took
}

// Counters returns the counters, sorted.
func (r *Runner) Counters() []Counter {
	r.counters.mu.Lock()
	defer r.counters.mu.Unlock()
	var out []Counter
	for _, n := range r.counters.by {
		out = append(out, *n)
	}
	slices.SortFunc(out, func(a, b Counter) int {
		return cmp.Or(cmp.Compare(a.Event.Index(), b.Event.Index()), cmp.Compare(a.Plugin, b.Plugin),
			cmp.Compare(a.Hook, b.Hook), cmp.Compare(a.Result, b.Result))
	})
	return out
}
