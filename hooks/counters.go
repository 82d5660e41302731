package hooks

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// How a run of a hook may end.
const (
	ResultOK      = "ok"
	ResultFailed  = "failed"
	ResultTimeout = "timeout"
)

// Count is how often a hook has ended so since the supervisor began.
type Counter struct {
	Event  lifecycle.Event
	Plugin string // whose it is; empty: nobody's
	Hook   string
	Result string // of the try: ResultOK, ResultFailed or ResultTimeout
	Runs   uint64
	Took   time.Duration // all of them together
}

// counted is what is counted apart.
type counterKey struct{ hook, result string }

// counts are the counters by hook and result.
type counters struct {
	mu sync.Mutex // guards by
	by map[counterKey]*Counter
}

func newCounters() *counters { return &counters{by: map[counterKey]*Counter{}} }

// add counts a try and how long it took.
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

// Counts are the counters, sorted.
func (r *Runner) Counters() []Counter {
	r.counters.mu.Lock()
	defer r.counters.mu.Unlock()
	var out []Counter
	for _, n := range r.counters.by {
		out = append(out, *n)
	}
	slices.SortFunc(out, func(a, b Counter) int {
		return cmp.Or(cmp.Compare(slices.Index(lifecycle.Events(), a.Event), slices.Index(lifecycle.Events(), b.Event)), cmp.Compare(a.Plugin, b.Plugin), cmp.Compare(a.Hook, b.Hook), cmp.Compare(a.Result, b.Result))
	})
	return out
}
