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

// Events in a random order: the occurrences of each start are possible ones.
func TestRandomEvents(t *testing.T) {
	events := []Event{EvStart, EvStart, EvStart, EvStop, EvRestart, EvReconfigured, EvUnblocked, EvHooksDone, EvHooksDone, EvPrepared,
		EvSpawnFailed, EvAttached,
		EvReady, EvReady, EvReady, EvNotReady, EvFailureFound, EvLiveFailed, EvLiveOK, EvHealthIssue, EvRequestsEnded, EvStopCommandDone,
		EvExited, EvGroupEmpty, EvDeadline}
	seeds := uint64(400)
	if testing.Short() {
		seeds = 40
	}
	for seed := range seeds {
		withListener(t, func(st *harness, c *fakeListener) {
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
					st.w.setBlockers(held[r.IntN(3)], held[r.IntN(3)])
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
			st.w.setBlockers("", "")
			st.send(request{event: EvStop, by: "test", limit: 5 * time.Second})
			st.sleep(time.Minute)
			st.want(Stopped)
			c.check(t, true)
			if t.Failed() {
				t.Fatalf("seed %d: %s\npublished: %s", seed, strings.Join(did, ", "), c.eventSequence())
			}
		}, []lifecycle.Event{lifecycle.PreStart, lifecycle.PreStop}[:seed%3]...)
	}
}

// random makes a service of which much is left to chance.
func (st *harness) random(r *rand.Rand, c *fakeListener) {
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

// BenchmarkOccurrences measures a start without a listener, and with one that does nothing.
func BenchmarkOccurrences(b *testing.B) {
	for name, c := range map[string]Listener{"none": nil, "null": nullListener{}} {
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

// nullListener is a Listener to which nothing belongs.
type nullListener struct{}

func (nullListener) Wants(lifecycle.Event, string) bool                { return false }
func (nullListener) Tell(lifecycle.Occurrence)                         {}
func (nullListener) Await(context.Context, lifecycle.Occurrence) error { return nil }
func (nullListener) Settle(context.Context)                            {}
func (nullListener) Reserve(time.Duration) time.Duration               { return 0 }
