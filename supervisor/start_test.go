package supervisor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/program"
	"github.com/stoker-init/stoker/supervisor/probe"
)

func TestStartWithoutProbe(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.open()
		if err := <-st.send(request{event: EvStart, by: "test"}); err != nil {
			t.Fatal(err)
		}
		st.want(Running)
		snap := st.snap()
		if snap.Pid != 101 || snap.UpSince == nil || snap.Restarts != 0 || st.w.last().id != "app.1" {
			t.Errorf("%+v", snap)
		}
	})
}

func TestProbeFailsThenSucceeds(t *testing.T) {
	withHarness(t, func(st *harness) {
		var looks []time.Duration
		st.l.prepare = readyWhen(func() error {
			if looks = append(looks, st.w.elapsed()); len(looks) < 9 {
				return errors.New("refused")
			}
			return nil
		})
		st.open()
		st.ask(EvStart)
		st.sleep(2 * time.Second)
		st.want(Starting)
		if snap := st.snap(); snap.Waiting != "refused" || snap.Deadline == nil {
			t.Errorf("%+v", snap)
		}
		st.sleep(2 * time.Second)
		st.want(Running)
		ms := time.Millisecond // doubled from 20 ms on, up to Every
		want := []time.Duration{0, 20 * ms, 60 * ms, 140 * ms, 300 * ms, 620 * ms, 1260 * ms, 2260 * ms, 3260 * ms}
		if !slices.Equal(looks, want) {
			t.Errorf("looks %v, want %v", looks, want)
		}
		if snap := st.snap(); snap.Waiting != "" || snap.Reason != "" {
			t.Errorf("%+v", snap)
		}
	})
}

func TestStartTimeout(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.l.prepare = readyWhen(func() error { return errors.New("GET /: answered 503") })
		st.w.startup = func(_ int, p *fakeProcess) error { p.ignores = true; return nil }
		st.cfg.Ready.Within = 10 * time.Second
		st.open()
		st.ask(EvStart)
		st.until(10 * time.Second)
		st.want(Stopping)
		st.until(16 * time.Second)
		st.want(Backoff)
		st.wantReason("not ready within 10s: GET /: answered 503")
		st.w.last().wantSignals(t, "TERM 10s", "KILL 16s")
		if x := st.snap().Exit; x.Success || x.Asked != "" {
			t.Errorf("exit %+v", x)
		}
	})
}

func TestCheckThatHangs(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.l.prepare = func(context.Context, int) (*Launch, error) {
			return &Launch{Ready: probe.Checker(func(ctx context.Context, _ probe.Process) error { <-ctx.Done(); return ctx.Err() })},
				nil
		}
		st.open()
		st.ask(EvStart)
		st.sleep(6 * time.Second)
		if got := st.snap().Waiting; got != "no answer within 5s" {
			t.Errorf("waits for %q", got)
		}
	})
}

func TestExitBeforeReady(t *testing.T) {
	for _, policy := range []string{Always, OnFailure} {
		withHarness(t, func(st *harness) {
			st.cfg.Restart.Policy = policy
			st.l.prepare = readyWhen(func() error { return errors.New("not yet") })
			st.open()
			st.ask(EvStart)
			st.w.last().exits(0)
			st.want(Backoff) // an early end is a failure whatever the code
			st.wantReason("exit code 0 before it was ready")
		})
	}
}

// The port answers, but another process listens on it: ours is dead.
func TestDeadProcessIsNotReady(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.l.prepare = func(context.Context, int) (*Launch, error) {
			return &Launch{Ready: probe.Checker(func(_ context.Context,
				p probe.Process) error {
				p.(*fakeProcess).exits(1)
				return nil
			})}, nil
		}
		for range 20 { // the choice between two events that are there is random
			st.open()
			st.ask(EvStart)
			st.want(Backoff)
			st.wantReason("exit code 1 before it was ready")
			st.cancel()
			<-st.s.life.Done()
		}
	})
}

func TestReadyMeetsExit(t *testing.T) {
	for range 20 { // the choice between two events that are there is random
		withHarness(t, func(st *harness) {
			st.l.prepare = readyWhen(func() error { return errors.New("not yet") })
			st.open()
			var open func()
			st.w.startup = func(int, *fakeProcess) error { open = st.w.holdSave(); return nil }
			st.ask(EvStart)
			st.w.last().exits(1)
			st.s.events <- event{kind: EvReady, gen: 1}
			open()
			st.want(Backoff)
			st.wantReason("exit code 1 before it was ready")
		})
	}
}

