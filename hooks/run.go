package hooks

import (
	"context"
	"fmt"
	"os"
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
	Seq       uint64    `json:"seq"`       // in its queue
	QueueSeq  uint64    `json:"queue_seq"` // the queue's Seq when the run was saved

	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{} // closed at the end
	err    error         // why what waits for the occurrence fails; read after done
	// begun counts the attempts, saved those of them that are in the fd store.
	begun, saved uint64
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
func (q *queue) newRun(e *run) *run {
	e.ctx, e.cancel = context.WithCancelCause(q.r.ctx)
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

// deadline is when all tries of a hook must have ended; zero: there is none. In a stop the hook
// has its share of the budget.
func (e *run) deadline(b *ResolvedHook, first time.Time) time.Time {
	deadline := e.Until
	if share := time.Duration(b.Share * float64(e.Budget)); e.Budget > 0 && (deadline.IsZero() || first.Add(share).Before(deadline)) {
		deadline = first.Add(share)
	}
	return deadline
}

// runHooks runs the hooks of an occurrence in their order, adjacent parallel ones at the same time,
// without those that an earlier supervisor has run. The error is why what waits for it fails.
func (q *queue) runHooks(e *run) (outcomes []Outcome, err error) {
	hooks := q.r.hooksOf(&e.Occurrence)
	var failed *ResolvedHook // that makes what waits fail
	q.killObsolete(e, hooks)
	for k := 0; k < len(hooks); {
		group := hooks[k:groupEnd(hooks, k)]
		results := make([]Outcome, len(group))
		var todo []int // of the group
		for i := range group {
			b := &group[i]
			if before, ok := q.outcomeBefore(e, b); ok {
				results[i] = before
			} else if failed != nil {
				results[i] = Outcome{Hook: b.Name, Plugin: b.Plugin, Why: fmt.Sprintf(whyAfterOther, failed.FullName())}
				q.recordEnds(e, hookEnd{hook: b, order: k + i, out: results[i]})
			} else {
				todo = append(todo, i)
			}
		}
		for _, h := range q.runParallel(e, group, k, todo) {
			results[h.order-k] = h.out
		}
		for i := range group {
			if q.r.failureEffect(e, &group[i], results[i]) && failed == nil {
				failed = &group[i]
				err = fmt.Errorf("hook %s failed: %s", failed.FullName(), results[i].Why)
			}
		}
		outcomes = append(outcomes, results...)
		k += len(group)
	}
	if cause := context.Cause(e.ctx); cause != nil {
		return outcomes, cause
	}
	return outcomes, err
}

// groupEnd is the end of the group of parallel hooks that begins at k.
func groupEnd(hooks []ResolvedHook, k int) int {
	end := k + 1
	for hooks[k].Parallel && end < len(hooks) && hooks[end].Parallel {
		end++
	}
	return end
}

// maxParallel bounds how many hooks of an event run at the same time.
const maxParallel = 32

// limiter runs functions at the same time, at most maxParallel, and starts them in their order.
type limiter struct {
	all   sync.WaitGroup
	slots chan struct{}
}

// run runs f when there is room.
func (l *limiter) run(f func()) {
	if l.slots == nil {
		l.slots = make(chan struct{}, maxParallel)
	}
	l.slots <- struct{}{} // each f has a time limit
	l.all.Go(func() {     // ends with f
		f()
		<-l.slots
	})
}

// hookEnd is the end of a hook that is not saved yet.
type hookEnd struct {
	hook   *ResolvedHook
	order  int // among the hooks of its event
	out    Outcome
	last   attempt
	onSave chan struct{} // closed when it is saved; nil: nothing waits for that
}

// runParallel runs some hooks of a group at the same time.
func (q *queue) runParallel(e *run, group []ResolvedHook, from int, todo []int) []hookEnd {
	done := make(chan hookEnd, len(todo))
	if len(todo) == 1 {
		done <- q.runHook(e, &group[todo[0]], from+todo[0])
		return q.collect(e, 1, done)
	}
	go func() { // ends when all have begun: each has a time limit
		var all limiter
		for _, i := range todo {
			all.run(func() {
				h := q.runHook(e, &group[i], from+i)
				h.onSave = make(chan struct{})
				done <- h
				<-h.onSave // its resources are released, which makes room
			})
		}
	}()
	return q.collect(e, len(todo), done)
}

// collectTime is how long an end waits for others, so that they are saved together.
const collectTime = 5 * time.Millisecond

// collect records the ends of n hooks.
func (q *queue) collect(e *run, n int, done <-chan hookEnd) (all []hookEnd) {
	for first := 0; len(all) < n; first = len(all) {
		all = append(all, <-done) // each has a time limit
		var due <-chan time.Time
		if len(all) < n {
			due = time.After(collectTime)
		}
		for wait := true; wait && len(all) < n; {
			select {
			case h := <-done:
				all = append(all, h)
			case <-due:
				wait = false
			}
		}
		q.recordEnds(e, all[first:]...)
	}
	return all
}

// recordEnds saves how hooks ended and what they output, and then releases what they used.
func (q *queue) recordEnds(e *run, all ...hookEnd) {
	q.mu.Lock()
	for _, h := range all {
		title := h.hook.Title()
		e.removeRunning(title)
		q.r.logOutcome(h.hook, e.Service, h.out)
		short := h.out.short()
		e.Ended = append(e.Ended, short)
		q.saved.noteOutcome(&e.Occurrence, title, time.Now(), short)
		if !h.out.OK || !e.Event.Contributes() || len(h.last.raw) == 0 {
			continue
		}
		// An earlier supervisor may have saved the output and not the end.
		q.dropOutputs(func(o savedOutput) bool { return o.Event == e.Event && o.Hook == title })
		o := savedOutput{Seq: q.nextSeq(), Event: e.Event, Hook: title, Order: h.order, User: h.last.User, Raw: h.last.raw, output: h.out.Given}
		q.put(outputItem(q.name, o.Seq), &o)
		q.outputs = append(q.outputs, o)
	}
	q.save() // after the outputs, and before the ends
	q.saveRun(e)
	q.mu.Unlock()
	for k := range all {
		all[k].last.cleanUp()
		if all[k].onSave != nil {
			close(all[k].onSave)
		}
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
		if slices.ContainsFunc(hooks, func(b ResolvedHook) bool { return b.Title() == a.Hook }) {
			return false
		}
		if p := q.r.claim(a.ID); p != nil {
			kill(p)
		}
		if a.Out != "" {
			os.Remove(a.Out)
		}
		return true
	})
}

// outcomeBefore is how a hook ended under an earlier supervisor.
func (q *queue) outcomeBefore(e *run, b *ResolvedHook) (Outcome, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, o := range e.Ended {
		if o.Hook == b.Name && o.Plugin == b.Plugin {
			return o, true
		}
	}
	return Outcome{}, false
}

// failureEffect applies on_failure, and reports whether what waits for the run fails. A failure in a
// cancelled run has no effect.
func (r *Runner) failureEffect(e *run, b *ResolvedHook, out Outcome) bool {
	switch {
	case e.ctx.Err() != nil, out.OK, !b.policy().Fail, out.Tries == 0:
	case b.Optional:
		if r.opts.OnPluginFailure != nil {
			r.opts.OnPluginFailure(b.Plugin, e.Event, fmt.Sprintf("its hook %s failed: %s", b.FullName(), out.Why))
		}
	case e.Event.Contributes():
		return true
	case e.Event.CanFail() && r.opts.OnFailure != nil:
		r.opts.OnFailure(e.Occurrence, out)
	}
	return false
}

// runHook runs a hook with all its tries.
func (q *queue) runHook(e *run, b *ResolvedHook, order int) hookEnd {
	a := q.resumeAttempt(e, b)
	deadline := e.deadline(b, a.First)
	out := q.r.withRetries(e.ctx, b, &a, deadline, func() Outcome { return q.runAttempt(e, b, &a, deadline) })
	return hookEnd{hook: b, order: order, out: out, last: a}
}

// withRetries tries a hook until a try succeeds, the last one has failed, or ctx is done.
func (r *Runner) withRetries(ctx context.Context, b *ResolvedHook, a *attempt, deadline time.Time, try func() Outcome) Outcome {
	for {
		out := try()
		out.Hook, out.Plugin, out.Took = b.Name, b.Plugin, time.Since(a.First)
		if out.Tries == a.Try { // else it could not begin
			r.counters.add(b, out, time.Since(a.Begun))
		}
		if out.OK || a.Try > b.policy().Retries || ctx.Err() != nil || !pause(ctx, b.RetryEvery, deadline) {
			return out
		}
		a.Try, a.ID, a.Out, a.Begun = a.Try+1, "", "", time.Time{}
	}
}

// resumeAttempt is the attempt that an earlier supervisor has begun, or the first.
func (q *queue) resumeAttempt(e *run, b *ResolvedHook) attempt {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, a := range e.Running {
		if a.Hook == b.Title() {
			a.removeLater(a.Out)
			return a
		}
	}
	return attempt{Hook: b.Title(), Try: 1, First: time.Now()}
}

// pause waits before another try; false: there is none.
func pause(ctx context.Context, d time.Duration, deadline time.Time) bool {
	if !deadline.IsZero() && time.Until(deadline) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// runAttempt runs one try, or continues with one of an earlier supervisor.
func (q *queue) runAttempt(e *run, b *ResolvedHook, a *attempt, deadline time.Time) Outcome {
	running := q.r.claim(a.ID)
	x := &execution{r: q.r, hook: b, occurrence: e.Occurrence, ctx: e.ctx, attempt: a}
	if running == nil {
		if cause := context.Cause(e.ctx); cause != nil {
			return Outcome{Why: cause.Error(), Tries: a.Try - 1}
		}
		if !deadline.IsZero() && time.Until(deadline) <= 0 {
			return Outcome{Why: whyNoTime, Tries: a.Try - 1}
		}
		a.Begun = time.Now()
		earlier := attempt{cleanups: a.cleanups}
		a.cleanups = nil
		x.onBegin = func() {
			q.saveAttempt(e, *a)
			earlier.cleanUp()
		}
		defer earlier.cleanUp() // where nothing has begun
		if b.URL == "" {
			a.ID = q.newID()
		}
	}
	x.setDeadlines(deadline)
	out := x.run(running)
	out.Tries = a.Try
	return out
}

// saveAttempt saves an attempt before it begins. Those that begin together are saved together.
func (q *queue) saveAttempt(e *run, a attempt) {
	q.mu.Lock()
	e.removeRunning(a.Hook)
	e.Running = append(e.Running, a)
	e.begun++
	number := e.begun
	q.mu.Unlock()
	runtime.Gosched() // the others come to this point
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.saved < number {
		q.saveRun(e)
	}
}
