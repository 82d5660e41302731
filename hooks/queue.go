package hooks

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// queue runs the hooks of one service's occurrences in their order, or those of the container, or
// of all jobs. Its goroutine lives while there are runs.
type queue struct {
	r    *Runner
	name string
	// manual is for a run by hand: nothing is saved, and no failure has an effect.
	manual bool

	mu      sync.Mutex // guards what follows, and the order of saves
	saved   savedQueue
	unsaved bool   // saved has changed and is saved with the run
	runs    []*run // not finished; the goroutine runs the first
	outputs []savedOutput
}

// enqueue adds a run for an occurrence. It returns nil if there is nothing to wait for, with the
// error of the occurrence if it is known already.
func (q *queue) enqueue(o lifecycle.Occurrence, hooks int) (*run, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.supersede(o)
	for _, e := range q.runs {
		if kindOf(&e.Occurrence) == kindOf(&o) && e.Start == o.Start {
			return e, nil
		}
	}
	if m := q.saved.marked(&o); m != nil {
		if m.Err != "" {
			return nil, errors.New(m.Err)
		}
		return nil, nil
	}
	if o.Port != 0 {
		q.saved.Port = o.Port
	}
	if hooks == 0 && len(q.runs) == 0 {
		if o.Event == lifecycle.PreStart {
			q.dropOutputs(everyOutput)
		}
		return nil, nil
	}
	if hooks == 0 && !o.Event.Blocking() {
		return nil, nil
	}
	e := newRun(&run{Occurrence: o, Seq: q.r.nextSeq()})
	q.saved.mark(&o)
	q.runs = append(q.runs, e)
	q.saveRun(e)
	q.dropOldest()
	if len(q.runs) == 1 {
		go q.loop() // ends when there are no runs
	}
	return e, nil
}

// lateGrace is what hooks of unhealthy and start-failed have at most once their service is to be
// stopped: a stop often follows them.
const lateGrace = 5 * time.Second

// supersede cancels the runs that must not hold up an occurrence.
func (q *queue) supersede(o lifecycle.Occurrence) {
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
	for _, e := range q.runs {
		switch e.Event {
		case lifecycle.Started, lifecycle.Ready:
			q.cancelAt(e, why, time.Now())
		case lifecycle.Unhealthy, lifecycle.StartFailed:
			if !at.IsZero() && e.Cancelled == "" {
				q.cancelAt(e, whyLate, at)
			}
		}
	}
}

// cancelRuns cancels the runs that which selects at a time.
func (q *queue) cancelRuns(why string, at time.Time, which func(*run) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.runs {
		if which(e) {
			q.cancelAt(e, why, at)
		}
	}
}

// cancelAt cancels a run at a time, also in a later supervisor, unless it is cancelled earlier.
func (q *queue) cancelAt(e *run, why string, at time.Time) {
	if e.Cancelled != "" && !e.CancelAt.After(at) {
		return
	}
	e.Cancelled, e.CancelAt = why, at
	q.saveRun(e)
	e.cancelLater()
}

// cancelNow cancels a run, and reports whether it is under way.
func (q *queue) cancelNow(e *run, why string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	k := slices.Index(q.runs, e)
	if k >= 0 {
		q.cancelAt(e, why, time.Now())
	}
	return k <= 0
}

// dropOldest cancels the oldest waiting run where there are too many, but none that something waits for or that reports an end.
func (q *queue) dropOldest() {
	if len(q.runs) <= maxQueue {
		return
	}
	for _, e := range q.runs[1:] {
		ends := e.Event == lifecycle.Exited || e.Event == lifecycle.Fatal || e.Event == lifecycle.Stopped
		if e.Cancelled == "" && !e.Event.Blocking() && !ends {
			q.cancelAt(e, whyOverflow, time.Now())
			q.r.host.Delete(itemName(runPrefix, q.name, e.Seq))
			return
		}
	}
}

// busyUntil is closed at the end of the last run; nil: there are none.
func (q *queue) busyUntil() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.runs) == 0 {
		return nil
	}
	return q.runs[len(q.runs)-1].done
}

// loop runs the hooks of the first run and of those after it, until there are none.
func (q *queue) loop() {
	for more := true; more; {
		q.mu.Lock()
		e := q.runs[0]
		if e.Event == lifecycle.PreStart && len(e.Ended) == 0 && len(e.Running) == 0 {
			q.dropOutputs(everyOutput) // of the start before
		}
		q.mu.Unlock()
		outcomes, err := q.runHooks(e, q.r.hooksOf(&e.Occurrence))
		more = q.finish(e, outcomes, err)
	}
}

// finish removes the first run; more: there are others. Its outcomes are reported before that is saved:
// a later supervisor would take them for reported.
func (q *queue) finish(e *run, outcomes []Outcome, err error) (more bool) {
	if q.r.opts.OnDone != nil && len(outcomes) > 0 {
		q.r.opts.OnDone(e.Occurrence, outcomes)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.runs = q.runs[1:]
	if m := q.saved.marked(&e.Occurrence); m != nil && err != nil && m.Start == e.Start {
		m.Err = err.Error()
	}
	q.save() // with the mark that the item of the run stood for
	q.r.host.Delete(itemName(runPrefix, q.name, e.Seq))
	e.err = err
	e.cancel(nil)
	close(e.done)
	return len(q.runs) > 0
}

// save saves the queue without its runs and outputs.
func (q *queue) save() {
	q.put(queuePrefix+q.name, &q.saved)
	q.unsaved = false
}

// saveRun saves a run. One that was dropped has no item: their number is not bounded.
func (q *queue) saveRun(e *run) {
	if q.unsaved {
		q.save() // after the outputs, and before the ends
	}
	if e.Cancelled == whyOverflow {
		return
	}
	e.saved = e.changes
	q.put(itemName(runPrefix, q.name, e.Seq), e)
}

func (q *queue) put(item string, value any) {
	if q.manual {
		return
	}
	if err := q.r.host.PutJSON(item, value); err != nil {
		q.r.log.Error("cannot save the state of hooks for the next supervisor", "item", item, "error", err)
	}
}

func everyOutput(savedOutput) bool { return true }

// dropOutputs forgets the outputs that which selects.
func (q *queue) dropOutputs(which func(savedOutput) bool) {
	q.outputs = slices.DeleteFunc(q.outputs, func(o savedOutput) bool {
		if !which(o) {
			return false
		}
		q.r.host.Delete(itemName(outputPrefix, q.name, o.Seq))
		return true
	})
}

// output merges the outputs for processes of a user, in the order of their hooks.
func (q *queue) output(uid int) (out Output) {
	q.mu.Lock()
	defer q.mu.Unlock()
	sorted := slices.Clone(q.outputs)
	slices.SortStableFunc(sorted, func(a, b savedOutput) int {
		return cmp.Or(cmp.Compare(a.Event.Index(), b.Event.Index()), cmp.Compare(a.Order, b.Order))
	})
	for _, o := range sorted {
		if o.User != nil && int(*o.User) != uid {
			out.Withheld = append(out.Withheld, o.withheld()...)
			continue
		}
		out.merge(o.output)
	}
	return out
}
