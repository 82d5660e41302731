package supervisor

import (
	"context"
	"testing"
	"time"
)

// A restart that is meant for one process touches no other, and starts nothing that
// was stopped. What the command line was read from is known also after a takeover.
func TestRenew(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.l.setPrepare(func(_ context.Context, n int) (*Launch, error) {
			return &Launch{Sources: map[int]string{1: "one"}[n]}, nil
		})
		p := st.up()
		if got := st.snap().Sources; got != "one" {
			t.Errorf("started with the sources %q", got)
		}
		st.crash()
		if got := st.snap().Sources; got != "one" {
			t.Errorf("after a takeover the sources are %q", got)
		}
		renew := func(pid int) error {
			t.Helper()
			select {
			case err := <-st.send(request{event: EvRestart, by: "test", pid: pid}):
				return err
			case <-time.After(time.Hour):
				t.Fatal("no answer")
				return nil
			}
		}
		if err := renew(p.pid + 1); err == nil {
			t.Error("another process is restarted")
		}
		p.wantSignals(t)
		if err := renew(p.pid); err != nil {
			t.Error(err)
		}
		st.want(Running)
		if snap := st.snap(); st.w.count() != 2 || snap.Restarts != 0 || snap.Sources != "" {
			t.Errorf("%d processes, %d restarts, sources %q", st.w.count(), snap.Restarts, snap.Sources)
		}
		if err := renew(p.pid); err == nil {
			t.Error("the process after it is restarted too")
		}
		st.ask(EvStop)
		if err := renew(st.w.last().pid); err == nil {
			t.Error("what was stopped is restarted")
		}
		st.want(Stopped)
	})
}
