//go:build container

package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hookEvents are the events of a service's life in the order of the documentation.
func hookEvents() []string {
	return []string{"init", "network-ready", "pre-start", "started", "ready", "start-failed", "unhealthy", "pre-stop", "exited", "stopped",
		"exit"}
}

// recordEvent logs an event as one line: event, service and result.
const recordEvent = `printf "%s\n" "$STOKER_EVENT${STOKER_SERVICE:+ $STOKER_SERVICE}${STOKER_EXIT_CODE:+ code $STOKER_EXIT_CODE}${STOKER_SIGNAL:+ signal $STOKER_SIGNAL}` +
	`$([ "$STOKER_OOM" != 1 ] || echo " oom")" >>DIR/events`

// recordingHooks configures a script as a hook of every event.
func recordingHooks(dir, script string) string {
	var b strings.Builder
	b.WriteString("hooks:\n")
	for _, event := range hookEvents() {
		fmt.Fprintf(&b, "  %s: [{name: record, command: [sh, -c, '%s']}]\n", event, strings.ReplaceAll(script, "DIR", dir))
	}
	return b.String()
}

// hookBox is a box that logs all of its events.
func hookBox(t *testing.T, services string) *box {
	t.Helper()
	dir := t.TempDir()
	return newBox(t, boxOptions{dir: dir, config: recordingHooks(dir, recordEvent) + strings.ReplaceAll(services, "DIR", dir)})
}

// awaitEvents waits for a number of logged events.
func (b *box) awaitEvents(n int) []string {
	b.t.Helper()
	if !eventually(20*time.Second, 10*time.Millisecond, func() bool { return len(b.lines("events")) >= n }) {
		b.t.Fatalf("%d events are not noted within 20 s, only %q", n, b.lines("events"))
	}
	return b.lines("events")
}

// wantEvents compares the logged events with the expected ones.
func (b *box) wantEvents(want ...string) {
	b.t.Helper()
	got := b.awaitEvents(len(want))
	if !slices.Equal(got, want) {
		b.t.Errorf("events:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// endsWell stops the box and checks its exit code.
func (b *box) endsWell() {
	b.t.Helper()
	b.signal(syscall.SIGTERM)
	if code := b.wait(20 * time.Second); code != 0 {
		b.t.Errorf("the code is %d, not 0", code)
	}
}

func TestHooksOfANormalLife(t *testing.T) {
	t.Parallel()
	b := hookBox(t, "services: {web: {command: [sleep, '98431']}}\n")
	b.awaitEvents(5)
	b.endsWell()
	b.wantEvents("init", "network-ready", "pre-start web", "started web", "ready web",
		"pre-stop web", "exited web signal TERM", "stopped web signal TERM", "exit code 0")
}

// An unexpected exit has its events, and so has the following start.
func TestHooksOfACrash(t *testing.T) {
	t.Parallel()
	b := hookBox(t, "services: {web: {command: [sleep, '98431'], restart: {backoff: {first: 10ms}}}}\n")
	b.awaitEvents(5)
	syscall.Kill(b.awaitInside("sleep 98431", 1)[0].pid, syscall.SIGKILL)
	b.awaitEvents(10)
	b.endsWell()
	b.wantEvents("init", "network-ready", "pre-start web", "started web", "ready web",
		"exited web signal KILL", "stopped web signal KILL",
		"pre-start web", "started web", "ready web",
		"pre-stop web", "exited web signal TERM", "stopped web signal TERM", "exit code 0")
}

func TestHooksOfFailedStarts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		service string
		want    []string
	}{ // the end of a start supersedes its hook started, which has had its time before
		"missing": {"command: [/nonexistent/98431]", []string{"pre-start web", "start-failed web code 127", "stopped web code 127",
			"exit code 127"}},
		"ends before it is ready": {`command: [sh, -c, 'until grep -q ^started DIR/events; do sleep 0.05; done; exit 7'], ready: {file: DIR/never}`,
			[]string{"pre-start web", "started web", "start-failed web code 7", "exited web code 7", "stopped web code 7", "exit code 7"}},
		"not ready in time": {"command: [sleep, '98431'], ready: {file: DIR/never, within: 3s}",
			[]string{"pre-start web", "started web", "start-failed web", "pre-stop web", "exited web signal TERM", "stopped web signal TERM",
				"exit code 143"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := hookBox(t, "services: {web: {"+c.service+", restart: {backoff: {first: 1h, max: 1h}}}}\n")
			want := append([]string{"init", "network-ready"}, c.want...)
			b.awaitEvents(len(want) - 1)
			b.signal(syscall.SIGTERM)
			b.wait(20 * time.Second)
			b.wantEvents(want...)
		})
	}
}

// A start that is stopped before it is ready is not a failure.
func TestHooksOfAStopInMidStart(t *testing.T) {
	t.Parallel()
	b := hookBox(t, "services: {web: {command: [sleep, '98431'], ready: {file: DIR/never}}}\n")
	b.awaitEvents(4)
	b.endsWell()
	b.wantEvents("init", "network-ready", "pre-start web", "started web", "pre-stop web", "exited web signal TERM", "stopped web signal TERM",
		"exit code 0")
}

// TERM while a pre-start hook runs: the hook is ended, the service is not started, and the stop
// stays within its budget.
func TestTermInAPreStartHook(t *testing.T) {
	t.Parallel()
	for name, trap := range map[string]string{"obeys": "", "ignores TERM": `trap "" TERM; `} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			b := newBox(t, boxOptions{dir: dir, config: `
stop: {timeout: 4s}
hooks:
  pre-start: [{name: slow, timeout: 60s, command: [sh, -c, '` + trap + `echo >` + dir + `/begun; sleep 98432; sleep 98433']}]
  stopped: [{name: note, command: [sh, -c, 'echo >>` + dir + `/stopped']}]
services: {web: {command: [sh, -c, 'echo >` + dir + `/started; exec sleep 98431']}}
`})
			await(t, 10*time.Second, "the hook", func() bool { return b.file("begun") != "" })
			from := time.Now()
			b.signal(syscall.SIGTERM)
			code := b.wait(20 * time.Second)
			if took := time.Since(from); took > 4500*time.Millisecond || code != 0 {
				t.Errorf("the end took %v of 4 s, code %d", took, code)
			}
			if b.file("started") != "" {
				t.Error("the service was started")
			}
			if got := b.file("stopped"); got != "\n" {
				t.Errorf("stopped: %q, want it once", got)
			}
		})
	}
}

