package rollout

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// Limits are a cause like the sources, and both may be there at once.
func TestRolloutOfLimits(t *testing.T) {
	f := &fakeJVMs{}
	watching(t, f, func(_ *Rollout, change func(func()), shown func() string) {
		for _, tc := range []struct {
			name, now, want string
			both            bool
			broken          error
		}{
			{"limits", "-Xmx2g", "the memory limit is 2 GiB now (it was 1 GiB): runs with -Xmx1g, a restart would give -Xmx2g", false, nil},
			{"both", "-Xmx3g", "the memory limit is 2 GiB now (it was 1 GiB), and the JVM options have changed: runs with -Xmx1g, " +
				"a restart would give -Xmx3g", true, nil},
			{"too low", "-Xmx4g", "the memory limit is 2 GiB now (it was 1 GiB): a restart would fail, and nothing is done: no room", false,
				errors.New("no room")},
			{"as before", "-Xmx1g", "", false, nil},
		} {
			change(func() {
				f.now, f.limits, f.both, f.broken = tc.now, "the memory limit is 2 GiB now (it was 1 GiB)", tc.both, tc.broken
			})
			if got := shown(); got != tc.want {
				t.Errorf("%s: it says %q, want %q", tc.name, got, tc.want)
			}
		}
		if len(f.done()) > 0 {
			t.Errorf("restarted %v", f.done())
		}
	})
	p := &PendingRestart{Limits: "there is no memory limit now (it was 1 GiB)", Changes: []string{"-Xmx1g is gone", "-Da=b is gone"}}
	if got := p.String(); got != "there is no memory limit now (it was 1 GiB): with a restart -Xmx1g is gone; -Da=b is gone" {
		t.Error(got)
	}
}

// A limit below what the JVM may use does not wait for more changes; a second one waits as after every restart.
func TestRolloutHurries(t *testing.T) {
	f := &fakeJVMs{restart: true}
	watching(t, f, func(_ *Rollout, change func(func()), shown func() string) {
		change(func() { f.now, f.limits = "-Xmx512m", "the memory limit is 1 GiB now (it was 2 GiB)" })
		time.Sleep(restartDelay / 2) // the JVM is adjusted
		change(func() { f.urgent = true })
		if want := []string{"1s:10"}; !slices.Equal(f.done(), want) || f.reason != "a change of its limits" {
			t.Errorf("restarted %v for %q, want %v", f.done(), f.reason, want)
		}
		change(func() { f.urgent = false })
		for k := range 60 { // a limit that flaps
			change(func() { f.now, f.urgent = []string{"-Xmx512m", "-Xmx1g"}[k%2], k%2 == 0 })
			time.Sleep(time.Second)
		}
		if n := len(f.done()); n != 1 {
			t.Errorf("restarted %v within a minute", f.done())
		}
		change(func() { f.now, f.both = "-Xmx256m", true })
		time.Sleep(time.Minute)
		if n := len(f.done()); n != 2 || f.reason != "a change of the sources of its JVM options and of its limits" || shown() != "" {
			t.Errorf("restarted %v for %q; it says %q", f.done(), f.reason, shown())
		}
	})
}
