package supervisor

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// wantCut says which stages were brought to an end.
func (c *fakeListener) wantCut(t *testing.T, want ...lifecycle.Event) {
	t.Helper()
	synctest.Wait()
	if got := c.cuts(); !slices.Equal(got, want) {
		t.Errorf("brought to an end: %q, want %q", got, want)
	}
}

func (c *fakeListener) wantSequence(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	if got := c.eventSequence(); got != want {
		t.Errorf("published: %s\nwant: %s", got, want)
	}
}

// The time that hooks take before a start does not count as the start's own.
func TestHooksBeforeAStart(t *testing.T) {
	withListener(t, func(st *harness, c *fakeListener) {
		st.cfg.Ready.Within = 10 * time.Second
		st.l.prepare = readyWhen(func() error { return errors.New("not yet") })
		st.open()
		st.ask(EvStart)
		st.until(time.Hour)
		st.want(Starting)
		if snap := st.snap(); snap.Waiting != "pre-start hooks" || snap.Deadline != nil || st.l.asked != 0 {
			t.Errorf("%+v; asked %d times what to start", snap, st.l.asked)
		}
		c.end(lifecycle.PreStart, nil)
		st.want(Starting)
		if st.w.count() != 1 {
			t.Errorf("%d processes", st.w.count())
		}
		st.until(time.Hour + 10*time.Second)
		st.want(Backoff)
		c.wantCut(t)
	}, lifecycle.PreStart)
}

func TestHooksForbidAStart(t *testing.T) {
	withListener(t, func(st *harness, c *fakeListener) {
		c.takes[lifecycle.PreStart], c.fails[lifecycle.PreStart] = time.Second,
			errors.New("hook pre-start/secrets ended with code 1: no such file")
		st.open()
		st.ask(EvStart)
		st.sleep(time.Second)
		st.want(Backoff)
		st.wantReason("hook pre-start/secrets ended with code 1: no such file")
		st.wantNext(500 * time.Millisecond)
		if m := c.last(t, lifecycle.StartFailed); m.Reason != st.snap().Reason || m.ExitCode == nil {
			t.Errorf("%+v", m)
		}
		for range 5 {
			st.sleep(time.Minute)
		}
		st.want(Fatal) // as after any other start that fails
		if st.l.asked != 0 || len(st.w.failures()) == 0 {
			t.Errorf("asked %d times what to start, %d incidents", st.l.asked, len(st.w.failures()))
		}
		c.check(t, true)
	}, lifecycle.PreStart)
}

// The next supervisor waits for the same hooks, and does not run them again.
func TestKilledWhileHooksRun(t *testing.T) {
	withListener(t, func(st *harness, c *fakeListener) {
		st.open()
		st.ask(EvStart)
		for range 3 {
			st.crash()
			st.want(Starting)
		}
		if st.snap().Waiting != "pre-start hooks" {
			t.Errorf("%+v", st.snap())
		}
		c.end(lifecycle.PreStart, nil)
		st.want(Running)
		st.ask(EvStop)
		for range 3 {
			st.crash()
			st.want(Stopping)
		}
		if st.snap().Phase != "pre-stop hooks" {
			t.Errorf("%+v", st.snap())
		}
		st.w.last().wantSignals(t)
		c.end(lifecycle.PreStop, nil)
		st.want(Stopped)
		c.wantSequence(t, "pre-start started ready pre-stop exited stopped")
		c.wantCut(t)
	}, lifecycle.PreStart, lifecycle.PreStop)
}

// What ends while no supervisor works has ended when the next one comes.
func TestHooksEndWithoutASupervisor(t *testing.T) {
	withListener(t, func(st *harness, c *fakeListener) {
		st.open()
		st.ask(EvStart)
		st.w.dies.Store(true)
		st.cancel()
		<-st.s.life.Done()
		synctest.Wait()
		c.end(lifecycle.PreStart, errors.New("hook pre-start/x: boom"))
		st.takeOver()
		st.want(Backoff)
		st.wantReason("hook pre-start/x: boom")
	}, lifecycle.PreStart)
}

