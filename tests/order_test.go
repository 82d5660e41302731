//go:build container

package tests

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// noted returns a bash script that logs its start, readiness and stop. It becomes ready after a
// number of seconds and takes 0.1 s to stop.
func noted(dir, name string, seconds float64) string {
	return fmt.Sprintf(`n() { echo "%[2]s $1 $EPOCHREALTIME" >>%[1]s/notes; }; rm -f %[1]s/%[2]s.ready; n start; `+
		`trap 'n term; sleep 0.1; n end; exit 0' TERM; sleep %[3]v; n ready; touch %[1]s/%[2]s.ready; sleep 1000 & wait`, dir, name, seconds)
}

// notedService returns the configuration of such a service without its dependencies.
func notedService(dir, name string, seconds float64, more string) string {
	return fmt.Sprintf("  %[1]s: {command: [bash, -c, %[2]q], ready: {exec: [test, -e, %[3]s/%[1]s.ready]}%[4]s}\n", name,
		noted(dir, name, seconds), dir, more)
}

// notes returns the latest time of each "service event".
func (b *box) notes() map[string]time.Time {
	b.t.Helper()
	out := map[string]time.Time{}
	for _, line := range b.lines("notes") {
		k := strings.LastIndexByte(line, ' ')
		out[line[:k]] = stamp(b.t, line[k+1:])
	}
	return out
}

// wantOrder checks that the events came in this order.
func (b *box) wantOrder(events ...string) {
	b.t.Helper()
	notes := b.notes()
	for k, event := range events {
		at, ok := notes[event]
		if !ok {
			b.t.Errorf("%q never came; the notes are %q", event, b.lines("notes"))
			return
		}
		if k > 0 && !at.After(notes[events[k-1]]) {
			b.t.Errorf("%q came %v before %q", event, notes[events[k-1]].Sub(at), events[k-1])
		}
	}
}

// A service starts after the services it requires are ready and those in its `after` are done. The
// stop has the reverse order.
func TestStartOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := newBox(t, boxOptions{dir: dir, config: "stop: {timeout: 5s}\nservices:\n" +
		notedService(dir, "web", 0.1, ", requires: [db], after: [migrate, cache]") +
		notedService(dir, "cache", 0.2, "") +
		notedService(dir, "db", 0.3, "") +
		fmt.Sprintf("  migrate: {command: [bash, -c, %q], oneshot: true, requires: [db]}\n",
			`echo "migrate start $EPOCHREALTIME" >>`+dir+`/notes; sleep 0.2; echo "migrate end $EPOCHREALTIME" >>`+dir+`/notes`)})
	b.awaitState("web", "RUNNING", 10*time.Second)
	b.wantOrder("db start", "db ready", "migrate start", "migrate end", "web start", "web ready")
	b.wantOrder("cache ready", "web start")
	b.awaitState("migrate", "EXITED", time.Second)
	b.killSupervisor() // the next one continues in the same order
	b.signal(syscall.SIGTERM)
	b.wait(6 * time.Second)
	b.wantOrder("web term", "web end", "db term", "db end")
	b.wantOrder("web end", "cache term")
}

// Ten services that take a second each, and one after them: services without a dependency start
// and stop in parallel.
func TestStartsInParallel(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config, names := "", []string{}
	for k := range 10 {
		names = append(names, fmt.Sprintf("s%d", k))
		config += notedService(dir, names[k], 1, "")
	}
	b := newBox(t, boxOptions{dir: dir, config: "stop: {timeout: 5s}\nservices:\n" + config +
		notedService(dir, "last", 0, ", requires: ["+strings.Join(names, ", ")+"]")})
	b.awaitState("last", "RUNNING", 10*time.Second)
	notes := b.notes()
	first, end := notes["s0 start"], notes["s0 ready"]
	for _, name := range names {
		if at := notes[name+" start"]; at.Before(first) {
			first = at
		}
		if at := notes[name+" ready"]; at.After(end) {
			end = at
		}
		b.wantOrder(name+" ready", "last start")
	}
	if took := end.Sub(first); took > 2*time.Second {
		t.Errorf("ten services of 1 s each were ready after %v", took)
	}
	if took := notes["last start"].Sub(end); took > 1200*time.Millisecond { // it is checked once a second
		t.Errorf("the one behind them was started %v later", took)
	}
	from := time.Now()
	b.signal(syscall.SIGTERM)
	b.wait(6 * time.Second)
	if took := time.Since(from); took > 2*time.Second {
		t.Errorf("their stop, of 0.1 s each in two steps, took %v", took)
	}
}

