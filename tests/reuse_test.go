//go:build container

package tests

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// strangerScript creates a process with a given pid: the kernel uses the first free one after
// ns_last_pid. It leads its own process group and logs every signal.
const strangerScript = `
my $want = shift;
for (1 .. 500) {
    open(my $last, '>', '/proc/sys/kernel/ns_last_pid') or die "cannot choose a pid: $!";
    syswrite($last, $want - 1);
    close $last;
    my $pid = fork() // die $!;
    if (!$pid) {
        exit 0 if $$ != $want;
        setpgrp(0, 0);
        for my $name (qw(TERM INT HUP QUIT CONT USR1 USR2 ALRM)) {
            $SIG{$name} = sub { open(my $f, '>>', "DIR/signals") or die $!; print $f "$name\n" };
        }
        open(STDIN, '<', '/dev/null'); open(STDOUT, '>', '/dev/null'); open(STDERR, '>', '/dev/null');
        $0 = "stranger 98499";
        select(undef, undef, undef, 1) while 1;
    }
    exit 0 if $pid == $want;
    waitpid($pid, 0);
}
die "the pid $want was not to be had";
`

// newStranger starts an unrelated process with the pid of a dead one. Its parent may be PID 1.
func (b *box) newStranger(pid int) process {
	b.t.Helper()
	b.awaitThreads()
	if out, err := b.within(script(b.t, b.dir, "stranger.pl", strangerScript), fmt.Sprint(pid)); err != nil {
		b.t.Fatalf("cannot make a stranger with the pid %d: %v: %s", pid, err, out)
	}
	p := b.awaitInside("stranger 98499", 1)[0]
	if got := seenInside(b.t, p.pid); got != pid {
		b.t.Fatalf("the stranger's pid is %d, not %d", got, pid)
	}
	return p
}

// awaitThreads waits until the supervisor starts no more threads, because a thread could take the
// chosen pid. The spare threads come a moment after the start.
func (b *box) awaitThreads() {
	b.t.Helper()
	const spare = 8
	threads := func() int {
		all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", b.supervisor()))
		return len(all)
	}
	await(b.t, 10*time.Second, "the supervisor's spare threads", func() bool {
		n := threads()
		return n > spare && holds(100*time.Millisecond, func() bool { return threads() == n })
	})
}

// wantUnharmed checks that the unrelated process lives and got no signal.
func (b *box) wantUnharmed(p process, after string) {
	b.t.Helper()
	unharmed := func() bool {
		now, ok := look(p.pid)
		return ok && now.start == p.start && now.state != 'Z' && b.file("signals") == ""
	}
	if !holds(300*time.Millisecond, unharmed) {
		now, ok := look(p.pid)
		b.t.Fatalf("after %s the stranger with the pid of the service's dead process (alive: %v, state %q) has got the signals %q",
			after, ok && now.start == p.start, now.state, strings.Fields(b.file("signals")))
	}
}

// An unrelated process gets the pid of a dead one: no stop, start or restart of the service and no
// other supervisor sends it a signal.
func TestPidOfTheDeadIsAnothers(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"BACKOFF", "STOPPED", "EXITED", "FATAL"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath("nsenter"); err != nil {
				lacking(t, "nsenter(1) is missing: it is in util-linux")
			}
			config := map[string]string{"BACKOFF": "{backoff: {first: 1h, max: 1h}}", "STOPPED": "{policy: always}",
				"EXITED": "{policy: never}", "FATAL": "{backoff: {first: 1ms}, limit: {starts: 1, retry_every: 1h}}"}[state]
			b := newBox(t, boxOptions{config: "services:\n  service: {command: [sleep, \"98431\"], restart: " + config + "}\n"})
			b.awaitState("service", "RUNNING", 10*time.Second)
			leader := b.awaitInside("sleep 98431", 1)[0]
			if state == "FATAL" { // after the second exit
				syscall.Kill(leader.pid, syscall.SIGKILL)
				await(t, 5*time.Second, "the second start", func() bool {
					now := b.inside("sleep 98431")
					if len(now) != 1 || now[0].pid == leader.pid {
						return false
					}
					leader = now[0]
					return true
				})
			}
			pid := seenInside(t, leader.pid)
			if state == "STOPPED" {
				b.timed("stop", "service")
			} else {
				syscall.Kill(leader.pid, syscall.SIGKILL)
			}
			b.awaitState("service", state, 5*time.Second)
			p := b.newStranger(pid)
			b.killSupervisor()
			b.wantUnharmed(p, "kill -9 of the supervisor")
			b.awaitState("service", state, 5*time.Second)
			b.timed("stop", "service")
			b.wantUnharmed(p, "the stop")
			b.timed("start", "service")
			b.awaitState("service", "RUNNING", 5*time.Second)
			b.timed("restart", "service")
			b.awaitState("service", "RUNNING", 5*time.Second)
			b.timed("stop", "service")
			b.wantUnharmed(p, "start, restart and stop")
		})
	}
}
