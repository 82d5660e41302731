package supervisor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// requestsEndAfter makes a service whose requests end after a time, or when ctx is done.
func (st *harness) requestsEndAfter(d time.Duration, err error) (calls *int) {
	limit := 3 * time.Second
	st.cfg.Stop.Requests, calls = &limit, new(int)
	st.l.prepare = func(context.Context, int) (*Launch, error) {
		return &Launch{EndRequests: func(ctx context.Context, _ Process) (string, error) {
			*calls++
			select {
			case <-time.After(d):
				return "none is left", err
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}}, nil
	}
	return calls
}

func TestRequestsEndBeforeTheSignal(t *testing.T) {
	for name, c := range map[string]struct {
		takes time.Duration
		err   error
		limit time.Duration
		deaf  bool // to TERM
		want  []string
		note  string
	}{
		"they end":            {takes: time.Second, want: []string{"TERM 1s"}},
		"KILL comes no later": {takes: time.Second, deaf: true, want: []string{"TERM 1s", "KILL 6s"}},
		"they do not end":     {takes: time.Hour, deaf: true, want: []string{"TERM 2.9s", "KILL 6s"}, note: "deadline exceeded"},
		"it cannot be asked":  {err: errors.New("no agent"), want: []string{"TERM 0s"}, note: "no agent"},
		"a stop with a limit": {takes: time.Hour, limit: 2 * time.Second, deaf: true, want: []string{"TERM 1.4s", "KILL 2s"}, note: "deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(st *harness) {
				st.requestsEndAfter(c.takes, c.err)
				p := st.up()
				p.onTerm, p.ignores = func() { p.exits(0) }, c.deaf
				st.send(request{event: EvStop, by: "test", limit: c.limit})
				if phase := st.snap().Phase; c.takes > 0 && phase != "requests end" {
					t.Errorf("phase %q", phase)
				}
				st.sleep(10 * time.Second)
				st.want(Stopped)
				p.wantSignals(t, c.want...)
				if notes := strings.Join(st.snap().Notes, "\n"); c.note == "" && notes != "" || !strings.Contains(notes, c.note) {
					t.Errorf("notes %q, want %q", notes, c.note)
				}
			})
		})
	}
}

func TestASecondStopRequestEndsRequests(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.requestsEndAfter(time.Hour, nil)
		p := st.up()
		p.onTerm = func() { p.exits(0) }
		st.send(request{event: EvStop, by: "test"})
		st.sleep(time.Second)
		if snap := st.snap(); !snap.canHurry() {
			t.Errorf("phase %q cannot be shortened", snap.Phase)
		}
		st.send(request{event: EvStop, by: "test", secondRequest: true})
		st.sleep(time.Millisecond)
		st.want(Stopped)
		p.wantSignals(t, "TERM 1s")
	})
}

// The next supervisor asks again, within the same time.
func TestEndOfRequestsSurvives(t *testing.T) {
	withHarness(t, func(st *harness) {
		calls := st.requestsEndAfter(2*time.Second, nil)
		p := st.up()
		p.ignores = true
		st.send(request{event: EvStop, by: "test"})
		st.sleep(time.Second)
		st.crash()
		if phase := st.snap().Phase; phase != "requests end" {
			t.Errorf("phase %q", phase)
		}
		st.sleep(10 * time.Second)
		st.want(Stopped)
		if *calls != 2 {
			t.Errorf("asked %d times", *calls)
		}
		p.wantSignals(t, "TERM 2.9s", "KILL 6s")
	})
}

// A service that is not alive, or was never ready, has no requests that are worth a wait.
func TestOnlyAPlannedStopEndsRequests(t *testing.T) {
	withHarness(t, func(st *harness) {
		calls := st.requestsEndAfter(time.Second, nil)
		asked := st.l.prepare
		st.neverAlive(LiveRestart)
		dies := st.l.prepare
		st.l.prepare = func(ctx context.Context, n int) (*Launch, error) {
			with, _ := asked(ctx, n)
			l, err := dies(ctx, n)
			l.EndRequests = with.EndRequests
			return l, err
		}
		st.up()
		st.sleep(5 * time.Minute)
		if *calls != 0 || st.snap().Restarts == 0 {
			t.Errorf("asked %d times in %d restarts", *calls, st.snap().Restarts)
		}
	})
	withHarness(t, func(st *harness) {
		calls := st.requestsEndAfter(time.Second, nil)
		prepare := st.l.prepare
		st.l.prepare = func(ctx context.Context, n int) (*Launch, error) {
			l, err := prepare(ctx, n)
			unready, _ := readyWhen(func() error { return errors.New("not yet") })(ctx, n)
			l.Ready = unready.Ready
			return l, err
		}
		st.open()
		st.ask(EvStart)
		st.ask(EvStop)
		st.sleep(time.Minute)
		st.want(Stopped)
		if *calls != 0 {
			t.Errorf("asked %d times before it was ready", *calls)
		}
	})
}