func TestPrepareTakesTooLong(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.l.prepare = func(ctx context.Context, n int) (*Launch, error) {
			if n == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return &Launch{}, nil
		}
		st.cfg.Ready.Within = 10 * time.Second
		st.open()
		st.ask(EvStart)
		st.until(10 * time.Second)
		st.want(Backoff)
		st.wantReason("cannot find out within 10s what to start")
		st.sleep(time.Second)
		st.want(Running)
	})
}

// Whatever cannot be started is tried again, from every state in which a start
// is made, and comes back when its program does.
func TestStartThatFails(t *testing.T) {
	enoent := &program.StartError{Path: "/app", Step: "execute", Err: syscall.ENOENT}
	for _, err := range []error{enoent, &program.StartError{Path: "/app", Step: "execute", Err: syscall.EAGAIN},
		errors.New("cannot find Tomcat")} {
		for _, from := range []State{Stopped, Running, Backoff, Stopping, Fatal} {
			for _, where := range []string{"prepare", "start"} {
				withHarness(t, func(st *harness) {
					var bad atomic.Bool
					st.l.prepare = func(context.Context, int) (*Launch, error) {
						if bad.Load() && where == "prepare" {
							return nil, err
						}
						return &Launch{}, nil
					}
					st.w.startup = func(int, *fakeProcess) error {
						if bad.Load() && where == "start" {
							return err
						}
						return nil
					}
					if from == Fatal {
						st.cfg.Restart.Limit.Starts = 0
					}
					st.open()
					if from != Stopped {
						st.ask(EvStart)
						st.want(Running)
					}
					bad.Store(true)
					switch from {
					case Stopped:
						st.ask(EvStart)
					case Running, Stopping:
						st.ask(EvRestart)
					case Backoff, Fatal:
						st.w.last().exits(1)
						st.want(from)
						st.sleep(5*time.Minute + time.Second) // several tries, or a slow one
					}
					snap := st.snap()
					if snap.State != Backoff && snap.State != Fatal || snap.Next == nil || snap.Reason != err.Error() || snap.Pid != 0 {
						t.Errorf("%v from %s: %+v", err, from, snap)
					}
					if wantCode := map[error]int{enoent: 127}[err]; wantCode != 0 && where == "start" && snap.Exit.Code != wantCode {
						t.Errorf("exit code %d, want %d", snap.Exit.Code, wantCode)
					}
					bad.Store(false)
					st.sleep(7 * time.Minute)
					st.want(Running)
					st.wantReason("")
				})
			}
		}
	}
}

func TestReadyByLogLine(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.out = newFakeOutput()
		st.cfg.Ready.Log = "up$"
		st.l.prepare = func(context.Context, int) (*Launch, error) {
			return &Launch{}, nil
		}
		st.out.write("old: up") // of an earlier start
		st.open()
		st.ask(EvStart)
		st.sleep(time.Second)
		st.want(Starting)
		if got := st.snap().Waiting; got != `no line of the output matches "up$" yet` {
			t.Errorf("waits for %q", got)
		}
		st.out.write("it is up")
		st.want(Running)
		st.out.write("one more: up")
		st.want(Running)
	})
}

func TestOutputThatIsNotCaptured(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.cfg.Ready.Log = "up$"
		st.l.prepare = func(context.Context, int) (*Launch, error) {
			return &Launch{}, nil
		}
		st.open()
		st.ask(EvStart)
		st.sleep(st.cfg.Ready.Within)
		st.want(Backoff)
		st.wantReason(`not ready within 2m0s: no line can match "up$": the output is not captured`)
	})
}

// explaining is a Launch that watches for "failed" and explains late.
func explaining(ready func() error, takes time.Duration, lines *[]string) func(context.Context, int) (*Launch, error) {
	return func(context.Context, int) (*Launch, error) {
		return &Launch{Ready: probe.Checker(func(context.Context, probe.Process) error { return ready() }),
			OnStartupLine: func(line []byte) string {
				*lines = append(*lines, string(line)) // not locked: never called together with Explain
				if string(line) == "failed" {
					return "it said failed"
				}
				return ""
			}, Explain: func(ctx context.Context) string {
				if ctx.Err() != nil {
					return "asked too late"
				}
				select {
				case <-time.After(takes):
					return strings.Join(*lines, ", ")
				case <-ctx.Done():
					return ""
				}
			}}, nil
	}
}

