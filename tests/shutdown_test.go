//go:build container

package tests

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// recordStart lets a shell log its start time, field 22 of /proc/PID/stat in ticks since boot,
// without starting a process.
const recordStart = `read -r line </proc/self/stat && echo "$line" >>starts`

// delays are the times of TERM after the start, dense at first while everything is set up.
func delays(factor int) []time.Duration {
	var out []time.Duration
	for d := 5 * time.Millisecond; d <= 700*time.Millisecond; {
		out = append(out, d)
		if d < 100*time.Millisecond {
			d += 5 * time.Millisecond / time.Duration(factor)
		} else {
			d += 40 * time.Millisecond / time.Duration(factor)
		}
	}
	return out
}

// stopBegan returns when the log says that the container stops, in the clock of process.start.
func (b *box) stopBegan() (time.Duration, bool) {
	m := regexp.MustCompile(`(?m)^(\S+) \[INFO\]\s+stoker: the container stops`).FindStringSubmatch(b.stderr.String())
	if m == nil {
		return 0, false
	}
	at, err := time.Parse("2006-01-02T15:04:05.000Z0700", m[1])
	if err != nil {
		b.t.Fatal(err)
	}
	return sinceBoot() - time.Since(at), true
}

// The same with a command: its exit code, or 143 if it was not started.
func TestTermAtAnyMomentWithCommand(t *testing.T) {
	codes := map[string]int{}
	for _, delay := range delays(1)[:24] {
		dir := t.TempDir()
		b := newBox(t, boxOptions{dir: dir, args: []string{"--", "sh", "-c",
			`trap "echo bye >` + dir + `/bye; exit 7" TERM; echo yes >` + dir + `/trapped; while :; do sleep 0.01; done`}})
		pass(delay)
		from, _ := b.terminate()
		code := b.wait(20 * time.Second)
		if took := time.Since(from); took > 2*time.Second {
			t.Errorf("TERM after %v: the end took %v", delay, took)
		}
		trapped, bye := b.file("trapped") != "", b.file("bye") != ""
		switch {
		case !trapped && code == 2:
			// Before main the Go runtime ends the program, and the container with it.
		case bye && code != 7, !bye && code != 143, trapped && !bye:
			t.Errorf("TERM after %v: the code is %d (command had its trap: %v, the trap ran: %v)", delay, code, trapped, bye)
		}
		codes[fmt.Sprint(code)]++
		b.remove()
	}
	t.Logf("codes %v", codes)
}

// begun waits until PID 1 has reached main, which its supervisor proves. Before that the Go runtime
// decides what a signal does.
func (b *box) begun() {
	b.t.Helper()
	if !eventually(10*time.Second, 200*time.Microsecond, func() bool { return b.supervisor() != 0 }) {
		b.t.Fatal("no supervisor was started within 10 s")
	}
}

// harmless are the signals that do not end a container.
func harmless() []syscall.Signal {
	return []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM,
		syscall.SIGWINCH, syscall.SIGPIPE, syscall.SIGCONT, syscall.SIGTSTP}
}

func TestSignalsThatEndNothing(t *testing.T) {
	for _, sig := range harmless() {
		t.Run(strconv.Itoa(int(sig)), func(t *testing.T) {
			dir := t.TempDir()
			b := newBox(t, boxOptions{dir: dir, config: `
services:
  slow:
    command: [sleep, "1000"]
    ready: {exec: [test, -e, ` + dir + `/ready]}
`})
			b.begun()
			for range 40 { // during the set-up
				b.signal(sig)
				pass(2 * time.Millisecond)
			}
			b.awaitState("slow", "STARTING", 10*time.Second)
			st, _ := b.status()
			before, _ := st.service("slow")
			supervisor := b.supervisor()
			for range 20 {
				b.signal(sig)
			}
			write(t, dir+"/ready", "", 0o644)
			b.awaitState("slow", "RUNNING", 10*time.Second)
			for range 20 {
				b.signal(sig)
			}
			if !holds(100*time.Millisecond, func() bool { return !b.ended() && b.state("slow") == "RUNNING" }) {
				t.Fatal("PID 1 or its service has ended")
			}
			st, _ = b.status()
			after, _ := st.service("slow")
			if before.Pid != after.Pid || b.supervisor() != supervisor {
				t.Errorf("service %d and supervisor %d are %d and %d now", before.Pid, supervisor, after.Pid, b.supervisor())
			}
		})
	}
}

func TestSignalsThatEndNoCommand(t *testing.T) {
	b := newBox(t, boxOptions{args: []string{"--", "sleep", "1000"}})
	b.begun()
	for range 20 {
		for _, sig := range append(harmless(), syscall.SIGQUIT) {
			b.signal(sig)
		}
		pass(2 * time.Millisecond)
	}
	b.awaitState("sleep", "RUNNING", 10*time.Second) // the signals may have come before that
	if !holds(200*time.Millisecond, func() bool { return !b.ended() && b.state("sleep") == "RUNNING" }) {
		t.Fatalf("PID 1 or its command has ended: %s", b.stderr.String())
	}
}

// The reader of stdout and stderr goes away: no process dies, and the service does not block.
func TestReaderGoesAway(t *testing.T) {
	dir := t.TempDir()
	b := newBox(t, boxOptions{dir: dir, raw: true, config: `
services:
  talker:
    command: [perl, -e, '$| = 1; for my $n (1 .. 1e9) { print "line $n of many\n" or die $!; print STDERR "and $n\n" or die $!; open(F, ">", "` + dir + `/said") && print F $n; close F; select(undef, undef, undef, 0.0005) }']
`})
	said := func() int { n, _ := strconv.Atoi(b.file("said")); return n }
	await(t, 10*time.Second, "the service's first line", func() bool { return said() > 10 })
	st, _ := b.status()
	before, _ := st.service("talker")
	supervisor := b.supervisor()
	b.out.Close()
	b.err.Close()
	from := said()
	await(t, 20*time.Second, "3000 more lines without a reader", func() bool { return said() > from+3000 })
	if out, err := b.run("logs", "-n", "1", "talker"); err != nil || !strings.Contains(out, "line") && !strings.Contains(out, "and") {
		t.Errorf("stoker logs does not show the output any more: %v: %s", err, out)
	}
	st, _ = b.status()
	after, _ := st.service("talker")
	if b.ended() || b.supervisor() != supervisor || after.Pid != before.Pid || after.State != "RUNNING" {
		t.Errorf("supervisor %d and service %d were %d and %d (%s)", b.supervisor(), after.Pid, supervisor, before.Pid, after.State)
	}
	if after.Output == nil || after.Output.DroppedLines == 0 {
		t.Errorf("lines that nobody read are not counted: %+v", after.Output)
	}
	// A supervisor that starts without a reader must work too.
	if out, err := b.run("restart", "talker"); err != nil {
		t.Errorf("cannot restart without a reader: %v: %s", err, out)
	}
	syscall.Kill(supervisor, syscall.SIGKILL)
	await(t, 10*time.Second, "another supervisor", func() bool { return b.supervisor() != supervisor && b.state("talker") == "RUNNING" })
	b.signal(syscall.SIGTERM)
	if code := b.wait(10 * time.Second); code != 0 && code != 143 {
		t.Errorf("the code is %d", code)
	}
}
