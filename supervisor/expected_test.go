package supervisor

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// The occurrence of an end says whether it was expected.
func TestExpectedEnds(t *testing.T) {
	for name, c := range map[string]struct {
		story func(st *harness)
		want  bool
	}{
		"stopped":                          {func(st *harness) { st.up(); st.ask(EvStop) }, true},
		"restarted":                        {func(st *harness) { st.up(); st.ask(EvRestart) }, true},
		"another configuration":            {func(st *harness) { st.configHash = "this"; st.up(); st.cause(EvReconfigured) }, true},
		"stopped, and had to be killed":    {func(st *harness) { st.up().ignores = true; st.ask(EvStop); st.sleep(7 * time.Second) }, true},
		"stopped, and says that it failed": {func(st *harness) { p := st.up(); p.onTerm = func() { p.exits(9) }; st.ask(EvStop) }, true},
		"crashes":                          {func(st *harness) { st.up().exits(3); synctest.Wait() }, false},
		"ends well, and is started again":  {func(st *harness) { st.up().exits(0); synctest.Wait() }, false},
		"ends well, and that is all":       {func(st *harness) { st.cfg.Restart.Policy = OnFailure; st.up().exits(0); synctest.Wait() }, true},
		"ends badly, and is not started":   {func(st *harness) { st.cfg.Restart.Policy = Never; st.up().exits(3); synctest.Wait() }, false},
		"not alive":                        {func(st *harness) { st.neverAlive(LiveRestart); st.up(); st.until(85 * time.Second) }, false},
		"crashes, and leaves processes there": {func(st *harness) { p := st.up(); p.leave(map[int]bool{900: false}); p.exits(3); synctest.Wait() },
			false},
	} {
		t.Run(name, func(t *testing.T) {
			withListener(t, func(st *harness, f *fakeListener) {
				c.story(st)
				synctest.Wait()
				for _, event := range []lifecycle.Event{lifecycle.Exited, lifecycle.Stopped} {
					if m := f.last(t, event); m.Expected == nil || *m.Expected != c.want {
						t.Errorf("%s: expected %v, want %v", event, m.Expected, c.want)
					}
				}
				if m := f.last(t, lifecycle.Started); m.Expected != nil {
					t.Errorf("%s: expected %v", m.Event, *m.Expected)
				}
			})
		})
	}
}
