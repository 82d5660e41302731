package hooks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// pass goes through the hooks of an occasion, in their order; parallel ones that
// stand together at the same time. What an earlier supervisor has done is not done
// again. The error is why what waits for the occasion fails.
func (l *queue) runHooks(e *run) (outcomes []Outcome, err error) {
	hooks := l.r.hooksOf(&e.Occurrence)
	l.killObsolete(e, hooks)
	for k := 0; k < len(hooks); {
		group := hooks[k:groupEnd(hooks, k)]
		results := make([]Outcome, len(group))
		var todo []int // of the group
		for i := range group {
			b := &group[i]
			if before, ok := l.outcomeBefore(e, b); ok {
				results[i] = before
			} else if err != nil {
				results[i] = Outcome{Hook: b.Name, Plugin: b.Plugin, Why: err.Error()}
				l.recordEnds(e, hookEnd{b: b, order: k + i, out: results[i]})
			} else {
				todo = append(todo, i)
			}
		}
		for _, h := range l.runParallel(e, group, k, todo) {
			results[h.order-k] = h.out
		}
		for i := range group {
			if why := l.r.failureEffect(e, &group[i], results[i]); why != nil && err == nil {
				err = why
			}
		}
		outcomes = append(outcomes, results...)
		k += len(group)
	}
	if cause := context.Cause(e.flow.ctx); cause != nil {
		return outcomes, cause
	}
	return outcomes, hookError(err)
}

// maxParallel bounds how many hooks of an event run at the same time.
const maxParallel = 32

// crowd runs things at the same time, maxParallel at most, and begins with them in
// their order: what an earlier supervisor had begun with is among the first.
type limiter struct {
	all   sync.WaitGroup
	slots chan struct{}
}

// begin runs f when there is room.
func (c *limiter) run(f func()) {
	if c.slots == nil {
		c.slots = make(chan struct{}, maxParallel)
	}
	c.slots <- struct{}{} // one that runs has a time limit
	c.all.Go(func() {     // ends with f
		f()
		<-c.slots
	})
}

func (c *limiter) wait() { c.all.Wait() }

// abreast runs hooks of a group at the same time, as many as there is room for, and
// gives how they ended.
func (l *queue) runParallel(e *run, group []ResolvedHook, from int, todo []int) []hookEnd {
	done := make(chan hookEnd, len(todo))
	if len(todo) == 1 {
		done <- l.runHook(e, &group[todo[0]], from+todo[0])
		return l.collect(e, 1, done)
	}
	go func() { // ends when all have begun: each has a time limit
		var all limiter
		for _, i := range todo {
			all.run(func() {
				h := l.runHook(e, &group[i], from+i)
				h.saved = make(chan struct{})
				done <- h
				<-h.saved // what it had is given up only then, and makes room
			})
		}
	}()
	return l.collect(e, len(todo), done)
}

// endForgotten ends what an earlier supervisor began and is no hook any more.
func (l *queue) killObsolete(e *run, hooks []ResolvedHook) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Running = slices.DeleteFunc(e.Running, func(t attempt) bool {
		if slices.ContainsFunc(hooks, func(b ResolvedHook) bool { return b.Title() == t.Hook }) {
			return false
		}
		if x := l.r.claim(t.ID); x != nil {
			kill(x)
		}
		if t.Out != "" {
			os.Remove(t.Out)
		}
		return true
	})
}

// blocked is why the hooks behind one that failed are not run.
type skippedError struct {
	hook string
	why  string
}

func (b *skippedError) Error() string { return fmt.Sprintf(whyAfterOther, b.hook) }

// notRun is the error for what waits, in the words of the hook that failed.
func hookError(err error) error {
	var b *skippedError
	if errors.As(err, &b) {
		return fmt.Errorf("hook %s failed: %s", b.hook, b.why)
	}
	return err
}

// together is the end of the group that begins at k.
func groupEnd(hooks []ResolvedHook, k int) int {
	end := k + 1
	for hooks[k].Parallel && end < len(hooks) && hooks[end].Parallel {
		end++
	}
	return end
}

