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
type lane struct {
	r    *Runner
	name string

	mu   sync.Mutex // guards what follows, and the order in which it is put into the bag
	kept kept
	busy bool // the goroutine lives
	idle chan struct{}
}

// passage is how an occasion comes to its end.
type passage struct {
	ctx  context.Context
	end  context.CancelCauseFunc
	done chan struct{} // closed when it is through
	err  error         // why what waits for it fails; read after done
}

// errEnded is the cause of a passage that is brought to an end.
type errEnded struct{ why string }

func (e errEnded) Error() string { return e.why }

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
func (l *lane) newPassage(e *entry) {
	ctx, end := context.WithCancelCause(l.r.ctx)
	e.pass = &passage{ctx: ctx, end: end, done: make(chan struct{})}
	if e.Drop != "" {
		e.pass.endAt(e.Due, e.Drop)
	}
}

// ended says whether it is brought to an end.
func (p *passage) ended() bool { return p.ctx.Err() != nil }

// endAt ends it at a time.
func (p *passage) endAt(at time.Time, why string) {
	if d := time.Until(at); d > 0 {
		time.AfterFunc(d, func() { p.end(errEnded{why}) }) // of one that is through by then it does nothing
		return
	}
	p.end(errEnded{why})
}

// tell takes an occasion; nil, and the error of the one that was told before: there
// is nothing to wait for.
func (l *lane) tell(o lifecycle.Occurrence, hooks int) (*passage, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.supersede(o)
	for _, e := range l.kept.Queue {
		if kindOf(&e.Occurrence) == kindOf(&o) && e.Start == o.Start {
			return e.pass, nil
		}
	}
	if m := l.kept.marked(&o); m != nil {
		if m.Err != "" {
			return nil, errors.New(m.Err)
		}
		return nil, nil
	}
	if o.Port != 0 {
		l.kept.Port = o.Port
	}
	if hooks == 0 && len(l.kept.Queue) == 0 {
		if o.Event == lifecycle.PreStart && len(l.kept.Gifts) > 0 {
			l.dropGifts(everyGift)
			l.keep()
		}
		return nil, nil
	}
	if hooks == 0 && !o.Event.Blocking() {
		return nil, nil // nobody waits, and nothing is to be done
	}
	e := &entry{Occurrence: o, Seq: l.sequence()}
	l.newPassage(e)
	l.kept.mark(&o)
	l.kept.Queue = append(l.kept.Queue, e)
	l.keepEntry(e)
	l.overflow()
	l.begin()
	return e.pass, nil
}

// lateTime is what hooks of unhealthy and start-failed may take at most once their
// service is to be stopped: what follows them is often that stop.
const lateTime = 5 * time.Second

// supersede brings to an end what must not hold up what comes now.
func (l *lane) supersede(o lifecycle.Occurrence) {
	var at time.Time
	why := whyStopped
	switch o.Event {
	case lifecycle.PreStop, lifecycle.Stopped:
		if third := time.Until(o.Until) / 3; !o.Until.IsZero() && third < lateTime {
			at = time.Now().Add(third)
		} else if o.Event == lifecycle.PreStop {
			at = time.Now().Add(lateTime)
		}
	case lifecycle.Exited:
		why = whyGone
	default:
		return
	}
	for _, e := range l.kept.Queue {
		switch {
		case e.Drop != "" && !e.Due.After(time.Now()):
		case e.Event == lifecycle.Started || e.Event == lifecycle.Ready:
			l.drop(e, why, time.Now())
		case (e.Event == lifecycle.Unhealthy || e.Event == lifecycle.StartFailed) && !at.IsZero() && e.Drop == "":
			l.drop(e, whyLate, at)
		}
	}
}

// lastCall brings to an end what the end of the container does not wait for: hooks of
// config-changed and job-started get a third of the time that is left, and no more
// than those of unhealthy.
func (l *lane) lastCall(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := time.Now().Add(min(max(time.Until(until)/3, 0), lateTime))
	for _, e := range l.kept.Queue {
		if (e.Event == lifecycle.ConfigChanged || e.Event == lifecycle.JobStarted) && e.Drop == "" {
			l.drop(e, whyLast, at)
		}
	}
}

// drop brings an occasion to an end at a time.
func (l *lane) drop(e *entry, why string, at time.Time) {
	e.Drop, e.Due = why, at
	l.keepEntry(e)
	e.pass.endAt(at, why)
}

// overflow drops the oldest of those that wait where there are too many, but none
// that somebody waits for or that ends a life.
func (l *lane) overflow() {
	if len(l.kept.Queue) <= maxQueue {
		return
	}
	for _, e := range l.kept.Queue[1:] {
		if e.Drop == "" && !e.Event.Blocking() && e.Event != lifecycle.Exited && e.Event != lifecycle.Fatal && e.Event != lifecycle.Stopped {
			l.drop(e, whyOverflow, time.Now())
			l.r.host.Del(entryItem(l.name, e.Seq)) // nothing of it is to be run
			return
		}
	}
}

// begin has the goroutine live.
func (l *lane) begin() {
	if !l.busy && len(l.kept.Queue) > 0 {
		l.busy, l.idle = true, make(chan struct{})
		go l.run() // ends when the queue is empty
	}
}

// run goes through the queue.
func (l *lane) run() {
	for {
		l.mu.Lock()
		if len(l.kept.Queue) == 0 {
			l.busy = false
			close(l.idle)
			l.mu.Unlock()
			return
		}
		e := l.kept.Queue[0]
		if e.Event == lifecycle.PreStart && len(e.Over) == 0 && len(e.Trying) == 0 && len(l.kept.Gifts) > 0 {
			l.dropGifts(everyGift) // of the start before
			l.keep()
		}
		l.mu.Unlock()
		outcomes, err := l.pass(e)
		l.finish(e, outcomes, err)
	}
}

