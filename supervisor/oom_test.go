package supervisor

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor/incident"
)

func TestOccurrences(t *testing.T) {
	withListener(t, func(st *harness, c *fakeListener) {
		st.l.prepare = func(context.Context, int) (*Launch, error) { return &Launch{Port: 8080}, nil }
		st.up().die(proc.Exit{Code: -1, Signal: syscall.SIGSEGV})
		st.sleep(time.Second)
		if m := c.last(t, lifecycle.Ready); m.Service != "app" || m.Start != 2 || m.Attempt != 2 || m.Pid != 102 || m.Port != 8080 ||
			m.ExitCode != nil || m.Signal != "" {
			t.Errorf("%+v", m)
		}
		if m := c.last(t, lifecycle.Exited); m.Start != 1 || m.Attempt != 1 || m.Pid != 101 || m.OOM || m.Signal != "SEGV" ||
			m.Reason != "killed by signal 11 (SEGV)" || m.At.IsZero() || m.Budget != 0 {
			t.Errorf("%+v", m)
		}
		if m := c.last(t, lifecycle.PreStart); m.Pid != 0 || m.Port != 0 {
			t.Errorf("%+v", m)
		}
	})
}

// oomEnvironment counts OOM kills.
type oomEnvironment struct {
	*fakeEnvironment
	count uint64
	reads int
}

func (w *oomEnvironment) oomCount([]string, bool) incident.OOMCount {
	w.reads++
	return incident.OOMCount{Count: w.count, Source: "memory.events"}
}

// Only a KILL that is not ours is a reason to look at the counter.
func TestOOMOfAnExit(t *testing.T) {
	cases := map[string]struct {
		ends  func(st *harness, w *oomEnvironment)
		oom   bool
		reads int // at the end of the process
	}{
		"OOM kill": {func(st *harness, w *oomEnvironment) {
			w.count++
			st.w.last().die(proc.Exit{Code: -1, Signal: syscall.SIGKILL})
		}, true, 1},
		"of its child": {func(st *harness, w *oomEnvironment) { w.count++; st.w.last().exits(137) }, true, 1},
		"not of OOM":   {func(st *harness, w *oomEnvironment) { st.w.last().die(proc.Exit{Code: -1, Signal: syscall.SIGKILL}) }, false, 1},
		"another signal": {func(st *harness, w *oomEnvironment) {
			w.count++
			st.w.last().die(proc.Exit{Code: -1, Signal: syscall.SIGTERM})
		}, false, 0},
		"our KILL": {func(st *harness, w *oomEnvironment) { w.count++; st.w.last().ignores = true; st.ask(EvStop) }, false, 0},
		"in a stop": {func(st *harness, w *oomEnvironment) {
			w.count++
			p := st.w.last()
			p.onTerm = func() { p.die(proc.Exit{Code: -1, Signal: syscall.SIGKILL}) }
			st.ask(EvStop)
		}, true, 1},
		// An earlier start that we had to kill does not hide the end of this one.
		"after our KILL": {func(st *harness, w *oomEnvironment) {
			st.w.last().ignores = true
			st.ask(EvRestart)
			st.sleep(7 * time.Second)
			w.count++
			st.w.last().die(proc.Exit{Code: -1, Signal: syscall.SIGKILL})
		}, true, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			withListener(t, func(st *harness, f *fakeListener) {
				w := &oomEnvironment{fakeEnvironment: st.w}
				st.host = w
				st.up()
				c.ends(st, w)
				st.sleep(7 * time.Second)
				m, n := f.last(t, lifecycle.Exited), f.last(t, lifecycle.Stopped)
				if m.OOM != c.oom || n.OOM != c.oom || w.reads != c.reads+st.w.count() {
					t.Errorf("oom %v, stopped %v, read %d times", m.OOM, n.OOM, w.reads)
				}
				if name == "after our KILL" {
					cases := st.w.failures()
					if last := cases[len(cases)-1]; last.Killed || last.After.Rose(incident.OOMCount{}) != 0 || last.Before.Rose(last.After) != 1 {
						t.Errorf("%+v", last)
					}
				}
			})
		})
	}
}
