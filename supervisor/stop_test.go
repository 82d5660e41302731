package supervisor

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

// up starts a service and waits until it is RUNNING.
func (st *harness) up() *fakeProcess {
	st.t.Helper()
	st.open()
	st.ask(EvStart)
	st.want(Running)
	return st.w.last()
}

// dumping is a Launch that can make a thread dump.
func dumping(context.Context, int) (*Launch, error) {
	return &Launch{DumpSignal: syscall.SIGQUIT}, nil
}

func wantAnswer(t *testing.T, got <-chan error, want string) {
	t.Helper()
	select {
	case err := <-got:
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("answer %v, want %q", err, want)
		}
	default:
		t.Errorf("no answer, want %q", want)
	}
}

func TestStopWhileItIsFoundOutWhatToStart(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.l.prepare = func(ctx context.Context, _ int) (*Launch, error) {
			time.Sleep(time.Second) // obeys its ctx late
			return &Launch{}, nil
		}
		st.open()
		st.ask(EvStart)
		wantAnswer(t, st.send(request{event: EvStop}), "")
		st.want(Stopped)
		st.sleep(time.Minute)
		st.want(Stopped)
		if n := st.w.count(); n != 0 {
			t.Errorf("%d processes, want none", n)
		}
	})
}

func TestStopDuringStart(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.l.prepare = readyWhen(func() error { return errors.New("not yet") })
		st.open()
		st.ask(EvStart)
		wantAnswer(t, st.send(request{event: EvStop, by: "test"}), "")
		st.want(Stopped)
		st.wantReason("")
		if x := st.snap().Exit; !x.Success || x.Signal != syscall.SIGTERM || x.Asked != "test" {
			t.Errorf("exit %+v", x)
		}
	})
}

func TestStopInBackoff(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.up().exits(3)
		st.want(Backoff)
		wantAnswer(t, st.send(request{event: EvStop}), "")
		st.want(Stopped)
		st.sleep(time.Hour)
		if n := st.w.count(); n != 1 || st.snap().Exit.Code != 3 {
			t.Errorf("%d processes, exit %+v", n, st.snap().Exit)
		}
	})
}

// A stop that comes together with the end of the process must not hide how it
// ended.
func TestStopMeetsExit(t *testing.T) {
	for range 20 { // the choice between two events that are there is random
		withHarness(t, func(st *harness) {
			p := st.up()
			open := st.w.holdSave()
			st.sleep(time.Minute) // stable, which is kept
			p.exits(3)
			stopped := st.send(request{event: EvStop, by: "test"})
			open()
			wantAnswer(t, stopped, "")
			st.want(Stopped)
			if x := st.snap().Exit; x == nil || x.Code != 3 || x.Asked != "" {
				t.Fatalf("exit %+v", x)
			}
			p.wantSignals(t)
		})
	}
}

// Nor is a process that is dead by the deadline killed.
func TestDeadlineMeetsExit(t *testing.T) {
	for range 20 {
		withHarness(t, func(st *harness) {
			p := st.up()
			open := st.w.holdSave()
			stopped := st.send(request{event: EvStop, by: "test"})
			st.sleep(10 * time.Second)
			p.exits(0)
			open()
			wantAnswer(t, stopped, "")
			st.want(Stopped)
			for _, sig := range p.sent() {
				if strings.HasPrefix(sig, "KILL") {
					t.Errorf("%s", sig)
				}
			}
		})
	}
}

func TestEscalation(t *testing.T) {
	cases := map[string]struct {
		dump, catches bool
		limit         time.Duration
		want          []string
	}{
		"plain":                      {want: []string{"TERM 0s", "KILL 6s"}},
		"thread dump":                {dump: true, catches: true, want: []string{"TERM 0s", "QUIT alone 6s", "KILL 7s"}},
		"does not catch QUIT":        {dump: true, want: []string{"TERM 0s", "KILL 6s"}},
		"dump is off":                {catches: true, want: []string{"TERM 0s", "KILL 6s"}},
		"limit":                      {limit: 2 * time.Second, want: []string{"TERM 0s", "KILL 2s"}},
		"long limit":                 {limit: time.Minute, want: []string{"TERM 0s", "KILL 6s"}},
		"limit includes the dump":    {dump: true, catches: true, limit: 5 * time.Second, want: []string{"TERM 0s", "QUIT alone 4s", "KILL 5s"}},
		"limit too short for a dump": {dump: true, catches: true, limit: 100 * time.Millisecond, want: []string{"TERM 0s", "KILL 50ms"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(st *harness) {
				st.cfg.Stop.ThreadDump, st.l.prepare = &c.dump, dumping
				p := st.up()
				p.ignores, p.catches[syscall.SIGQUIT] = true, c.catches
				stopped := st.send(request{event: EvStop, by: "test", limit: c.limit})
				st.want(Stopping)
				st.sleep(7 * time.Second)
				wantAnswer(t, stopped, "")
				p.wantSignals(t, c.want...)
				if x := st.snap().Exit; x.Success || x.Signal != syscall.SIGKILL {
					t.Errorf("exit %+v", x)
				}
			})
		})
	}
}

