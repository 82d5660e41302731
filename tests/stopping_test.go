//go:build container

package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// atOnce is the limit for a stop that need not wait.
const atOnce = 200 * time.Millisecond

// A member of the process group that ignores TERM is dead when the stop returns, and before a
// service that exited is restarted.
func TestGroupMemberThatIgnoresTerm(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{config: `
services:
  group:
    command: [bash, -c, '(trap "" TERM; exec sleep 98431) & exec sleep 98430']
    stop: {timeout: 1s}
    restart: {backoff: {first: 50ms}}
`})
	b.awaitState("group", "RUNNING", 10*time.Second)
	first := b.awaitInside("sleep 98431", 1)[0].pid
	took := b.timed("stop", "group")
	if left := b.inside("sleep"); len(left) > 0 {
		t.Errorf("the stop has returned after %v, and of the group there are still %+v", took, left)
	}
	if took < 900*time.Millisecond || took > 2*time.Second {
		t.Errorf("the stop took %v, want its timeout of 1 s", took)
	}
	b.timed("start", "group")
	second := b.awaitInside("sleep 98431", 1)[0].pid
	syscall.Kill(b.awaitInside("sleep 98430", 1)[0].pid, syscall.SIGKILL)
	await(t, 5*time.Second, "the next start", func() bool {
		now := b.inside("sleep 98431")
		if len(now) > 1 {
			t.Errorf("the service was started while a member of its old group lived: %+v", now)
			return true
		}
		return len(now) == 1 && now[0].pid != first && now[0].pid != second
	})
}

// A process that is stopped by a signal, waits in vfork or is traced ends as quickly as any other.
func TestStopOfWhatDoesNotRun(t *testing.T) {
	cases := map[string]struct {
		command string
		before  func(t *testing.T, b *box, pid int)
	}{
		"stopped": {command: "sleep 98431 & exec sleep 98430", before: func(t *testing.T, b *box, pid int) {
			syscall.Kill(-pid, syscall.SIGSTOP)
			awaitHalt(t, pid)
		}},
		"stopped child": {command: "sleep 98431 & exec sleep 98430", before: func(t *testing.T, b *box, pid int) {
			child := b.awaitInside("sleep 98431", 1)[0].pid
			halt(t, child)
		}},
		"vfork": {command: "exec perl -e 'syscall(58); sleep 98430'", before: func(t *testing.T, b *box, pid int) {
			if runtime.GOARCH != "amd64" {
				t.Skip("vfork's number is that of amd64")
			}
			await(t, 5*time.Second, "vfork's child", func() bool { p, _ := look(pid); return p.state == 'D' && len(childrenOf(pid)) == 1 })
		}},
		"traced": {command: "exec sleep 98430", before: func(t *testing.T, _ *box, pid int) { newTracer(t, pid, true) }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stopOfWhatDoesNotRun(t, c.command, c.before, 2*atOnce)
		})
	}
}

// stopOfWhatDoesNotRun changes the state of a service's process, stops the service and starts it
// again.
func stopOfWhatDoesNotRun(t *testing.T, command string, before func(t *testing.T, b *box, pid int), most time.Duration) {
	t.Helper()
	b := newBox(t, boxOptions{config: fmt.Sprintf(`
services:
  service: {command: [bash, -c, %q], stop: {timeout: 1s}}
`, command)})
	b.awaitState("service", "RUNNING", 10*time.Second)
	var pid int
	await(t, 5*time.Second, "the service's process", func() bool {
		for _, p := range childrenOf(b.init) {
			if p.args[0] == "sleep" || p.args[0] == "perl" {
				pid = p.pid
			}
		}
		return pid != 0
	})
	before(t, b, pid)
	api := newAPIClient(b.socket)
	from := time.Now()
	err := api.command("service", "stop")
	took := time.Since(from)
	if err != nil || took > most {
		svc, _ := api.service("service")
		p, _ := look(pid)
		t.Fatalf("the stop took %v of %v: %v; the service is %s, its process %q", took, most, err, svc.State, p.state)
	}
	if left := append(b.inside("sleep"), b.inside("perl")...); len(left) > 0 {
		t.Errorf("the stop has returned and there are still %+v", left)
	}
	if err := api.command("service", "start"); err != nil {
		t.Error(err)
	}
	b.awaitState("service", "RUNNING", 5*time.Second)
}

