package supervisor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor/probe"
)

// withVariants is a Launch that asks for another variant of the next start and counts the calls of OnStable.
func withVariants(ready func() error, why func(EarlyExit) string, confirmed *int) func(context.Context, int) (*Launch, error) {
	return func(context.Context, int) (*Launch, error) {
		l := &Launch{OnEarlyExit: why, OnStable: func() { *confirmed++ }}
		if ready != nil {
			l.Ready = probe.Checker(func(context.Context, probe.Process) error { return ready() })
		}
		return l, nil
	}
}

const withoutIt = "it is started without the plugin jacoco: Address already in use"

func TestEarlyExitStartsAVariant(t *testing.T) {
	notYet := func() error { return errors.New("not yet") }
	cases := map[string]struct {
		ready  func() error
		policy string
		after  time.Duration // from start to end
		ends   func(st *harness)
		asked  int // how often Amend is
		state  State
	}{
		"before it is ready":      {notYet, Always, 30 * time.Second, func(st *harness) { st.w.last().exits(134) }, 1, Starting},
		"whatever the policy":     {notYet, Never, time.Second, func(st *harness) { st.w.last().exits(1) }, 1, Starting},
		"with success, but early": {notYet, Always, time.Second, func(st *harness) { st.w.last().exits(0) }, 1, Starting},
		"soon after it was ready": {nil, Always, 9 * time.Second, func(st *harness) { st.w.last().exits(1) }, 1, Running},
		"long after it was ready": {nil, Always, 10 * time.Second, func(st *harness) { st.w.last().exits(1) }, 0, Backoff},
		"as it should":            {nil, OnFailure, time.Second, func(st *harness) { st.w.last().exits(0) }, 0, Exited},
		"asked to":                {notYet, Always, time.Second, func(st *harness) { st.ask(EvStop) }, 0, Stopped},
		"given up by us": {notYet, Always, time.Second, func(st *harness) { st.deliver(event{kind: EvFailureFound, text: "boom"}) }, 0,
			Backoff},
		"and left a process behind": {notYet, Always, time.Second,
			func(st *harness) { st.w.last().leave(map[int]bool{900: false}); st.w.last().exits(1) }, 1, Starting},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			withListener(t, func(st *harness, f *fakeListener) {
				var asked []EarlyExit
				confirmed := 0
				st.l.prepare = withVariants(c.ready, func(d EarlyExit) string {
					asked = append(asked, d)
					return withoutIt
				}, &confirmed)
				st.cfg.Restart.Policy = c.policy
				st.out = newFakeOutput()
				st.out.write("of an earlier start")
				st.open()
				st.ask(EvStart)
				st.out.write("Address already in use")
				st.until(c.after)
				c.ends(st)
				st.sleep(lastPoll)
				st.want(c.state)
				if len(asked) != c.asked {
					t.Fatalf("asked %d times, want %d", len(asked), c.asked)
				}
				if c.asked == 0 {
					return
				}
				if d := asked[0]; d.Exit == nil || d.Ran != c.after || d.Ready != (c.ready == nil) || string(d.Output) != "Address already in use\n" {
					t.Errorf("%+v", d)
				}
				snap := st.snap()
				if snap.Restarts != 1 || st.s.saved.InARow != 0 || len(st.s.saved.Starts) != 0 || len(snap.Notes) != 1 || snap.Notes[0] != withoutIt {
					t.Errorf("%+v, in a row %d", snap, st.s.saved.InARow)
				}
				if life := f.eventSequence(); !strings.Contains(life, "exited stopped | pre-start started") ||
					(c.ready != nil) != strings.Contains(life, "start-failed") {
					t.Errorf("occurrences: %s", life)
				}
				if len(st.w.failures()) != 1 {
					t.Errorf("%d incidents", len(st.w.failures()))
				}
			})
		})
	}
}