func TestServiceSaysThatItFailed(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.out = newFakeOutput()
		var lines []string
		st.l.prepare = explaining(func() error {
			st.out.write("failed") // and answers
			return nil
		}, 200*time.Millisecond, &lines)
		st.open()
		st.ask(EvStart)
		st.sleep(100 * time.Millisecond)
		st.want(Backoff)
		st.wantReason("it said failed")
		st.sleep(200 * time.Millisecond)
		st.wantReason("failed")
	})
}

func TestExplanation(t *testing.T) {
	notYet := func() error { return errors.New("not yet") }
	ready := func() error { return nil }
	cases := map[string]struct {
		ready func() error
		takes time.Duration
		state State // when it comes
		want  string
	}{
		"before it was ready":   {notYet, 100 * time.Millisecond, Backoff, "starting, boom"},
		"during the next start": {notYet, 800 * time.Millisecond, Starting, "starting, boom"},
		"of a run":              {ready, 100 * time.Millisecond, Backoff, "starting"},
		"when it is up again":   {ready, 800 * time.Millisecond, Running, ""},
		"slower than is waited": {notYet, 2900 * time.Millisecond, Starting, "starting, boom"},
		"never":                 {notYet, time.Hour, Backoff, "exit code 1 before it was ready"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(st *harness) {
				st.out = newFakeOutput()
				var lines []string
				st.l.prepare = func(ctx context.Context, n int) (*Launch, error) {
					if n == 1 {
						return explaining(c.ready, c.takes, &lines)(ctx, n)
					}
					return readyWhen(c.ready)(ctx, n)
				}
				st.open()
				st.w.startup = func(n int, _ *fakeProcess) error {
					if n == 1 {
						st.out.write("starting")
					}
					return nil
				}
				st.ask(EvStart)
				st.sleep(time.Second)
				st.out.write("boom")
				st.w.last().exits(1)
				st.sleep(c.takes%time.Hour + 10*time.Millisecond)
				st.want(c.state)
				st.wantReason(c.want)
			})
		})
	}
}

// A last line without its end must not use up the time for the explanation.
func TestExplanationDespiteAnUnfinishedLine(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.out = newFakeOutput()
		var lines []string
		st.l.prepare = explaining(func() error { return errors.New("not yet") }, 0, &lines)
		st.open()
		st.ask(EvStart)
		st.s.output = func() output { return unfinishedOutput{st.out} }
		st.w.last().exits(1)
		st.sleep(reachTime)
		if asked := st.snap().Reason; asked == "asked too late" {
			t.Error(asked)
		}
	})
}

// unfinishedOutput has bytes that belong to no line yet.
type unfinishedOutput struct{ *fakeOutput }

func (l unfinishedOutput) End() int64 { return l.fakeOutput.End() + 5 }

// What is given up has not ended as it should, whatever its code says: a JVM that
// obeys TERM exits with 143.
func TestFailedStartIsNoSuccess(t *testing.T) {
	never := probe.Checker(func(context.Context, probe.Process) error { return errors.New("not yet") })
	obeys := func(p *fakeProcess) { p.onTerm = func() { p.exits(143) } }
	for name, c := range map[string]struct {
		launch *Launch
		then   func(st *harness, p *fakeProcess)
	}{
		"not ready in time":   {&Launch{Ready: never}, func(st *harness, _ *fakeProcess) { st.sleep(time.Minute) }},
		"ended before it was": {&Launch{Ready: never}, func(_ *harness, p *fakeProcess) { p.exits(143) }},
		"not alive":           {&Launch{Live: never}, func(st *harness, _ *fakeProcess) { st.sleep(time.Minute) }},
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(st *harness) {
				st.cfg.SuccessCodes, st.cfg.Restart.Policy, st.cfg.Ready.Within = []int{0, 143}, Never, 10*time.Second
				st.cfg.Live = Live{Every: time.Second, Failures: 2, Then: LiveRestart}
				st.l.prepare = func(context.Context, int) (*Launch, error) { return c.launch, nil }
				st.w.startup = func(_ int, p *fakeProcess) error { obeys(p); return nil }
				st.open()
				st.ask(EvStart)
				st.sleep(time.Second)
				c.then(st, st.w.last())
				st.sleep(time.Second)
				st.want(Exited)
				if ready, not := setOf(st.s).Ready(); ready || st.snap().Exit.Success {
					t.Errorf("ready %v, %q: %+v", ready, not, st.snap().Exit)
				}
			})
		})
	}
}
