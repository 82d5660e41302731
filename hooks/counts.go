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
type Count struct {
	Event  lifecycle.Event
	Plugin string // whose it is; empty: nobody's
	Hook   string
	Result string // of the try: ResultOK, ResultFailed or ResultTimeout
	Runs   uint64
	Took   time.Duration // all of them together
}

// counted is what is counted apart.
type counted struct{ hook, result string }

// counts are the counters by hook and result.
type counts struct {
	mu sync.Mutex // guards by
	by map[counted]*Count
}

func newCounts() *counts { return &counts{by: map[counted]*Count{}} }

// add counts a try and how long it took.
func (c *counts) add(b *Bound, out Outcome, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	result := ResultOK
	switch {
	case out.TimedOut:
		result = ResultTimeout
	case !out.OK:
		result = ResultFailed
	}
	key := counted{b.full(), result}
	n := c.by[key]
	if n == nil {
		n = &Count{Event: b.Event, Plugin: b.Plugin, Hook: b.Name, Result: result}
		c.by[key] = n
	}
	n.Runs++
	n.Took += took
}

// Counts are the counters, sorted.
func (r *Runner) Counts() []Count {
	r.counts.mu.Lock()
	defer r.counts.mu.Unlock()
	var out []Count
	for _, n := range r.counts.by {
		out = append(out, *n)
	}
	slices.SortFunc(out, func(a, b Count) int {
		return cmp.Or(cmp.Compare(slices.Index(lifecycle.Events(), a.Event), slices.Index(lifecycle.Events(), b.Event)), cmp.Compare(a.Plugin, b.Plugin), cmp.Compare(a.Hook, b.Hook), cmp.Compare(a.Result, b.Result))
	})
	return out
}
