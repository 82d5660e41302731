package supervisor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/lifecycle"
)

// Whatever happens in whatever order, no round is told of in another way than it
// can have gone.
func TestRandomLives(t *testing.T) {
	events := []Event{EvStart, EvStart, EvStart, EvStop, EvRestart, EvReconfigured, EvUnblocked, EvHooksDone, EvHooksDone, EvPrepared,
		EvSpawnFailed, EvAttached,
		EvReady, EvReady, EvReady, EvNotReady, EvFailureFound, EvLiveFailed, EvLiveOK, EvHealthIssue, EvStopCommandDone, EvExited,
		EvGroupEmpty, EvDeadline}
	seeds := uint64(400)
	if testing.Short() {
		seeds = 40
	}
	for seed := range seeds {
		listened(t, func(st *stage, c *fakeListener) {
			r := rand.New(rand.NewPCG(seed, 5)) //nolint:gosec // it is to be the same each time
			st.random(r, c)
			var did []string
			for range 25 {
				ev := events[r.IntN(len(events))]
				did = append(did, string(ev))
				switch {
				case r.IntN(6) == 0:
					st.crash()
				case r.IntN(8) == 0:
					held := []string{"", "", "db comes first"}
					st.w.holds(held[r.IntN(3)], held[r.IntN(3)])
				case ev == EvHooksDone:
					c.end([]lifecycle.Event{lifecycle.PreStart, lifecycle.PreStop}[r.IntN(2)], []error{nil, errors.New("boom")}[r.IntN(2)])
				case (ev == EvExited || ev == EvGroupEmpty) && (st.w.count() == 0 || st.w.last().ended()):
				default:
					st.cause(ev)
				}
				st.sleep(time.Duration(r.IntN(3)) * 300 * time.Millisecond)
				c.check(t, false)
				if t.Failed() {
					break
				}
			}
			st.w.holds("", "")
			st.send(request{event: EvStop, by: "test", limit: 5 * time.Second})
			st.sleep(time.Minute)
			st.want(Stopped)
			c.check(t, true)
			if t.Failed() {
				t.Fatalf("seed %d: %s\ntold: %s", seed, strings.Join(did, ", "), c.life())
			}
		}, []lifecycle.Event{lifecycle.PreStart, lifecycle.PreStop}[:seed%3]...)
	}
}

// random makes a service of which much is left to chance.
func (st *stage) random(r *rand.Rand, c *fakeListener) {
	if r.IntN(2) == 0 {
		c.takes[lifecycle.PreStart] = time.Duration(r.IntN(3)) * time.Second
	}
	if r.IntN(2) == 0 {
		c.takes[lifecycle.PreStop] = time.Duration(r.IntN(3)) * time.Second
	}
	st.configHash = fmt.Sprint(r.IntN(2))
	st.cfg.Restart.Policy = []string{Always, OnFailure, Never}[r.IntN(3)]
	st.cfg.Live.Then = []string{LiveReport, LiveRestart, LiveStopContainer}[r.IntN(3)]
	bad, slow := r.IntN(4), r.IntN(4)
	st.l.prepare = func(ctx context.Context, n int) (*Launch, error) {
		if slow > 0 && n%slow == 0 {
			select {
			case <-time.After(500 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		if bad > 0 && n%(bad+1) == 0 {
			return nil, errors.New("no such file")
		}
		return readyWhen(func() error { return errors.New("not yet") })(ctx, n)
	}
	st.w.startup = func(n int, p *fakeProcess) error {
		p.ignores = n%2 == 0
		if bad > 0 && n%(bad+2) == 0 {
			return errors.New("cannot fork")
		}
		return nil
	}
	st.open()
	st.ask(EvStart)
}

// BenchmarkStages is what is kept and told of a life in which nobody acts, and of one
// to which somebody only listens.
func BenchmarkStages(b *testing.B) {
	for name, c := range map[string]Listener{"nobody": nil, "listens": deaf{}} {
		b.Run(name, func(b *testing.B) {
			w := &fakeEnvironment{epoch: time.Now(), listener: c}
			s := newService(Definition{Name: "app", Config: defaults(), Launcher: &fakeLauncher{}}, w.environment(), hclog.NewNullLogger())
			b.ReportAllocs()
			for b.Loop() {
				s.saved.Reached, s.saved.Start = nil, s.saved.Start+1
				s.preStart()
				s.save()
				s.occur(lifecycle.Started, "")
				s.save()
				s.occur(lifecycle.Ready, "")
				s.save()
				s.preStop()
				s.save()
				s.occur(lifecycle.Exited, "exit code 1")
				s.occur(lifecycle.Stopped, "exit code 1")
				s.save()
			}
		})
	}
}

// deaf is a Listener to which nothing belongs.
type deaf struct{}

func (deaf) Wants(lifecycle.Event, string) bool                { return false }
func (deaf) Tell(lifecycle.Occurrence)                         {}
func (deaf) Await(context.Context, lifecycle.Occurrence) error { return nil }
func (deaf) Settle(context.Context)                            {}
func (deaf) Reserve(time.Duration) time.Duration               { return 0 }
