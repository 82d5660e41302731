package hooks

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A hook that asks for one kind of end is run at that one only, also by a supervisor
// that takes over; one that does not is run at each.
func TestEndsOfService(t *testing.T) {
	yes, no := true, false
	for name, c := range map[string]struct {
		expected *bool
		want     []string
	}{
		"expected":   {&yes, []string{"exited/any@0s", "exited/wanted@1s"}},
		"unexpected": {&no, []string{"exited/any@0s", "exited/crash@1s"}},
		"not known":  {nil, []string{"exited/any@0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLife(t, newFakeHost(), Past{}, bound(Exited, "any", "1s"), bound(Exited, "crash", "1s", atEnd(EndUnexpected)),
					bound(Exited, "wanted", "1s", atEnd(EndExpected)))
				o := of(Exited, 1)
				o.Expected = c.expected
				l.Tell(o)
				l.Settle(context.Background())
				same(t, "started", l.h.started, c.want)
			})
		})
	}
}

// An end without hooks waits for nothing and reports nothing.
func TestEndWithoutItsHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLife(t, newFakeHost(), Past{}, bound(Exited, "crash", "1s", atEnd(EndUnexpected)), bound(Stopped, "t", "1s"))
		yes := true
		o := of(Exited, 1)
		o.Expected = &yes
		l.Tell(o)
		l.Tell(of(Stopped, 1))
		l.Settle(context.Background())
		same(t, "started", l.h.started, []string{"stopped/t@0s"})
		same(t, "told", l.told, []string{"stopped: t ok"})
	})
}

// The hooks of fatal run to their end also when the container ends because of it.
func TestFatalHooksInAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLife(t, newFakeHost(), Past{}, bound(Ready, "r", "1m"), bound(Fatal, "page", "3s"))
		l.Tell(of(Ready, 1))
		time.Sleep(time.Second)
		l.Tell(of(Exited, 1))
		l.Tell(of(Fatal, 1))
		l.Tell(of(Fatal, 1))
		l.Tell(of(Stopped, 1))
		ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second)
		defer cancel()
		l.Settle(ctx)
		if got := strings.Join(l.told, "; "); !strings.Contains(got, "fatal: page ok") || strings.Count(got, "page") != 1 {
			t.Errorf("told: %s", got)
		}
	})
}

func TestExpectedVariable(t *testing.T) {
	yes, no := true, false
	for want, expected := range map[string]*bool{"true": &yes, "false": &no, "": nil} {
		b := bound(Exited, "e", "1s")
		env, _ := (&scene{own: map[string]string{"STOKER_EXPECTED": "of another stoker"}}).environ(&b, Occasion{Event: Exited, Expected: expected})
		if env["STOKER_EXPECTED"] != want {
			t.Errorf("STOKER_EXPECTED is %q, want %q", env["STOKER_EXPECTED"], want)
		}
	}
}
