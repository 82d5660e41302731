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
	takes map[lifecycle.Event]time.Duration // how long what belongs to a stage takes; absent: until the test ends it
	fails map[lifecycle.Event]error
	share time.Duration // of Reserve

	mu        sync.Mutex             // guards what follows
	published []lifecycle.Occurrence // each once
	again     int                    // how often one was published again
	errands   map[string]*errand
	cut       []lifecycle.Event // that were brought to an end
	settled   int
}

// errand is what belongs to a moment.
type errand struct {
	done chan struct{}
	end  func(error) // once
	err  error
}

func newFakeListener(w *fakeEnvironment, wants ...lifecycle.Event) *fakeListener {
	c := &fakeListener{w: w, wants: map[lifecycle.Event]bool{}, takes: map[lifecycle.Event]time.Duration{}, fails: map[lifecycle.Event]error{},
		errands: map[string]*errand{}}
	for _, stage := range wants {
		c.wants[stage] = true
	}
	return c
}

func (c *fakeListener) Wants(stage lifecycle.Event, _ string) bool { return c.wants[stage] }

func (c *fakeListener) Tell(m lifecycle.Occurrence) {
	if c.w != nil {
		c.w.step()
	}
	c.mu.Lock()
	if c.errands[key(m)] != nil {
		c.again++
	}
	c.mu.Unlock()
	c.begin(m)
	if c.w != nil {
		c.w.step()
	}
}

// key says which moment it is.
func key(m lifecycle.Occurrence) string { return fmt.Sprint(m.Service, m.Start, m.Event) }

func (c *fakeListener) begin(m lifecycle.Occurrence) *errand {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.errands[key(m)]; e != nil {
		return e
	}
	e := &errand{done: make(chan struct{})}
	var once sync.Once
	e.end = func(err error) { once.Do(func() { e.err = err; close(e.done) }) }
	c.errands[key(m)] = e
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
	var all []*errand
	for _, e := range c.errands {
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

// end ends what belongs to the latest moment of a stage.
func (c *fakeListener) end(stage lifecycle.Event, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range slices.Backward(c.published) {
		if m.Event == stage {
			c.errands[key(m)].end(err)
			return
		}
	}
}

func (c *fakeListener) moments() []lifecycle.Occurrence {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.published)
}

// cuts are the stages that were brought to an end.
func (c *fakeListener) cuts() []lifecycle.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.cut)
}

// last is the latest moment of a stage.
func (c *fakeListener) last(t *testing.T, stage lifecycle.Event) lifecycle.Occurrence {
	t.Helper()
	for _, m := range slices.Backward(c.moments()) {
		if m.Event == stage {
			return m
		}
	}
	t.Fatalf("%s was not published: %s", stage, c.life())
	return lifecycle.Occurrence{}
}

// life is what was published, a line of stages for each start, in order.
func (c *fakeListener) life() string {
	var lines []string
	start := uint64(0)
	for _, m := range c.moments() {
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
	for _, m := range c.moments() {
		if m.Start < latest {
			t.Errorf("start %d is published behind start %d", m.Start, latest)
		}
		latest = m.Start
		starts[m.Start] = append(starts[m.Start], m.Event)
	}
	for n, stages := range starts {
		for k, stage := range stages {
			if k > 0 && slices.Index(order, stages[k-1]) >= slices.Index(order, stage) {
				t.Errorf("start %d: %s behind %s", n, stage, stages[k-1])
			}
		}
		has := func(stage lifecycle.Event) bool { return slices.Contains(stages, stage) }
		switch {
		case !has(lifecycle.PreStart):
			t.Errorf("start %d has no pre-start: %v", n, stages)
		case has(lifecycle.Exited) && !has(lifecycle.Started):
			t.Errorf("start %d exited and was not started: %v", n, stages)
		case has(lifecycle.Stopped) && has(lifecycle.Started) != has(lifecycle.Exited):
			t.Errorf("start %d stopped and did not exit: %v", n, stages)
		case (rests || n != latest) && !has(lifecycle.Stopped):
			t.Errorf("start %d did not stop: %v", n, stages)
		}
	}
}

// accompanied plays with a Listener that wants some stages.
func listened(t *testing.T, f func(st *stage, c *fakeListener), wants ...lifecycle.Event) {
	t.Helper()
	play(t, func(st *stage) {
		c := newFakeListener(st.w, wants...)
		st.w.listener = c
		f(st, c)
	})
}
