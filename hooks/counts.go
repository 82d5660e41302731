package hooks

import (
	"cmp"
	"slices"
	"sync"
)

// Count is how often a hook was tried since the supervisor began.
type Count struct {
	Event    Event  `json:"event"`
	Plugin   string `json:"plugin,omitempty"`
	Hook     string `json:"hook"`
	Runs     uint64 `json:"runs"` // tries
	Failures uint64 `json:"failures"`
	Timeouts uint64 `json:"timeouts"` // of the failures
}

// counts are the counters by event and hook.
type counts struct {
	mu sync.Mutex // guards by
	by map[string]*Count
}

func newCounts() *counts { return &counts{by: map[string]*Count{}} }

// add counts a try.
func (c *counts) add(b *Bound, out Outcome) {
	if out.Tries == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.by[b.full()]
	if n == nil {
		n = &Count{Event: b.Event, Plugin: b.Plugin, Hook: b.Name}
		c.by[b.full()] = n
	}
	n.Runs++
	if !out.OK {
		n.Failures++
	}
	if out.TimedOut {
		n.Timeouts++
	}
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
		return cmp.Or(cmp.Compare(slices.Index(Events(), a.Event), slices.Index(Events(), b.Event)), cmp.Compare(a.Plugin, b.Plugin), cmp.Compare(a.Hook, b.Hook))
	})
	return out
}
