package supervisor

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// What the fd store may say of a service whose process it does not know.
func TestResumeWithoutAProcess(t *testing.T) {
	cases := map[string]struct {
		kept savedState
		want State
	}{
		"STOPPED":                   {savedState{State: Stopped}, Stopped},
		"STARTING: made again":      {savedState{State: Starting, Gen: 3, Deadline: int64(2 * time.Hour)}, Running},
		"RUNNING: as if it ended":   {savedState{State: Running, Gen: 3, UpSince: 5}, Backoff},
		"STOPPING, then STOPPED":    {savedState{State: Stopping, Gen: 3, Then: Stopped}, Stopped},
		"STOPPING, then STARTING":   {savedState{State: Stopping, Gen: 3, Then: Starting}, Running},
		"STOPPING, then BACKOFF":    {savedState{State: Stopping, Gen: 3, Then: Backoff}, Backoff},
		"BACKOFF, over":             {savedState{State: Backoff, Gen: 3, Deadline: 1}, Running},
		"EXITED":                    {savedState{State: Exited, Gen: 3}, Exited},
		"FATAL for good":            {savedState{State: Fatal, Gen: 3}, Fatal},
		"FATAL, slow retry is over": {savedState{State: Fatal, Gen: 3, Deadline: 1, PastLimit: true}, Running},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(st *harness) {
				st.w.stored, _ = json.Marshal(c.kept)
				st.takeOver()
				st.want(c.want)
				if snap := st.snap(); c.want != Running && (snap.Pid != 0 || snap.UpSince != nil) {
					t.Errorf("%+v", snap)
				}
				if st.w.count() > 0 && st.w.last().id != "app.4" {
					t.Errorf("%s is started: an id was used twice", st.w.last().id)
				}
			})
		})
	}
}

// The start whose deadline is far away is made again, and only what is left of
// its time is granted.
func TestResumeAStartWithoutAProcess(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.l.prepare = readyWhen(func() error { return errors.New("not yet") })
		st.w.stored, _ = json.Marshal(savedState{State: Starting, Gen: 3, Deadline: st.w.now() + int64(10*time.Second)})
		st.takeOver()
		st.want(Starting)
		st.sleep(10 * time.Second)
		st.want(Backoff)
	})
}

// Not even a launcher that knows nothing keeps a running service from being
// watched and stopped.
func TestResumeWithoutALaunch(t *testing.T) {
	for _, state := range []State{Running, Stopping} {
		withHarness(t, func(st *harness) {
			st.l.attach = func() (*Launch, error) { return nil, errors.New("cannot find Tomcat") }
			p := st.up()
			p.ignores = true
			if state == Stopping {
				st.ask(EvStop)
			}
			st.crash()
			st.want(state)
			st.ask(EvStop)
			st.sleep(6 * time.Second)
			st.want(Stopped)
			p.wantSignals(t, "TERM 0s", "KILL 6s")
		})
	}
}

// Nor is one that is not ready yet taken for ready.
func TestResumeAStartWithoutALaunch(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.l.prepare = readyWhen(func() error { return errors.New("not yet") })
		st.l.attach = func() (*Launch, error) { return nil, errors.New("cannot find Tomcat") }
		st.open()
		st.ask(EvStart)
		st.crash()
		st.want(Starting)
		if got := st.snap().Waiting; got != "cannot check its readiness: cannot find Tomcat" {
			t.Errorf("waits for %q", got)
		}
		st.until(st.cfg.Ready.Within)
		st.want(Backoff)
	})
}

// The kill comes between the word that the service stops and the stop signal.
func TestResumeAStopThatWasNotSignaled(t *testing.T) {
	withHarness(t, func(st *harness) {
		p := st.up()
		p.leave(map[int]bool{900: false})
		st.cancel()
		<-st.s.life.Done()
		k := st.s.saved
		k.State, k.Then, k.Deadline, k.StopRequestedBy = Stopping, Stopped, st.w.now()+int64(6*time.Second), "test"
		st.w.stored, _ = json.Marshal(k)
		st.takeOver()
		st.want(Stopped)
		p.wantSignals(t, "TERM 0s")
		if x := st.snap().Exit; !x.Success {
			t.Errorf("exit %+v", x)
		}
	})
}

// A pid that came into the fd store when our state did not.
func TestResumeAStartWhoseProcessWasJustMade(t *testing.T) {
	for _, dead := range []bool{false, true} {
		withHarness(t, func(st *harness) {
			p := st.up()
			st.cancel()
			<-st.s.life.Done()
			st.w.stored, _ = json.Marshal(savedState{State: Starting, Gen: 1, Deadline: st.w.now() + int64(time.Minute)})
			if dead {
				p.exits(3)
			}
			synctest.Wait()
			st.takeOver()
			if !dead {
				st.want(Running)
				return
			}
			st.want(Backoff)
			if x := st.snap().Exit; x.Code != 3 || !p.isDone() {
				t.Errorf("exit %+v, done %v", x, p.isDone())
			}
		})
	}
}
