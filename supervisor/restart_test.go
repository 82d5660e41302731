package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

func TestPolicy(t *testing.T) {
	killed := proc.Exit{Code: -1, Signal: syscall.SIGKILL}
	cases := []struct {
		policy  string
		success []int
		exit    proc.Exit
		want    State
	}{
		{Always, []int{0}, proc.Exit{}, Backoff},
		{Always, []int{0}, proc.Exit{Code: 1}, Backoff},
		{Always, []int{0}, killed, Backoff},
		{OnFailure, []int{0}, proc.Exit{}, Exited},
		{OnFailure, []int{0}, proc.Exit{Code: 1}, Backoff},
		{OnFailure, []int{0, 143}, proc.Exit{Code: 143}, Exited},
		{OnFailure, []int{0, 143}, killed, Backoff},
		{OnFailure, []int{7}, proc.Exit{Code: 7}, Exited},
		{OnFailure, []int{7}, proc.Exit{}, Backoff},
		{Never, []int{0}, proc.Exit{}, Exited},
		{Never, []int{0}, proc.Exit{Code: 1}, Exited},
		{Never, []int{0}, killed, Exited},
	}
	for _, c := range cases {
		t.Run(fmt.Sprint(c.policy, c.success, c.exit.Status()), func(t *testing.T) {
			withHarness(t, func(st *harness) {
				st.cfg.Restart.Policy, st.cfg.SuccessCodes = c.policy, c.success
				st.up().die(c.exit)
				st.want(c.want)
				snap := st.snap()
				if wantOK := slices.Contains(c.success, c.exit.Status()); snap.Exit.Success != wantOK || (snap.Reason == "") != wantOK {
					t.Errorf("exit %+v, reason %q", snap.Exit, snap.Reason)
				}
				if wantRest := map[bool]int32{true: 1, false: 0}[c.want == Exited]; st.w.endChecks.Load() != wantRest {
					t.Errorf("rested %d times, want %d", st.w.endChecks.Load(), wantRest)
				}
				if snap.Settled != (c.want == Exited) {
					t.Errorf("settled %v", snap.Settled)
				}
			})
		})
	}
}

// gaps are the times between the tries to start.
func (w *fakeEnvironment) gaps() []time.Duration {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []time.Duration
	for k := 1; k < len(w.tries); k++ {
		out = append(out, w.tries[k]-w.tries[k-1])
	}
	return out
}

// dieAtOnce lets every process end with code 1 as soon as it runs.
func dieAtOnce(_ int, p *fakeProcess) error { p.exits(1); return nil }

func TestBackoffSeries(t *testing.T) {
	series := []time.Duration{500, 1000, 2000, 4000, 8000, 16000, 30000, 30000}
	for k := range series {
		series[k] *= time.Millisecond
	}
	failures := map[string]func(int, *fakeProcess) error{
		"exit":  dieAtOnce,
		"start": func(int, *fakeProcess) error { return errors.New("cannot fork") },
	}
	for name, failure := range failures {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(st *harness) {
				st.cfg.Restart.Limit.Starts = 100
				st.w.startup = failure
				st.open()
				st.ask(EvStart)
				st.sleep(100 * time.Second)
				if got := st.w.gaps(); !slices.Equal(got, series) {
					t.Errorf("gaps %v, want %v", got, series)
				}
				if snap := st.snap(); snap.Restarts != len(series) {
					t.Errorf("restarts %d, want %d", snap.Restarts, len(series))
				}
			})
		})
	}
}

func TestBackoffIsResetAfterAStableTime(t *testing.T) {
	for ran, want := range map[time.Duration]time.Duration{time.Minute - 1: 4 * time.Second, time.Minute: 500 * time.Millisecond} {
		withHarness(t, func(st *harness) {
			st.w.startup = func(n int, p *fakeProcess) error {
				if n <= 3 {
					return dieAtOnce(n, p)
				}
				return nil
			}
			st.open()
			st.ask(EvStart)
			st.sleep(3500 * time.Millisecond)
			st.want(Running)
			st.sleep(ran)
			st.w.last().exits(1)
			st.want(Backoff)
			if next := time.Until(*st.snap().Next); next != want {
				t.Errorf("after %v: next start in %v, want %v", ran, next, want)
			}
		})
	}
}

func TestFirstBackoffZero(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.cfg.Restart.Backoff.First = new(time.Duration)
		st.up().exits(1)
		st.want(Running)
		if st.w.elapsed() != 0 || st.w.count() != 2 {
			t.Errorf("%d processes at %v", st.w.count(), st.w.elapsed())
		}
	})
}

