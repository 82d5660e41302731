//go:build container

package tests

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/freeport"
)

// escapee is a child that has left its service's process group. The command is
// bash, and its process's command line begins with "sleep 98431".
type escapee struct {
	name, command string
	deaf          bool // ignores TERM
	traceless     bool // only its parent shows which service it belongs to
}

func escapees() []escapee {
	return []escapee{
		{name: "holds stdout", command: `setsid sleep 98431 &`},
		{name: "ignores TERM", command: `(trap "" TERM; exec setsid sleep 98431) &`, deaf: true},
		{name: "daemon", command: `(setsid sh -c "sleep 98431 & exit 0" &)`},
		{name: "silent daemon", command: `(setsid sh -c "sleep 98431 </dev/null >/dev/null 2>&1 & exit 0" &)`},
		{name: "daemon that ignores TERM", command: `(trap "" TERM; setsid sh -c "sleep 98431 </dev/null >/dev/null 2>&1 & exit 0" &)`,
			deaf: true},
		{name: "closed all descriptors", command: `(exec setsid sleep 98431 0<&- 1>&- 2>&-) &`},
		{name: "cleared its environment", command: `(exec env -i setsid sleep 98431 </dev/null >/dev/null 2>&1) &`, traceless: true},
		{name: "grandchild of one", command: `(exec setsid sh -c "setsid sh -c \"setsid sleep 98431 & wait\" & wait" </dev/null >/dev/null 2>&1) &`},
	}
}

func (e escapee) box(t *testing.T, leader, more string) *box {
	dir := t.TempDir()
	return newBox(t, boxOptions{dir: dir, config: fmt.Sprintf(`
services:
  service:
    command: [bash, -c, %q]
    stop: {timeout: 1s}
    %s
`, "echo $EPOCHREALTIME >>"+dir+"/starts; "+e.command+"\n"+strings.ReplaceAll(leader, "DIR", dir), more)})
}

// limit returns how long its end may take.
func (e escapee) limit() time.Duration {
	if e.deaf {
		return 2 * time.Second
	}
	return time.Second
}

// A child in another session does not delay a stop and is dead after it.
func TestStopEndsEscapees(t *testing.T) {
	t.Parallel()
	for _, e := range escapees() {
		for _, kill := range []bool{false, true} {
			name := e.name
			if kill {
				name += " and kill -9"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := e.box(t, "exec sleep 98430", "")
				b.awaitState("service", "RUNNING", 10*time.Second)
				b.awaitInside("sleep 98431", 1)
				if kill {
					b.killSupervisor()
				}
				if took := b.timed("stop", "service"); took > e.limit()+200*time.Millisecond {
					t.Errorf("the stop took %v of %v", took, e.limit())
				}
				if left := b.inside("sleep"); len(left) > 0 {
					t.Errorf("the stop has returned, and %+v lives on", left)
				}
			})
		}
	}
}

// After a service has exited, such a child is dead before the next start and does not delay it.
func TestRestartEndsEscapees(t *testing.T) {
	t.Parallel()
	for _, e := range escapees() {
		if e.traceless {
			continue // its parent was the service, which has exited
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			// The first start lasts until the test has seen its child.
			b := e.box(t, `[ -e DIR/ends ] && exec sleep 98430
until [ -e DIR/seen ]; do sleep 0.05; done; echo $EPOCHREALTIME >>DIR/ends; exit 1`,
				"restart: {backoff: {first: 100ms, factor: 1, max: 100ms, jitter: 0}, limit: {starts: 100000}}")
			old := b.awaitInside("sleep 98431", 1)[0]
			write(t, b.dir+"/seen", "", 0o644)
			await(t, 10*time.Second, "the next start", func() bool { return len(b.lines("starts")) > 1 })
			if now, ok := look(old.pid); ok && now.start == old.start && now.state != 'Z' {
				t.Errorf("the service was started again, and a child of the one before lives on")
			}
			if gap := b.stamps("starts")[1].Sub(b.stamps("ends")[0]); gap > e.limit()+500*time.Millisecond {
				t.Errorf("the next start came %v after the end", gap)
			}
		})
	}
}

