package supervisor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// waitCase is one request, and what its wait must come to.
type waitCase struct {
	services string                                                // as playSet takes them
	setUp    func(s *Supervisor, envs map[string]*fakeEnvironment) // before the request
	event    Event                                                 // for app
	then     func(s *Supervisor, envs map[string]*fakeEnvironment) // while it is waited for
	limit    time.Duration                                         // of the wait; 0: an hour
	takes    func(took time.Duration) bool                         // nil: does not matter
	failure  string                                                // part of it; empty: it succeeds
	pending  bool                                                  // it is not over when limit is
}

// launcherOf is the launcher of a service of the set.
func launcherOf(s *Supervisor, name string) *fakeLauncher {
	return s.set.Load().services[name].launcher.(*fakeLauncher)
}

// waitCases are the ways in which a start with a waiter can go.
func waitCases() map[string]waitCase {
	ready := func(after time.Duration) func(context.Context, int) (*Launch, error) {
		return func(context.Context, int) (*Launch, error) {
			begun := time.Now()
			return readyWhen(func() error {
				if time.Since(begun) < after {
					return errors.New("not yet")
				}
				return nil
			})(context.Background(), 0)
		}
	}
	dies := func(s *Supervisor, w map[string]*fakeEnvironment, name string) {
		launcherOf(s, name).setPrepare(ready(time.Hour))
		w[name].startup = func(_ int, p *fakeProcess) error { p.exit = proc.Exit{Code: 7}; close(p.exited); return nil }
	}
	later := func(d time.Duration, f func()) { go func() { time.Sleep(d); f() }() }
	return map[string]waitCase{
		"a restart is not taken for the RUNNING before it": {services: "app", event: EvRestart,
			setUp: func(s *Supervisor, _ map[string]*fakeEnvironment) {
				launcherOf(s, "app").setPrepare(ready(30 * time.Second))
			},
			takes: func(d time.Duration) bool { return d >= 30*time.Second }},
		"a start of what runs is done": {services: "app", event: EvStart, takes: func(d time.Duration) bool { return d == 0 },
			setUp: func(*Supervisor, map[string]*fakeEnvironment) { time.Sleep(time.Minute) }},
		"the program is missing": {services: "app", event: EvRestart, failure: "no such file",
			takes: func(d time.Duration) bool { return d < time.Second },
			setUp: func(s *Supervisor, _ map[string]*fakeEnvironment) {
				launcherOf(s, "app").setPrepare(func(context.Context, int) (*Launch, error) { return nil, errors.New("no such file") })
			}},
		"it ends before it is ready": {services: "app", event: EvRestart, failure: "exit code 7 before it was ready",
			setUp: func(s *Supervisor, w map[string]*fakeEnvironment) { dies(s, w, "app") }},
		"it ends at once, nothing proves its readiness": {services: "app", event: EvRestart, failure: "exit code 7",
			setUp: func(_ *Supervisor, w map[string]*fakeEnvironment) {
				w["app"].startup = func(_ int, p *fakeProcess) error {
					later(300*time.Millisecond, func() { p.exits(7) })
					return nil
				}
			}},
		"it fails, and is RUNNING at once by another start": {services: "app", event: EvRestart, failure: "start 2 is over",
			setUp: func(s *Supervisor, w map[string]*fakeEnvironment) {
				s.set.Load().services["app"].cfg.Restart.Backoff.First = new(time.Duration)
				w["app"].startup = func(n int, p *fakeProcess) error {
					if n == 2 {
						return errors.New("cannot fork")
					}
					return nil
				}
			}},
		"it is not ready in time": {services: "app", event: EvRestart, failure: "not ready within",
			setUp: func(s *Supervisor, _ map[string]*fakeEnvironment) { launcherOf(s, "app").setPrepare(ready(time.Hour)) }},
		"the time of the wait is over first": {services: "app", event: EvRestart, pending: true, limit: 5 * time.Second,
			takes: func(d time.Duration) bool { return d == 5*time.Second },
			setUp: func(s *Supervisor, _ map[string]*fakeEnvironment) {
				launcherOf(s, "app").setPrepare(ready(time.Minute))
			}},
		"it is stopped by another": {services: "app", event: EvRestart, failure: "it was stopped meanwhile, asked for by another",
			setUp: func(s *Supervisor, _ map[string]*fakeEnvironment) {
				launcherOf(s, "app").setPrepare(ready(time.Minute))
			},
			then: func(s *Supervisor, _ map[string]*fakeEnvironment) {
				later(5*time.Second, func() { s.Command(s.ctx, "app", EvStop, "another") })
			}},
		"it is stopped by another while the old process ends": {services: "app", event: EvRestart,
			failure: "it was stopped meanwhile, asked for by another",
			setUp:   func(_ *Supervisor, w map[string]*fakeEnvironment) { w["app"].last().ignores = true },
			takes:   func(d time.Duration) bool { return d < 2*time.Second },
			then: func(s *Supervisor, _ map[string]*fakeEnvironment) {
				later(time.Second, func() { s.Command(s.ctx, "app", EvStop, "another") })
			}},
		"it is restarted by another": {services: "app", event: EvRestart, failure: "start 2 is over",
			setUp: func(s *Supervisor, _ map[string]*fakeEnvironment) {
				launcherOf(s, "app").setPrepare(ready(time.Minute))
			},
			then: func(s *Supervisor, _ map[string]*fakeEnvironment) {
				later(5*time.Second, func() { s.Command(s.ctx, "app", EvRestart, "another") })
			}},
		"it waits for what it requires": {services: "db app>db", event: EvStart, takes: func(d time.Duration) bool { return d > 20*time.Second },
			setUp: func(s *Supervisor, _ map[string]*fakeEnvironment) {
				s.Command(s.ctx, "db", EvStop, "test")
				launcherOf(s, "db").setPrepare(ready(20 * time.Second))
			}},
		"what it requires fails": {services: "db app>db", event: EvStart, failure: "db, which it requires, is BACKOFF: exit code 7",
			setUp: func(s *Supervisor, w map[string]*fakeEnvironment) {
				s.Command(s.ctx, "db", EvStop, "test")
				dies(s, w, "db")
			}},
		"a oneshot succeeds": {services: "app", event: EvRestart, takes: func(d time.Duration) bool { return d >= 10*time.Second },
			setUp: func(s *Supervisor, w map[string]*fakeEnvironment) {
				cfg := &s.set.Load().services["app"].cfg
				cfg.Oneshot, cfg.Restart.Policy = true, OnFailure
				w["app"].startup = func(_ int, p *fakeProcess) error { later(10*time.Second, func() { p.exits(0) }); return nil }
			}},
		"a oneshot fails": {services: "app", event: EvRestart, failure: "exit code 9",
			setUp: func(s *Supervisor, w map[string]*fakeEnvironment) {
				cfg := &s.set.Load().services["app"].cfg
				cfg.Oneshot, cfg.Restart.Policy = true, Never
				w["app"].startup = func(_ int, p *fakeProcess) error { later(10*time.Second, func() { p.exits(9) }); return nil }
			}},
	}
}

