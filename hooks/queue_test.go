package hooks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

func TestLifecycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestRunner(t, newFakeHost(), Recovered{},
			newHook(lifecycle.Init, "i", "1s"), newHook(lifecycle.NetworkReady, "n", "1s"), newHook(lifecycle.PreStart, "a", "1s"),
			newHook(lifecycle.PreStart, "b", "1s"),
			newHook(lifecycle.Started, "s", "1s"), newHook(lifecycle.Ready, "r", "1s"), newHook(lifecycle.Ready, "other", "1s", services("db")),
			newHook(lifecycle.PreStop, "p", "1s"), newHook(lifecycle.Exited, "e", "1s"), newHook(lifecycle.Stopped, "t", "1s"),
			newHook(lifecycle.Exit, "x", "1s"))
		ctx := context.Background()
		for _, o := range []lifecycle.Occurrence{{Event: lifecycle.Init}, {Event: lifecycle.NetworkReady}, of(lifecycle.PreStart, 1)} {
			if err := l.Await(ctx, o); err != nil {
				t.Fatal(err)
			}
		}
		l.Tell(of(lifecycle.Started, 1))
		l.Tell(of(lifecycle.Ready, 1))
		time.Sleep(5 * time.Second)
		if err := l.Await(ctx, of(lifecycle.PreStop, 1)); err != nil {
			t.Fatal(err)
		}
		l.Tell(of(lifecycle.Exited, 1))
		l.Tell(of(lifecycle.Stopped, 1))
		l.Settle(ctx)
		if err := l.Await(ctx, lifecycle.Occurrence{Event: lifecycle.Exit}); err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "started", l.h.started, []string{"init/i@0s", "network-ready/n@1s", "pre-start/a@2s", "pre-start/b@3s", "started/s@4s",
			"ready/r@5s",
			"pre-stop/p@9s", "exited/e@10s", "stopped/t@11s", "exit/x@12s"})
		wantEqual(t, "done", l.done, []string{"init: i ok", "network-ready: n ok", "pre-start: a ok, b ok", "started: s ok", "ready: r ok",
			"pre-stop: p ok", "exited: e ok", "stopped: t ok", "exit: x ok"})
		if len(l.h.alive) != 0 {
			t.Errorf("processes are left: %v", l.h.alive)
		}
	})
}

func TestOncePerOccurrence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestRunner(t, newFakeHost(), Recovered{}, newHook(lifecycle.PreStart, "a", "1s exit 1", onFailure("fail")),
			newHook(lifecycle.Ready, "r", "1s"), newHook(lifecycle.JobFinished, "j", "1s"))
		ctx := context.Background()
		for range 3 {
			if err := l.Await(ctx, of(lifecycle.PreStart, 1)); err == nil || err.Error() != "hook pre-start/a failed: exit code 1" {
				t.Errorf("%v", err)
			}
			l.Tell(of(lifecycle.Ready, 1))
			l.Tell(lifecycle.Occurrence{Event: lifecycle.JobFinished, Service: "one"})
			l.Tell(lifecycle.Occurrence{Event: lifecycle.JobFinished, Service: "two"})
		}
		if err := l.Await(ctx, of(lifecycle.PreStart, 2)); err == nil {
			t.Error("the second start does not fail")
		}
		l.Tell(of(lifecycle.Ready, 2))
		l.Tell(of(lifecycle.Ready, 1)) // of a start that is over
		l.Settle(ctx)
		slices.Sort(l.done) // queues do not wait for each other
		wantEqual(t, "done", l.done, []string{"job-finished: j ok", "job-finished: j ok", "pre-start: a exit code 1", "pre-start: a exit code 1",
			"ready: r ok", "ready: r ok"})
	})
}

func TestAdjacentParallelHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestRunner(t, newFakeHost(), Recovered{}, newHook(lifecycle.Ready, "a", "3s"), newHook(lifecycle.Ready, "b", "3s", parallel),
			newHook(lifecycle.Ready, "c", "1s exit 1", parallel), newHook(lifecycle.Ready, "d", "3s"))
		l.Tell(of(lifecycle.Ready, 1))
		l.Settle(context.Background())
		wantEqual(t, "started", []string{l.h.started[0], l.h.started[3]}, []string{"ready/a@0s", "ready/d@6s"})
		wantEqual(t, "done", l.done, []string{"ready: a ok, b ok, c exit code 1, d ok"})
		if l.h.most != 2 {
			t.Errorf("%d at once", l.h.most)
		}
	})
}

func TestTimeouts(t *testing.T) {
	for _, tc := range []struct {
		name, command string
		signals       []string
		why           string
		took          time.Duration
	}{
		{"hangs", "1h say waiting", []string{"terminated@2s"}, "did not end within 2s: waiting", 2 * time.Second},
		{"ignores TERM", "1h ignore-term", []string{"terminated@2s", "killed@7s"}, "did not end within 2s, ignored TERM and was killed",
			7 * time.Second},
		{"does not die", "1h immortal", []string{"terminated@2s", "killed@7s"},
			"did not end within 2s, ignored TERM and was killed, and does not die of KILL within 1s", 8 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newTestRunner(t, newFakeHost(), Recovered{}, newHook(lifecycle.PreStart, "a", tc.command, timeout(2*time.Second)))
			begun := time.Now()
			if err := l.Await(context.Background(), of(lifecycle.PreStart, 1)); err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			if took := time.Since(begun); took != tc.took {
				t.Errorf("%s: %v", tc.name, took)
			}
			l.Settle(context.Background())
			wantEqual(t, tc.name, l.h.signals, tc.signals)
			wantEqual(t, tc.name, l.done, []string{"pre-start: a " + tc.why})
			if n := l.Counters(); len(n) != 1 || n[0].Result != ResultTimeout || n[0].Runs != 1 {
				t.Errorf("%s: %+v", tc.name, n)
			}
			l.h.mu.Lock()
			living := slices.Collect(maps.Values(l.h.alive))
			l.h.mu.Unlock()
			for _, r := range living { // so that its goroutine ends
				r.never = false
				r.SignalGroup(9)
			}
		})
	}
}

func TestPolicies(t *testing.T) {
	for _, tc := range []struct {
		event  lifecycle.Event
		policy string
		more   func(*ResolvedHook)
		tries  int
		err    string
		failed string
		bad    string
	}{
		{lifecycle.PreStart, "ignore", nil, 1, "", "", ""},
		{lifecycle.PreStart, "fail", nil, 1, "hook pre-start/a failed: exit code 3: no route", "", ""},
		{lifecycle.PreStart, "retry 2", nil, 3, "", "", ""},
		{lifecycle.PreStart, "retry 2, fail", nil, 3, "hook pre-start/a failed: exit code 3: no route", "", ""},
		{lifecycle.Init, "fail", nil, 1, "hook init/a failed: exit code 3: no route", "", ""},
		{lifecycle.PreStop, "fail", nil, 1, "", "", ""},
		{lifecycle.Exit, "fail", nil, 1, "", "", ""},
		{lifecycle.Ready, "fail", nil, 1, "", "ready/a: exit code 3: no route", ""},
		{lifecycle.Exited, "fail", nil, 1, "", "", ""},
		{lifecycle.PreStart, "fail", plugin("jacoco"), 1, "", "", "jacoco: its hook pre-start/jacoco/a failed: exit code 3: no route"},
		{lifecycle.PreStart, "ignore", plugin("jacoco"), 1, "", "", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newHook(tc.event, "a", "1s exit 3 say", onFailure(tc.policy))
			b.Command = append(b.Command, "first\nno route\n")
			if tc.more != nil {
				tc.more(&b)
			}
			l := newTestRunner(t, newFakeHost(), Recovered{}, b, newHook(tc.event, "next", "0s"))
			err := l.Await(context.Background(), of(tc.event, 1))
			if (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err {
				t.Errorf("%s %s: %v", tc.event, tc.policy, err)
			}
			ran := strings.Contains(strings.Join(l.h.started, " "), "next")
			if got := len(l.h.started) - map[bool]int{true: 1}[ran]; got != tc.tries || ran == (tc.err != "") {
				t.Errorf("%s %s: started %q", tc.event, tc.policy, l.h.started)
			}
			if got := strings.Join(l.failures, ";"); got != tc.failed {
				t.Errorf("%s %s: failed %q", tc.event, tc.policy, got)
			}
			if got := strings.Join(l.pluginFailures, ";"); got != tc.bad {
				t.Errorf("%s %s: plugin %q", tc.event, tc.policy, got)
			}
		})
	}
}

