package supervisor

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor/incident"
	"github.com/stoker-init/stoker/supervisor/probe"
)

// liveWhen is a Launch whose liveness asks f.
func liveWhen(f func() error) func(context.Context, int) (*Launch, error) {
	return func(context.Context, int) (*Launch, error) {
		return &Launch{DumpSignal: syscall.SIGQUIT,
			Live: probe.Checker(func(context.Context, probe.Process) error { return f() })}, nil
	}
}

// neverAlive lets a service hang from the first minute on.
func (st *harness) neverAlive(then string) (well *atomic.Bool) {
	well = new(atomic.Bool)
	st.cfg.Live.Then = then
	st.cfg.Stop.ThreadDump = ptr(true)
	st.l.prepare = liveWhen(func() error {
		if st.w.elapsed() < time.Minute || well.Load() {
			return nil
		}
		return errors.New("no answer")
	})
	return well
}

func ptr[T any](v T) *T { return &v }

func TestLivenessRestarts(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.neverAlive(LiveRestart)
		st.w.startup = func(_ int, p *fakeProcess) error {
			p.catches[syscall.SIGQUIT] = true
			return nil
		}
		p := st.up()
		st.until(75 * time.Second) // two looks failed
		st.want(Running)
		if snap := st.snap(); snap.LiveFailures != 2 || snap.Unhealthy != "no answer" || snap.Reported {
			t.Errorf("%d looks, %q, reported %v", snap.LiveFailures, snap.Unhealthy, snap.Reported)
		}
		st.until(80*time.Second + 100*time.Millisecond)
		st.want(Stopping)
		st.sleep(2 * time.Second)
		p.wantSignals(t, "QUIT alone 1m20s", "TERM 1m21s")
		st.want(Running)
		if cases := st.w.failures(); len(cases) != 1 || cases[0].GaveUp != incident.CauseUnhealthy || st.snap().Restarts != 1 {
			t.Errorf("%d cases, %d restarts", len(cases), st.snap().Restarts)
		}
	})
}

func TestLivenessReports(t *testing.T) {
	withHarness(t, func(st *harness) {
		well := st.neverAlive(LiveReport)
		p := st.up()
		st.until(5 * time.Minute)
		st.want(Running)
		if ready, not := setOf(st.s).Ready(); ready || !slices.Equal(not, []string{"app is not alive"}) {
			t.Errorf("ready %v, %q", ready, not)
		}
		well.Store(true)
		st.sleep(11 * time.Second)
		if ready, _ := setOf(st.s).Ready(); !ready || st.snap().Unhealthy != "" {
			t.Errorf("ready %v, %q", ready, st.snap().Unhealthy)
		}
		p.wantSignals(t)
		if n := len(st.w.failures()); n != 1 {
			t.Errorf("%d cases", n)
		}
	})
}

func TestLivenessEndsTheContainer(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.neverAlive(LiveStopContainer)
		st.up()
		st.until(2 * time.Minute)
		st.want(Running) // the set stops it with everything else
		s := setOf(st.s)
		if name, over := s.essentialOver(); !over || name != "app" || st.w.endChecks.Load() == 0 {
			t.Errorf("%q, %v, rested %d times", name, over, st.w.endChecks.Load())
		}
		st.ask(EvStop)
		if code := s.code(stopState{For: "app"}); code != 128+15 {
			t.Errorf("code %d", code)
		}
		st.crash()
		if _, over := setOf(st.s).essentialOver(); !over {
			t.Error("the next supervisor does not know it")
		}
	})
}

// What was counted comes back, and the looks go on.
func TestLivenessSurvives(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.neverAlive(LiveRestart)
		p := st.up()
		st.until(75 * time.Second)
		st.crash()
		if snap := st.snap(); snap.State != Running || snap.LiveFailures != 2 {
			t.Fatalf("%s, %d looks", snap.State, snap.LiveFailures)
		}
		st.sleep(11 * time.Second)
		if len(p.sent()) == 0 {
			t.Error("the third look has no effect")
		}
	})
}

