package supervisor

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stoker-init/stoker/supervisor/incident"
	"github.com/stoker-init/stoker/supervisor/probe"
)

// fakeDebuggee is a Launch of a process that a debugger can hold.
type fakeDebuggee struct {
	text  atomic.Pointer[string]
	ready atomic.Bool
	live  atomic.Bool
	looks atomic.Int32
	never bool // it lets none in
}

func (d *fakeDebuggee) says(text string) { d.text.Store(&text) }

func (d *fakeDebuggee) prepare(context.Context, int) (*Launch, error) {
	answers := func(ok *atomic.Bool) probe.Checker {
		return probe.Checker(func(context.Context, probe.Process) error {
			if !ok.Load() {
				return errors.New("no answer")
			}
			return nil
		})
	}
	return &Launch{Ready: answers(&d.ready), Live: answers(&d.live),
		Debugger: func(_ Process, before Debugging) (Debugging, bool) {
			d.looks.Add(1)
			before.Port++ // what it found comes back
			if d.never {
				return Debugging{}, false
			}
			return Debugging{Text: *d.text.Load(), Port: 5005}, true
		}}, nil
}

const waits = "waits for a debugger on port 5005"

func TestDebuggerStopsTheStartTime(t *testing.T) {
	withHarness(t, func(st *harness) {
		d := new(fakeDebuggee)
		st.l.prepare = d.prepare
		d.says(waits)
		st.open()
		st.ask(EvStart)
		st.until(time.Hour)
		st.want(Starting)
		if snap := st.snap(); snap.Debugger != waits || snap.Deadline != nil || snap.Waiting != "no answer" {
			t.Errorf("%+v", snap)
		}
		st.crash() // the next supervisor knows it too
		st.until(2 * time.Hour)
		st.want(Starting)
		d.says("")
		st.sleep(2 * time.Second)
		if snap := st.snap(); snap.Deadline == nil || snap.Debugger != "" {
			t.Fatalf("it is not timed again: %+v", snap)
		}
		st.sleep(st.cfg.Ready.Within - 3*time.Second)
		st.want(Starting)
		st.sleep(2 * time.Second)
		if st.snap().State == Starting && st.snap().Restarts == 0 {
			t.Error("the start has no end")
		}
		if cases := st.w.failures(); len(cases) != 1 || cases[0].GaveUp != incident.CauseStartTimeout {
			t.Errorf("%d cases", len(cases))
		}
	})
}

func TestBreakpointIsNotDeath(t *testing.T) {
	withHarness(t, func(st *harness) {
		d := new(fakeDebuggee)
		st.l.prepare = d.prepare
		d.says("")
		d.ready.Store(true)
		d.live.Store(true)
		p := st.up()
		d.says("has a debugger on port 5005")
		d.live.Store(false)
		st.until(time.Hour)
		st.want(Running)
		p.wantSignals(t)
		if snap := st.snap(); !snap.Reported || snap.Debugger == "" {
			t.Errorf("%+v", snap)
		}
		if cases := st.w.failures(); len(cases) != 1 || cases[0].GaveUp != incident.CauseUnhealthy {
			t.Errorf("%d cases", len(cases))
		}
		d.says("") // the debugger goes, and it is as dead as before
		st.sleep(2 * time.Second)
		st.want(Running)
		st.sleep(40 * time.Second)
		if snap := st.snap(); snap.Restarts == 0 && snap.State == Running {
			t.Error("it is left alone for ever")
		}
	})
}

func TestSearchForADebuggerEnds(t *testing.T) {
	withHarness(t, func(st *harness) {
		d := &fakeDebuggee{never: true}
		st.l.prepare = d.prepare
		d.ready.Store(true)
		d.live.Store(true)
		st.up()
		st.sleep(time.Minute)
		before := d.looks.Load()
		st.sleep(time.Hour)
		if d.looks.Load() != before || before == 0 {
			t.Errorf("%d looks, then %d", before, d.looks.Load())
		}
	})
}