func TestAwaitStart(t *testing.T) {
	for name, st := range waitCases() {
		t.Run(name, func(t *testing.T) {
			withSet(t, st.services, func(s *Supervisor, envs map[string]*fakeEnvironment) {
				s.incidents = incident.NewRecorder(&incident.Store{}, nil, nil)
				if st.setUp != nil {
					st.setUp(s, envs)
				}
				synctest.Wait()
				number, err := s.Ask(s.ctx, "app", st.event, "test", nil)
				if err != nil {
					t.Fatal(err)
				}
				if st.then != nil {
					st.then(s, envs)
				}
				limit := time.Hour
				if st.limit > 0 {
					limit = st.limit
				}
				ctx, cancel := context.WithTimeout(s.ctx, limit)
				defer cancel()
				begun := time.Now()
				r, ok := s.AwaitStart(ctx, "app", number)
				if took := time.Since(begun); st.takes != nil && !st.takes(took) {
					t.Errorf("the wait took %v", took)
				}
				if !ok || r.Done == st.pending || (r.Failure == "") != (st.failure == "") || !strings.Contains(r.Failure, st.failure) {
					t.Errorf("known %v, done %v, failure %q, want %q; the service is %s", ok, r.Done, r.Failure, st.failure, r.Snapshot.State)
				}
			})
		})
	}
}

// A request whose answer was lost is made again, and done once.
func TestAskAgain(t *testing.T) {
	withSet(t, "app", func(s *Supervisor, envs map[string]*fakeEnvironment) {
		s.incidents = incident.NewRecorder(&incident.Store{}, nil, nil)
		for _, event := range []Event{EvRestart, EvStart, EvRestart} {
			before, _ := s.Service("app")
			first, err := s.Ask(s.ctx, "app", event, "test", &before.Starts)
			synctest.Wait()
			time.Sleep(2 * time.Second)
			again, errAgain := s.Ask(s.ctx, "app", event, "test", &before.Starts)
			synctest.Wait()
			if err != nil || errAgain != nil || first != again {
				t.Errorf("%s leads to start %d and %d (%v, %v)", event, first, again, err, errAgain)
			}
		}
		if n := envs["app"].count(); n != 3 {
			t.Errorf("%d processes after two restarts", n)
		}
	})
}

// The number of a start stays what it is when another supervisor goes on with it.
func TestStartNumberSurvives(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.up()
		number := new(uint64)
		st.w.last().ignores = true
		answer := st.send(request{event: EvRestart, by: "test", start: number})
		if err := <-answer; err != nil {
			t.Fatal(err)
		}
		st.crash() // while the old process ends
		if got := st.snap().Start; got != *number {
			t.Errorf("the request leads to start %d, a later supervisor says %d", *number, got)
		}
		st.sleep(10 * time.Second)
		st.want(Running)
		if got := st.snap().Start; got != *number {
			t.Errorf("the request leads to start %d, it is RUNNING by %d", *number, got)
		}
	})
}

// The wait for a service that is not configured ends at once.
func TestAwaitStartOfNothing(t *testing.T) {
	withSet(t, "app", func(s *Supervisor, _ map[string]*fakeEnvironment) {
		if _, ok := s.AwaitStart(s.ctx, "none", 1); ok {
			t.Error("there is no such service")
		}
	})
}