func TestDrainComesBeforeTheSignal(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.cfg.Stop.Drain = 5 * time.Second
		p := st.up()
		answer := st.send(request{event: EvStop, by: "test"})
		st.sleep(time.Second)
		st.want(Stopping)
		if phase := st.snap().Phase; phase != "drains" {
			t.Errorf("phase %q", phase)
		}
		st.crash()
		st.sleep(3 * time.Second)
		p.wantSignals(t)
		st.sleep(1100 * time.Millisecond)
		p.wantSignals(t, "TERM 5s")
		st.want(Stopped)
		<-answer // the supervisor that was asked is gone
	})
}

func TestAFailureDoesNotDrain(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.cfg.Stop.Drain, st.cfg.Ready.Within = time.Hour, time.Second
		st.l.prepare = readyWhen(func() error { return errors.New("not yet") })
		st.open()
		st.ask(EvStart)
		st.sleep(1200 * time.Millisecond)
		st.w.last().wantSignals(t, "TERM 1s")
	})
}

func TestStopCommand(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		ends bool
		hang bool
		deaf bool // to TERM
		want []string
	}{
		"ends it":             {ends: true},
		"fails":               {err: errors.New("exit code 1"), want: []string{"TERM 1s"}},
		"has no effect":       {want: []string{"TERM 4.5s"}},
		"hangs":               {hang: true, want: []string{"TERM 4.4s"}},
		"fails, TERM too":     {err: errors.New("exit code 1"), deaf: true, want: []string{"TERM 1s", "KILL 6s"}},
		"no effect, TERM too": {deaf: true, want: []string{"TERM 4.5s", "KILL 6s"}},
		"hangs, TERM too":     {hang: true, deaf: true, want: []string{"TERM 4.4s", "KILL 6s"}},
		"its process is not":  {ends: true, err: errors.New("exit code 1")},
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(st *harness) {
				st.l.prepare = func(context.Context, int) (*Launch, error) {
					return &Launch{StopCommand: func(ctx context.Context, p Process) error {
						if c.hang {
							<-ctx.Done()
							return ctx.Err()
						}
						time.Sleep(time.Second)
						if c.ends {
							p.(*fakeProcess).exits(0)
						}
						return c.err
					}}, nil
				}
				p := st.up()
				p.onTerm, p.ignores = func() { p.exits(0) }, c.deaf
				st.ask(EvStop)
				if phase := st.snap().Phase; phase != "stop command" {
					t.Errorf("phase %q", phase)
				}
				st.sleep(10 * time.Second)
				st.want(Stopped)
				p.wantSignals(t, c.want...)
			})
		})
	}
}

// The command runs again for a supervisor that takes over in the middle of it.
func TestStopCommandSurvives(t *testing.T) {
	withHarness(t, func(st *harness) {
		runs := 0
		st.l.prepare = func(context.Context, int) (*Launch, error) {
			return &Launch{StopCommand: func(ctx context.Context, p Process) error {
				runs++
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
					return ctx.Err()
				}
				p.(*fakeProcess).exits(0)
				return nil
			}}, nil
		}
		st.cfg.Stop.Command = []string{"/stop"}
		st.up()
		st.send(request{event: EvStop, by: "test"})
		st.sleep(500 * time.Millisecond)
		st.crash()
		st.sleep(1100 * time.Millisecond)
		st.want(Stopped)
		if runs != 2 {
			t.Errorf("%d runs", runs)
		}
	})
}

// One that has ended does not: its effect is waited for, then the signal comes.
func TestStopCommandThatEndedSurvives(t *testing.T) {
	withHarness(t, func(st *harness) {
		runs := 0
		st.l.prepare = func(context.Context, int) (*Launch, error) {
			return &Launch{StopCommand: func(context.Context, Process) error { runs++; return nil }}, nil
		}
		st.cfg.Stop.Command = []string{"/stop"}
		p := st.up()
		p.onTerm = func() { p.exits(0) }
		st.send(request{event: EvStop, by: "test"})
		st.sleep(time.Second)
		st.crash()
		st.sleep(5 * time.Second)
		st.want(Stopped)
		if runs != 1 {
			t.Errorf("%d runs", runs)
		}
		p.wantSignals(t, "TERM 4.5s")
	})
}

