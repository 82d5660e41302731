package hooks

import (
	"context"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/jvm"
)

// outputHook makes a hook that writes text to STOKER_OUT.
func outputHook(e lifecycle.Event, name, text string, more ...func(*ResolvedHook)) ResolvedHook {
	b := newHook(e, name, "100ms", more...)
	b.Command = append(b.Command, "give", text)
	return b
}

func TestOutput(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		list := []ResolvedHook{outputHook(lifecycle.Init, "i", "env A=init\nenv B=init\n"),
			outputHook(lifecycle.NetworkReady, "n", "jvm-option -Dn=1"),
			outputHook(lifecycle.PreStart, "first", "env B=first\xff\nenv C=first\njvm-option -Da=1\n", parallel),
			outputHook(lifecycle.PreStart, "second", "env C=second\njvm-option -Da=2\nannotation x=y\n", parallel),
			newHook(lifecycle.PreStart, "third", "0s"), outputHook(lifecycle.Ready, "r", "annotation ready=1"),
			outputHook(lifecycle.Ready, "refused", "env A=ready")}
		h := newFakeHost()
		l := newTestRunner(t, h, Recovered{}, list...)
		l.opts.Runtime = dir
		var annotations []string
		l.opts.OnDone = func(_ lifecycle.Occurrence, outs []Outcome) {
			for _, o := range outs {
				for name, value := range o.Given.Annotations {
					annotations = append(annotations, name+"="+value)
				}
			}
		}
		ctx := context.Background()
		for _, o := range []lifecycle.Occurrence{{Event: lifecycle.Init}, {Event: lifecycle.NetworkReady}, of(lifecycle.PreStart, 1)} {
			if err := l.Await(ctx, o); err != nil {
				t.Fatal(err)
			}
		}
		want := Output{Env: map[string]string{"A": "init", "B": "first\xff", "C": "second"}, Annotations: map[string]string{"x": "y"},
			Options: []OutputOption{{"-Dn=1", "hook network-ready/n"}, {"-Da=1", "hook pre-start/first"}, {"-Da=2", "hook pre-start/second"}}}
		if got := l.Output("app", os.Geteuid()); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v", got)
		}
		if env := h.env["hook pre-start/third"]; !slices.Contains(env, "A=init") || !slices.Contains(env, "C=second") {
			t.Errorf("a hook behind them has %q", env)
		}
		if got := l.Output("db", os.Geteuid()); !reflect.DeepEqual(got, Output{Env: map[string]string{"A": "init", "B": "init"},
			Options: want.Options[:1]}) {
			t.Errorf("another service has %+v", got)
		}
		l.Tell(of(lifecycle.Ready, 1))
		l.Settle(ctx)
		slices.Sort(annotations)
		wantEqual(t, "annotations", annotations, []string{"ready=1", "x=y"})
		if failures := l.Failures("app"); len(failures) != 1 || !strings.Contains(failures[0],
			"hook ready/refused failed at ") || !strings.Contains(failures[0], "STOKER_OUT: line 1: env is for") {
			t.Errorf("%q", failures)
		}
		// A later supervisor has the same output, byte for byte.
		next, past := h.die()
		second := newTestRunner(t, next, past, list...)
		if got := second.Output("app", os.Geteuid()); !reflect.DeepEqual(got, want) {
			t.Errorf("after a takeover %+v", got)
		}
		// The next start begins with the output of the container, with hooks or without.
		second.opts.Runtime = dir
		second.registry = NewRegistry(list[:2], Facts{})
		second.Tell(of(lifecycle.PreStart, 2))
		if got := second.Output("app", os.Geteuid()); len(got.Env) != 2 || len(got.Options) != 1 {
			t.Errorf("the next start has %+v", got)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("files are left: %v, %v", left, err)
		}
		for item := range next.items {
			if strings.HasPrefix(item, outputPrefix) && !strings.HasPrefix(item, outputPrefix+containerQueue) {
				t.Errorf("%s is left", item)
			}
		}
	})
}

// executionOf is an execution of a hook after one with some output.
func executionOf(opts Options, given Output, h *ResolvedHook, o lifecycle.Occurrence) *execution {
	r := &Runner{opts: opts, host: &fakeHost{}, log: hclog.NewNullLogger(), queues: map[string]*queue{}}
	r.queue(containerQueue, true).outputs = []savedOutput{{output: given}}
	return &execution{q: &queue{r: r, manual: true}, run: newRun(&run{Occurrence: o}), hook: h, attempt: attempt{Hook: h.Title()}}
}

