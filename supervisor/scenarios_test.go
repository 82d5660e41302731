package supervisor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// scenarios are stories of a service, and what is published of them.
func scenarios() map[string]struct {
	story func(st *harness)
	want  string
} {
	notYet := readyWhen(func() error { return errors.New("not yet") })
	return map[string]struct {
		story func(st *harness)
		want  string
	}{
		"normal life": {func(st *harness) { st.up(); st.ask(EvStop) },
			"pre-start started ready pre-stop exited stopped"},
		"crash and restart": {func(st *harness) { st.up().exits(3); st.sleep(time.Second) },
			"pre-start started ready exited stopped | pre-start started ready"},
		"restart": {func(st *harness) { st.up(); st.ask(EvRestart) },
			"pre-start started ready pre-stop exited stopped | pre-start started ready"},
		"another configuration": {func(st *harness) { st.configHash = "this"; st.up(); st.cause(EvReconfigured) },
			"pre-start started ready pre-stop exited stopped | pre-start started ready"},
		"cannot be prepared": {func(st *harness) {
			st.cfg.Restart.Policy = Never
			st.l.prepare = func(context.Context, int) (*Launch, error) { return nil, errors.New("no such file") }
			st.open()
			st.ask(EvStart)
		}, "pre-start start-failed stopped"},
		"cannot be started": {func(st *harness) {
			st.cfg.Restart.Policy = Never
			st.w.startup = func(int, *fakeProcess) error { return errors.New("cannot fork") }
			st.open()
			st.ask(EvStart)
		}, "pre-start start-failed stopped"},
		"ends before it is ready": {func(st *harness) {
			st.l.prepare = notYet
			st.open()
			st.ask(EvStart)
			st.w.last().exits(0)
		}, "pre-start started start-failed exited stopped"},
		"is not ready in time": {func(st *harness) {
			st.l.prepare = notYet
			st.open()
			st.ask(EvStart)
			st.sleep(st.cfg.Ready.Within)
		}, "pre-start started start-failed pre-stop exited stopped"},
		"says that it failed": {func(st *harness) {
			st.l.prepare = notYet
			st.open()
			st.ask(EvStart)
			st.deliver(event{kind: EvFailureFound, text: "it said so"})
		}, "pre-start started start-failed pre-stop exited stopped"},
		"a oneshot that was quick": {func(st *harness) {
			st.cfg.Oneshot, st.cfg.Restart.Policy, st.l.prepare = true, OnFailure, notYet
			st.open()
			st.ask(EvStart)
			st.w.last().exits(0)
		}, "pre-start started exited stopped"},
		"stopped before it is ready": {func(st *harness) {
			st.l.prepare = notYet
			st.open()
			st.ask(EvStart)
			st.ask(EvStop)
		}, "pre-start started pre-stop exited stopped"},
		"stopped while it is prepared": {func(st *harness) {
			st.l.prepare = func(ctx context.Context, _ int) (*Launch, error) { <-ctx.Done(); return nil, ctx.Err() }
			st.open()
			st.ask(EvStart)
			st.ask(EvStop)
		}, "pre-start stopped"},
		"changed while it is prepared": {func(st *harness) {
			st.l.prepare = func(ctx context.Context, n int) (*Launch, error) {
				if n == 1 {
					<-ctx.Done()
				}
				return &Launch{}, ctx.Err()
			}
			st.open()
			st.ask(EvStart)
			st.cause(EvReconfigured)
		}, "pre-start started ready"},
		"stopped while it waits for others": {func(st *harness) {
			st.w.setBlockers("db is not up", "")
			st.open()
			st.ask(EvStart)
			st.ask(EvStop)
		}, ""},
		"waits again": {func(st *harness) {
			st.l.prepare = func(context.Context, int) (*Launch, error) { time.Sleep(time.Second); return &Launch{}, nil }
			st.open()
			st.ask(EvStart)
			st.w.setBlockers("db is not up any more", "")
			st.sleep(5 * time.Second)
			st.w.setBlockers("", "")
			st.deliver(event{kind: EvUnblocked})
			st.sleep(5 * time.Second)
		}, "pre-start started ready"},
		"does not hear TERM": {func(st *harness) { st.up().ignores = true; st.ask(EvStop); st.sleep(7 * time.Second) },
			"pre-start started ready pre-stop exited stopped"},
		"leaves processes behind": {func(st *harness) {
			p := st.up()
			p.leave(map[int]bool{900: false})
			p.exits(3)
			synctest.Wait()
		}, "pre-start started ready exited stopped"},
		"not alive, restarted": {func(st *harness) { st.neverAlive(LiveRestart); st.up(); st.until(85 * time.Second) },
			"pre-start started ready unhealthy pre-stop exited stopped | pre-start started ready"},
		"not alive, reported": {func(st *harness) { st.neverAlive(LiveReport); st.up(); st.until(10 * time.Minute) },
			"pre-start started ready unhealthy"},
		"not alive, ends the container": {func(st *harness) {
			st.neverAlive(LiveStopContainer)
			st.up()
			st.until(2 * time.Minute)
			st.ask(EvStop)
		},
			"pre-start started ready unhealthy pre-stop exited stopped"},
		"fails too often, and goes on failing": {func(st *harness) {
			st.cfg.Restart.Limit.Starts = 1
			st.w.startup = dieAtOnce
			st.open()
			st.ask(EvStart)
			st.sleep(6 * time.Minute)
		}, "pre-start started ready exited stopped | pre-start started ready exited fatal stopped | pre-start started ready exited stopped"},
		"cannot be started too often": {func(st *harness) {
			st.cfg.Restart.Limit.Starts, st.cfg.Restart.Limit.RetryEvery = 1, new(time.Duration)
			st.w.startup = func(int, *fakeProcess) error { return errors.New("no such file") }
			st.open()
			st.ask(EvStart)
			st.sleep(6 * time.Minute)
		}, "pre-start start-failed stopped | pre-start start-failed fatal stopped"},
		"fails too often again after a start by hand": {func(st *harness) {
			st.cfg.Restart.Limit.Starts, st.cfg.Restart.Backoff.First = 1, new(time.Duration)
			st.w.startup = func(int, *fakeProcess) error { return errors.New("no such file") }
			st.open()
			st.ask(EvStart)
			synctest.Wait()
			st.ask(EvStart)
			synctest.Wait()
		}, "pre-start start-failed stopped | pre-start start-failed fatal stopped | pre-start start-failed stopped | pre-start start-failed fatal stopped"},
		"refused by what does not change by itself": {func(st *harness) {
			st.startRefused()
			st.ask(EvStart)
			st.sleep(11 * time.Minute)
		}, "pre-start start-failed fatal stopped | pre-start start-failed stopped | pre-start start-failed stopped"},
		"the same over a kill, and by hand": {func(st *harness) {
			st.startRefused()
			st.ask(EvStart)
			synctest.Wait()
			st.crash()
			st.sleep(6 * time.Minute)
			st.ask(EvStart)
			synctest.Wait()
		}, "pre-start start-failed fatal stopped | pre-start start-failed stopped | pre-start start-failed fatal stopped"},
		"refused, and past the limit": {func(st *harness) {
			st.cfg.Restart.Limit.Starts = 1
			st.startRefused()
			st.ask(EvStart)
			st.sleep(6 * time.Minute)
		}, "pre-start start-failed fatal stopped | pre-start start-failed stopped"},
		"has a health issue": {func(st *harness) { st.up(); st.cause(EvHealthIssue) },
			"pre-start started ready unhealthy"},
	}
}

