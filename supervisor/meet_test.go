package supervisor

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
)

// setEnvironment is the environment of one service among others.
type setEnvironment struct {
	*fakeEnvironment
	s *Supervisor
}

func (w setEnvironment) environment() environment {
	return environment{w.fakeEnvironment, w, w.fakeEnvironment, w.fakeEnvironment, nil, nil}
}
func (w setEnvironment) mayStart(name string) string { return w.s.mayStart(name) }
func (w setEnvironment) mayStop(name string) string  { return w.s.mayStop(name) }
func (w setEnvironment) wakeWaiters()                { w.s.wakeWaiters() }

// withSet runs f with services that are defined as defsOf reads it, all started.
func withSet(t *testing.T, text string, f func(s *Supervisor, envs map[string]*fakeEnvironment)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &Supervisor{opts: options(), log: hclog.NewNullLogger(), ctx: ctx, wake: make(chan struct{}, 1)}
		want, services, envs := ServiceSet{StopTimeout: 8 * time.Second}, map[string]*Service{}, map[string]*fakeEnvironment{}
		s.set.Store(newActiveSet(want, nil))
		for _, d := range defsOf(text) {
			requires, after := d.Config.Requires, d.Config.After
			d.Config = defaults()
			d.Config.Requires, d.Config.After, d.Launcher = requires, after, &fakeLauncher{}
			want.Definitions = append(want.Definitions, d)
			envs[d.Name] = &fakeEnvironment{t: t, epoch: time.Now()}
			services[d.Name] = newService(d, setEnvironment{envs[d.Name], s}.environment(), s.log)
		}
		s.set.Store(newActiveSet(want, services))
		for _, svc := range services {
			go svc.run(ctx) // ends with ctx
		}
		go s.reconcile(ctx) // ends with ctx
		for _, d := range want.Definitions {
			if err := s.Command(ctx, d.Name, EvStart, "test"); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		f(s, envs)
		cancel()
		synctest.Wait()
	})
}

// What waits for a restart already is not restarted again and again meanwhile.
func TestRestartWithTwoDependents(t *testing.T) {
	withSet(t, "db app>db slow>db", func(s *Supervisor, envs map[string]*fakeEnvironment) {
		envs["slow"].last().ignores = true
		steps := func() int {
			w := envs["app"]
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.steps
		}
		before := steps()
		if err := s.Command(s.ctx, "db", EvRestart, "test"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		app := s.set.Load().services["app"].snap.Load()
		if app.State != Starting || !app.waitingForDeps {
			t.Errorf("app is %s", app.State)
		}
		if n := steps() - before; n > 20 {
			t.Errorf("app was kept %d times", n)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for name, w := range envs {
			if st := s.set.Load().services[name].snap.Load().State; st != Running || w.count() != 2 {
				t.Errorf("%s is %s after %d starts", name, st, w.count())
			}
		}
	})
}

// A service that waits goes on when what it waits for has changed.
func TestLastDependenceGoesWhileItWaits(t *testing.T) {
	withSet(t, "db", func(s *Supervisor, envs map[string]*fakeEnvironment) {
		w := &fakeEnvironment{t: t, epoch: time.Now()}
		d := Definition{Name: "app", Config: defaults(), Launcher: &fakeLauncher{}}
		d.Config.Requires = []string{"db"}
		app := newService(d, setEnvironment{w, s}.environment(), s.log)
		services := map[string]*Service{"db": s.set.Load().services["db"], "app": app}
		db := Definition{Name: "db", Config: defaults(), Launcher: &fakeLauncher{}}
		s.set.Store(newActiveSet(ServiceSet{Definitions: []Definition{db, d}}, services))
		envs["db"].last().ignores = true
		go func() { _ = s.Command(s.ctx, "db", EvStop, "test") }() // ends with the stop
		synctest.Wait()
		go app.run(s.ctx) // ends with ctx
		if err := app.ask(s.ctx, request{event: EvStart, by: "test"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if snap := app.snap.Load(); !snap.waitingForDeps {
			t.Fatalf("app is %s", snap.State)
		}
		d.Config.Requires = nil
		s.set.Store(newActiveSet(ServiceSet{Definitions: []Definition{db, d}}, services))
		s.wakeWaiters()
		synctest.Wait()
		if snap := app.snap.Load(); snap.State != Running {
			t.Errorf("app is %s and waits for %q", snap.State, snap.Waiting)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
	})
}

// At the end of the container each service gets the limit at once, and not first that
// another one wants to stop.
func TestLimitReachesEveryService(t *testing.T) {
	for range 20 { // who is asked first is random
		withSet(t, "db app>db top>app", func(s *Supervisor, envs map[string]*fakeEnvironment) {
			listeners := map[string]*fakeListener{}
			for name, w := range envs {
				listeners[name] = newFakeListener(w, lifecycle.PreStop)
				listeners[name].takes[lifecycle.PreStop] = 100 * time.Millisecond
				s.set.Load().services[name].env.listener = listeners[name]
			}
			s.stopping.Store(1)
			s.stopAll(s.ctx, 6*time.Second, 0, make(chan struct{}))
			for name, c := range listeners {
				if m := c.last(t, lifecycle.PreStop); m.Until.IsZero() || m.Budget != s.set.Load().StopTimeout {
					t.Errorf("%s: %+v", name, m)
				}
			}
		})
	}
}

// What it requires may go while it is found out what to start.
func TestRequiredGoesDuringPrepare(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.l.prepare = func(context.Context, int) (*Launch, error) {
			time.Sleep(time.Second)
			return &Launch{}, nil
		}
		st.open()
		st.ask(EvStart)
		st.w.setBlockers("db, which it requires, is STOPPING", "")
		st.sleep(5 * time.Second)
		st.want(Starting)
		if n := st.w.count(); n != 0 || st.snap().Deadline != nil {
			t.Errorf("%d processes, deadline %v", n, st.snap().Deadline)
		}
		st.crash()
		st.w.setBlockers("", "")
		st.deliver(event{kind: EvUnblocked})
		st.sleep(2 * time.Second)
		st.want(Running)
	})
}

// A service that was leaving when it is configured again stays, whether it is
// started or not.
func TestConfiguredAgainWhileRemoved(t *testing.T) {
	for _, crash := range []bool{false, true} {
		withHarness(t, func(st *harness) {
			st.cfg.Autostart = ptr(false)
			p := st.up()
			p.ignores = true
			st.send(request{event: EvStop, by: "test", removed: true})
			st.want(Stopping)
			if crash {
				st.crash()
			} else {
				st.cause(EvReconfigured)
			}
			st.sleep(10 * time.Second)
			st.want(Stopped)
			if n := st.w.removals.Load(); n != 0 || st.snap().Removed {
				t.Errorf("crash %v: it left %d times, leaving %v", crash, n, st.snap().Removed)
			}
		})
	}
}

// Without a liveness probe a service does not stay unhealthy.
func TestLivenessTakenAwayWhileReported(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.neverAlive(LiveReport)
		st.up()
		st.until(2 * time.Minute)
		if n := st.w.recorded; len(n) != 1 || n[0].Reason != "not alive: 3 checks in a row failed, the last: no answer" {
			t.Errorf("notes %v", n)
		}
		st.deliver(event{kind: EvAttached, launch: &Launch{}})
		if ready, not := setOf(st.s).Ready(); !ready || st.snap().Unhealthy != "" {
			t.Errorf("not ready: %q, %q", not, st.snap().Unhealthy)
		}
	})
}

// What was only reported is restarted when the configuration asks for that now.
func TestLivenessBecomesRestartWhileReported(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.neverAlive(LiveReport)
		p := st.up()
		st.until(2 * time.Minute)
		p.wantSignals(t)
		st.cfg.Live.Then = LiveRestart
		st.send(request{event: EvReconfigured, by: "test", def: &Definition{Name: "app", Config: st.cfg, Launcher: st.l}})
		st.sleep(11 * time.Second)
		if len(p.sent()) == 0 {
			t.Error("it is not restarted")
		}
	})
}