func TestStartResetsCounters(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.w.startup = dieAtOnce
		st.open()
		st.ask(EvStart)
		st.sleep(3500 * time.Millisecond)
		st.want(Backoff)
		st.ask(EvStart)
		st.want(Backoff)
		if next := time.Until(*st.snap().Next); next != 500*time.Millisecond || st.snap().Restarts != 0 {
			t.Errorf("next start in %v, %d restarts", next, st.snap().Restarts)
		}
	})
}

func TestLimitThenSlowRetry(t *testing.T) {
	for random, wait := range map[float64]time.Duration{0: 4 * time.Minute, 0.5: 5 * time.Minute, 0.75: 5*time.Minute + 30*time.Second} {
		withHarness(t, func(st *harness) {
			var healthy atomic.Bool
			st.w.startup = func(n int, p *fakeProcess) error {
				if healthy.Load() {
					return nil
				}
				return dieAtOnce(n, p)
			}
			st.open()
			st.s.random = func() float64 { return random }
			st.ask(EvStart)
			st.sleep(15500 * time.Millisecond) // 500 ms, 1, 2, 4, 8 s
			st.want(Fatal)
			snap := st.snap()
			if snap.Settled || time.Until(*snap.Next) != wait || st.w.endChecks.Load() != 1 || snap.Reason != "exit code 1" {
				t.Errorf("%+v, next in %v, want %v", snap, time.Until(*snap.Next), wait)
			}
			st.sleep(wait) // slow, although the earlier starts are forgotten
			st.sleep(wait)
			st.sleep(wait)
			st.want(Fatal)
			if next := time.Until(*st.snap().Next); next != wait {
				t.Errorf("next in %v, want %v", next, wait)
			}
			healthy.Store(true)
			st.sleep(wait)
			st.want(Running)
			st.sleep(59 * time.Second)
			st.w.last().exits(1) // not stable
			st.want(Fatal)
			st.sleep(wait)
			st.want(Running)
			st.sleep(time.Minute)
			st.w.last().exits(1)
			st.want(Backoff)
			if next := time.Until(*st.snap().Next); next != 500*time.Millisecond {
				t.Errorf("next in %v, want the first back-off", next)
			}
		})
	}
}

func TestLimitForGood(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.cfg.Restart.Limit.RetryEvery = new(time.Duration)
		st.cfg.Restart.Limit.Starts = 2
		st.w.startup = dieAtOnce
		st.open()
		st.ask(EvStart)
		st.sleep(24 * time.Hour)
		st.want(Fatal)
		if snap := st.snap(); !snap.Settled || snap.Next != nil || st.w.count() != 3 || st.w.endChecks.Load() != 1 {
			t.Errorf("%+v, %d processes", snap, st.w.count())
		}
	})
}

// Ends that are further apart than the limit's time never lead to FATAL.
func TestLimitIsWithinATime(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.cfg.Restart.Backoff.Reset = time.Hour
		st.cfg.Restart.Limit = Limit{Starts: 2, Within: time.Minute, RetryEvery: st.cfg.Restart.Limit.RetryEvery}
		p := st.up()
		for range 10 {
			st.sleep(40 * time.Second)
			p.exits(1)
			st.want(Backoff)
			st.sleep(time.Until(*st.snap().Next))
			st.want(Running)
			p = st.w.last()
		}
	})
}

// A service that works and then ends with a code that does not count is never
// parked: only the back-off holds it up, across supervisors too. Other ends count.
func TestUncountedEnds(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.cfg.Restart.Limit.UncountedCodes = []int{3}
		st.up()
		for n := range 20 {
			st.w.last().exits(3)
			st.want(Backoff)
			if n%5 == 0 {
				st.crash()
			}
			st.sleep(30 * time.Second)
			st.want(Running)
		}
		for range st.cfg.Restart.Limit.Starts {
			st.w.last().exits(1)
			st.want(Backoff)
			st.sleep(30 * time.Second)
			st.want(Running)
		}
		st.w.last().exits(1)
		st.want(Fatal)
	})
}

// A service that never gets to work is parked, whatever its code.
func TestUncountedEndsBeforeReadyCount(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.cfg.Restart.Limit.UncountedCodes = []int{3}
		st.l.prepare = readyWhen(func() error { return errors.New("not yet") })
		st.w.startup = func(_ int, p *fakeProcess) error { p.exits(3); return nil }
		st.open()
		st.ask(EvStart)
		st.sleep(time.Minute)
		st.want(Fatal)
	})
}
