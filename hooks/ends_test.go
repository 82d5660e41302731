package hooks

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// A hook with when.end runs at ends of that kind only, another one at each end.
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
				l := newTestRunner(t, newFakeHost(), Recovered{}, newHook(lifecycle.Exited, "any", "1s"),
					newHook(lifecycle.Exited, "crash", "1s", atEnd(EndUnexpected)),
					newHook(lifecycle.Exited, "wanted", "1s", atEnd(EndExpected)))
				o := of(lifecycle.Exited, 1)
				o.Expected = c.expected
				l.Tell(o)
				l.Settle(context.Background())
				wantEqual(t, "started", l.h.started, c.want)
			})
		})
	}
}

// An end without matching hooks waits for nothing and reports nothing.
func TestEndWithoutMatchingHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestRunner(t, newFakeHost(), Recovered{}, newHook(lifecycle.Exited, "crash", "1s", atEnd(EndUnexpected)),
			newHook(lifecycle.Stopped, "t", "1s"))
		yes := true
		o := of(lifecycle.Exited, 1)
		o.Expected = &yes
		l.Tell(o)
		l.Tell(of(lifecycle.Stopped, 1))
		l.Settle(context.Background())
		wantEqual(t, "started", l.h.started, []string{"stopped/t@0s"})
		wantEqual(t, "done", l.done, []string{"stopped: t ok"})
	})
}

// The hooks of fatal run to their end also when the container ends because of it.
func TestFatalHooksInAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestRunner(t, newFakeHost(), Recovered{}, newHook(lifecycle.Ready, "r", "1m"), newHook(lifecycle.Fatal, "page", "3s"))
		l.Tell(of(lifecycle.Ready, 1))
		time.Sleep(time.Second)
		l.Tell(of(lifecycle.Exited, 1))
		l.Tell(of(lifecycle.Fatal, 1))
		l.Tell(of(lifecycle.Fatal, 1))
		l.Tell(of(lifecycle.Stopped, 1))
		ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second)
		defer cancel()
		l.Settle(ctx)
		if got := strings.Join(l.done, "; "); !strings.Contains(got, "fatal: page ok") || strings.Count(got, "page") != 1 {
			t.Errorf("done: %s", got)
		}
	})
}

func TestExpectedVariable(t *testing.T) {
	yes, no := true, false
	for want, expected := range map[string]*bool{"true": &yes, "false": &no, "": nil} {
		b := newHook(lifecycle.Exited, "e", "1s")
		x := executionOf(Options{Env: map[string]string{"STOKER_EXPECTED": "of another stoker"}}, Output{}, &b,
			lifecycle.Occurrence{Event: lifecycle.Exited, Expected: expected})
		env, _ := x.environ(nil)
		if env["STOKER_EXPECTED"] != want {
			t.Errorf("STOKER_EXPECTED is %q, want %q", env["STOKER_EXPECTED"], want)
		}
	}
}

// TestReasonOfAFailedHook: the reason is the last line of stderr, or else of stdout, without secrets. It
// names the OOM killer.
func TestReasonOfAFailedHook(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost()
		var kills atomic.Uint64
		kills.Store(3)
		killing := func(b *ResolvedHook) { b.Command = append(b.Command, "killed") }
		words := func(words ...string) func(*ResolvedHook) {
			return func(b *ResolvedHook) { b.Command = append(b.Command, words...) }
		}
		l := newTestRunner(t, h, Recovered{}, newHook(lifecycle.Ready, "both", "0s", words("exit", "1", "complain", "cannot reach db\n", "say",
			"done\n")),
			newHook(lifecycle.Ready, "out", "0s", words("exit", "1", "say", "only this\n")),
			newHook(lifecycle.Ready, "secret", "0s", words("exit", "1", "complain", "no: --password=geheim https://u:geheim@h/\n")),
			newHook(lifecycle.Ready, "out-secret", "0s", words("give", "--password=geheim")),
			newHook(lifecycle.Ready, "killed", "0s", killing), newHook(lifecycle.Ready, "shell", "0s", words("exit", "137", "complain", "Killed\n")),
			newHook(lifecycle.Unhealthy, "killed", "20ms", killing), newHook(lifecycle.Unhealthy, "shell", "20ms",
				words("exit", "137", "complain", "Killed\n")))
		l.opts.Runtime = dir
		l.opts.OOMKills = func() (uint64, string, bool) { return kills.Load(), "/sys/memory.events", true }
		l.Tell(of(lifecycle.Ready, 1))
		l.Settle(context.Background())
		l.Tell(of(lifecycle.Unhealthy, 1))
		for range 2 {
			time.Sleep(10 * time.Millisecond)
			kills.Add(1)
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		l.Settle(context.Background())
		wantEqual(t, "done", l.done, []string{
			"ready: both exit code 1: cannot reach db, out exit code 1: only this, secret exit code 1: no: --password=*** https://u:***@h/, " +
				`out-secret STOKER_OUT: line 1: "--password=***" is not env, jvm-option or annotation, ` +
				"killed killed by SIGKILL, shell exit code 137: Killed",
			"unhealthy: killed killed by the kernel's OOM killer: the memory limit was reached (/sys/memory.events: oom_kill 3 -> 4), " +
				"shell exit code 137: what it waited for was killed by the kernel's OOM killer (/sys/memory.events: oom_kill 4 -> 5): Killed"})
	})
}
