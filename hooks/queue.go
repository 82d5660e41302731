package hooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// lane goes through the occasions of one service in their order, or those of the
// container, or of all jobs. Its goroutine lives while there is something to do.
type queue struct {
	r    *Runner
	name string

	mu    sync.Mutex // guards what follows, and the order in which it is put into the bag
	saved savedQueue
	busy  bool // the goroutine lives
	idle  chan struct{}
}

// passage is how an occasion comes to its end.
type flow struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when it is through
	err    error         // why what waits for it fails; read after done
}

// errEnded is the cause of a passage that is brought to an end.
type cancelError struct{ why string }

func (e cancelError) Error() string { return e.why }

// Reasons for which hooks are not run to their end.
const (
	whyStopped    = "ended: the service stops"
	whyGone       = "ended: the process is gone"
	whyLate       = "ended: the service is to be stopped, and cannot wait any longer"
	whyLast       = "ended: the container ends, and cannot wait any longer"
	whyCancelled  = "ended: nobody waits for it any more"
	whyOverflow   = "not run: too much happens, and too many hooks wait"
	whyNoTime     = "not run: no time is left of the stop's budget"
	whyAfterOther = "not run: %s failed"
)

// newPassage makes what e goes through with.
func (l *queue) newFlow(e *run) {
	ctx, end := context.WithCancelCause(l.r.ctx)
	e.flow = &flow{ctx: ctx, cancel: end, done: make(chan struct{})}
	if e.Cancelled != "" {
		e.flow.cancelAt(e.CancelAt, e.Cancelled)
	}
}

// ended says whether it is brought to an end.
func (p *flow) ended() bool { return p.ctx.Err() != nil }

// endAt ends it at a time.
func (p *flow) cancelAt(at time.Time, why string) {
	if d := time.Until(at); d > 0 {
		time.AfterFunc(d, func() { p.cancel(cancelError{why}) }) // of one that is through by then it does nothing
		return
	}
	p.cancel(cancelError{why})
}

// tell takes an occasion; nil, and the error of the one that was told before: there
// is nothing to wait for.
func (l *queue) enqueue(o lifecycle.Occurrence, hooks int) (*flow, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.supersede(o)
	for _, e := range l.saved.Runs {
		if kindOf(&e.Occurrence) == kindOf(&o) && e.Start == o.Start {
			return e.flow, nil
		}
	}
	if m := l.saved.marked(&o); m != nil {
		if m.Err != "" {
			return nil, errors.New(m.Err)
		}
		return nil, nil
	}
	if o.Port != 0 {
		l.saved.Port = o.Port
	}
	if hooks == 0 && len(l.saved.Runs) == 0 {
		if o.Event == lifecycle.PreStart && len(l.saved.Outputs) > 0 {
			l.dropOutputs(everyOutput)
			l.save()
		}
		return nil, nil
	}
	if hooks == 0 && !o.Event.Blocking() {
		return nil, nil // nobody waits, and nothing is to be done
	}
	e := &run{Occurrence: o, Seq: l.sequence()}
	l.newFlow(e)
	l.saved.mark(&o)
	l.saved.Runs = append(l.saved.Runs, e)
	l.saveRun(e)
	l.dropOldest()
	l.start()
	return e.flow, nil
}

// lateTime is what hooks of unhealthy and start-failed may take at most once their
// service is to be stopped: what follows them is often that stop.
const lateGrace = 5 * time.Second

// supersede brings to an end what must not hold up what comes now.
func (l *queue) supersede(o lifecycle.Occurrence) {
	var at time.Time
	why := whyStopped
	switch o.Event {
	case lifecycle.PreStop, lifecycle.Stopped:
		if third := time.Until(o.Until) / 3; !o.Until.IsZero() && third < lateGrace {
			at = time.Now().Add(third)
		} else if o.Event == lifecycle.PreStop {
			at = time.Now().Add(lateGrace)
		}
	case lifecycle.Exited:
		why = whyGone
	default:
		return
	}
	for _, e := range l.saved.Runs {
		switch {
		case e.Cancelled != "" && !e.CancelAt.After(time.Now()):
		case e.Event == lifecycle.Started || e.Event == lifecycle.Ready:
			l.cancelAt(e, why, time.Now())
		case (e.Event == lifecycle.Unhealthy || e.Event == lifecycle.StartFailed) && !at.IsZero() && e.Cancelled == "":
			l.cancelAt(e, whyLate, at)
		}
	}
}