// A thread dump comes after the incident of what hangs, and belongs to it.
func TestThreadDumpOfTheUnhealthy(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.out = newFakeOutput()
		st.out.write("up")
		st.neverAlive(LiveRestart)
		st.w.startup = func(_ int, p *fakeProcess) error {
			p.catches[syscall.SIGQUIT], p.onQuit = true, func() { st.out.write("threads") }
			return nil
		}
		st.up()
		st.until(90 * time.Second)
		if st.w.mu.Lock(); !slices.Equal(st.w.dumps, []string{"1 threads\n"}) {
			t.Errorf("dumps %q", st.w.dumps)
		}
		st.w.mu.Unlock()
	})
}

// A process that was killed is a zombie for a moment without any tracer.
func TestZombieForAMoment(t *testing.T) {
	withHarness(t, func(st *harness) {
		p := st.up()
		p.undead, p.ignores, p.held = true, true, true
		st.ask(EvStop)
		st.sleep(st.cfg.Stop.Timeout + heldTime/2)
		st.want(Stopping)
		if st.snap().Pid == 0 {
			t.Error("its end is made up")
		}
		p.held = false
		p.die(proc.Exit{Code: 3})
		st.sleep(time.Second)
		st.want(Stopped)
		if x := st.snap().Exit; x == nil || x.Code != 3 {
			t.Errorf("it ended with %v", x)
		}
	})
}

// A stop is not undone by those that are being stopped with it and wait for what
// they require.
func TestStopOfWhatOthersWaitFor(t *testing.T) {
	withSet(t, "db app>db top>app", func(s *Supervisor, envs map[string]*fakeEnvironment) {
		s.set.Load().services["db"].launcher.(*fakeLauncher).setPrepare(func(context.Context, int) (*Launch, error) {
			return nil, errors.New("no such file")
		})
		for n := range 300 {
			if err := s.Command(s.ctx, "db", EvStop, "test"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			for name, svc := range s.set.Load().services {
				if st := svc.snap.Load().State; st != Stopped {
					t.Fatalf("stop %d: %s is %s", n, name, st)
				}
			}
			if err := s.Command(s.ctx, "top", EvStart, "test"); err != nil {
				t.Fatal(err)
			}
			if n%2 == 0 {
				synctest.Wait()
			}
		}
	})
}

// A required service that does not answer in time is asked again.
func TestRequiredServiceIsBusy(t *testing.T) {
	withSet(t, "db app>db", func(s *Supervisor, envs map[string]*fakeEnvironment) {
		if err := s.Command(s.ctx, "db", EvStop, "test"); err != nil {
			t.Fatal(err)
		}
		db, app := s.set.Load().services["db"], s.set.Load().services["app"]
		release := envs["db"].holdSave()
		def := &Definition{Name: "db", Config: db.cfg, Launcher: db.launcher}
		go func() { _ = db.ask(s.ctx, request{event: EvReconfigured, by: "test", def: def}) }() // ends with the answer
		synctest.Wait()
		if err := app.ask(s.ctx, request{event: EvStart, by: "test"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		release()
		time.Sleep(time.Minute)
		if state := app.snap.Load().State; state != Running {
			t.Errorf("app is %s", state)
		}
	})
}