func TestStopCancelsEarlierHooks(t *testing.T) {
	for _, tc := range []struct {
		event, comes lifecycle.Event
		took         time.Duration // until pre-stop's own hook begins
		until        time.Duration
	}{
		{lifecycle.Started, lifecycle.PreStop, 0, 0},
		{lifecycle.Ready, lifecycle.PreStop, 0, 0},
		{lifecycle.Ready, lifecycle.PreStop, 0, 3 * time.Second},
		{lifecycle.Unhealthy, lifecycle.PreStop, 5 * time.Second, 0}, // what follows it is often this stop
		{lifecycle.StartFailed, lifecycle.PreStop, 5 * time.Second, 0},
		{lifecycle.Unhealthy, lifecycle.PreStop, time.Second, 3 * time.Second},
		{lifecycle.Ready, lifecycle.Exited, 0, 0},
		{lifecycle.Ready, lifecycle.Stopped, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newTestRunner(t, newFakeHost(), Recovered{}, newHook(tc.event, "hangs", "1h"), newHook(tc.event, "waits", "1h"),
				newHook(tc.comes, "p", "0s"))
			l.Tell(of(tc.event, 1))
			time.Sleep(2 * time.Second)
			o := of(tc.comes, 1)
			if tc.until > 0 {
				o.Until, o.Budget = time.Now().Add(tc.until), tc.until
			}
			l.Tell(o)
			l.Settle(context.Background())
			want := []string{string(tc.event) + "/hangs@0s", string(tc.comes) + "/p@" + (2*time.Second + tc.took).String()}
			wantEqual(t, string(tc.event), l.h.started, want)
			if !strings.Contains(l.done[0], "hangs ended: ") || !strings.Contains(l.done[0], "waits ended: ") {
				t.Errorf("%s: %q", tc.event, l.done)
			}
		})
	}
}

func TestCancelledStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestRunner(t, newFakeHost(), Recovered{}, newHook(lifecycle.PreStart, "a", "30s ignore-term", onFailure("retry 3, fail")),
			newHook(lifecycle.PreStart, "b", "0s"), newHook(lifecycle.Stopped, "t", "0s"))
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		begun := time.Now()
		var ended cancelError
		if err := l.Await(ctx, of(lifecycle.PreStart, 1)); !errors.As(err, &ended) {
			t.Errorf("%v", err)
		}
		if took := time.Since(begun); took != 3*time.Second { // TERM, and KILL a second later
			t.Errorf("%v", took)
		}
		l.Tell(of(lifecycle.Stopped, 1))
		l.Settle(context.Background())
		wantEqual(t, "done", l.done, []string{"pre-start: a ended: the caller does not wait any longer, ignored TERM and was killed, b ended: the caller does not wait any longer", "stopped: t ok"})
		if n := l.Counters(); n[0].Runs != 1 {
			t.Errorf("%+v", n)
		}
	})
}

func TestStartWaitsForEarlierHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestRunner(t, newFakeHost(), Recovered{}, newHook(lifecycle.Stopped, "t", "4s"))
		if l.Wants(lifecycle.PreStart, "app") {
			t.Error("it waits for nothing")
		}
		l.Tell(of(lifecycle.Stopped, 1))
		if !l.Wants(lifecycle.PreStart, "app") || l.Wants(lifecycle.PreStart, "db") || l.Wants(lifecycle.PreStop,
			"app") || !l.Wants(lifecycle.Stopped, "app") {
			t.Error("wrong wants")
		}
		begun := time.Now()
		if err := l.Await(context.Background(), of(lifecycle.PreStart, 2)); err != nil || time.Since(begun) != 4*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		// A run that is cancelled while it waits in the queue ends at once.
		l.Tell(of(lifecycle.Stopped, 2))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := l.Await(ctx, of(lifecycle.PreStart, 3)); err == nil {
			t.Error("no error")
		}
		l.Settle(context.Background())
	})
}

func TestBudgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestRunner(t, newFakeHost(), Recovered{}, newHook(lifecycle.PreStop, "half", "1h"),
			newHook(lifecycle.PreStop, "tenth", "1h", share(0.1)), newHook(lifecycle.PreStop, "late", "1h"), newHook(lifecycle.PreStop, "never", "0s"))
		o := of(lifecycle.PreStop, 1)
		begun := time.Now()
		o.Budget, o.Until = 8*time.Second, time.Now().Add(6*time.Second)
		if err := l.Await(context.Background(), o); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > 6*time.Second {
			t.Errorf("the hooks took %v", took)
		}
		wantEqual(t, "done", l.done, []string{"pre-stop: half did not end within 3.2s, tenth did not end within 640ms, late did not end within 1.728s, never ok"})
	})
	l := newTestRunner(t, newFakeHost(), Recovered{}, newHook(lifecycle.Exit, "a", "", timeout(time.Second), parallel),
		newHook(lifecycle.Exit, "b", "", timeout(500*time.Millisecond), parallel), newHook(lifecycle.Exit, "c", "", timeout(200*time.Millisecond)))
	for budget, want := range map[time.Duration]time.Duration{8 * time.Second: 1200 * time.Millisecond,
		2 * time.Second: 500 * time.Millisecond} {
		if got := l.Reserve(budget); got != want {
			t.Errorf("%v reserves %v", budget, got)
		}
	}
}

func TestSettleDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestRunner(t, newFakeHost(), Recovered{}, newHook(lifecycle.Exited, "hangs", "1h ignore-term"),
			newHook(lifecycle.Stopped, "waits", "0s"))
		l.Tell(of(lifecycle.Exited, 1))
		l.Tell(of(lifecycle.Stopped, 1))
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		begun := time.Now()
		l.Settle(ctx)
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("%v", took)
		}
		if len(l.done) != 2 || !strings.Contains(l.done[1], "waits ended") {
			t.Errorf("%q", l.done)
		}
	})
}

func TestQueueLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestRunner(t, newFakeHost(), Recovered{}, newHook(lifecycle.Unhealthy, "u", "1s"), newHook(lifecycle.Stopped, "t", "0s"),
			newHook(lifecycle.JobStarted, "j", "1s"))
		for k := range 500 {
			l.Tell(of(lifecycle.Unhealthy, uint64(k+1)))
			l.Tell(lifecycle.Occurrence{Event: lifecycle.JobStarted, Service: strings.Repeat("j", k+1)})
		}
		l.Tell(of(lifecycle.Stopped, 500))
		l.Settle(context.Background())
		dropped, ran := 0, 0
		for _, text := range l.done {
			switch {
			case strings.Contains(text, whyOverflow):
				dropped++
			case strings.HasSuffix(text, " ok"):
				ran++
			}
		}
		if dropped+ran != 1001 || ran < 2*maxQueue || l.done[len(l.done)-1] != "stopped: t ok" && l.done[len(l.done)-1] != "job-started: j ok" {
			t.Errorf("%d dropped, %d ran", dropped, ran)
		}
	})
}

