package supervisor

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// Whoever acts at the end of a service hears whether it was to come.
func TestExpectedEnds(t *testing.T) {
	for name, c := range map[string]struct {
		story func(st *stage)
		want  bool
	}{
		"stopped":                          {func(st *stage) { st.up(); st.ask(EvStop) }, true},
		"restarted":                        {func(st *stage) { st.up(); st.ask(EvRestart) }, true},
		"another configuration":            {func(st *stage) { st.configHash = "this"; st.up(); st.cause(EvReconfigured) }, true},
		"stopped, and had to be killed":    {func(st *stage) { st.up().ignores = true; st.ask(EvStop); st.sleep(7 * time.Second) }, true},
		"stopped, and says that it failed": {func(st *stage) { p := st.up(); p.onTerm = func() { p.exits(9) }; st.ask(EvStop) }, true},
		"crashes":                          {func(st *stage) { st.up().exits(3); synctest.Wait() }, false},
		"ends well, and is started again":  {func(st *stage) { st.up().exits(0); synctest.Wait() }, false},
		"ends well, and that is all":       {func(st *stage) { st.cfg.Restart.Policy = OnFailure; st.up().exits(0); synctest.Wait() }, true},
		"ends badly, and is not started":   {func(st *stage) { st.cfg.Restart.Policy = Never; st.up().exits(3); synctest.Wait() }, false},
		"not alive":                        {func(st *stage) { st.hangs(LiveRestart); st.up(); st.until(85 * time.Second) }, false},
		"crashes, and leaves processes there": {func(st *stage) { p := st.up(); p.leave(map[int]bool{900: false}); p.exits(3); synctest.Wait() },
			false},
	} {
		t.Run(name, func(t *testing.T) {
			listened(t, func(st *stage, f *fakeListener) {
				c.story(st)
				synctest.Wait()
				for _, stage := range []lifecycle.Event{lifecycle.Exited, lifecycle.Stopped} {
					if m := f.last(t, stage); m.Expected == nil || *m.Expected != c.want {
						t.Errorf("%s: expected %v, want %v", stage, m.Expected, c.want)
					}
				}
				if m := f.last(t, lifecycle.Started); m.Expected != nil {
					t.Errorf("%s: expected %v", m.Event, *m.Expected)
				}
			})
		})
	}
}