// The wish for another start outlives the supervisor, and a stop that comes first.
func TestVariantSurvives(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		withHarness(t, func(st *harness) {
			confirmed := 0
			first := withVariants(nil, func(EarlyExit) string { return withoutIt }, &confirmed)
			st.l.prepare = func(ctx context.Context, n int) (*Launch, error) {
				if n > 1 {
					return &Launch{}, nil
				}
				return first(ctx, n)
			}
			p := st.up()
			p.leave(map[int]bool{900: true})
			p.exits(1)
			st.want(Stopping)
			st.crash()
			if stopped {
				st.ask(EvStop)
			}
			st.until(6*time.Second + lastPoll)
			if stopped {
				st.want(Stopped)
				st.ask(EvStart)
			}
			st.want(Running)
			if n := st.snap().Notes; len(n) != 1 || n[0] != withoutIt {
				t.Errorf("notes %q", n)
			}
			st.w.last().exits(1)
			st.want(Backoff)
			st.sleep(time.Second)
			if n := st.snap().Notes; len(n) != 0 {
				t.Errorf("notes of a later start: %q", n)
			}
		})
	}
}

// A launcher that always asks for another variant does not prevent the back-off.
func TestVariantsWithoutEnd(t *testing.T) {
	withHarness(t, func(st *harness) {
		confirmed := 0
		st.l.prepare = withVariants(nil, func(EarlyExit) string { return withoutIt }, &confirmed)
		st.w.startup = dieAtOnce
		st.open()
		st.ask(EvStart)
		st.want(Backoff)
		if n := st.w.count(); n != maxEarlyExits+1 {
			t.Errorf("%d starts", n)
		}
		st.sleep(time.Hour)
		if confirmed != 0 {
			t.Errorf("confirmed %d times", confirmed)
		}
	})
}

func TestOnStable(t *testing.T) {
	cases := map[string]struct {
		readyAt time.Duration
		story   func(st *harness)
		want    int
	}{
		"ready at once":            {0, func(st *harness) { st.until(time.Minute) }, 1},
		"not yet":                  {0, func(st *harness) { st.until(9 * time.Second) }, 0},
		"ready late":               {30 * time.Second, func(st *harness) { st.until(100 * time.Second) }, 1},
		"not ready":                {time.Hour, func(st *harness) { st.until(time.Minute) }, 0},
		"dies":                     {0, func(st *harness) { st.until(9 * time.Second); st.w.last().exits(1); st.until(12 * time.Second) }, 0},
		"dies later":               {0, func(st *harness) { st.until(11 * time.Second); st.w.last().exits(1); st.until(12 * time.Second) }, 1},
		"for each start":           {0, func(st *harness) { st.until(30 * time.Second); st.ask(EvRestart); st.until(2 * time.Minute) }, 2},
		"once":                     {0, func(st *harness) { st.until(time.Minute); st.crash(); st.until(2 * time.Minute) }, 1},
		"by a later supervisor":    {0, func(st *harness) { st.until(5 * time.Second); st.crash(); st.until(70 * time.Second) }, 1},
		"with other configuration": {0, func(st *harness) { st.until(5 * time.Second); st.cause(EvReconfigured); st.until(70 * time.Second) }, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(st *harness) {
				confirmed := 0
				st.l.prepare = withVariants(func() error {
					if st.w.elapsed() < c.readyAt {
						return errors.New("not yet")
					}
					return nil
				}, func(EarlyExit) string { return "" }, &confirmed)
				st.open()
				st.ask(EvStart)
				c.story(st)
				if confirmed != c.want {
					t.Errorf("confirmed %d times, want %d", confirmed, c.want)
				}
			})
		})
	}
}

// Without a variant the restart policy applies.
func TestEarlyExitWithoutAVariant(t *testing.T) {
	withHarness(t, func(st *harness) {
		confirmed := 0
		st.l.prepare = withVariants(nil, func(EarlyExit) string { return "" }, &confirmed)
		st.up().die(proc.Exit{Code: 1})
		st.want(Backoff)
		st.wantNext(500 * time.Millisecond)
	})
}