// A service that waits for others stops at once, starts together with those it requires, and ends
// before them.
func TestRequiredServices(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := newBox(t, boxOptions{dir: dir, config: "services:\n" +
		notedService(dir, "db", 0.2, ", autostart: false") +
		notedService(dir, "web", 0, ", autostart: false, requires: [db]") +
		notedService(dir, "never", 1000, ", autostart: false") +
		notedService(dir, "behind", 0, ", autostart: false, requires: [never]")})
	b.awaitState("web", "STOPPED", 10*time.Second)

	b.timed("start", "web")
	b.awaitState("web", "RUNNING", 5*time.Second)
	b.wantOrder("db start", "db ready", "web start")

	b.timed("stop", "db")
	b.wantOrder("web term", "web end", "db term", "db end")
	if db, web := b.state("db"), b.state("web"); db != "STOPPED" || web != "STOPPED" {
		t.Errorf("after the stop of db it is %s, and web, which requires it, is %s", db, web)
	}

	b.timed("start", "behind")
	b.awaitState("never", "STARTING", 5*time.Second)
	if !holds(300*time.Millisecond, func() bool { _, started := b.notes()["behind start"]; return !started }) {
		t.Error("it was started although what it requires is not ready")
	}
	from := time.Now()
	err := newAPIClient(b.socket).command("behind", "stop")
	const long = 5 * time.Second // the wait would never end
	if took := time.Since(from); err != nil || took > long {
		t.Errorf("the stop of what waits for another took %v of %v: %v", took, long, err)
	}
	if st := b.state("behind"); st != "STOPPED" {
		t.Errorf("after the stop it is %s", st)
	}
	write(t, filepath.Join(dir, "never.ready"), "", 0o644)
	b.awaitState("never", "RUNNING", 5*time.Second)
	if !holds(300*time.Millisecond, func() bool { return b.state("behind") == "STOPPED" }) {
		t.Error("a service that was stopped has started when what it requires became ready")
	}
}

// A failed oneshot blocks only the services that require it.
func TestOneshotFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := newBox(t, boxOptions{dir: dir, config: "services:\n" +
		"  migrate: {command: [bash, -c, 'exit 3'], oneshot: true, restart: {backoff: {first: 50ms, factor: 1, max: 50ms}, limit: {starts: 100000}}}\n" +
		"  failing: {command: [bash, -c, 'echo >>" + dir + "/tries; test -e " + dir +
		"/repaired'], oneshot: true, restart: {backoff: {first: 50ms, factor: 1, max: 50ms}, limit: {starts: 100000}}}\n" +
		notedService(dir, "web", 0, ", requires: [migrate]") +
		notedService(dir, "app", 0, ", requires: [failing]") +
		notedService(dir, "other", 0, "")})
	b.awaitState("other", "RUNNING", 5*time.Second)
	await(t, 5*time.Second, "more tries of the oneshot", func() bool { return len(b.file("tries")) > 3 })
	write(t, filepath.Join(dir, "repaired"), "", 0o644)
	b.awaitState("app", "RUNNING", 5*time.Second)
	b.awaitState("failing", "EXITED", time.Second)
	if _, started := b.notes()["web start"]; started {
		t.Error("web was started although what it requires has not succeeded")
	}
	tries := len(b.file("tries"))
	if !holds(300*time.Millisecond, func() bool { return len(b.file("tries")) == tries }) {
		t.Error("a oneshot that has succeeded was started again")
	}
}

// A dependency cycle is refused with its path before anything starts.
func TestCircle(t *testing.T) {
	t.Parallel()
	const config = `
services:
  lonely: {command: [sleep, "98431"]}
  a: {command: [sleep, "98431"], requires: [b]}
  b: {command: [sleep, "98431"], after: [c]}
  c: {command: [sleep, "98431"], requires: [a]}
`
	dir := t.TempDir()
	file := filepath.Join(dir, "stoker.yaml")
	write(t, file, config, 0o644)
	out, err := exec.Command(stoker(t), "config", "check", "--config", file).CombinedOutput()
	if code := exitCode(err); code != 78 {
		t.Errorf("config check ends with %d, not 78: %s", code, out)
	}
	b := newBox(t, boxOptions{dir: dir, config: config})
	if !eventually(5*time.Second, 10*time.Millisecond, b.ended) {
		t.Fatalf("run goes on with a circle; config check has said: %s", out)
	}
	if b.code != 78 {
		t.Errorf("run ends with %d, not 78", b.code)
	}
	path := regexp.MustCompile(`\b(a\b.*\bb\b.*\bc\b.*\ba|b\b.*\bc\b.*\ba\b.*\bb|c\b.*\ba\b.*\bb\b.*\bc)\b`)
	for what, text := range map[string]string{"config check": string(out), "run": b.stderr.String()} {
		if !slices.ContainsFunc(strings.Split(text, "\n"), path.MatchString) || strings.Contains(text, "lonely") {
			t.Errorf("%s does not say how the circle goes: %s", what, text)
		}
	}
}