// The supervisor is killed while a hook runs: the hook goes on, and no event is lost or handled
// twice.
func TestKillInAHook(t *testing.T) {
	t.Parallel()
	for _, event := range hookEvents() {
		if event == "start-failed" || event == "unhealthy" {
			continue // does not happen here
		}
		t.Run(event, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			script := recordEvent + `; [ "$STOKER_EVENT" != ` + event +
				` ] || { echo $STOKER_EVENT >>DIR/begun; sleep 1; echo $STOKER_EVENT >>DIR/over; }`
			b := newBox(t, boxOptions{dir: dir, config: recordingHooks(dir, script) + "services: {web: {command: [sleep, '98431']}}\n"})
			stopping := slices.Contains([]string{"pre-stop", "exited", "stopped", "exit"}, event)
			if stopping {
				b.awaitEvents(5)
				b.signal(syscall.SIGTERM)
			}
			await(t, 20*time.Second, "the hook", func() bool { return b.file("begun") != "" })
			syscall.Kill(b.supervisor(), syscall.SIGKILL)
			if !stopping {
				b.awaitEvents(5)
				b.signal(syscall.SIGTERM)
			}
			if code := b.wait(30 * time.Second); code != 0 {
				t.Errorf("the code is %d", code)
			}
			b.wantEvents("init", "network-ready", "pre-start web", "started web", "ready web",
				"pre-stop web", "exited web signal TERM", "stopped web signal TERM", "exit code 0")
			superseded := event == "started" || event == "ready" // a stop ends them
			if begun, over := b.lines("begun"), b.lines("over"); len(begun) != 1 || len(over) != 1 && !superseded {
				t.Errorf("begun %d times, over %d times", len(begun), len(over))
			}
		})
	}
}

// nastyHooks misbehave. None may delay the service beyond its timeout.
func nastyHooks() map[string]string {
	return map[string]string{
		"hangs":         `exec sleep 98441`,
		"ignores TERM":  `trap "" TERM; while :; do sleep 98442; done`,
		"daemon":        `setsid sleep 98443 & setsid setsid sh -c "trap : TERM; sleep 98444; sleep 98444" & exit 0`,
		"one long line": `head -c 5000000 /dev/zero | tr "\\0" x; exit 1`,
		"closed stdout": `exec >&- 2>&- ; sleep 0.1; exit 0`,
		"not found":     `exit 127`,
		"stopped":       `kill -STOP $$`,
		"garbage":       `head -c 100000 /dev/urandom; head -c 100000 /dev/urandom >$STOKER_OUT`,
	}
}

