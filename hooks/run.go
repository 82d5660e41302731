package hooks

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// run is an occurrence whose hooks have not all ended. Its exported fields are saved.
type run struct {
	lifecycle.Occurrence
	Cancelled string    `json:"cancelled,omitempty"` // why; empty: it is not
	CancelAt  time.Time `json:"cancel_at,omitzero"`
	Ended     []Outcome `json:"ended,omitempty"`
	Running   []attempt `json:"running,omitempty"`
	Seq       uint64    `json:"seq"` // Runner.nextSeq

	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{} // closed at the end
	err    error         // why what waits for the occurrence fails; read after done
	// changes counts those of Running and Ended, saved the ones that are in the fd store.
	changes, saved uint64
}

// cancelError is the cause of a cancelled run.
type cancelError struct{ why string }

func (e cancelError) Error() string { return e.why }

// Reasons why hooks do not run to their end.
const (
	whyStopped    = "ended: the service stops"
	whyGone       = "ended: the process is gone"
	whyLate       = "ended: the service is to be stopped, and cannot wait any longer"
	whyLast       = "ended: the container ends, and cannot wait any longer"
	whyCancelled  = "ended: the caller does not wait any longer"
	whyOverflow   = "not run: too many events wait for their hooks"
	whyNoTime     = "not run: no time is left of the stop's budget"
	whyAfterOther = "not run: %s failed"
)

// newRun completes a run that is new or was saved.
func newRun(e *run) *run {
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	e.done = make(chan struct{})
	if e.Cancelled != "" {
		e.cancelLater()
	}
	return e
}

// cancelLater cancels the run at CancelAt.
func (e *run) cancelLater() {
	err := cancelError{e.Cancelled}
	if d := time.Until(e.CancelAt); d > 0 {
		time.AfterFunc(d, func() { e.cancel(err) }) // no effect after the end
		return
	}
	e.cancel(err)
}

// runHooks runs hooks in their order, adjacent parallel ones at the same time, without those that an
// earlier supervisor has run. The error is why what waits for the run fails.
func (q *queue) runHooks(e *run, hooks []ResolvedHook) (outcomes []Outcome, err error) {
	q.killObsolete(e, hooks)
	var failed *ResolvedHook // that makes what waits fail
	for first, group := range groups(hooks) {
		results := runParallel(len(group), func(k int) Outcome {
			x := &execution{q: q, run: e, hook: &group[k], order: first + k}
			return x.execute(failed)
		})
		for k, out := range results {
			if q.failureEffect(e, &group[k], out) && failed == nil {
				failed = &group[k]
				err = fmt.Errorf("hook %s failed: %s", failed.FullName(), out.Why)
			}
		}
		outcomes = append(outcomes, results...)
	}
	if cause := context.Cause(e.ctx); cause != nil {
		return outcomes, cause
	}
	return outcomes, err
}

// groups yields the hooks that run at the same time, with the index of the first of them.
func groups(hooks []ResolvedHook) iter.Seq2[int, []ResolvedHook] {
	return func(yield func(int, []ResolvedHook) bool) {
		for first, end := 0, 1; first < len(hooks); first, end = end, end+1 {
			for hooks[first].Parallel && end < len(hooks) && hooks[end].Parallel {
				end++
			}
			if !yield(first, hooks[first:end]) {
				return
			}
		}
	}
}

// maxParallel bounds how many hooks of an event run at the same time.
const maxParallel = 32

// runParallel runs n hooks at the same time, started in their order.
func runParallel(n int, run func(k int) Outcome) []Outcome {
	outcomes := make([]Outcome, n)
	slots := make(chan struct{}, maxParallel)
	var all sync.WaitGroup
	for k := range n {
		slots <- struct{}{} // each hook has a time limit
		all.Go(func() {     // ends with the hook
			outcomes[k] = run(k)
			<-slots
		})
	}
	all.Wait()
	return outcomes
}

// update changes a run and saves it. What changes at the same time is saved together.
func (q *queue) update(e *run, change func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	change()
	e.changes++
	number := e.changes
	q.mu.Unlock()
	runtime.Gosched() // the other hooks come to this point
	q.mu.Lock()
	if e.saved < number {
		q.saveRun(e)
	}
}

func (e *run) removeRunning(hook string) {
	e.Running = slices.DeleteFunc(e.Running, func(a attempt) bool { return a.Hook == hook })
}

// killObsolete kills processes of an earlier supervisor whose hooks do not exist any more.
func (q *queue) killObsolete(e *run, hooks []ResolvedHook) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e.Running = slices.DeleteFunc(e.Running, func(a attempt) bool {
		if slices.ContainsFunc(hooks, func(h ResolvedHook) bool { return h.Title() == a.Hook }) {
			return false
		}
		if a.process != nil {
			kill(a.process)
		}
		a.process = nil
		a.cleanUp()
		return true
	})
}

// failureEffect applies on_failure, and reports whether what waits for the run fails. A failure in a
// cancelled run, or in one by hand, has no effect.
func (q *queue) failureEffect(e *run, h *ResolvedHook, out Outcome) bool {
	opts := &q.r.opts
	switch {
	case q.manual, e.ctx.Err() != nil, out.OK, !h.policy().Fail, out.Tries == 0:
	case h.Optional:
		if opts.OnPluginFailure != nil {
			opts.OnPluginFailure(h.Plugin, e.Event, fmt.Sprintf("its hook %s failed: %s", h.FullName(), out.Why))
		}
	case e.Event.Contributes():
		return true
	case e.Event.CanFail() && opts.OnFailure != nil:
		opts.OnFailure(e.Occurrence, out)
	}
	return false
}
