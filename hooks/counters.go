package hooks

import (
	"cmp"
	"slices"
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

// count counts a try.
func (r *Runner) count(h *ResolvedHook, out Outcome, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	result := ResultOK
	switch {
	case out.TimedOut:
		result = ResultTimeout
	case !out.OK:
		result = ResultFailed
	}
	key := counterKey{h.FullName(), result}
	n := r.counters[key]
	if n == nil {
		n = &Counter{Event: h.Event, Plugin: h.Plugin, Hook: h.Name, Result: result}
		r.counters[key] = n
	}
	n.Runs++
	n.Took += took
}

// Counters returns the counters, sorted.
func (r *Runner) Counters() []Counter {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Counter
	for _, n := range r.counters {
		out = append(out, *n)
	}
	slices.SortFunc(out, func(a, b Counter) int {
		return cmp.Or(cmp.Compare(a.Event.Index(), b.Event.Index()), cmp.Compare(a.Plugin, b.Plugin),
			cmp.Compare(a.Hook, b.Hook), cmp.Compare(a.Result, b.Result))
	})
	return out
}
