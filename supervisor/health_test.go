package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stoker-init/stoker/supervisor/incident"
	"github.com/stoker-init/stoker/supervisor/probe"
)

// withIssues is a Launch that complains of lines which begin with "issue ", and whose
// kind is the rest.
func withIssues(live probe.Checker) func(context.Context, int) (*Launch, error) {
	return func(context.Context, int) (*Launch, error) {
		return &Launch{Live: live, WatchOutput: func() func([]byte) *HealthIssue {
			return func(line []byte) *HealthIssue {
				kind, ok := strings.CutPrefix(string(line), "issue ")
				if !ok {
					return nil
				}
				return &HealthIssue{Kind: kind, Cause: incident.CauseJVMStarved, Text: "no " + kind, Unhealthy: true}
			}
		}}, nil
	}
}

func TestHealthIssueIsReported(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.out, st.l.prepare = newFakeOutput(), withIssues(nil)
		p := st.up()
		for _, line := range []string{"well", "issue heap", "issue heap", "issue metaspace"} {
			st.out.write(line)
			st.sleep(time.Millisecond)
		}
		st.sleep(liveOnTime)
		st.want(Running)
		if snap := st.snap(); snap.Issue != "no heap; no metaspace" || snap.Reported {
			t.Errorf("%q, reported %v", snap.Issue, snap.Reported)
		}
		if ready, not := setOf(st.s).Ready(); ready || !slices.Equal(not, []string{"app is unhealthy"}) {
			t.Errorf("ready %v, %q", ready, not)
		}
		for range 2 { // the next supervisor reads all of it again
			st.crash()
			st.sleep(liveOnTime)
			if snap := st.snap(); snap.Issue != "no heap; no metaspace" || snap.State != Running {
				t.Errorf("after a takeover %q, %s", snap.Issue, snap.State)
			}
		}
		cases := st.w.failures()
		if len(cases) != 2 || cases[0].GaveUp != incident.CauseJVMStarved || cases[0].Reason != "no heap" || cases[1].Reason != "no metaspace" {
			t.Errorf("%d cases, %+v", len(cases), cases[0])
		}
		p.wantSignals(t)
		st.ask(EvRestart)
		st.sleep(10 * time.Second)
		if snap := st.snap(); snap.Issue != "" && snap.State == Running {
			t.Errorf("the next start is unhealthy too: %q", snap.Issue)
		}
	})
}

// Where there is a liveness probe, live.then applies to health issues.
func TestHealthIssueObeysLiveThen(t *testing.T) {
	for then, want := range map[string]State{LiveRestart: Stopping, LiveReport: Running, LiveStopContainer: Running} {
		t.Run(then, func(t *testing.T) {
			withHarness(t, func(st *harness) {
				st.cfg.Live.Then = then
				st.out, st.l.prepare = newFakeOutput(), withIssues(probe.Checker(func(context.Context, probe.Process) error { return nil }))
				st.w.startup = func(_ int, p *fakeProcess) error {
					p.ignores = true
					return nil
				}
				st.up()
				st.out.write("issue heap")
				st.sleep(liveOnTime)
				st.want(want)
				if ends := st.snap().endsContainer; ends != (then == LiveStopContainer) {
					t.Errorf("the container ends: %v", ends)
				}
				if cases := st.w.failures(); len(cases) != 1 || cases[0].GaveUp != incident.CauseJVMStarved {
					t.Errorf("%d cases", len(cases))
				}
				if then != LiveRestart {
					return
				}
				st.sleep(10 * time.Second)
				if snap := st.snap(); snap.Restarts != 1 || snap.Issue != "" && snap.State != Running {
					t.Errorf("%d restarts, %q in %s", snap.Restarts, snap.Issue, snap.State)
				}
				if n := len(st.s.saved.Starts); n != 0 {
					t.Errorf("%d ends count for the limit: it worked", n)
				}
			})
		})
	}
}

// An issue in the output of the start is reported when the service is RUNNING, and not before.
func TestHealthIssueBeforeReadiness(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.out = newFakeOutput()
		var ready atomic.Bool
		prepare := withIssues(nil)
		st.l.prepare = func(ctx context.Context, n int) (*Launch, error) {
			l, err := prepare(ctx, n)
			l.Ready = probe.Checker(func(context.Context, probe.Process) error {
				if !ready.Load() {
					return errors.New("not yet")
				}
				return nil
			})
			return l, err
		}
		st.open()
		st.ask(EvStart)
		st.out.write("issue heap")
		st.sleep(time.Second)
		st.want(Starting)
		if len(st.w.failures()) > 0 {
			t.Error("it is complained of too early")
		}
		ready.Store(true)
		st.sleep(3 * time.Second)
		st.want(Running)
		if len(st.w.failures()) != 1 || st.snap().Issue != "no heap" {
			t.Errorf("%d cases, %q", len(st.w.failures()), st.snap().Issue)
		}
	})
}

// An issue in the last lines before an end makes no incident.
func TestHealthIssueOfAnEnd(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.out, st.l.prepare = newFakeOutput(), withIssues(nil)
		p := st.up()
		st.out.write("issue heap")
		st.sleep(liveOnTime / 2)
		p.exits(3)
		st.sleep(10 * time.Second)
		if cases := st.w.failures(); len(cases) != 1 || cases[0].GaveUp != "" || cases[0].Exit.Code != 3 {
			t.Errorf("%d cases, the first %+v", len(cases), cases[0])
		}
	})
}

