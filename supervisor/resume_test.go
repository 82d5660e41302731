package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/supervisor/probe"
)

// fill sets every field to something that is not its zero value.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1700000000, 5).UTC()))
			return
		}
		for k := range v.NumField() {
			if f := v.Type().Field(k); f.IsExported() && f.Tag.Get("json") != "-" {
				fill(v.Field(k))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint64:
		v.SetUint(8)
	default:
		panic("not known: " + v.Kind().String())
	}
}

func TestSavedStateRoundTrip(t *testing.T) {
	var want, got savedState
	fill(reflect.ValueOf(&want).Elem())
	blob, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(blob, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestUnreadableState(t *testing.T) {
	withHarness(t, func(st *harness) {
		s := st.newService()
		if err := s.resume([]byte(`{"state": "RUNNING", "gen": "x"}`), nil); err == nil {
			t.Error("no error")
		}
		if !s.isNew || s.saved.State != Stopped || s.saved.Gen != 0 {
			t.Errorf("%+v", s.saved)
		}
	})
}

// A crash in every state that rests, and time passes before the next supervisor.
func TestResume(t *testing.T) {
	notYet := readyWhen(func() error { return errors.New("not yet") })
	cases := map[string]struct {
		before func(st *harness) // up to the crash
		after  func(st *harness) // what happens while no supervisor works
		check  func(st *harness)
	}{
		"stopped stays": {
			func(st *harness) { st.up(); st.ask(EvStop) }, nil,
			func(st *harness) { st.want(Stopped); st.sleep(time.Hour); st.want(Stopped) }},
		"running goes on": {
			func(st *harness) { st.up() }, nil,
			func(st *harness) {
				st.want(Running)
				if snap := st.snap(); snap.Pid != 101 || snap.Restarts != 0 {
					st.t.Errorf("%+v", snap)
				}
			}},
		"stable time counts through": {
			func(st *harness) { st.up(); st.s.saved.InARow = 3; st.sleep(30 * time.Second) }, nil,
			func(st *harness) {
				st.until(time.Minute)
				st.w.last().exits(1)
				st.want(Backoff)
				st.wantNext(500 * time.Millisecond)
			}},
		"exit reported to the next supervisor": {
			func(st *harness) { st.up() },
			func(st *harness) { st.w.last().exits(3) },
			func(st *harness) {
				st.want(Backoff)
				st.wantNext(500 * time.Millisecond)
				if snap := st.snap(); snap.Exit.Code != 3 || snap.Reason != "exit code 3" {
					st.t.Errorf("%+v", snap)
				}
			}},
		"exit after a stable time, seen late": {
			func(st *harness) { st.up(); st.w.last().exits(1); st.sleep(time.Second); st.want(Running) },
			func(st *harness) { st.sleep(2 * time.Minute); st.w.last().exits(1) },
			func(st *harness) { st.want(Backoff); st.wantNext(500 * time.Millisecond) }},
		"back-off goes on": {
			func(st *harness) { st.up(); st.w.last().exits(1); st.sleep(200 * time.Millisecond) }, nil,
			func(st *harness) {
				st.want(Backoff)
				st.wantNext(300 * time.Millisecond)
				st.sleep(300 * time.Millisecond)
				st.want(Running)
				if got := st.w.last().id; got != "app.2" || st.snap().Restarts != 1 {
					st.t.Errorf("%s, %+v", got, st.snap())
				}
			}},
		"back-off is over": {
			func(st *harness) { st.up(); st.w.last().exits(1); st.want(Backoff) },
			func(st *harness) { st.sleep(time.Minute) },
			func(st *harness) { st.want(Running) }},
		"start timeout counts through": {
			func(st *harness) { st.l.prepare = notYet; st.open(); st.ask(EvStart); st.sleep(time.Minute) }, nil,
			func(st *harness) { st.want(Starting); st.until(2 * time.Minute); st.want(Backoff) }},
		"start timeout is over": {
			func(st *harness) { st.l.prepare = notYet; st.open(); st.ask(EvStart) },
			func(st *harness) { st.sleep(time.Hour) },
			func(st *harness) { st.want(Backoff) }},
		"found ready": {
			func(st *harness) { st.l.prepare = notYet; st.open(); st.ask(EvStart); st.sleep(time.Minute) },
			func(st *harness) { st.l.setPrepare(readyWhen(func() error { return nil })) },
			func(st *harness) { st.want(Running) }},
		"ended before it was ready": {
			func(st *harness) { st.l.prepare = notYet; st.open(); st.ask(EvStart) },
			func(st *harness) { st.w.last().exits(0) },
			func(st *harness) { st.want(Backoff); st.wantReason("exit code 0 before it was ready") }},
		"stop goes on": {
			func(st *harness) { st.up().ignores = true; st.ask(EvStop); st.sleep(4 * time.Second) },
			func(st *harness) { st.sleep(time.Second) },
			func(st *harness) {
				st.want(Stopping)
				st.until(6 * time.Second)
				st.want(Stopped)
				st.w.last().wantSignals(st.t, "TERM 0s", "KILL 6s")
			}},
		"stop is over time": {
			func(st *harness) { st.up().ignores = true; st.ask(EvStop) },
			func(st *harness) { st.sleep(time.Minute) },
			func(st *harness) { st.want(Stopped); st.w.last().wantSignals(st.t, "TERM 0s", "KILL 1m0s") }},
		"one thread dump is enough": {
			func(st *harness) {
				dump := true
				st.cfg.Stop.ThreadDump, st.l.prepare = &dump, dumping
				p := st.up()
				p.ignores, p.catches[syscall.SIGQUIT] = true, true
				st.ask(EvStop)
				st.sleep(6500 * time.Millisecond)
			}, nil,
			func(st *harness) {
				st.until(7 * time.Second)
				st.want(Stopped)
				st.w.last().wantSignals(st.t, "TERM 0s", "QUIT alone 6s", "KILL 7s")
			}},
		"stopped meanwhile": {
			func(st *harness) { st.up().ignores = true; st.ask(EvStop) },
			func(st *harness) { st.w.last().exits(0) },
			func(st *harness) {
				st.want(Stopped)
				if x := st.snap().Exit; x == nil || x.Asked != "test" || !x.Success {
					st.t.Errorf("%+v", x)
				}
			}},
		"group of a leader whose exit is acknowledged": {
			func(st *harness) { st.up().leave(map[int]bool{900: true}); st.ask(EvStop); st.sleep(time.Second) }, nil,
			func(st *harness) {
				st.want(Stopping)
				st.until(6*time.Second + lastPoll)
				st.want(Stopped)
				if x := st.snap().Exit; x == nil || !x.Success {
					st.t.Errorf("%+v", x)
				}
			}},
		"group ended meanwhile": {
			func(st *harness) { st.up().leave(map[int]bool{900: true}); st.ask(EvStop); st.sleep(time.Second) },
			func(st *harness) { st.w.last().leave(nil) },
			func(st *harness) { st.want(Stopped) }},
		"restart goes on": {
			func(st *harness) { st.up().ignores = true; st.ask(EvRestart) },
			func(st *harness) { st.w.last().exits(0) },
			func(st *harness) {
				st.want(Running)
				if st.w.count() != 2 || st.snap().Restarts != 0 {
					st.t.Errorf("%d processes, %+v", st.w.count(), st.snap())
				}
			}},
		"slow retry goes on": {
			func(st *harness) {
				st.cfg.Restart.Limit.Starts = 0
				st.up().exits(1)
				st.want(Fatal)
				st.sleep(time.Minute)
			}, nil,
			func(st *harness) {
				st.want(Fatal)
				st.wantNext(4 * time.Minute)
				st.sleep(4 * time.Minute)
				st.want(Running)
			}},
		"exited is heard again": {
			func(st *harness) { st.cfg.Restart.Policy = Never; st.up().exits(1); st.want(Exited) }, nil,
			func(st *harness) {
				st.want(Exited)
				if st.w.endChecks.Load() != 2 {
					st.t.Errorf("rested %d times, want 2", st.w.endChecks.Load())
				}
			}},
		"a start that came to nothing is made again": {
			func(st *harness) {
				st.l.prepare = func(ctx context.Context, n int) (*Launch, error) {
					if n == 1 {
						<-ctx.Done()
					}
					return &Launch{}, ctx.Err()
				}
				st.open()
				st.ask(EvStart)
				st.sleep(time.Minute)
			}, nil,
			func(st *harness) { st.want(Running) }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(st *harness) {
				c.before(st)
				synctest.Wait()
				st.cancel()
				<-st.s.life.Done()
				synctest.Wait()
				if c.after != nil {
					c.after(st)
				}
				st.takeOver()
				c.check(st)
			})
		})
	}
}

