//go:build container

package tests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// loopTime is how long every new supervisor is killed.
func loopTime(t testing.TB) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(os.Getenv("STOKER_LOOP"))
	if err != nil && os.Getenv("STOKER_LOOP") != "" {
		t.Fatalf("STOKER_LOOP: %v", err)
	}
	return max(d, 15*time.Second)
}

// crashLoop kills every supervisor, immediately or a moment after its start, until end is called.
type crashLoop struct {
	b     *box
	stop  chan struct{}
	done  sync.WaitGroup
	kills int
}

func (b *box) crash(upTo time.Duration) *crashLoop {
	l := &crashLoop{b: b, stop: make(chan struct{})}
	l.done.Go(func() { // ends with stop
		for {
			select {
			case <-l.stop:
				return
			case <-time.After(500 * time.Microsecond):
			}
			if pid := b.supervisor(); pid != 0 {
				if upTo > 0 {
					spin(time.Duration(rand.Int64N(int64(upTo))))
				}
				if syscall.Kill(pid, syscall.SIGKILL) == nil {
					l.kills++
				}
				eventually(time.Second, 200*time.Microsecond, func() bool { return b.supervisor() != pid })
			}
		}
	})
	return l
}

// end stops the killing.
func (l *crashLoop) end() {
	close(l.stop)
	l.done.Wait()
}

// fds returns the descriptors of PID 1.
func (b *box) fds() (links []string) {
	dir := fmt.Sprintf("/proc/%d/fd/", b.init)
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range entries {
		link, _ := os.Readlink(dir + e.Name())
		links = append(links, link)
	}
	return links
}

// settledFds returns the number of descriptors after the init got those of a service and watches
// its pipes with a second epoll.
func (b *box) settledFds() (n int) {
	b.t.Helper()
	if !eventually(30*time.Second, 20*time.Millisecond, func() bool {
		all := strings.Join(b.fds(), "\n")
		n = strings.Count(all, "\n") + 1
		return strings.Contains(all, "memfd:log-index") && strings.Count(all, "[eventpoll]") == 2
	}) {
		b.t.Fatalf("PID 1 has only the descriptors %q", b.fds())
	}
	return n
}

// While no supervisor works, the services run on without blocking, and discarded output is
// counted.
func TestCrashLoopHoldsNobodyUp(t *testing.T) {
	for name, upTo := range map[string]time.Duration{"at once": 0, "while it starts": 8 * time.Millisecond,
		"while it adopts": 25 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // to each other only
			w := newWriting(t)
			before := w.settledFds()
			loop := w.crash(upTo)
			pass(loopTime(t))
			loop.end()
			w.awaitState("writer", "RUNNING", 15*time.Second)
			svc, err := newAPIClient(w.socket).service("writer")
			if err != nil || svc.Pid != w.pid || svc.Restarts != 0 {
				t.Errorf("the service is %+v, %v; it was pid %d", svc, err, w.pid)
			}
			eventually(15*time.Second, 50*time.Millisecond, func() bool { return len(w.fds()) <= before+2 })
			if now := len(w.fds()); now > before+2 {
				t.Errorf("PID 1 had %d descriptors and has %d after %d kills", before, now, loop.kills)
			}
			w.checkCounted(loop.kills, upTo == 0)
		})
	}
}

// checkCounted checks that the writer was blocked for at most about a second and that the number
// of missing lines is reported exactly. With lossy some must be missing.
func (w *writing) checkCounted(kills int, lossy bool) {
	w.t.Helper()
	if out, err := w.run("stop", "writer"); err != nil {
		w.t.Fatalf("cannot stop the writer: %v: %s", err, out)
	}
	var total uint64
	var most, noise, rate float64
	var long int
	if n, err := fmt.Sscan(w.file("written"), &total, &most, &noise, &long, &rate); n != 5 {
		w.t.Fatalf("the writer's report is %q: %v", w.file("written"), err)
	}
	eventually(10*time.Second, 10*time.Millisecond, func() bool { return w.lines.lastLine() >= total })
	svc, err := newAPIClient(w.socket).service("writer")
	if err != nil || svc.Output == nil {
		w.t.Fatalf("cannot see the writer's output counted: %v", err)
	}
	w.lines.mu.Lock()
	defer w.lines.mu.Unlock()
	missing, counted := w.lines.missing+total-w.lines.last, svc.Output.LostLines+svc.Output.DroppedLines
	w.t.Logf("%d kills; %d lines at %.2f MB/s, the longest write %.1f ms; read %d, %d missing in %d gaps, %d counted, %d repeated, %d broken",
		kills, total, rate, most, w.lines.read, missing, w.lines.gaps, counted, w.lines.repeated, len(w.lines.broken))
	if most > 1200 {
		w.t.Errorf("a write took %.1f ms", most)
	}
	if missing != counted || w.lines.repeated > 0 {
		w.t.Errorf("%d lines are missing and %d are counted; %d came twice", missing, counted, w.lines.repeated)
	}
	if kills < 5 || lossy && missing == 0 {
		w.t.Errorf("the test has not tried enough: %d kills, %d lines missing", kills, missing)
	}
}

// deafScript logs TERM and goes on; politeScript logs it and exits.
const (
	politeScript = `
$SIG{TERM} = sub { open(my $f, '>>', 'DIR/order'); syswrite($f, "NAME\n"); exit 0 };
sleep 1 while 1;
`
	deafScript = `
$SIG{TERM} = sub { open(my $f, '>>', 'DIR/order'); syswrite($f, "NAME\n") };
sleep 1 while 1;
`
)

// TERM while no supervisor works: the init stops the services by the stop plan, group by group,
// and kills those that ignore it.
func TestStopAmidCrashLoop(t *testing.T) {
	dir := t.TempDir()
	named := func(name, text string) string {
		return script(t, dir, name+".pl", strings.ReplaceAll(text, "NAME", name))
	}
	b := newBox(t, boxOptions{dir: dir, config: fmt.Sprintf(`
stop: {timeout: 6s}
services:
  a: {command: [%s], stop: {timeout: 1s}}
  b: {command: [%s], stop: {timeout: 1s}}
  c: {command: [%s], stop: {timeout: 1s}}
`, named("a", politeScript), named("b", deafScript), named("c", politeScript))})
	for _, name := range []string{"a", "b", "c"} {
		b.awaitState(name, "RUNNING", 10*time.Second)
	}
	pass(50 * time.Millisecond) // the plan is written a moment after the state
	loop := b.crash(0)
	defer loop.end()
	pass(2 * time.Second)
	from := time.Now()
	b.signal(syscall.SIGTERM)
	if code := b.wait(15 * time.Second); code != 70 {
		t.Errorf("the container's code is %d, want 70", code)
	}
	order := b.lines("order")
	t.Logf("stopped in the order %v after %v", order, time.Since(from))
	var planned []string // the part of the log about the plan
	for _, line := range strings.Split(b.stderr.String(), "\n") {
		if _, step, ok := strings.Cut(line, "stop plan: "); ok {
			planned = append(planned, strings.Fields(step)[0])
		}
	}
	if len(order) != 3 || strings.Join(planned, " ") != "terminated terminated KILL terminated" {
		t.Errorf("stopped in the order %v; the log says %v, want each once and b killed", order, planned)
	}
}
