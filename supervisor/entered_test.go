package supervisor

import (
	"slices"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

// Entered is called with each state that a service enters, and says which of them end its wish to run.
func TestEntered(t *testing.T) {
	never := time.Duration(0)
	for name, c := range map[string]struct {
		change func(*Config)
		play   func(st *harness)
		want   []string
	}{
		"a stop that was asked for": {nil, func(st *harness) {
			st.up()
			st.ask(EvStop)
		}, []string{"STARTING", "RUNNING", "STOPPING", "STOPPED rests"}},
		"a restart": {nil, func(st *harness) {
			st.up()
			st.ask(EvRestart)
		}, []string{"STARTING", "RUNNING", "STOPPING", "STARTING", "RUNNING"}},
		"an end that is followed by another start": {nil, func(st *harness) {
			st.up().die(proc.Exit{Code: 1})
			st.sleep(time.Second)
		}, []string{"STARTING", "RUNNING", "BACKOFF", "STARTING", "RUNNING"}},
		"an end by policy": {func(c *Config) { c.Restart.Policy = Never }, func(st *harness) {
			st.up().die(proc.Exit{Code: 1})
		}, []string{"STARTING", "RUNNING", "EXITED rests"}},
		"FATAL that is tried again": {func(c *Config) { c.Restart.Limit.Starts = 0 }, func(st *harness) {
			st.up().die(proc.Exit{Code: 1})
		}, []string{"STARTING", "RUNNING", "FATAL"}},
		"FATAL for good": {func(c *Config) { c.Restart.Limit.Starts, c.Restart.Limit.RetryEvery = 0, &never }, func(st *harness) {
			st.up().die(proc.Exit{Code: 1})
		}, []string{"STARTING", "RUNNING", "FATAL rests"}},
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(st *harness) {
				if c.change != nil {
					c.change(&st.cfg)
				}
				var got []string
				st.w.entered = func(service string, state State, rests bool) {
					if before := st.s.snap.Load().State; before == state {
						t.Errorf("%s was published before", state)
					}
					text := string(state)
					if rests {
						text += " rests"
					}
					got = append(got, text)
				}
				c.play(st)
				snap := st.snap()
				if !slices.Equal(got, c.want) {
					t.Errorf("entered %q, want %q", got, c.want)
				}
				if rests := c.want[len(c.want)-1] != string(snap.State); rests != snap.Settled {
					t.Errorf("%s: settled is %v", snap.State, snap.Settled)
				}
			})
		})
	}
}
