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
func (l *lane) pass(e *entry) (outcomes []Outcome, err error) {
	hooks := l.r.hooksOf(&e.Occurrence)
	l.endForgotten(e, hooks)
	for k := 0; k < len(hooks); {
		group := hooks[k:together(hooks, k)]
		results := make([]Outcome, len(group))
		var todo []int // of the group
		for i := range group {
			b := &group[i]
			if before, ok := l.before(e, b); ok {
				results[i] = before
			} else if err != nil {
				results[i] = Outcome{Hook: b.Name, Plugin: b.Plugin, Why: err.Error()}
				l.over(e, ended{b: b, place: k + i, out: results[i]})
			} else {
				todo = append(todo, i)
			}
		}
		for _, h := range l.abreast(e, group, k, todo) {
			results[h.place-k] = h.out
		}
		for i := range group {
			if why := l.r.judge(e, &group[i], results[i]); why != nil && err == nil {
				err = why
			}
		}
		outcomes = append(outcomes, results...)
		k += len(group)
	}
	if cause := context.Cause(e.pass.ctx); cause != nil {
		return outcomes, cause
	}
	return outcomes, notRun(err)
}

// maxParallel bounds how many hooks of an event run at the same time.
const maxParallel = 32

// crowd runs things at the same time, maxParallel at most, and begins with them in
// their order: what an earlier supervisor had begun with is among the first.
type crowd struct {
	all   sync.WaitGroup
	slots chan struct{}
}

// begin runs f when there is room.
func (c *crowd) begin(f func()) {
	if c.slots == nil {
		c.slots = make(chan struct{}, maxParallel)
	}
	c.slots <- struct{}{} // one that runs has a time limit
	c.all.Go(func() {     // ends with f
		f()
		<-c.slots
	})
}

func (c *crowd) wait() { c.all.Wait() }

// abreast runs hooks of a group at the same time, as many as there is room for, and
// gives how they ended.
func (l *lane) abreast(e *entry, group []Bound, from int, todo []int) []ended {
	done := make(chan ended, len(todo))
	if len(todo) == 1 {
		done <- l.hook(e, &group[todo[0]], from+todo[0])
		return l.gather(e, 1, done)
	}
	go func() { // ends when all have begun: each has a time limit
		var all crowd
		for _, i := range todo {
			all.begin(func() {
				h := l.hook(e, &group[i], from+i)
				h.kept = make(chan struct{})
				done <- h
				<-h.kept // what it had is given up only then, and makes room
			})
		}
	}()
	return l.gather(e, len(todo), done)
}

// endForgotten ends what an earlier supervisor began and is no hook any more.
func (l *lane) endForgotten(e *entry, hooks []Bound) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Trying = slices.DeleteFunc(e.Trying, func(t try) bool {
		if slices.ContainsFunc(hooks, func(b Bound) bool { return b.Title() == t.Hook }) {
			return false
		}
		if x := l.r.adopted(t.ID); x != nil {
			endStray(x)
		}
		if t.Out != "" {
			os.Remove(t.Out)
		}
		return true
	})
}

// blocked is why the hooks behind one that failed are not run.
type blocked struct {
	hook string
	why  string
}

func (b *blocked) Error() string { return fmt.Sprintf(whyAfterOther, b.hook) }

// notRun is the error for what waits, in the words of the hook that failed.
func notRun(err error) error {
	var b *blocked
	if errors.As(err, &b) {
		return fmt.Errorf("hook %s failed: %s", b.hook, b.why)
	}
	return err
}

// together is the end of the group that begins at k.
func together(hooks []Bound, k int) int {
	end := k + 1
	for hooks[k].Parallel && end < len(hooks) && hooks[end].Parallel {
		end++
	}
	return end
}

// before is how a hook ended under an earlier supervisor.
func (l *lane) before(e *entry, b *Bound) (Outcome, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range e.Over {
		if o.Hook == b.Name && o.Plugin == b.Plugin {
			return o, true
		}
	}
	return Outcome{}, false
}

// judge says what a failure means. Of an occasion that is brought to an end it
// means nothing.
func (r *Runner) judge(e *entry, b *Bound, out Outcome) error {
	switch {
	case e.pass.ended(), out.OK, !b.policy().Fail, out.Tries == 0:
	case b.Optional:
		if r.opts.PluginFailed != nil {
			r.opts.PluginFailed(b.Plugin, e.Event, fmt.Sprintf("its hook %s failed: %s", b.full(), out.Why))
		}
	case e.Event.Contributes():
		return &blocked{b.full(), out.Why}
	case (e.Event == lifecycle.Started || e.Event == lifecycle.Ready) && r.opts.Failed != nil:
		r.opts.Failed(e.Occurrence, out)
	}
	return nil
}

// hook runs one to its end, with all of its tries.
func (l *lane) hook(e *entry, b *Bound, place int) ended {
	t := l.begun(e, b)
	limit := e.limit(b, t.First)
	retries := b.policy().Retries
	var out Outcome
	var raw []byte
	for {
		out, raw = l.once(e, b, &t, limit)
		out.Hook, out.Plugin = b.Name, b.Plugin
		if out.Tries == t.Try { // else it was not tried again
			l.r.counts.add(b, out, time.Since(t.Begun))
		}
		if out.OK || t.Try > retries || e.pass.ctx.Err() != nil || !pause(e.pass.ctx, b.RetryEvery, limit) {
			break
		}
		t.Try, t.ID, t.Out, t.Begun = t.Try+1, "", "", time.Time{}
	}
	out.Took = time.Since(t.First)
	return ended{b, place, out, raw, t, nil}
}

// begun is the try that an earlier supervisor has begun, or the first.
func (l *lane) begun(e *entry, b *Bound) try {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range e.Trying {
		if t.Hook == b.Title() {
			t.leaves(t.Out)
			return t
		}
	}
	return try{Hook: b.Title(), Try: 1, First: time.Now()}
}

// limit is when all tries of a hook must be over; zero: there is no such time. In a
// stop that is its share of the budget.
func (e *entry) limit(b *Bound, first time.Time) time.Time {
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
func (l *lane) once(e *entry, b *Bound, t *try, limit time.Time) (Outcome, []byte) {
	running := l.r.adopted(t.ID)
	if running == nil {
		if cause := context.Cause(e.pass.ctx); cause != nil {
			return Outcome{Why: cause.Error(), Tries: t.Try - 1}, nil
		}
		if !limit.IsZero() && time.Until(limit) <= 0 {
			return Outcome{Why: whyNoTime, Tries: t.Try - 1}, nil
		}
		t.Begun = time.Now()
	}
	at := &attempt{r: l.r, b: b, o: e.Occurrence, ctx: e.pass.ctx, try: t}
	at.bounds(limit)
	if running == nil {
		earlier := try{left: t.left}
		t.left = nil
		at.before = func() {
			l.trying(e, *t)
			earlier.release()
		}
		defer earlier.release() // where nothing was tried
		if b.URL == "" {
			t.ID = l.newID()
		}
	}
	out, raw := at.run(running)
	out.Tries = t.Try
	return out, raw
}