// lastCall brings to an end what the end of the container does not wait for: hooks of
// config-changed and job-started get a third of the time that is left, and no more
// than those of unhealthy.
func (l *queue) limitAtShutdown(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := time.Now().Add(min(max(time.Until(until)/3, 0), lateGrace))
	for _, e := range l.saved.Runs {
		if (e.Event == lifecycle.ConfigChanged || e.Event == lifecycle.JobStarted) && e.Cancelled == "" {
			l.cancelAt(e, whyLast, at)
		}
	}
}

// drop brings an occasion to an end at a time.
func (l *queue) cancelAt(e *run, why string, at time.Time) {
	e.Cancelled, e.CancelAt = why, at
	l.saveRun(e)
	e.flow.cancelAt(at, why)
}

// overflow drops the oldest of those that wait where there are too many, but none
// that somebody waits for or that ends a life.
func (l *queue) dropOldest() {
	if len(l.saved.Runs) <= maxQueue {
		return
	}
	for _, e := range l.saved.Runs[1:] {
		if e.Cancelled == "" && !e.Event.Blocking() && e.Event != lifecycle.Exited && e.Event != lifecycle.Fatal && e.Event != lifecycle.Stopped {
			l.cancelAt(e, whyOverflow, time.Now())
			l.r.host.Del(runItem(l.name, e.Seq)) // nothing of it is to be run
			return
		}
	}
}

// begin has the goroutine live.
func (l *queue) start() {
	if !l.busy && len(l.saved.Runs) > 0 {
		l.busy, l.idle = true, make(chan struct{})
		go l.loop() // ends when the queue is empty
	}
}

// run goes through the queue.
func (l *queue) loop() {
	for {
		l.mu.Lock()
		if len(l.saved.Runs) == 0 {
			l.busy = false
			close(l.idle)
			l.mu.Unlock()
			return
		}
		e := l.saved.Runs[0]
		if e.Event == lifecycle.PreStart && len(e.Ended) == 0 && len(e.Running) == 0 && len(l.saved.Outputs) > 0 {
			l.dropOutputs(everyOutput) // of the start before
			l.save()
		}
		l.mu.Unlock()
		outcomes, err := l.runHooks(e)
		l.finish(e, outcomes, err)
	}
}

// finish takes the first of the queue off.
func (l *queue) finish(e *run, outcomes []Outcome, err error) {
	l.r.reportDone(e.Occurrence, outcomes) // before anybody goes on, and before a later supervisor takes it for told
	l.mu.Lock()
	l.saved.Runs = l.saved.Runs[1:]
	if m := l.saved.marked(&e.Occurrence); m != nil && err != nil && m.Start == e.Start {
		m.Err = err.Error()
	}
	if !e.Event.Contributes() {
		l.dropOutputs(func(g savedOutput) bool { return g.Event == e.Event })
	}
	l.save() // with the mark that the occasion's own item stood for
	l.r.host.Del(runItem(l.name, e.Seq))
	l.mu.Unlock()
	e.flow.err = err
	e.flow.cancel(nil)
	close(e.flow.done)
}

// keep puts the lane into the fd store, without its queue: that work is bounded.
func (l *queue) save() {
	body, err := l.saved.body()
	l.put(queuePrefix+l.name, body, err)
}

// keepEntry puts an entry of the queue into the fd store. One that is dropped because
// too many wait has no item: they are not bounded.
func (l *queue) saveRun(e *run) {
	if e.Cancelled == whyOverflow {
		return
	}
	e.QueueSeq, e.saved = l.saved.Seq, e.begun
	body, err := e.body()
	l.put(runItem(l.name, e.Seq), body, err)
}

func (l *queue) put(item string, body []byte, err error) {
	if err == nil {
		err = l.r.host.Put(item, body)
	}
	if err != nil {
		l.r.log.Error("what hooks have run would not survive the supervisor", "lane", l.name, "error", err)
	}
}

// dropGifts forgets what was given, as far as it is to be.
func (l *queue) dropOutputs(which func(savedOutput) bool) {
	l.saved.Outputs = slices.DeleteFunc(l.saved.Outputs, func(g savedOutput) bool {
		if !which(g) {
			return false
		}
		l.r.host.Del(outputItem(l.name, g.Seq))
		return true
	})
}