func environOf(t *testing.T, x *execution) []string {
	t.Helper()
	env, err := x.environ(nil)
	if err != nil {
		t.Fatal(err)
	}
	if x.term.IsZero() {
		delete(env, "STOKER_DEADLINE")
	}
	return pairs(env)
}

// A program does not get variables with JVM options, unless its own env names them. A request starts
// nothing, and has them.
func TestNoJVMOptionsInHookEnvironment(t *testing.T) {
	own, given := map[string]string{"PATH": "/bin"}, Output{Env: map[string]string{"JAVA_OPTS": "-Dgiven=1"}}
	for _, name := range jvm.OptionVariables() {
		own[name] = "-Down=1"
	}
	env := func(hook Hook) []string {
		b := newHook(lifecycle.Init, "h", "x")
		b.Hook = hook
		return environOf(t, executionOf(Options{Env: own}, given, &b, lifecycle.Occurrence{Event: lifecycle.Init}))
	}
	about := []string{"PATH=/bin", "STOKER_EVENT=init", "STOKER_HOOK=h"}
	wantEqual(t, "command", env(Hook{Name: "h"}), about)
	wantEqual(t, "command that wants some", env(Hook{Name: "h", Env: map[string]string{"JAVA_TOOL_OPTIONS": "${JAVA_OPTS} ${JAVA_TOOL_OPTIONS}",
		"JAVA_OPTS": "-Xmx64m"}}),
		[]string{"JAVA_OPTS=-Xmx64m", "JAVA_TOOL_OPTIONS=-Xmx64m -Down=1", "PATH=/bin", "STOKER_EVENT=init", "STOKER_HOOK=h"})
	wantEqual(t, "path", env(Hook{Name: "h", Env: map[string]string{"PATH": "/opt/bin:${PATH}", "E": "${STOKER_EVENT}"}}),
		[]string{"E=init", "PATH=/opt/bin:/bin", "STOKER_EVENT=init", "STOKER_HOOK=h"})
	if got := env(Hook{Name: "h", URL: "http://x"}); len(got) != len(own)+2 || !slices.Contains(got, "JAVA_OPTS=-Dgiven=1") {
		t.Errorf("a request has %v", got)
	}
	b := newHook(lifecycle.Init, "h", "x")
	b.Env, b.Source = map[string]string{"A": "${NONE}"}, "stoker.yaml:7"
	x := executionOf(Options{Env: own}, given, &b, lifecycle.Occurrence{Event: lifecycle.Init})
	if _, err := x.environ(nil); err == nil || !strings.Contains(err.Error(),
		"env.A of the hook (stoker.yaml:7): NONE is not set") {
		t.Errorf("unset: %v", err)
	}
	b.Plugin = "p" // its references were filled in before
	if got := environOf(t, x); !slices.Contains(got, "A=${NONE}") {
		t.Errorf("a plugin's hook has %v", got)
	}
}

// The reason of a hook that is cancelled before its start is the cause, not the context error.
func TestCancelledBeforeStart(t *testing.T) {
	b := newHook(lifecycle.Ready, "h", "x")
	x := executionOf(Options{OOMKills: func() (uint64, string, bool) { return 0, "", false }}, Output{}, &b, of(lifecycle.Ready, 1))
	x.run.cancel(cancelError{"the process is gone"})
	if out := x.runProgram(); out.OK || out.Why != (cancelError{"the process is gone"}).Error() {
		t.Errorf("%+v", out)
	}
}