func TestLaterStopHurries(t *testing.T) {
	cases := map[string]struct {
		second time.Duration // its limit, 2 s after the first
		want   []string
	}{
		"shorter":              {time.Millisecond, []string{"TERM 0s", "KILL 2.0005s"}},
		"with room for a dump": {3 * time.Second, []string{"TERM 0s", "QUIT alone 4s", "KILL 5s"}},
		"longer":               {time.Hour, []string{"TERM 0s", "QUIT alone 6s", "KILL 7s"}},
		"none":                 {0, []string{"TERM 0s", "QUIT alone 6s", "KILL 7s"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(st *harness) {
				dump := true
				st.cfg.Stop.ThreadDump, st.l.prepare = &dump, dumping
				p := st.up()
				p.ignores, p.catches[syscall.SIGQUIT] = true, true
				first := st.send(request{event: EvStop})
				st.until(2 * time.Second)
				second := st.send(request{event: EvStop, limit: c.second, sig: syscall.SIGINT})
				st.until(7 * time.Second)
				wantAnswer(t, first, "")
				wantAnswer(t, second, "")
				p.wantSignals(t, c.want...)
			})
		})
	}
}

// While only the group is waited for, a new limit must neither be lost nor
// lengthen the time to the next look.
func TestLaterStopWhileTheGroupLives(t *testing.T) {
	withHarness(t, func(st *harness) {
		p := st.up()
		p.leave(map[int]bool{900: true, 901: true})
		st.ask(EvStop)
		st.until(time.Second)
		st.want(Stopping)
		if left := st.snap().Left; len(left) != 2 {
			t.Errorf("left %v", left)
		}
		stopped := st.send(request{event: EvStop, limit: 2 * time.Second})
		st.until(2 * time.Second)
		p.leave(map[int]bool{900: true})
		st.until(3*time.Second + lastPoll)
		wantAnswer(t, stopped, "")
		p.wantSignals(t, "TERM 0s", "KILL 3s")
	})
	withHarness(t, func(st *harness) {
		p := st.up()
		p.leave(map[int]bool{900: true})
		st.ask(EvStop)
		st.until(time.Second)
		stopped := st.send(request{event: EvStop, limit: 4 * time.Second})
		p.leave(nil)
		st.sleep(lastPoll)
		wantAnswer(t, stopped, "")
	})
}

func TestStoppedMeansThatTheGroupIsGone(t *testing.T) {
	withHarness(t, func(st *harness) {
		p := st.up()
		p.leave(map[int]bool{900: true, 901: false})
		stopped := st.send(request{event: EvStop})
		st.until(6*time.Second - time.Millisecond)
		st.want(Stopping)
		if snap := st.snap(); snap.Pid != 0 || p.isDone() || p.acked() != 1 {
			t.Errorf("%+v, done %v", snap, p.isDone())
		}
		st.until(6*time.Second + lastPoll)
		wantAnswer(t, stopped, "")
		st.want(Stopped)
		p.wantSignals(t, "TERM 0s", "KILL 6s")
	})
}

func TestUndeadMember(t *testing.T) {
	withHarness(t, func(st *harness) {
		p := st.up()
		p.undead, p.ignores = true, true
		stopped := st.send(request{event: EvStop})
		st.until(time.Minute)
		st.want(Stopping)
		p.obeys()
		st.sleep(2 * lastPoll)
		wantAnswer(t, stopped, "")
	})
}

func TestLeftoversAreEndedBeforeTheNextStart(t *testing.T) {
	for _, stubborn := range []bool{false, true} {
		for _, code := range []int{0, 3} {
			withHarness(t, func(st *harness) {
				p := st.up()
				st.sleep(time.Second)
				p.leave(map[int]bool{900: stubborn})
				p.exits(code)
				if stubborn {
					st.want(Stopping)
					st.until(7*time.Second + lastPoll)
					p.wantSignals(t, "TERM 1s", "KILL 7s")
				} else {
					p.wantSignals(t, "TERM 1s")
				}
				st.want(Backoff)
				if x := st.snap().Exit; x.Code != code || x.Success != (code == 0) {
					t.Errorf("exit %+v", x)
				}
				st.sleep(time.Second)
				st.want(Running) // fakeEnvironment.Start sees to it that nobody is left
			})
		}
	}
}