// startRefused has a service whose starts all fail by what does not change by itself.
func (st *harness) startRefused() {
	st.l.setPrepare(refusePrepare)
	st.open()
}

func refusePrepare(context.Context, int) (*Launch, error) {
	return nil, permanentError{errors.New("no such option")}
}

func TestScenarios(t *testing.T) {
	for name, c := range scenarios() {
		for _, hooked := range []bool{false, true} {
			t.Run(fmt.Sprint(name, "/", hooked), func(t *testing.T) {
				var wants []lifecycle.Event
				if hooked {
					wants = []lifecycle.Event{lifecycle.PreStart, lifecycle.PreStop}
				}
				withListener(t, func(st *harness, f *fakeListener) {
					f.takes[lifecycle.PreStart], f.takes[lifecycle.PreStop] = 0, 0
					c.story(st)
					synctest.Wait()
					if got := f.eventSequence(); got != c.want {
						t.Errorf("published: %s\nwant: %s", got, c.want)
					}
					f.check(t, false)
				}, wants...)
			})
		}
	}
}

// Whenever the supervisor is killed after a story, nothing is published twice and nothing
// is missing.
func TestScenariosSurviveAKill(t *testing.T) {
	for name, c := range scenarios() {
		t.Run(name, func(t *testing.T) {
			withListener(t, func(st *harness, f *fakeListener) {
				f.takes[lifecycle.PreStart], f.takes[lifecycle.PreStop] = 0, 0
				c.story(st)
				for range 3 {
					st.crash()
				}
				if got := f.eventSequence(); got != c.want && !strings.HasPrefix(got, c.want+" ") {
					t.Errorf("published: %s\nwant: %s", got, c.want)
				}
				if f.again != 0 { // long ago, and perhaps forgotten
					t.Errorf("%d were published again", f.again)
				}
				st.ask(EvStop)
				st.sleep(10 * time.Second)
				st.want(Stopped)
				f.check(t, true)
			}, lifecycle.PreStart, lifecycle.PreStop)
		})
	}
}
