package supervisor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// fakeListener is a Listener that outlives the supervisors, as what a real one
// keeps in the fd store does.
type fakeListener struct {
	w     *fakeEnvironment
	wants map[lifecycle.Event]bool
	takes map[lifecycle.Event]time.Duration // of the hooks of an event; absent: until the test ends them
	fails map[lifecycle.Event]error
	share time.Duration // of Reserve

	mu        sync.Mutex             // guards what follows
	published []lifecycle.Occurrence // each once
	again     int                    // how often one was published again
	runs      map[string]*hookRun
	cut       []lifecycle.Event // that were brought to an end
	settled   int
}

// hookRun is the hooks of one occurrence.
type hookRun struct {
	done chan struct{}
	end  func(error) // once
	err  error
}

func newFakeListener(w *fakeEnvironment, wants ...lifecycle.Event) *fakeListener {
	c := &fakeListener{w: w, wants: map[lifecycle.Event]bool{}, takes: map[lifecycle.Event]time.Duration{}, fails: map[lifecycle.Event]error{},
		runs: map[string]*hookRun{}}
	for _, event := range wants {
		c.wants[event] = true
	}
	return c
}

func (c *fakeListener) Wants(event lifecycle.Event, _ string) bool { return c.wants[event] }

func (c *fakeListener) Tell(m lifecycle.Occurrence) {
	if c.w != nil {
		c.w.step()
	}
	c.mu.Lock()
	if c.runs[key(m)] != nil {
		c.again++
	}
	c.mu.Unlock()
	c.begin(m)
	if c.w != nil {
		c.w.step()
	}
}

// key identifies an occurrence.
func key(m lifecycle.Occurrence) string { return fmt.Sprint(m.Service, m.Start, m.Event) }

func (c *fakeListener) begin(m lifecycle.Occurrence) *hookRun {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.runs[key(m)]; e != nil {
		return e
	}
	e := &hookRun{done: make(chan struct{})}
	var once sync.Once
	e.end = func(err error) { once.Do(func() { e.err = err; close(e.done) }) }
	c.runs[key(m)] = e
	c.published = append(c.published, m)
	switch takes, known := c.takes[m.Event]; {
	case !c.wants[m.Event]:
		e.end(nil)
	case known:
		err := c.fails[m.Event]
		time.AfterFunc(takes, func() { e.end(err) })
	}
	return e
}

func (c *fakeListener) Await(ctx context.Context, m lifecycle.Occurrence) error {
	e := c.begin(m)
	select {
	case <-e.done:
		return e.err
	case <-ctx.Done():
	}
	if c.w != nil && c.w.dies.Load() {
		return ctx.Err() // the supervisor has ended
	}
	c.mu.Lock()
	c.cut = append(c.cut, m.Event)
	c.mu.Unlock()
	e.end(ctx.Err())
	return ctx.Err()
}

func (c *fakeListener) Settle(ctx context.Context) {
	c.mu.Lock()
	c.settled++
	var all []*hookRun
	for _, e := range c.runs {
		all = append(all, e)
	}
	c.mu.Unlock()
	for _, e := range all {
		select {
		case <-e.done:
		case <-ctx.Done():
			e.end(ctx.Err())
		}
	}
}

func (c *fakeListener) Reserve(time.Duration) time.Duration { return c.share }

// end ends the hooks of the latest occurrence of an event.
func (c *fakeListener) end(event lifecycle.Event, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range slices.Backward(c.published) {
		if m.Event == event {
			c.runs[key(m)].end(err)
			return
		}
	}
}

func (c *fakeListener) occurrences() []lifecycle.Occurrence {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.published)
}

// cuts are the events whose hooks were ended.
func (c *fakeListener) cuts() []lifecycle.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.cut)
}

// last is the latest occurrence of an event.
func (c *fakeListener) last(t *testing.T, event lifecycle.Event) lifecycle.Occurrence {
	t.Helper()
	for _, m := range slices.Backward(c.occurrences()) {
		if m.Event == event {
			return m
		}
	}
	t.Fatalf("%s was not published: %s", event, c.eventSequence())
	return lifecycle.Occurrence{}
}

// eventSequence is what was published, a line of events for each start, in order.
func (c *fakeListener) eventSequence() string {
	var lines []string
	start := uint64(0)
	for _, m := range c.occurrences() {
		if m.Start != start || len(lines) == 0 {
			lines, start = append(lines, ""), m.Start
		}
		lines[len(lines)-1] = strings.TrimSpace(lines[len(lines)-1] + " " + string(m.Event))
	}
	return strings.Join(lines, " | ")
}

// check finds what no story may tell. rests says that nothing of the service is
// under way.
func (c *fakeListener) check(t *testing.T, rests bool) {
	t.Helper()
	order := []lifecycle.Event{lifecycle.PreStart, lifecycle.Started, lifecycle.Ready, lifecycle.StartFailed, lifecycle.Unhealthy,
		lifecycle.PreStop, lifecycle.Exited, lifecycle.Fatal, lifecycle.Stopped}
	starts, latest := map[uint64][]lifecycle.Event{}, uint64(0)
	for _, m := range c.occurrences() {
		if m.Start < latest {
			t.Errorf("start %d is published behind start %d", m.Start, latest)
		}
		latest = m.Start
		starts[m.Start] = append(starts[m.Start], m.Event)
	}
	for n, reached := range starts {
		for k, event := range reached {
			if k > 0 && slices.Index(order, reached[k-1]) >= slices.Index(order, event) {
				t.Errorf("start %d: %s behind %s", n, event, reached[k-1])
			}
		}
		has := func(event lifecycle.Event) bool { return slices.Contains(reached, event) }
		switch {
		case !has(lifecycle.PreStart):
			t.Errorf("start %d has no pre-start: %v", n, reached)
		case has(lifecycle.Exited) && !has(lifecycle.Started):
			t.Errorf("start %d exited and was not started: %v", n, reached)
		case has(lifecycle.Stopped) && has(lifecycle.Started) != has(lifecycle.Exited):
			t.Errorf("start %d stopped and did not exit: %v", n, reached)
		case (rests || n != latest) && !has(lifecycle.Stopped):
			t.Errorf("start %d did not stop: %v", n, reached)
		}
	}
}

// withListener runs f with a Listener that wants some events.
func withListener(t *testing.T, f func(st *harness, c *fakeListener), wants ...lifecycle.Event) {
	t.Helper()
	withHarness(t, func(st *harness) {
		c := newFakeListener(st.w, wants...)
		st.w.listener = c
		f(st, c)
	})
}