// finish takes the first of the queue off.
func (l *lane) finish(e *entry, outcomes []Outcome, err error) {
	l.r.through(e.Occurrence, outcomes) // before anybody goes on, and before a later supervisor takes it for told
	l.mu.Lock()
	l.kept.Queue = l.kept.Queue[1:]
	if m := l.kept.marked(&e.Occurrence); m != nil && err != nil && m.Start == e.Start {
		m.Err = err.Error()
	}
	if !e.Event.Contributes() {
		l.dropGifts(func(g gift) bool { return g.Event == e.Event })
	}
	l.keep() // with the mark that the occasion's own item stood for
	l.r.host.Del(entryItem(l.name, e.Seq))
	l.mu.Unlock()
	e.pass.err = err
	e.pass.end(nil)
	close(e.pass.done)
}

// keep puts the lane into the fd store, without its queue: that work is bounded.
func (l *lane) keep() {
	body, err := l.kept.body()
	l.put(lanePrefix+l.name, body, err)
}

// keepEntry puts an entry of the queue into the fd store. One that is dropped because
// too many wait has no item: they are not bounded.
func (l *lane) keepEntry(e *entry) {
	if e.Drop == whyOverflow {
		return
	}
	e.LaneSeq, e.keptTries = l.kept.Seq, e.tries
	body, err := e.body()
	l.put(entryItem(l.name, e.Seq), body, err)
}

func (l *lane) put(item string, body []byte, err error) {
	if err == nil {
		err = l.r.host.Put(item, body)
	}
	if err != nil {
		l.r.log.Error("what hooks have run would not survive the supervisor", "lane", l.name, "error", err)
	}
}

// dropGifts forgets what was given, as far as it is to be.
func (l *lane) dropGifts(which func(gift) bool) {
	l.kept.Gifts = slices.DeleteFunc(l.kept.Gifts, func(g gift) bool {
		if !which(g) {
			return false
		}
		l.r.host.Del(giftItem(l.name, g.Seq))
		return true
	})
}

func everyGift(gift) bool { return true }

// given is what the hooks have given so far to processes of a user, in their order.
func (l *lane) given(uid int) (out Given) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gifts := slices.Clone(l.kept.Gifts)
	slices.SortStableFunc(gifts, func(a, b gift) int {
		return cmp.Or(cmp.Compare(slices.Index(lifecycle.Events(), a.Event), slices.Index(lifecycle.Events(), b.Event)), cmp.Compare(a.Place, b.Place))
	})
	for _, g := range gifts {
		if g.User != nil && int(*g.User) != uid {
			out.Withheld = append(out.Withheld, g.withheld()...)
			continue
		}
		out.add(g.given)
	}
	return out
}

// sequence is the next number of the lane.
func (l *lane) sequence() uint64 {
	l.kept.Seq++
	return l.kept.Seq
}

// trying notes that a hook is about to be tried, before it is. Those that begin
// together are put into the bag together.
func (l *lane) trying(e *entry, t try) {
	l.mu.Lock()
	l.forget(e, t.Hook)
	e.Trying = append(e.Trying, t)
	e.tries++
	number := e.tries
	l.mu.Unlock()
	runtime.Gosched() // the others come to this point
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.keptTries < number {
		l.keepEntry(e)
	}
}

// newID names a process of the lane for good.
func (l *lane) newID() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%s%s/%d", idPrefix, l.name, l.sequence())
}

func (l *lane) forget(e *entry, hook string) {
	e.Trying = slices.DeleteFunc(e.Trying, func(t try) bool { return t.Hook == hook })
}

// ended is a hook that came to its end, which is not kept yet.
type ended struct {
	b     *Bound
	place int // among the hooks of its event
	out   Outcome
	raw   []byte        // what it gave, as it wrote it
	try   try           // the last one
	kept  chan struct{} // closed when that is kept; nil: nobody waits for it
}

// over notes how hooks of the occasion ended, and what they gave. What they have left
// is given up once that is kept.
func (l *lane) over(e *entry, all ...ended) {
	l.mu.Lock()
	for _, h := range all {
		l.forget(e, h.b.Title())
		l.r.say(h.b, e.Service, h.out)
		short := h.out.short()
		e.Over = append(e.Over, short)
		l.kept.note(&e.Occurrence, h.b.Title(), time.Now(), short)
		if !h.out.OK || len(h.raw) == 0 {
			continue
		}
		// A supervisor that was killed before the end of the hook was kept has kept its gift.
		l.dropGifts(func(g gift) bool { return g.Event == e.Event && g.Hook == h.b.Title() })
		g := gift{Seq: l.sequence(), Event: e.Event, Place: h.place, Hook: h.b.Title(), User: h.try.User, given: h.out.Given}
		if err := l.r.host.Put(giftItem(l.name, g.Seq), h.raw); err != nil {
			l.r.log.Error("what a hook has given would not survive the supervisor", "hook", h.b.full(), "error", err)
		}
		l.kept.Gifts = append(l.kept.Gifts, g)
	}
	l.keep() // before the hooks count as ended: what they gave must not be missing
	l.keepEntry(e)
	l.mu.Unlock()
	for k := range all {
		all[k].try.release()
		if all[k].kept != nil {
			close(all[k].kept)
		}
	}
}

// gatherTime is how long hooks that came to their end wait for others that run beside
// them, so that they are kept together.
const gatherTime = 5 * time.Millisecond

// gather takes n hooks as they come to their end.
func (l *lane) gather(e *entry, n int, done <-chan ended) (all []ended) {
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
		l.over(e, all[first:]...)
	}
	return all
}