func TestHeldStart(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.w.setBlockers("db is STARTING", "")
		st.open()
		st.ask(EvStart)
		st.sleep(time.Hour) // longer than any start timeout
		st.want(Starting)
		if snap := st.snap(); snap.Waiting != "db is STARTING" || st.w.count() != 0 {
			t.Errorf("waits for %q, %d processes", snap.Waiting, st.w.count())
		}
		st.crash()
		st.deliver(event{kind: EvUnblocked})
		if st.w.count() != 0 {
			t.Error("started although it must wait")
		}
		st.w.setBlockers("", "")
		st.deliver(event{kind: EvUnblocked})
		st.want(Running)
		st.w.setBlockers("db is STARTING", "")
		st.ask(EvRestart)
		st.want(Starting)
		wantAnswer(t, st.send(request{event: EvStop, by: "test"}), "")
		st.want(Stopped)
	})
}

func TestStopThatWaits(t *testing.T) {
	withHarness(t, func(st *harness) {
		p := st.up()
		st.w.setBlockers("", "app lives")
		st.send(request{event: EvStop, by: "test"})
		st.sleep(time.Hour)
		p.wantSignals(t)
		st.want(Stopping)
		st.crash()
		st.send(request{event: EvStop, by: "the end", limit: 2 * time.Second}) // it does not wait longer than that
		st.sleep(5 * time.Second)
		p.wantSignals(t, "TERM 1h0m2s")
		st.want(Stopped)
	})
}

func TestStopThatWaitsGoesOn(t *testing.T) {
	withHarness(t, func(st *harness) {
		p := st.up()
		st.w.setBlockers("", "app lives")
		st.send(request{event: EvRestart, by: "test"})
		st.w.setBlockers("", "")
		st.deliver(event{kind: EvUnblocked})
		p.wantSignals(t, "TERM 0s")
		st.want(Running)
	})
}

// A configuration that changes what a process is started with restarts it, and
// one that does not leaves it alone.
func TestChanged(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.configHash = "a"
		p := st.up()
		cfg := st.cfg
		cfg.Stop.Signal = "INT"
		change := func(made string) {
			st.send(request{event: EvReconfigured, by: "test", def: &Definition{Name: "app", Config: cfg, Launcher: st.l, ConfigHash: made}})
		}
		change("a")
		p.wantSignals(t)
		change("b")
		p.wantSignals(t, "INT 0s")
		st.want(Running)
		if st.w.count() != 2 || st.snap().Restarts != 0 {
			t.Errorf("%d processes, %d restarts", st.w.count(), st.snap().Restarts)
		}
		st.configHash = "c" // what the next supervisor finds in the fd store
		st.crash()
		st.s.requests <- request{event: EvReconfigured, by: "test", reply: make(chan error, 1),
			def: &Definition{Config: cfg, Launcher: st.l, ConfigHash: "c"}}
		synctest.Wait()
		if st.w.count() != 3 {
			t.Errorf("%d processes after a takeover with another configuration", st.w.count())
		}
	})
}

func TestOneshot(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.cfg.Oneshot, st.cfg.Restart.Policy = true, OnFailure
		p := st.up()
		p.exits(1)
		synctest.Wait()
		st.want(Backoff)
		st.sleep(time.Second)
		st.w.last().exits(0)
		synctest.Wait()
		st.want(Exited)
		if snap := st.snap(); snap.Reason != "" || !snap.Exit.Success {
			t.Errorf("reason %q, exit %v", snap.Reason, snap.Exit)
		}
	})
}

func TestSuccessSignals(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.cfg.Restart.Policy, st.cfg.SuccessSignals = OnFailure, []string{"USR1"}
		p := st.up()
		p.die(proc.Exit{Code: -1, Signal: syscall.SIGUSR1})
		synctest.Wait()
		st.want(Exited)
	})
}

func TestRemoved(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.up()
		st.send(request{event: EvStop, by: "test", removed: true})
		st.want(Stopped)
		if st.w.removals.Load() != 1 || !st.snap().Removed {
			t.Errorf("left %d times", st.w.removals.Load())
		}
	})
}
