//go:build container

package tests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// chaosKills is the number of disturbances: STOKER_CHAOS or a small default.
func chaosKills(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("STOKER_CHAOS"))
	if err != nil {
		return 200
	}
	if n < 1 {
		t.Fatalf("STOKER_CHAOS is %d", n)
	}
	return n
}

// chaosConfig has services that log their starts and ends. flaky becomes FATAL after 4 runs, also
// if the supervisor that counts them is killed.
func chaosConfig(dir, version string, extra bool) string {
	service := func(name, more string) string {
		return fmt.Sprintf(`  %s:
    command: [bash, -c, "trap 'echo end %s >> %s/log; exit 0' TERM; echo start %s $$ %s >> %s/log; echo up; while :; do sleep 60 & wait $!; done"]
%s`, name, name, dir, name, version, dir, more)
	}
	out := "main: app\nservices:\n" +
		service("db", "    stop: {timeout: 2s}\n    ready: {log: \"^up$\"}\n") +
		service("app", "    requires: [db, prepare]\n    stop: {timeout: 2s}\n    ready: {log: \"^up$\", exec: [\"true\"]}\n") +
		`  flaky:
    command: [bash, -c, "echo run flaky >> ` + dir + `/log; exit 1"]
    restart: {backoff: {first: 50ms, factor: 1, jitter: 0}, limit: {starts: 3, retry_every: 0s}}
  prepare:
    command: [bash, -c, "sleep 0.2; echo prepared >> ` + dir + `/log"]
    oneshot: true
`
	if extra {
		out += service("extra", "")
	}
	return out
}

// hurt disturbs the supervisor or the whole container at random.
func (b *box) hurt() {
	pid := b.supervisor()
	if pid == 0 {
		return
	}
	pause := func(pids ...int) {
		for _, p := range pids {
			syscall.Kill(p, syscall.SIGSTOP)
		}
		<-time.After(time.Duration(rand.IntN(60)) * time.Millisecond)
		for _, p := range pids {
			syscall.Kill(p, syscall.SIGCONT)
		}
	}
	switch rand.IntN(10) {
	case 0:
		pause(pid)
	case 1:
		pause(b.init, pid) // as docker pause does
	case 2:
		syscall.Kill(pid, syscall.SIGSTOP) // the init must notice
	default:
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// insist repeats a command until a supervisor has carried it out.
func (b *box) insist(args ...string) {
	b.t.Helper()
	var out string
	var err error
	if !eventually(30*time.Second, time.Millisecond, func() bool {
		out, err = b.run(args...)
		return err == nil
	}) {
		b.t.Fatalf("stoker %q: %v: %s", args, err, out)
	}
}

// Disturbances of the supervisor change neither the final states of the services nor their
// numbers of starts.
func TestChaos(t *testing.T) {
	total := chaosKills(t)
	// A supervisor lives this long at most: long enough that some answer, also on a busy machine.
	life := max(60*time.Millisecond, firstAnswer(t))
	var done atomic.Int64
	for round := 0; int(done.Load()) < total; round++ {
		chaosRound(t, round, life, &done)
		if t.Failed() {
			return
		}
	}
	t.Logf("hurt %d times", done.Load())
}

// firstAnswer returns how long a supervisor takes here from its start to its first answer.
func firstAnswer(t *testing.T) time.Duration {
	t.Helper()
	from := time.Now()
	b := newBox(t, boxOptions{config: "services: {web: {command: [sleep, '98431']}}\n"})
	defer b.remove()
	await(t, 30*time.Second, "the first answer", func() bool { _, ok := b.status(); return ok })
	return time.Since(from)
}

func chaosRound(t *testing.T, round int, life time.Duration, done *atomic.Int64) {
	dir := t.TempDir()
	b := newBox(t, boxOptions{dir: dir, config: chaosConfig(dir, "one", false)})
	defer b.remove()
	stop := make(chan struct{})
	var hurting sync.WaitGroup
	hurting.Go(func() { // ends with stop
		for {
			select {
			case <-stop:
				return
			case <-time.After(5*time.Millisecond + rand.N(life)):
				b.hurt()
				done.Add(1)
			}
		}
	})
	file := filepath.Join(dir, "stoker.yaml")
	write := func(version string, extra bool) {
		if err := os.WriteFile(file+".new", []byte(chaosConfig(dir, version, extra)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	b.insist("stop", "app")
	b.insist("start", "app")
	b.insist("restart", "db")
	write("one", true)
	b.insist("reload")
	b.insist("stop", "db")
	b.insist("start", "app")
	write("two", false)
	b.insist("reload")
	b.awaitStates(map[string]string{"db": "RUNNING", "app": "RUNNING", "flaky": "FATAL", "prepare": "EXITED"})
	if runs := strings.Count(b.file("log"), "run flaky"); runs != 4 {
		t.Errorf("round %d: flaky ran %d times, want 4", round, runs)
	}
	if runs := strings.Count(b.file("log"), "prepared"); runs < 1 || runs > 2 { // once, and once more for the new configuration
		t.Errorf("round %d: prepare ran %d times", round, runs)
	}
	b.alone(round)
	if t.Failed() {
		out, _ := b.run("incidents")
		t.Logf("round %d:\n%s\n%s", round, out, b.stderr.String())
	}
	b.signal(syscall.SIGTERM)
	code := b.wait(15 * time.Second)
	close(stop)
	hurting.Wait()
	if code != 0 && code != 70 { // 70: two supervisors in a row were killed after the TERM
		t.Errorf("round %d: code %d", round, code)
	}
	lines := b.lines("log")
	app, db := lastIndex(lines, "end app"), lastIndex(lines, "end db")
	if app < 0 || db < 0 || app > db {
		t.Errorf("round %d: app must end before db:\n%s", round, strings.Join(lines[max(len(lines)-8, 0):], "\n"))
	}
	if t.Failed() {
		t.Logf("log:\n%s", b.file("log"))
	}
}

func lastIndex(lines []string, line string) int {
	for k, l := range slices.Backward(lines) {
		if l == line {
			return k
		}
	}
	return -1
}

// awaitStates waits until exactly these services are in these states.
func (b *box) awaitStates(want map[string]string) {
	b.t.Helper()
	var got map[string]string
	if !eventually(30*time.Second, 20*time.Millisecond, func() bool {
		st, ok := b.status()
		got = map[string]string{}
		for _, s := range st.Services {
			got[s.Name] = s.State
		}
		return ok && fmt.Sprint(got) == fmt.Sprint(want)
	}) {
		out, _ := b.run("status")
		b.t.Fatalf("the services are %v, want %v:\n%s", got, want, out)
	}
}

// alone checks that each service runs once and with the latest configuration.
func (b *box) alone(round int) {
	b.t.Helper()
	running := map[string]int{}
	for _, p := range childrenOf(b.init) {
		line := strings.Join(p.args, " ")
		if p.state == 'Z' || !strings.Contains(line, "trap 'echo end") {
			continue
		}
		name, _, _ := strings.Cut(strings.SplitN(line, "echo end ", 2)[1], " ")
		running[name]++
		if !strings.Contains(line, " two >>") {
			b.t.Errorf("round %d: %s runs with the configuration before", round, name)
		}
	}
	if fmt.Sprint(running) != "map[app:1 db:1]" {
		b.t.Errorf("round %d: these run: %v", round, running)
	}
}