// A stop and a restart do not wait for the hooks of a start.
func TestEventsWhileHooksRunBeforeAStart(t *testing.T) {
	cases := map[Event]struct {
		want State
		life string
	}{
		EvStart:           {Starting, "pre-start"},
		EvStop:            {Stopped, "pre-start stopped"},
		EvRestart:         {Starting, "pre-start stopped | pre-start"},
		EvReconfigured:    {Starting, "pre-start"}, // nothing is prepared yet
		EvPrepared:        {Starting, "pre-start"}, // of a start that is over
		EvSpawnFailed:     {Starting, "pre-start"},
		EvReady:           {Starting, "pre-start"},
		EvStopCommandDone: {Starting, "pre-start"},
	}
	for ev, want := range cases {
		t.Run(string(ev), func(t *testing.T) {
			withListener(t, func(st *harness, c *fakeListener) {
				st.open()
				st.ask(EvStart)
				st.cause(ev)
				st.want(want.want)
				c.wantSequence(t, want.life)
				if strings.Contains(want.life, "stopped") {
					c.wantCut(t, lifecycle.PreStart)
				}
				if st.sleep(time.Minute); st.l.asked != 0 || st.w.count() != 0 {
					t.Errorf("asked %d times what to start", st.l.asked)
				}
			}, lifecycle.PreStart)
		})
	}
}

func TestHooksBeforeAStop(t *testing.T) {
	cases := map[string]struct {
		limit, takes time.Duration // takes < 0: for ever
		want         []string
		cut          bool
	}{
		"quick":              {0, time.Second, []string{"TERM 1s", "KILL 7s"}, false},
		"slow, no limit":     {0, time.Hour, []string{"TERM 1h0m0s", "KILL 1h0m6s"}, false},
		"within the limit":   {4 * time.Second, time.Second, []string{"TERM 1s", "KILL 4s"}, false},
		"half of the limit":  {4 * time.Second, -1, []string{"TERM 2s", "KILL 4s"}, true},
		"hardly any time":    {time.Millisecond, -1, []string{"TERM 500µs", "KILL 1ms"}, true},
		"more than is needs": {time.Minute, 0, []string{"TERM 0s", "KILL 6s"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			withListener(t, func(st *harness, f *fakeListener) {
				if c.takes >= 0 {
					f.takes[lifecycle.PreStop] = c.takes
				}
				p := st.up()
				p.ignores = true
				stopped := st.send(request{event: EvStop, by: "test", limit: c.limit, budget: 2 * c.limit})
				st.sleep(2 * time.Hour)
				wantAnswer(t, stopped, "")
				p.wantSignals(t, c.want...)
				if f.wantSequence(t, "pre-start started ready pre-stop exited stopped"); len(f.cuts()) > 0 != c.cut {
					t.Errorf("brought to an end: %q", f.cuts())
				}
				m := f.last(t, lifecycle.PreStop)
				if m.Reason != "asked for by test" || m.Budget != 2*c.limit || m.Until.IsZero() != (c.limit == 0) ||
					c.limit > 0 && m.Until.Sub(m.At) != c.limit/2 {
					t.Errorf("%+v", m)
				}
			}, lifecycle.PreStop)
		})
	}
}

// The drain comes behind the hooks, and what it needs comes before them.
func TestHooksStandBetweenTheOthersAndTheDrain(t *testing.T) {
	withListener(t, func(st *harness, c *fakeListener) {
		st.cfg.Stop.Drain = 3 * time.Second
		p := st.up()
		st.w.setBlockers("", "app must stop first")
		st.ask(EvStop)
		st.sleep(time.Second)
		if st.snap().Phase != "waits" {
			t.Errorf("%+v", st.snap())
		}
		c.wantSequence(t, "pre-start started ready")
		st.w.setBlockers("", "")
		st.deliver(event{kind: EvUnblocked})
		if st.snap().Phase != "pre-stop hooks" {
			t.Errorf("%+v", st.snap())
		}
		st.sleep(time.Second)
		c.end(lifecycle.PreStop, nil)
		synctest.Wait()
		if st.snap().Phase != "drains" {
			t.Errorf("%+v", st.snap())
		}
		st.sleep(3 * time.Second)
		st.want(Stopped)
		p.wantSignals(t, "TERM 5s")
	}, lifecycle.PreStop)
}