// Issues in log files are reported too, as long as the service runs.
func TestHealthIssueInALogFile(t *testing.T) {
	withHarness(t, func(st *harness) {
		var over atomic.Int32
		st.l.prepare = func(context.Context, int) (*Launch, error) {
			return &Launch{WatchLogFile: func(ctx context.Context, complain func(*HealthIssue)) {
				for range 2 {
					complain(&HealthIssue{Kind: "heap", Cause: incident.CauseJVMStarved, Text: "no heap", Unhealthy: true})
				}
				<-ctx.Done()
				over.Add(1)
			}}, nil
		}
		st.up()
		st.sleep(liveOnTime)
		if cases := st.w.failures(); len(cases) != 1 || st.snap().Issue != "no heap" {
			t.Errorf("%d cases, %q", len(cases), st.snap().Issue)
		}
		st.ask(EvStop)
		st.sleep(10 * time.Second)
		if over.Load() != 1 {
			t.Error("it is overheard though it has stopped")
		}
	})
}

// What runs is looked at once for each start, as long as it may take, and the
// service runs on whatever is found.
func TestVerify(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		notes []string
		cases int
	}{
		{"as it should be", nil, []string{"found"}, 0},
		{"cannot attach", errors.New("cannot attach"), []string{"found", "cannot attach"}, 0},
		{"another one", &HealthIssue{Cause: incident.CauseJVMDiffers, Text: "it is another one"}, []string{"found", "it is another one"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			withHarness(t, func(st *harness) {
				var looks atomic.Int32
				st.l.prepare = func(context.Context, int) (*Launch, error) {
					return &Launch{Notes: []string{"found"}, Verify: func(ctx context.Context, p Process) error {
						looks.Add(1)
						if d, ok := ctx.Deadline(); !ok || time.Until(d) > verifyTime || p == nil {
							t.Error("it has no end")
						}
						time.Sleep(time.Second)
						return c.err
					}}, nil
				}
				st.l.attach = func() (*Launch, error) { return &Launch{}, nil }
				p := st.up()
				st.sleep(2 * time.Second)
				st.want(Running)
				if snap := st.snap(); !slices.Equal(snap.Notes, c.notes) || snap.Issue != "" {
					t.Errorf("notes %q, issue %q", snap.Notes, snap.Issue)
				}
				st.crash()
				st.sleep(10 * time.Second)
				if n, cases := looks.Load(), st.w.failures(); n != 1 || len(cases) != c.cases {
					t.Errorf("%d looks, %d cases", n, len(cases))
				}
				p.wantSignals(t)
			})
		})
	}
}

// The look of a start that is over says nothing of the next one.
func TestVerifyOfAnEarlierStart(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.l.prepare = func(_ context.Context, n int) (*Launch, error) {
			return &Launch{Verify: func(context.Context, Process) error {
				if n > 1 {
					return nil
				}
				time.Sleep(4 * time.Second)
				return &HealthIssue{Cause: incident.CauseJVMDiffers, Text: "it was another one"}
			}}, nil
		}
		st.up()
		st.ask(EvRestart)
		st.sleep(10 * time.Second)
		st.want(Running)
		if cases := st.w.failures(); len(cases) > 0 {
			t.Errorf("%+v", cases[0])
		}
	})
}

// What works in part is RUNNING and ready, and whoever looks sees what does not work,
// with the cause as soon as that is found; a supervisor that takes over says it once.
func TestDegraded(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.out = newFakeOutput()
		st.cfg.Live.Then = LiveRestart
		alive := probe.Checker(func(context.Context, probe.Process) error { return nil })
		st.l.prepare = func(context.Context, int) (*Launch, error) {
			return &Launch{Live: alive, WatchOutput: func() func([]byte) *HealthIssue {
				return func(line []byte) *HealthIssue {
					app, ok := strings.CutPrefix(string(line), "failed ")
					if !ok {
						return nil
					}
					return &HealthIssue{Kind: app, Cause: incident.CauseDegraded, Text: app + " failed", Degraded: true,
						Detail: func(context.Context) string {
							time.Sleep(time.Second)
							if app == "/b" {
								return ""
							}
							return app + " failed: no database"
						}}
				}
			}}, nil
		}
		p := st.up()
		st.out.write("failed /a")
		st.out.write("failed /b")
		st.out.write("failed /a")
		st.sleep(liveOnTime + time.Second)
		check := func(when string) {
			t.Helper()
			snap := st.snap()
			if snap.State != Running || snap.Issue != "" || snap.Degraded != "/a failed: no database; /b failed" &&
				snap.Degraded != "/b failed; /a failed: no database" {
				t.Errorf("%s: %s, issue %q, degraded %q", when, snap.State, snap.Issue, snap.Degraded)
			}
			if ready, not := setOf(st.s).Ready(); !ready {
				t.Errorf("%s: not ready: %q", when, not)
			}
		}
		check("before")
		st.crash()
		st.sleep(10 * time.Second)
		check("after a takeover")
		if cases := st.w.failures(); len(cases) != 2 || cases[0].GaveUp != incident.CauseDegraded {
			t.Errorf("%d cases", len(cases))
		}
		for k := range 100 {
			st.out.write(fmt.Sprint("failed /", k, strings.Repeat("x", 2000)))
		}
		st.sleep(10 * time.Second)
		if n := len(st.s.saved.HealthIssues); n != maxDegraded || len(st.w.stored) > 60<<10 {
			t.Errorf("%d issues are kept in %d bytes", n, len(st.w.stored))
		}
		p.wantSignals(t)
		st.ask(EvRestart)
		st.sleep(10 * time.Second)
		if n := st.w.count(); n != 2 {
			t.Errorf("%d processes", n)
		}
	})
}