// Each crash in a start that hangs must not give it its whole time again.
func TestStartTimeoutThroughManyCrashes(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.cfg.Ready.Within = 10 * time.Second
		st.l.prepare = func(ctx context.Context, n int) (*Launch, error) { <-ctx.Done(); return nil, ctx.Err() }
		st.open()
		st.ask(EvStart)
		for range 4 {
			st.sleep(2 * time.Second)
			st.crash()
			st.want(Starting)
		}
		st.sleep(2 * time.Second)
		st.want(Backoff)
	})
}

func (st *harness) wantNext(want time.Duration) {
	st.t.Helper()
	if next := st.snap().Next; next == nil || time.Until(*next) != want {
		st.t.Errorf("next start %v, want in %v", next, want)
	}
}

func TestUnclaimedProcessIsEnded(t *testing.T) {
	withHarness(t, func(st *harness) {
		p := st.up()
		st.cancel()
		<-st.s.life.Done()
		var k savedState
		if err := json.Unmarshal(st.w.stored, &k); err != nil {
			t.Fatal(err)
		}
		k.Gen++ // the fd store knows of a later start only
		k.State = Stopped
		st.w.stored, _ = json.Marshal(k)
		st.takeOver()
		if p.wantSignals(t, "KILL 0s"); !p.isDone() {
			t.Error("not done")
		}
	})
	withHarness(t, func(st *harness) { // one of a start that the state calls over
		p := st.up()
		st.cancel()
		<-st.s.life.Done()
		st.w.stored, _ = json.Marshal(savedState{State: Backoff, Gen: 1, Deadline: st.w.now() + 1})
		st.takeOver()
		if p.wantSignals(t, "KILL 0s"); !p.isDone() || st.w.count() != 1 {
			t.Errorf("done %v, %d processes", p.isDone(), st.w.count())
		}
	})
}