// newTracer traces a process until the test ends. Without goesOn it never continues the stopped
// process, like a forgotten debugger.
func newTracer(t *testing.T, pid int, goesOn bool) {
	t.Helper()
	attached, end, over := make(chan error), make(chan struct{}), make(chan struct{})
	go func() { // ends with the test
		defer close(over)
		runtime.LockOSThread() // only this thread is the tracer
		if err := unix.PtraceSeize(pid); err != nil {
			attached <- err
			return
		}
		reap := func() { // by the tracer: the end of the goroutine need not be that of its thread
			_ = syscall.Kill(pid, syscall.SIGKILL)
			for ws := syscall.WaitStatus(0x7f); ws.Stopped(); {
				if _, err := syscall.Wait4(pid, &ws, syscall.WALL, nil); err != nil {
					return
				}
			}
		}
		if !goesOn {
			attached <- unix.PtraceInterrupt(pid)
			<-end
			reap()
			return
		}
		attached <- nil
		for {
			var ws syscall.WaitStatus
			got, err := syscall.Wait4(pid, &ws, syscall.WALL|syscall.WNOHANG, nil)
			switch {
			case err != nil:
				return
			case got == pid && ws.Stopped():
				syscall.PtraceCont(pid, int(ws.StopSignal()))
				continue
			case got == pid:
				return
			}
			select {
			case <-time.After(2 * time.Millisecond):
			case <-end:
				reap()
				return
			}
		}
	}()
	if err := <-attached; err != nil {
		t.Fatalf("cannot trace %d: %v", pid, err)
	}
	t.Cleanup(func() { close(end); <-over })
}

// A stop takes effect at once in every waiting state. Not parallel to other tests, because the
// limits are short.
func TestStopOfWhatWaits(t *testing.T) {
	cases := map[string]struct{ config, state string }{
		"readiness":        {`command: [sleep, "98431"], ready: {tcp: "127.0.0.1:1"}`, "STARTING"},
		"a look that runs": {`command: [sleep, "98431"], ready: {exec: [sleep, "98432"]}`, "STARTING"},
		"a line":           {`command: [sleep, "98431"], ready: {log: "never"}`, "STARTING"},
		"back-off":         {`command: [sleep, "0"], restart: {backoff: {first: 1h, max: 1h}}`, "BACKOFF"},
		"a missing file":   {`command: [/nonexistent/98431], restart: {backoff: {first: 1h, max: 1h}}`, "BACKOFF"},
		"the slow retry":   {`command: ["false"], restart: {backoff: {first: 1ms}, limit: {starts: 1, retry_every: 1h}}`, "FATAL"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, boxOptions{config: "services:\n  service: {" + c.config + "}\n"})
			b.awaitState("service", c.state, 10*time.Second)
			if c.state == "STARTING" {
				b.awaitInside("sleep 98431", 1)
			}
			b.stopsAtOnce("service", "sleep 98431")
		})
	}
}

// stopsAtOnce stops a service. Its process, whose command line begins with own, has ended when the
// stop returns; helpers such as hooks may take a moment. Nothing may start afterwards.
func (b *box) stopsAtOnce(name, own string) {
	b.t.Helper()
	api := newAPIClient(b.socket)
	from := time.Now()
	err := api.command(name, "stop")
	if took := time.Since(from); err != nil || took > atOnce {
		b.t.Errorf("the stop took %v of %v: %v", took, atOnce, err)
	}
	if left := b.inside(own); own != "" && len(left) > 0 {
		b.t.Errorf("the stop has returned, and there is %+v", left)
	}
	gone := func() bool { return len(childrenOf(b.init)) <= 1 }
	if !eventually(time.Second, 10*time.Millisecond, gone) || !holds(300*time.Millisecond, gone) {
		b.t.Errorf("after the stop there is more than the supervisor: %+v", childrenOf(b.init))
	}
	if st := b.state(name); st != "STOPPED" {
		b.t.Errorf("after the stop it is %s", st)
	}
}

// The same while a slow setenv.sh of a Tomcat runs.
func TestStopOfWhatIsPrepared(t *testing.T) {
	dir := t.TempDir()
	tc := newTomcatBase(t, dir)
	write(t, filepath.Join(tc.base, "bin", "setenv.sh"), "sleep 98431\n", 0o644)
	b := newBox(t, boxOptions{dir: dir, config: "services: " + tc.config()})
	b.awaitInside("sleep 98431", 1)
	b.stopsAtOnce("tomcat", "")
}

// The same at any time of a start.
func TestStopRightAfterStart(t *testing.T) {
	b := newBox(t, boxOptions{config: `
services:
  service: {command: [sleep, "98431"], autostart: false, ready: {exec: ["true"]}}
`})
	b.awaitState("service", "STOPPED", 10*time.Second)
	api, late := newAPIClient(b.socket), 0
	for k := range 40 {
		if err := api.command("service", "start"); err != nil {
			t.Fatal(err)
		}
		delay := time.Duration(k) * 250 * time.Microsecond
		spin(delay)
		from := time.Now()
		err := api.command("service", "stop")
		took := time.Since(from)
		if took > atOnce {
			late++
		}
		if err != nil || late > 2 { // the machine may be busy
			t.Fatalf("%v after the start the stop took %v, the %d. of more than %v: %v", delay, took, late, atOnce, err)
		}
		if left := b.inside("sleep"); len(left) > 0 {
			t.Errorf("%v after the start the stop has returned, and there is %+v", delay, left)
		}
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", b.init)); err != nil {
		t.Error("PID 1 has gone")
	}
}