func TestEnvironment(t *testing.T) {
	three := 3
	b := newHook(lifecycle.Exited, "h", "x", plugin("jacoco"))
	b.Params, b.PluginDir, b.StateDir, b.Env = map[string]string{"agent-port": "6300"}, "/plugins/jacoco", "/state",
		map[string]string{"A": "hook", "STOKER_PORT": "1"}
	opts := Options{Env: map[string]string{"A": "own", "B": "own", "STOKER_EVENT": "of another stoker", "STOKER_LABEL_OLD": "x",
		"STOKER_PID": "7", "STOKER_CONFIG": "/x"},
		Labels: func() map[string]string { return map[string]string{"app.id": "1"} }, Socket: func() string { return "/s" }}
	x := executionOf(opts, Output{Env: map[string]string{"B": "given"}}, &b,
		lifecycle.Occurrence{Event: lifecycle.Exited, Service: "app", Attempt: 2, ExitCode: &three, Reason: "a\x00b"})
	x.Out, x.term = "/o", time.UnixMilli(1234)
	got := environOf(t, x)
	wantEqual(t, "all", got, []string{"A=hook", "B=given", "STOKER_ATTEMPT=2", "STOKER_CONFIG=/x", "STOKER_DEADLINE=1234", "STOKER_EVENT=exited",
		"STOKER_EXIT_CODE=3",
		"STOKER_HOOK=jacoco/h", "STOKER_LABEL_APP_ID=1", "STOKER_OOM=0", "STOKER_OUT=/o", "STOKER_PARAM_AGENT_PORT=6300",
		"STOKER_PLUGIN_DIR=/plugins/jacoco", "STOKER_PORT=1",
		"STOKER_REASON=a?b", "STOKER_SERVICE=app", "STOKER_SOCKET=/s", "STOKER_STATE_DIR=/state"})
	b = newHook(lifecycle.Exited, "h", "x")
	got = environOf(t, executionOf(Options{}, Output{}, &b,
		lifecycle.Occurrence{Event: lifecycle.Exited, Service: "app", Signal: "KILL", OOM: true}))
	wantEqual(t, "killed", got, []string{"STOKER_EVENT=exited", "STOKER_HOOK=h", "STOKER_OOM=1", "STOKER_SERVICE=app", "STOKER_SIGNAL=KILL"})
	got = environOf(t, executionOf(Options{}, Output{}, &b, lifecycle.Occurrence{Event: lifecycle.Init}))
	wantEqual(t, "least", got, []string{"STOKER_EVENT=init", "STOKER_HOOK=h"})
}

// TestOutputOfAnotherUser: the output of a hook with run_as is for processes of that user.
func TestOutputOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has hooks of another user")
	}
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		as := func(user string) func(*ResolvedHook) { return func(b *ResolvedHook) { b.RunAs = user } }
		h := newFakeHost()
		list := []ResolvedHook{outputHook(lifecycle.Init, "i", "env A=init\nenv LD_PRELOAD=/evil\n", as("4711"),
			func(b *ResolvedHook) { b.AllowEnv = []string{"LD_*"} }),
			outputHook(lifecycle.PreStart, "app", "env B=app\njvm-option -Dapp=1\nannotation a=b", as("4711")),
			outputHook(lifecycle.PreStart, "refused", "env PATH=/evil"),
			outputHook(lifecycle.PreStart, "root", "env B=root\n", as("0")), outputHook(lifecycle.PreStart, "noted", "annotation x=y", as("4711")),
			newHook(lifecycle.PreStart, "as-root", "0s"), newHook(lifecycle.PreStart, "as-app", "0s", as("4711")),
			newHook(lifecycle.PreStart, "as-other", "0s", as("4712"))}
		l := newTestRunner(t, h, Recovered{}, list...)
		l.opts.Runtime = dir
		ctx := context.Background()
		for _, o := range []lifecycle.Occurrence{{Event: lifecycle.Init}, of(lifecycle.PreStart, 1)} {
			if err := l.Await(ctx, o); err != nil {
				t.Fatal(err)
			}
		}
		check := func(r *Runner) {
			t.Helper()
			for uid, want := range map[int]map[string]string{0: {"B": "root"}, 4712: {"B": "root"},
				4711: {"A": "init", "B": "root", "LD_PRELOAD": "/evil"}} {
				got := r.Output("app", uid)
				if !reflect.DeepEqual(got.Env, want) || (len(got.Options) == 1) != (uid == 4711) {
					t.Errorf("for uid %d: %+v", uid, got)
				}
				withheld := []string{"not taken from hook init/i, which runs as uid 4711 and gives to processes of that user only: A, LD_PRELOAD",
					"not taken from hook pre-start/app, which runs as uid 4711 and gives to processes of that user only: B, -Dapp=1"}
				if uid == 4711 {
					withheld = nil
				}
				if !slices.Equal(got.Withheld, withheld) {
					t.Errorf("for uid %d withheld is %q", uid, got.Withheld)
				}
			}
		}
		check(l.Runner)
		for hook, want := range map[string]bool{"as-root": false, "as-app": true, "as-other": false} {
			if got := slices.Contains(h.env["hook pre-start/"+hook], "LD_PRELOAD=/evil"); got != want {
				t.Errorf("%s has LD_PRELOAD: %v", hook, got)
			}
		}
		if got := l.Failures("app"); len(got) != 1 || !strings.Contains(got[0], `refused failed at`) || !strings.Contains(got[0],
			`STOKER_OUT: line 1: "PATH" is refused`) {
			t.Errorf("%q", got)
		}
		second := newTestRunner(t, h, recovered(h.items), list...) // of the next supervisor
		check(second.Runner)
	})
}