// What a start has found out is there for every supervisor after it, in every state,
// and another start has its own.
func TestAttachDataSurvives(t *testing.T) {
	for name, learned := range map[string]string{"little": `{"port":8080}`, "too much": strings.Repeat("x", maxAttachData+1)} {
		t.Run(name, func(t *testing.T) {
			want := learned
			if len(learned) > maxAttachData {
				want = ""
			}
			withHarness(t, func(st *harness) {
				var ready atomic.Bool
				probe := probe.Checker(func(context.Context, probe.Process) error {
					if !ready.Load() {
						return errors.New("not yet")
					}
					return nil
				})
				st.l.prepare = func(_ context.Context, n int) (*Launch, error) {
					return &Launch{AttachData: strings.Replace(learned, "8080", fmt.Sprint(8079+n), 1), Ready: probe}, nil
				}
				st.l.attach = func() (*Launch, error) { return &Launch{Ready: probe}, nil }
				st.open()
				st.ask(EvStart)
				check := func(state State, want string) {
					t.Helper()
					st.crash()
					st.want(state)
					if st.l.attachData != want {
						t.Errorf("%s: Attach is given %.40q", state, st.l.attachData)
					}
				}
				check(Starting, want)
				check(Starting, want)
				ready.Store(true)
				st.sleep(2 * time.Second)
				check(Running, want)
				st.ask(EvRestart)
				st.sleep(2 * time.Second)
				check(Running, strings.Replace(want, "8080", "8081", 1))
			})
		})
	}
}

// A service that is not probed any more does not pass for one that is alive.
func TestUnprobedIsNoted(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.l.attach = func() (*Launch, error) { return nil, errors.New("its home is gone") }
		st.up()
		st.crash()
		st.sleep(time.Second)
		st.want(Running)
		if notes := st.snap().Notes; len(notes) != 1 || notes[0] != "it is not probed until its next start: its home is gone" {
			t.Errorf("notes %q", notes)
		}
	})
}