// before is how a hook ended under an earlier supervisor.
func (l *queue) outcomeBefore(e *run, b *ResolvedHook) (Outcome, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range e.Ended {
		if o.Hook == b.Name && o.Plugin == b.Plugin {
			return o, true
		}
	}
	return Outcome{}, false
}

// judge says what a failure means. Of an occasion that is brought to an end it
// means nothing.
func (r *Runner) failureEffect(e *run, b *ResolvedHook, out Outcome) error {
	switch {
	case e.flow.ended(), out.OK, !b.policy().Fail, out.Tries == 0:
	case b.Optional:
		if r.opts.OnPluginFailure != nil {
			r.opts.OnPluginFailure(b.Plugin, e.Event, fmt.Sprintf("its hook %s failed: %s", b.FullName(), out.Why))
		}
	case e.Event.Contributes():
		return &skippedError{b.FullName(), out.Why}
	case (e.Event == lifecycle.Started || e.Event == lifecycle.Ready) && r.opts.OnFailure != nil:
		r.opts.OnFailure(e.Occurrence, out)
	}
	return nil
}

// hook runs one to its end, with all of its tries.
func (l *queue) runHook(e *run, b *ResolvedHook, place int) hookEnd {
	t := l.resumeAttempt(e, b)
	limit := e.limit(b, t.First)
	retries := b.policy().Retries
	var out Outcome
	var raw []byte
	for {
		out, raw = l.runAttempt(e, b, &t, limit)
		out.Hook, out.Plugin = b.Name, b.Plugin
		if out.Tries == t.Try { // else it was not tried again
			l.r.counters.add(b, out, time.Since(t.Begun))
		}
		if out.OK || t.Try > retries || e.flow.ctx.Err() != nil || !pause(e.flow.ctx, b.RetryEvery, limit) {
			break
		}
		t.Try, t.ID, t.Out, t.Begun = t.Try+1, "", "", time.Time{}
	}
	out.Took = time.Since(t.First)
	return hookEnd{b, place, out, raw, t, nil}
}

// begun is the try that an earlier supervisor has begun, or the first.
func (l *queue) resumeAttempt(e *run, b *ResolvedHook) attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range e.Running {
		if t.Hook == b.Title() {
			t.removeLater(t.Out)
			return t
		}
	}
	return attempt{Hook: b.Title(), Try: 1, First: time.Now()}
}

// limit is when all tries of a hook must be over; zero: there is no such time. In a
// stop that is its share of the budget.
func (e *run) limit(b *ResolvedHook, first time.Time) time.Time {
	limit := e.Until
	if share := time.Duration(b.Share * float64(e.Budget)); e.Budget > 0 && (limit.IsZero() || first.Add(share).Before(limit)) {
		limit = first.Add(share)
	}
	return limit
}

// pause waits before another try; false: there is none.
func pause(ctx context.Context, d time.Duration, limit time.Time) bool {
	if !limit.IsZero() && time.Until(limit) <= d {
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

// once tries it once.
func (l *queue) runAttempt(e *run, b *ResolvedHook, t *attempt, limit time.Time) (Outcome, []byte) {
	running := l.r.claim(t.ID)
	if running == nil {
		if cause := context.Cause(e.flow.ctx); cause != nil {
			return Outcome{Why: cause.Error(), Tries: t.Try - 1}, nil
		}
		if !limit.IsZero() && time.Until(limit) <= 0 {
			return Outcome{Why: whyNoTime, Tries: t.Try - 1}, nil
		}
		t.Begun = time.Now()
	}
	at := &execution{r: l.r, b: b, occurrence: e.Occurrence, ctx: e.flow.ctx, attempt: t}
	at.setDeadlines(limit)
	if running == nil {
		earlier := attempt{left: t.left}
		t.left = nil
		at.begin = func() {
			l.saveAttempt(e, *t)
			earlier.cleanUp()
		}
		defer earlier.cleanUp() // where nothing was tried
		if b.URL == "" {
			t.ID = l.newID()
		}
	}
	out, raw := at.run(running)
	out.Tries = t.Try
	return out, raw
}
