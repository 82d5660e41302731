package supervisor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeCompanion is a Companion that outlives the supervisors, as what a real one
// keeps in the bag does.
type fakeCompanion struct {
	w     *fakeWorld
	wants map[Stage]bool
	takes map[Stage]time.Duration // how long what belongs to a stage takes; absent: until the test ends it
	fails map[Stage]error
	share time.Duration // of Reserve

	mu      sync.Mutex // guards what follows
	told    []Moment   // each once
	again   int        // how often one was told again
	errands map[string]*errand
	cut     []Stage // that were brought to an end
	settled int
}

// errand is what belongs to a moment.
type errand struct {
	done chan struct{}
	end  func(error) // once
	err  error
}

func newFakeCompanion(w *fakeWorld, wants ...Stage) *fakeCompanion {
	c := &fakeCompanion{w: w, wants: map[Stage]bool{}, takes: map[Stage]time.Duration{}, fails: map[Stage]error{}, errands: map[string]*errand{}}
	for _, stage := range wants {
		c.wants[stage] = true
	}
	return c
}

func (c *fakeCompanion) Wants(stage Stage, _ string) bool { return c.wants[stage] }

func (c *fakeCompanion) Tell(m Moment) {
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
func key(m Moment) string { return fmt.Sprint(m.Service, m.Round, m.Stage) }

func (c *fakeCompanion) begin(m Moment) *errand {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.errands[key(m)]; e != nil {
		return e
	}
	e := &errand{done: make(chan struct{})}
	var once sync.Once
	e.end = func(err error) { once.Do(func() { e.err = err; close(e.done) }) }
	c.errands[key(m)] = e
	c.told = append(c.told, m)
	switch takes, known := c.takes[m.Stage]; {
	case !c.wants[m.Stage]:
		e.end(nil)
	case known:
		err := c.fails[m.Stage]
		time.AfterFunc(takes, func() { e.end(err) })
	}
	return e
}

func (c *fakeCompanion) Await(ctx context.Context, m Moment) error {
	e := c.begin(m)
	select {
	case <-e.done:
		return e.err
	case <-ctx.Done():
	}
	if c.w != nil && c.w.dies.Load() {
		return ctx.Err() // nobody was there any more to bring it to an end
	}
	c.mu.Lock()
	c.cut = append(c.cut, m.Stage)
	c.mu.Unlock()
	e.end(ctx.Err())
	return ctx.Err()
}

func (c *fakeCompanion) Settle(ctx context.Context) {
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

func (c *fakeCompanion) Reserve(time.Duration) time.Duration { return c.share }

// end ends what belongs to the latest moment of a stage.
func (c *fakeCompanion) end(stage Stage, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range slices.Backward(c.told) {
		if m.Stage == stage {
			c.errands[key(m)].end(err)
			return
		}
	}
}

func (c *fakeCompanion) moments() []Moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.told)
}

// cuts are the stages that were brought to an end.
func (c *fakeCompanion) cuts() []Stage { c.mu.Lock(); defer c.mu.Unlock(); return slices.Clone(c.cut) }

// last is the latest moment of a stage.
func (c *fakeCompanion) last(t *testing.T, stage Stage) Moment {
	t.Helper()
	for _, m := range slices.Backward(c.moments()) {
		if m.Stage == stage {
			return m
		}
	}
	t.Fatalf("%s was not told: %s", stage, c.life())
	return Moment{}
}

// life is what was told, a line of stages for each round, in order.
func (c *fakeCompanion) life() string {
	var lines []string
	round := uint64(0)
	for _, m := range c.moments() {
		if m.Round != round || len(lines) == 0 {
			lines, round = append(lines, ""), m.Round
		}
		lines[len(lines)-1] = strings.TrimSpace(lines[len(lines)-1] + " " + string(m.Stage))
	}
	return strings.Join(lines, " | ")
}

// check finds what no story may tell. rests says that nothing of the service is
// under way.
func (c *fakeCompanion) check(t *testing.T, rests bool) {
	t.Helper()
	order := []Stage{StagePreStart, StageStarted, StageReady, StageStartFailed, StageUnhealthy, StagePreStop, StageExited, StageFatal, StageStopped}
	rounds, latest := map[uint64][]Stage{}, uint64(0)
	for _, m := range c.moments() {
		if m.Round < latest {
			t.Errorf("round %d is told of behind round %d", m.Round, latest)
		}
		latest = m.Round
		rounds[m.Round] = append(rounds[m.Round], m.Stage)
	}
	for n, stages := range rounds {
		for k, stage := range stages {
			if k > 0 && slices.Index(order, stages[k-1]) >= slices.Index(order, stage) {
				t.Errorf("round %d: %s behind %s", n, stage, stages[k-1])
			}
		}
		has := func(stage Stage) bool { return slices.Contains(stages, stage) }
		switch {
		case !has(StagePreStart):
			t.Errorf("round %d has no pre-start: %v", n, stages)
		case has(StageExited) && !has(StageStarted):
			t.Errorf("round %d exited and was not started: %v", n, stages)
		case has(StageStopped) && has(StageStarted) != has(StageExited):
			t.Errorf("round %d stopped and did not exit: %v", n, stages)
		case (rests || n != latest) && !has(StageStopped):
			t.Errorf("round %d did not stop: %v", n, stages)
		}
	}
}

// accompanied plays with a Companion that wants some stages.
func accompanied(t *testing.T, f func(st *stage, c *fakeCompanion), wants ...Stage) {
	t.Helper()
	play(t, func(st *stage) {
		c := newFakeCompanion(st.w, wants...)
		st.w.companion = c
		f(st, c)
	})
}
