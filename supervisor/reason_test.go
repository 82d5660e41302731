package supervisor

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// recordingListener is a Listener that only remembers.
type recordingListener struct{ occurrences []lifecycle.Occurrence }

func (*recordingListener) Wants(lifecycle.Event, string) bool                { return false }
func (c *recordingListener) Tell(m lifecycle.Occurrence)                     { c.occurrences = append(c.occurrences, m) }
func (*recordingListener) Await(context.Context, lifecycle.Occurrence) error { return nil }
func (*recordingListener) Settle(context.Context)                            {}
func (*recordingListener) Reserve(time.Duration) time.Duration               { return 0 }
func (c *recordingListener) reasons(event lifecycle.Event) (reasons []string) {
	for _, m := range c.occurrences {
		if m.Event == event {
			reasons = append(reasons, m.Reason)
		}
	}
	return reasons
}

// Whatever ends a service, status, incident and occurrences give the same reason.
func TestOneReason(t *testing.T) {
	reads := func(cause incident.Cause, reason string) func(incident.End) incident.Findings {
		return func(end incident.End) incident.Findings {
			if !strings.Contains(string(end.Output), "last words") {
				return incident.Findings{}
			}
			return incident.Findings{Cause: cause, Reason: reason}
		}
	}
	never := func(c *Config) { c.Restart.Policy = Never }
	oneshot := func(c *Config) { c.Oneshot, c.Restart.Policy = true, OnFailure }
	for _, c := range []struct {
		name  string
		cfg   func(*Config)
		reads func(incident.End) incident.Findings
		exit  proc.Exit
		left  bool
		cause incident.Cause // empty: no incident
		want  string
	}{
		{"exit code", never, nil, proc.Exit{Code: 1}, false, incident.CauseExit, "exit code 1"},
		{"words", never, reads("", "no such agent"), proc.Exit{Code: 1}, false, incident.CauseExit, "exit code 1: no such agent"},
		{"words with a cause", never, reads(incident.CauseJVMMemory, "no heap"), proc.Exit{Code: 3}, false, incident.CauseJVMMemory, "no heap"},
		{"of a oneshot", oneshot, reads("", "no such class"), proc.Exit{Code: 1}, false, incident.CauseExit, "exit code 1: no such class"},
		{"signal", never, reads("", ""), proc.Exit{Code: -1, Signal: syscall.SIGSEGV}, false, incident.CauseSignal, "killed by signal 11 (SEGV)"},
		{"left behind", nil, nil, proc.Exit{}, true, incident.CauseLeft,
			"exit code 0, and it left processes behind, which are ended: pid 1073741830 ()\nhint: does the program"},
		{"left behind before it was ready", func(c *Config) { c.Restart.Policy, c.Ready.Log = Never, "never" }, nil, proc.Exit{}, true,
			incident.CauseLeft,
			"exit code 0 before it was ready, and it left processes behind, which are ended: pid 1073741830 ()\nhint: does"},
		{"left behind, failed", never, nil, proc.Exit{Code: 1}, true, incident.CauseExit, "exit code 1"},
		{"left behind by a oneshot", oneshot, nil, proc.Exit{}, true, "", ""},
		{"a good end", never, reads("", "never mind"), proc.Exit{}, false, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			withHarness(t, func(st *harness) {
				if c.cfg != nil {
					c.cfg(&st.cfg)
				}
				listener := new(recordingListener)
				st.w.listener, st.out = listener, newFakeOutput()
				st.l.prepare = func(context.Context, int) (*Launch, error) {
					return &Launch{ReadOutput: c.reads}, nil
				}
				st.open()
				st.ask(EvStart)
				st.sleep(time.Second)
				p := st.w.last()
				st.out.write("last words")
				if c.left {
					p.leave(map[int]bool{1<<30 + 6: false})
				}
				p.die(c.exit)
				st.sleep(time.Millisecond)
				snap := st.snap()
				if !strings.HasPrefix(snap.Reason, c.want) || c.want == "" && snap.Reason != "" {
					t.Errorf("status: %q, want %q", snap.Reason, c.want)
				}
				if got := listener.reasons(lifecycle.Exited); len(got) != 1 || got[0] != snap.Reason {
					t.Errorf("occurrences: %q, status: %q", got, snap.Reason)
				}
				cases := st.w.failures()
				if (len(cases) == 1) != (c.cause != "") {
					t.Fatalf("%d cases", len(cases))
				}
				if c.cause != "" {
					if v := incident.Classify(*cases[0]); v.Cause != c.cause || v.Reason != snap.Reason {
						t.Errorf("incident: %s %q, status: %q", v.Cause, v.Reason, snap.Reason)
					} else if c.left && c.cause != incident.CauseLeft && !slices.Contains(v.Notes,
						"it left processes behind, which are ended: pid 1073741830 ()") {
						t.Errorf("notes: %q", v.Notes)
					}
				}
				if c.left && c.cause == "" && !slices.Contains(snap.Notes, "it left processes behind, which are ended: pid 1073741830 ()") {
					t.Errorf("notes: %q", snap.Notes)
				}
			})
		})
	}
}

// A stop that needed KILL is the reason of a service that is STOPPED.
func TestReasonOfAKill(t *testing.T) {
	withHarness(t, func(st *harness) {
		p := st.up()
		p.ignores = true
		st.ask(EvStop)
		st.sleep(time.Minute)
		st.want(Stopped)
		st.wantReason(incident.Classify(*st.w.failures()[0]).Reason)
		if st.snap().Reason != "did not stop in time and was killed" {
			t.Errorf("%q", st.snap().Reason)
		}
	})
}
