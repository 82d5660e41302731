package supervisor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// outcome is what must not depend on a crash.
type outcome struct {
	State    State
	Restarts int
	InARow   int
	Starts   int
	Exit     string
	Asked    string
	Success  bool
	Alive    int
	Rested   bool
	Events   string
}

func (st *harness) result() outcome {
	snap := st.snap()
	o := outcome{State: snap.State, Restarts: snap.Restarts, InARow: st.s.saved.InARow, Starts: len(st.s.saved.Starts),
		Rested: st.w.endChecks.Load() > 0}
	if snap.Exit != nil {
		o.Exit, o.Asked, o.Success = snap.Exit.String(), snap.Exit.Asked, snap.Exit.Success
	}
	for _, p := range st.w.procs {
		o.Alive += len(p.Members())
	}
	if c, ok := st.w.listener.(*fakeListener); ok {
		o.Events = c.eventSequence()
	}
	return o
}

// A supervisor that is killed at any step of a story leaves a service that ends
// up as if nothing had happened: fakeEnvironment.Start sees to it that there is never
// a second process, fakeProcess that each end is taken once.
func TestKilledAtEveryStep(t *testing.T) {
	stories := map[string]func(st *harness){
		"exits, back-off, stop": func(st *harness) {
			st.w.startup = func(n int, p *fakeProcess) error {
				if n == 3 {
					p.ignores = true
				}
				return nil
			}
			st.begin()
			for range 2 {
				st.observe(time.Second)
				p := st.w.last()
				p.leave(map[int]bool{900: true})
				p.exits(3)
				st.observe(10 * time.Second)
			}
			st.repeatEvent(EvStop)
			st.observe(10 * time.Second)
		},
		"restart, then over": func(st *harness) {
			st.cfg.Restart.Policy = OnFailure
			st.begin()
			st.observe(time.Second)
			st.repeatEvent(EvRestart)
			st.observe(time.Second)
			st.w.last().exits(0)
			st.observe(10 * time.Second)
		},
		"never ready": func(st *harness) {
			st.l.prepare = readyWhen(func() error { return errors.New("not yet") })
			st.begin()
			st.observe(2*time.Minute + 5*time.Second)
			st.repeatEvent(EvStop)
			st.observe(10 * time.Second)
		},
		"gives up": func(st *harness) {
			st.cfg.Restart.Limit.Starts, st.cfg.Restart.Limit.RetryEvery = 1, new(time.Duration)
			st.w.startup = dieAtOnce
			st.begin()
			st.observe(10 * time.Second)
		},
		"refused by what does not change by itself": func(st *harness) {
			st.l.setPrepare(refusePrepare)
			st.begin()
			st.observe(8 * time.Minute)
		},
	}
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			var want outcome
			for dieAt, steps := 0, 1; dieAt <= steps; dieAt++ {
				withListener(t, func(st *harness, c *fakeListener) {
					c.takes[lifecycle.PreStart], c.takes[lifecycle.PreStop] = 100*time.Millisecond, 100*time.Millisecond
					st.w.dieAt = dieAt
					story(st)
					got := st.result()
					if name == "gives up" { // it is dead before or after it counts as ready
						got.Events = strings.ReplaceAll(got.Events, string(lifecycle.StartFailed), string(lifecycle.Ready))
					}
					c.check(t, false)
					if dieAt == 0 {
						want, steps = got, st.w.steps
						t.Logf("%d steps, %+v", steps, want)
					} else if got != want {
						t.Errorf("killed at step %d: %+v\nwant %+v", dieAt, got, want)
					}
				}, lifecycle.PreStart, lifecycle.PreStop)
			}
		})
	}
}

// begin opens and starts as Supervisor.Run does for a service with autostart.
func (st *harness) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	st.s, st.cancel = st.newService(), cancel
	s := st.s
	go func() { // ends with ctx
		defer s.end() // killed in its first step
		s.start(event{req: &request{by: "the configuration"}})
		s.run(ctx)
	}()
	synctest.Wait()
	st.observe(0)
}

// observe lets time pass, with a new supervisor as soon as the present one is dead.
func (st *harness) observe(d time.Duration) {
	for end := time.Now().Add(d); ; {
		select {
		case <-st.s.life.Done():
			synctest.Wait()
			if st.w.stored == nil {
				st.begin()
				continue
			}
			st.takeOver()
			continue
		case <-time.After(time.Until(end)):
		}
		synctest.Wait()
		if st.s.life.Err() == nil {
			return
		}
	}
}

// repeatEvent asks until a supervisor has obeyed.
func (st *harness) repeatEvent(ev Event) {
	for {
		got := st.send(request{event: ev, by: "test"})
		st.observe(0)
		select {
		case err := <-got:
			if err == nil {
				return
			}
		default:
			return // obeyed, and under way
		}
	}
}