// TestWorkPerOccurrence counts the writes for an occurrence: they do not grow with the number of
// occurrences.
func TestWorkPerOccurrence(t *testing.T) {
	const few, many = 2 * maxMarks, 8 * maxMarks
	for name, occurrence := range map[string]func(k int) lifecycle.Occurrence{
		"never dropped": func(k int) lifecycle.Occurrence { return of(lifecycle.Exited, uint64(k+1)) },
		"dropped":       func(k int) lifecycle.Occurrence { return of(lifecycle.Unhealthy, uint64(k+1)) },
		"of many kinds": func(k int) lifecycle.Occurrence {
			return lifecycle.Occurrence{Event: lifecycle.JobFinished, Service: fmt.Sprintf("job%04d", k)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				work := func(n int) (puts, queued, through int) {
					h := newFakeHost()
					l := newTestRunner(t, h, Recovered{}, newHook(lifecycle.Exited, "e", "1s"), newHook(lifecycle.Unhealthy, "u", "1s"),
						newHook(lifecycle.JobFinished, "j", "1s"))
					for k := range n {
						l.Tell(occurrence(k))
					}
					queued = h.bytes
					l.Settle(context.Background())
					for item := range h.items {
						if strings.HasPrefix(item, runPrefix) {
							t.Errorf("%s is left", item)
						}
					}
					return h.puts / n, queued / n, (h.bytes - queued) / n
				}
				puts, queued, through := work(few)
				manyPuts, manyQueued, manyThrough := work(many)
				if manyPuts > puts || manyQueued > queued+queued/4 || manyThrough > through+through/4 {
					t.Errorf("one of %d: %d puts, %d bytes to enqueue, %d bytes to the end; of %d: %d, %d, %d", few, puts, queued, through, many, manyPuts,
						manyQueued, manyThrough)
				}
			})
		})
	}
}

// TestCounterTime: the time of each try is counted.
func TestCounterTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestRunner(t, newFakeHost(), Recovered{}, newHook(lifecycle.Ready, "slow", "3s exit 1", onFailure("retry 1")))
		l.Tell(of(lifecycle.Ready, 1))
		l.Settle(context.Background())
		if _, err := l.RunManually(context.Background(), of(lifecycle.Ready, 1), "slow"); err != nil {
			t.Error(err)
		}
		got := l.Counters()
		if len(got) != 1 || got[0].Runs != 4 || got[0].Took != 12*time.Second {
			t.Errorf("%+v, want 4 runs that took 12s", got)
		}
	})
}

// TestShutdownLimitsConfigChanged ends a hook of config-changed that would use the time of the end of the
// container.
func TestShutdownLimitsConfigChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestRunner(t, newFakeHost(), Recovered{}, newHook(lifecycle.ConfigChanged, "hangs", "10m", timeout(time.Hour)),
			newHook(lifecycle.Stopped, "last", "5s"), newHook(lifecycle.Exit, "bye", "1s"))
		l.Tell(lifecycle.Occurrence{Event: lifecycle.ConfigChanged, Start: 1, At: time.Now()})
		l.Tell(of(lifecycle.Stopped, 1))
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second)
		defer cancel()
		l.Settle(ctx)
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("it settles after %v, want the 5s of the last hook", took)
		}
		if err := l.Await(context.Background(), lifecycle.Occurrence{Event: lifecycle.Exit, At: time.Now(),
			Until: time.Now().Add(2 * time.Second)}); err != nil {
			t.Error(err)
		}
		wantEqual(t, "done", l.done, []string{"config-changed: hangs " + whyLast, "stopped: last ok", "exit: bye ok"})
	})
}

// TestManualRunLimit: a hook that runs itself comes to an end.
func TestManualRunLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestRunner(t, newFakeHost(), Recovered{}, newHook(lifecycle.Ready, "self", "1s"))
		var all sync.WaitGroup
		var refused atomic.Int32
		for range maxManualRuns + 3 {
			all.Go(func() {
				if _, err := l.RunManually(context.Background(), of(lifecycle.Ready, 1), "self"); errors.Is(err, ErrTooMany) {
					refused.Add(1)
				}
			})
		}
		all.Wait()
		if n := refused.Load(); n != 3 {
			t.Errorf("%d are refused, want 3", n)
		}
		if _, err := l.RunManually(context.Background(), of(lifecycle.Ready, 1), "self"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}