func everyOutput(savedOutput) bool { return true }

// given is what the hooks have given so far to processes of a user, in their order.
func (l *queue) output(uid int) (out Output) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gifts := slices.Clone(l.saved.Outputs)
	slices.SortStableFunc(gifts, func(a, b savedOutput) int {
		return cmp.Or(cmp.Compare(slices.Index(lifecycle.Events(), a.Event), slices.Index(lifecycle.Events(), b.Event)), cmp.Compare(a.Order, b.Order))
	})
	for _, g := range gifts {
		if g.User != nil && int(*g.User) != uid {
			out.Withheld = append(out.Withheld, g.withheld()...)
			continue
		}
		out.merge(g.output)
	}
	return out
}

// sequence is the next number of the lane.
func (l *queue) sequence() uint64 {
	l.saved.Seq++
	return l.saved.Seq
}

// trying notes that a hook is about to be tried, before it is. Those that begin
// together are put into the bag together.
func (l *queue) saveAttempt(e *run, t attempt) {
	l.mu.Lock()
	l.forget(e, t.Hook)
	e.Running = append(e.Running, t)
	e.begun++
	number := e.begun
	l.mu.Unlock()
	runtime.Gosched() // the others come to this point
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.saved < number {
		l.saveRun(e)
	}
}

// newID names a process of the lane for good.
func (l *queue) newID() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%s%s/%d", idPrefix, l.name, l.sequence())
}

func (l *queue) forget(e *run, hook string) {
	e.Running = slices.DeleteFunc(e.Running, func(t attempt) bool { return t.Hook == hook })
}

// ended is a hook that came to its end, which is not kept yet.
type hookEnd struct {
	b     *ResolvedHook
	order int // among the hooks of its event
	out   Outcome
	raw   []byte        // what it gave, as it wrote it
	try   attempt       // the last one
	saved chan struct{} // closed when that is kept; nil: nobody waits for it
}

// over notes how hooks of the occasion ended, and what they gave. What they have left
// is given up once that is kept.
func (l *queue) recordEnds(e *run, all ...hookEnd) {
	l.mu.Lock()
	for _, h := range all {
		l.forget(e, h.b.Title())
		l.r.logOutcome(h.b, e.Service, h.out)
		short := h.out.short()
		e.Ended = append(e.Ended, short)
		l.saved.noteOutcome(&e.Occurrence, h.b.Title(), time.Now(), short)
		if !h.out.OK || len(h.raw) == 0 {
			continue
		}
		// A supervisor that was killed before the end of the hook was kept has kept its gift.
		l.dropOutputs(func(g savedOutput) bool { return g.Event == e.Event && g.Hook == h.b.Title() })
		g := savedOutput{Seq: l.sequence(), Event: e.Event, Order: h.order, Hook: h.b.Title(), User: h.try.User, output: h.out.Contributed}
		if err := l.r.host.Put(outputItem(l.name, g.Seq), h.raw); err != nil {
			l.r.log.Error("what a hook has given would not survive the supervisor", "hook", h.b.FullName(), "error", err)
		}
		l.saved.Outputs = append(l.saved.Outputs, g)
	}
	l.save() // before the hooks count as ended: what they gave must not be missing
	l.saveRun(e)
	l.mu.Unlock()
	for k := range all {
		all[k].try.cleanUp()
		if all[k].saved != nil {
			close(all[k].saved)
		}
	}
}

// gatherTime is how long hooks that came to their end wait for others that run beside
// them, so that they are kept together.
const gatherTime = 5 * time.Millisecond

// gather takes n hooks as they come to their end.
func (l *queue) collect(e *run, n int, done <-chan hookEnd) (all []hookEnd) {
	for first := 0; len(all) < n; first = len(all) {
		all = append(all, <-done) // each obeys its times
		var due <-chan time.Time
		if len(all) < n {
			due = time.After(gatherTime)
		}
		for wait := true; wait && len(all) < n; {
			select {
			case h := <-done:
				all = append(all, h)
			case <-due:
				wait = false
			}
		}
		l.recordEnds(e, all[first:]...)
	}
	return all
}