func TestNastyHooks(t *testing.T) {
	t.Parallel()
	for name, script := range nastyHooks() {
		for _, event := range []string{"pre-start", "started", "ready", "pre-stop", "stopped"} {
			t.Run(name+" at "+event, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				b := newBox(t, boxOptions{dir: dir, config: `
stop: {timeout: 6s}
hooks:
  ` + event + `: [{name: nasty, timeout: 1s, command: [sh, -c, '` + script + `']}, {name: next, command: [sh, -c, 'echo >>` + dir + `/next']}]
services: {web: {command: [sleep, "98431"]}}
`})
				b.awaitState("web", "RUNNING", 15*time.Second)
				if event == "started" || event == "ready" {
					await(t, 20*time.Second, "the hook after it", func() bool { return b.file("next") != "" })
				}
				from := time.Now()
				b.signal(syscall.SIGTERM)
				code := b.wait(20 * time.Second)
				if took := time.Since(from); took > 6500*time.Millisecond || code != 0 {
					t.Errorf("the end took %v of 6 s, code %d", took, code)
				}
				if got := b.file("next"); got != "\n" {
					t.Errorf("the hook after it has run %d times, want once", len(got))
				}
				if left := b.inside("sleep 9844"); len(left) > 0 {
					t.Errorf("left behind: %+v", left)
				}
			})
		}
	}
}

// Fifty hooks and many restarts leak no descriptors, threads, memory or zombies.
// STOKER_HOOK_RESTARTS sets the number of restarts.
func TestManyHooks(t *testing.T) {
	t.Parallel()
	const hooks = 50
	restarts := number(t, "STOKER_HOOK_RESTARTS", 20)
	dir := t.TempDir()
	var config strings.Builder
	config.WriteString("hooks:\n  pre-start:\n")
	for k := range hooks {
		fmt.Fprintf(&config, "  - {name: h%d, parallel: %v, command: [sh, -c, 'echo x >>%s/runs']}\n", k, k%2 == 0, dir)
	}
	config.WriteString("services: {web: {command: [sleep, '98431']}}\n")
	b := newBox(t, boxOptions{dir: dir, config: config.String()})
	runs := func(n int) {
		t.Helper()
		await(t, 60*time.Second, fmt.Sprintf("%d starts", n), func() bool {
			return len(b.lines("runs")) == n*hooks &&
				b.state("web") == "RUNNING"
		})
	}
	runs(1)
	b.timed("restart", "web") // allocates what is allocated once
	runs(2)
	b.awaitWatches()
	const filled = 40 // restarts after which the journal has its 2000 events
	for k := range filled {
		b.timed("restart", "web")
		runs(k + 3)
	}
	before := b.footprints()
	for k := range restarts {
		b.timed("restart", "web")
		runs(k + 3 + filled)
	}
	for _, p := range childrenOf(b.init) {
		if p.state == 'Z' {
			t.Errorf("a zombie: %+v", p)
		}
	}
	b.wantNoGrowth(before, restarts)
}

// Hook files run in the order of their numbers, and are refused if other users could write them.
func TestHookFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hooks := filepath.Join(dir, "hooks", "pre-start.d")
	if err := os.MkdirAll(hooks, 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho ${0##*/} >>" + dir + "/order\n"
	for name, file := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"100-last": {script, 0o755}, "2-second": {script, 0o755}, "01-first": {script, 0o755}, "50-open": {script, 0o777},
		"60-crlf": {"#!/bin/sh\r\necho crlf >>" + dir + "/order\r\n", 0o755}, "70-plain": {script, 0o644},
		"80-nowhere": {"#!/nonexistent/sh\n", 0o755},
		"README":     {"not a hook", 0o644}, "9-x~": {script, 0o755},
	} {
		path := filepath.Join(hooks, name)
		if err := os.WriteFile(path, []byte(file.text), file.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, file.mode); err != nil {
			t.Fatal(err)
		}
	}
	b := newBox(t, boxOptions{dir: dir, config: "hooks: {dir: " + dir + "/hooks}\nservices: {web: {command: [sleep, '98431']}}\n"})
	b.awaitState("web", "RUNNING", 15*time.Second)
	if got := b.lines("order"); !slices.Equal(got, []string{"01-first", "2-second", "100-last"}) {
		t.Errorf("order: %q", got)
	}
	out, err := b.run("hook", "list")
	if err != nil {
		t.Fatal(err, out)
	}
	for _, want := range []string{"0777", "carriage return", "70-plain", "/nonexistent/sh", "README"} {
		if !strings.Contains(out+b.stderr.String(), want) {
			t.Errorf("nothing is said of %s:\n%s", want, out)
		}
	}
}