// A stop of the container ends all of them within its timeout.
func TestTermEndsEscapees(t *testing.T) {
	t.Parallel()
	var services strings.Builder
	for k, e := range escapees() {
		fmt.Fprintf(&services, "  service%d: {command: [bash, -c, %q], stop: {timeout: 1s}}\n", k, e.command+"\nexec sleep 98430")
	}
	b := newBox(t, boxOptions{config: "stop: {timeout: 3s}\nservices:\n" + services.String()})
	b.awaitInside("sleep 98431", len(escapees()))
	from := time.Now()
	b.signal(syscall.SIGTERM)
	b.wait(10 * time.Second)
	if took := time.Since(from); took > 3200*time.Millisecond {
		t.Errorf("the end took %v of 3s", took)
	}
}

// listenScript has a child in another session that listens on a port and logs the result.
const listenScript = `
use IO::Socket::INET;
use POSIX ();
my $port = shift;
my $pid = fork() // die $!;
if (!$pid) {
    POSIX::setsid();
    my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 5, ReuseAddr => 1);
    my $how = $s ? 'bound' : "$!";
    open(my $f, '>>', 'DIR/listens') or die $!;
    print $f "$how\n";
    close $f;
    $SIG{TERM} = 'IGNORE' if $ARGV[0];
    $0 = "listener 98431";
    select(undef, undef, undef, 1) while 1;
}
waitpid($pid, 0);
`

// The port of an old service's child is free for the new process.
func TestPortOfAnOldChild(t *testing.T) {
	t.Parallel()
	for name, deaf := range map[string]string{"obeys TERM": "", "ignores TERM": "1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, port := t.TempDir(), freeport.For(t)
			b := newBox(t, boxOptions{dir: dir, config: fmt.Sprintf(`
services:
  server:
    command: [%s, "%d", "%s"]
    ready: {tcp: "127.0.0.1:%[2]d"}
    stop: {timeout: 500ms}
    restart: {backoff: {first: 50ms}}
`, script(t, dir, "listen.pl", listenScript), port, deaf)})
			listens := func(n int) {
				t.Helper()
				await(t, 10*time.Second, "the next child", func() bool { return len(b.lines("listens")) >= n })
				if got := b.lines("listens")[n-1]; got != "bound" {
					t.Fatalf("child %d could not listen: %s", n, got)
				}
			}
			listens(1)
			b.awaitState("server", "RUNNING", 15*time.Second)
			b.timed("restart", "server")
			listens(2)
			b.awaitState("server", "RUNNING", 15*time.Second)
			for _, p := range childrenOf(b.init) { // now it exits
				if svc, _ := newAPIClient(b.socket).service("server"); seenInside(t, p.pid) == svc.Pid {
					syscall.Kill(p.pid, syscall.SIGKILL)
				}
			}
			listens(3)
		})
	}
}

// During a stop that waits for an escaped child, an unrelated process gets the pid of the dead
// leader. The KILL for the child must not reach it.
func TestPidOfTheDeadWhileStopping(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("nsenter"); err != nil {
		lacking(t, "nsenter(1) is missing: it is in util-linux")
	}
	b := newBox(t, boxOptions{config: `
services:
  service: {command: [bash, -c, '(trap "" TERM; exec setsid sleep 98431) & exec sleep 98430'], stop: {timeout: 3s}}
`})
	b.awaitInside("sleep 98431", 1)
	pid := seenInside(t, b.awaitInside("sleep 98430", 1)[0].pid)
	stopped := make(chan error, 1)
	go func() { stopped <- newAPIClient(b.socket).command("service", "stop") }() // ends with the stop
	b.awaitInside("sleep 98430", 0)
	if st := b.state("service"); st != "STOPPING" {
		t.Fatalf("a child that ignores TERM lives, and the service is %s", st)
	}
	p := b.newStranger(pid)
	b.killSupervisor()
	if err := newAPIClient(b.socket).command("service", "stop"); err != nil {
		t.Errorf("cannot stop: %v", err)
	}
	<-stopped // the supervisor that was asked first may be dead
	if left := b.inside("sleep"); len(left) > 0 {
		t.Errorf("the stop has returned, and %+v lives on", left)
	}
	b.wantUnharmed(p, "the stop")
}