func TestLeftoversOfAServiceThatIsOver(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.cfg.Restart.Policy = OnFailure
		p := st.up()
		p.leave(map[int]bool{900: false})
		p.exits(0)
		st.want(Exited)
	})
}

func TestRestart(t *testing.T) {
	for _, from := range States() {
		t.Run(string(from), func(t *testing.T) {
			withHarness(t, func(st *harness) {
				st.bring(from)
				st.l.setPrepare(nil)
				if err := <-st.send(request{event: EvRestart, by: "test"}); err != nil {
					t.Error(err)
				}
				st.sleep(6*time.Second + lastPoll)
				st.want(Running)
				if st.snap().Restarts != 0 {
					t.Errorf("restarts %d: only those by policy count", st.snap().Restarts)
				}
			})
		})
	}
}

func TestStartWhileStopping(t *testing.T) {
	for _, ev := range []Event{EvStart, EvRestart} {
		withHarness(t, func(st *harness) {
			p := st.up()
			p.ignores = true
			superseded := st.send(request{event: EvStop, by: "test"})
			st.sleep(time.Second)
			if err := <-st.send(request{event: ev, by: "test"}); err != nil {
				t.Error(err)
			}
			st.want(Stopping)
			st.until(6*time.Second + lastPoll)
			st.want(Running)
			wantAnswer(t, superseded, "asked to start again")
		})
	}
}

func TestStopAfterRestart(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.up().ignores = true
		st.ask(EvRestart)
		stopped := st.send(request{event: EvStop})
		st.sleep(6*time.Second + lastPoll)
		wantAnswer(t, stopped, "")
		st.sleep(time.Hour)
		st.want(Stopped)
	})
}

// A start that fails is being ended; a stop meanwhile is obeyed.
func TestStopWhileAFailedStartEnds(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.bring(Starting)
		st.w.last().ignores = true
		st.deliver(event{kind: EvFailureFound, text: "boom"})
		st.want(Stopping)
		stopped := st.send(request{event: EvStop, by: "test"})
		st.sleep(6*time.Second + lastPoll)
		wantAnswer(t, stopped, "")
		st.want(Stopped)
		st.wantReason("boom")
	})
}

func TestSuccessOfAStop(t *testing.T) {
	cases := map[string]struct {
		exit proc.Exit
		sig  syscall.Signal
		want bool
	}{
		"our signal":                    {proc.Exit{Code: -1, Signal: syscall.SIGTERM}, 0, true},
		"143, as a JVM":                 {proc.Exit{Code: 143}, 0, true},
		"0":                             {proc.Exit{}, 0, true},
		"1":                             {proc.Exit{Code: 1}, 0, false},
		"another signal":                {proc.Exit{Code: -1, Signal: syscall.SIGSEGV}, 0, false},
		"the signal of the request":     {proc.Exit{Code: -1, Signal: syscall.SIGINT}, syscall.SIGINT, true},
		"130 for that":                  {proc.Exit{Code: 130}, syscall.SIGINT, true},
		"not the signal of the request": {proc.Exit{Code: 143}, syscall.SIGINT, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(st *harness) {
				p := st.up()
				p.onTerm = func() { p.die(c.exit) }
				wantAnswer(t, st.send(request{event: EvStop, by: "test", sig: c.sig}), "")
				if x := st.snap().Exit; x.Success != c.want {
					t.Errorf("%v: success %v", x, x.Success)
				}
			})
		})
	}
}

func TestUnrequestedSignalIsNoSuccess(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.up().die(proc.Exit{Code: -1, Signal: syscall.SIGTERM})
		if x := st.snap().Exit; x.Success {
			t.Errorf("%+v", x)
		}
	})
}

func TestAskWithoutAService(t *testing.T) {
	withHarness(t, func(st *harness) {
		p := st.up()
		p.ignores = true
		waiting := st.send(request{event: EvStop})
		st.cancel()
		<-st.s.life.Done()
		wantAnswer(t, st.send(request{event: EvStart}), "the supervisor ends")
		wantAnswer(t, waiting, "the supervisor ends")
	})
}