// A later request with a limit cuts the hooks, one without does not.
func TestLaterStopWhileHooksRun(t *testing.T) {
	withListener(t, func(st *harness, c *fakeListener) {
		p := st.up()
		p.ignores = true
		st.ask(EvStop)
		st.until(10 * time.Second)
		st.ask(EvStop)
		st.until(20 * time.Second)
		p.wantSignals(t)
		st.send(request{event: EvStop, by: "the end of the container", limit: 4 * time.Second, budget: 8 * time.Second})
		st.until(21 * time.Second)
		c.wantCut(t)
		st.until(30 * time.Second)
		st.want(Stopped)
		c.wantCut(t, lifecycle.PreStop)
		p.wantSignals(t, "TERM 22s", "KILL 24s")
		if m := c.last(t, lifecycle.Stopped); m.Budget != 8*time.Second {
			t.Errorf("%+v", m)
		}
	}, lifecycle.PreStop)
}

// A second stop request does not wait for hooks.
func TestCommandToStopAgain(t *testing.T) {
	withSet(t, "db app>db", func(s *Supervisor, envs map[string]*fakeEnvironment) {
		c := newFakeListener(envs["app"], lifecycle.PreStop)
		s.set.Load().services["app"].env.listener = c
		p, got := envs["app"].last(), make(chan error, 2)
		for n := range 2 {
			go func() { got <- s.Command(s.ctx, "db", EvStop, "test") }() // ends with the stop
			time.Sleep(time.Minute)
			synctest.Wait()
			if n == 0 {
				p.wantSignals(t)
			}
		}
		p.wantSignals(t, "TERM 1m0s")
		c.wantCut(t, lifecycle.PreStop)
		if err := errors.Join(<-got, <-got); err != nil {
			t.Error(err)
		}
	})
}

// A process that ends while its hooks run is not waited for, nor are they.
func TestEndWhileHooksRunBeforeAStop(t *testing.T) {
	for _, left := range []bool{false, true} {
		withListener(t, func(st *harness, c *fakeListener) {
			p := st.up()
			st.ask(EvStop)
			if left {
				p.leave(map[int]bool{900: false})
			}
			p.exits(0)
			st.sleep(lastPoll)
			st.want(Stopped)
			c.wantCut(t, lifecycle.PreStop)
			c.wantSequence(t, "pre-start started ready pre-stop exited stopped")
			if o := c.last(t, lifecycle.Exited); o.ExitCode == nil || *o.ExitCode != 0 || !*o.Expected {
				t.Errorf("%+v", o)
			}
		}, lifecycle.PreStop)
	}
}

// Hooks that fail before a stop do not hold it up.
func TestHooksFailBeforeAStop(t *testing.T) {
	withListener(t, func(st *harness, c *fakeListener) {
		c.takes[lifecycle.PreStop], c.fails[lifecycle.PreStop] = time.Second, errors.New("boom")
		p := st.up()
		st.ask(EvStop)
		st.sleep(time.Second)
		st.want(Stopped)
		p.wantSignals(t, "TERM 1s")
	}, lifecycle.PreStop)
}

// An end that no supervisor has seen is published too.
func TestUnseenEnd(t *testing.T) {
	for _, state := range []State{Starting, Running, Stopping} {
		withListener(t, func(st *harness, c *fakeListener) {
			st.l.prepare = readyWhen(func() error { return errors.New("not yet") })
			st.open()
			st.ask(EvStart)
			p := st.w.last()
			p.ignores = true
			switch state {
			case Running:
				st.deliver(event{kind: EvReady})
			case Stopping:
				st.ask(EvStop)
			}
			st.want(state)
			st.w.dies.Store(true)
			st.cancel()
			<-st.s.life.Done()
			synctest.Wait()
			p.exits(0)
			p.Done() // the word of it is lost
			st.takeOver()
			st.sleep(time.Second)
			life := map[State]string{Starting: "pre-start started exited stopped | pre-start started",
				Running:  "pre-start started ready exited stopped | pre-start started",
				Stopping: "pre-start started pre-stop exited stopped"}[state]
			c.wantSequence(t, life)
			c.check(t, false)
		})
	}
}
