//go:build container

package tests

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/freeport"
)

// kill kills the process of web.
func (l *listening) kill() {
	l.t.Helper()
	if err := syscall.Kill(l.hostPid("/usr/bin/python3 -S "), syscall.SIGKILL); err != nil {
		l.t.Fatal(err)
	}
}

// wantWaits checks that a connection is accepted by the kernel, and answered when the service is there again, a while after its end.
func (l *listening) wantWaits(when string, ended time.Time, least time.Duration) {
	l.t.Helper()
	answer, err := l.ask()
	if took := time.Since(ended); err != nil || took < least {
		l.t.Errorf("%s: %q, %v %v after the end, want an answer after %v or more", when, answer, err, took, least)
	}
}

// Clients of a service that rests are refused, and those of one that will be started again wait, whatever happens to the supervisor.
func TestSocketInEachState(t *testing.T) {
	t.Parallel()
	for state, c := range map[string]struct {
		restart string
		kills   int
		least   time.Duration // from the end to the answer that a client waits for; 0: it is refused
	}{
		"STOPPED": {restart: "{policy: always}"},
		"EXITED":  {restart: "{policy: never}", kills: 1},
		"FATAL":   {restart: "{backoff: {first: 1ms}, limit: {starts: 1, retry_every: 0s}}", kills: 2},
		"BACKOFF": {restart: "{backoff: {first: 5s, max: 5s, jitter: 0}}", kills: 1, least: 5 * time.Second},
		"FATAL with a retry": {restart: "{backoff: {first: 1ms}, limit: {starts: 1, retry_every: 5s}}", kills: 2,
			least: 4 * time.Second}, // +-20 %
	} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			l := newListening(t, listeningOptions{more: "    restart: " + c.restart + "\n"})
			l.awaitState("web", "RUNNING", 10*time.Second)
			l.wantAnswer("RUNNING")
			if c.kills == 0 {
				l.timed("stop", "web")
				l.wantRefused("as soon as the stop returns")
			}
			var ended time.Time
			for k := range c.kills {
				if k > 0 {
					await(t, 10*time.Second, "the next process", func() bool { return l.file("accepts") != "" })
				}
				os.Remove(filepath.Join(l.dir, "accepts")) // before the next process writes it
				ended = time.Now()
				l.kill()
			}
			state, _, _ := strings.Cut(state, " ")
			l.awaitState("web", state, 10*time.Second)
			if c.least > 0 {
				l.wantWaits(state, ended, c.least)
				return
			}
			l.wantRefused(state)
			l.killSupervisor()
			l.wantRefused(state + " under the next supervisor")
			l.timed("start", "--wait", "web")
			l.wantAnswer("started again")
		})
	}
}

// The supervisor dies while the service is in BACKOFF: clients wait on.
func TestSocketInBackoffWithoutSupervisor(t *testing.T) {
	t.Parallel()
	l := newListening(t, listeningOptions{more: "    restart: {backoff: {first: 5s, max: 5s, jitter: 0}}\n"})
	l.awaitState("web", "RUNNING", 10*time.Second)
	ended := time.Now()
	l.kill()
	l.awaitState("web", "BACKOFF", 10*time.Second)
	syscall.Kill(l.supervisor(), syscall.SIGKILL)
	l.wantWaits("BACKOFF without a supervisor", ended, 5*time.Second)
}

// A service that waits for what it requires has its socket already.
func TestSocketBeforeTheFirstStart(t *testing.T) {
	t.Parallel()
	l := newListening(t, listeningOptions{more: "    requires: [db]\n",
		others: "  db: {command: [sleep, \"1000\"], ready: {file: DIR/db, every: 20ms}}\n"})
	l.awaitState("db", "STARTING", 10*time.Second)
	answers := make(chan error, 1)
	go func() { // ends with the answer
		_, err := l.ask()
		answers <- err
	}()
	await(t, 5*time.Second, "a client that waits", func() bool { return l.waiting() == 1 })
	if got := l.state("web"); got != "STARTING" {
		t.Errorf("web is %s", got)
	}
	write(t, filepath.Join(l.dir, "db"), "", 0o644)
	if err := <-answers; err != nil {
		t.Error(err)
	}
	await(t, 5*time.Second, "an empty queue", func() bool { return l.waiting() == 0 })
}

// waiting is how many connections wait, by the API.
func (l *listening) waiting() int {
	svc, err := newAPIClient(l.socket).service("web")
	if err != nil || len(svc.Listen) == 0 {
		return -1
	}
	return svc.Listen[0].Waiting
}

// A queue that fills is logged once, shown and counted; clients beyond it are not answered, and not refused.
func TestQueueIsFull(t *testing.T) {
	t.Parallel()
	l := newListening(t, listeningOptions{held: true, listen: "[{name: http, tcp: '127.0.0.1:PORT', backlog: 4}]"})
	l.awaitState("web", "STARTING", 10*time.Second)
	const saysFull, saysRoom = "the queue of a socket is full: ", "the queue of a socket is not full any more: "
	var waiting []net.Conn
	for range 5 { // backlog + 1
		conn, err := net.DialTimeout("tcp", l.address(), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintln(conn, "who")
		waiting = append(waiting, conn)
	}
	await(t, 5*time.Second, "the log line of a full queue", func() bool { return l.stderr.count(saysFull) == 1 })
	if conn, err := net.DialTimeout("tcp", l.address(), 200*time.Millisecond); err == nil {
		conn.Close()
		t.Error("one more is accepted")
	} else if isRefused(err) {
		t.Error("one more is refused")
	}
	text, _ := l.run("status")
	if want := fmt.Sprintf("listens on %s (http): waiting connections 5, backlog 4, full for ", l.address()); !strings.Contains(text, want) {
		t.Errorf("no %q in\n%s", want, text)
	}
	var metrics []byte
	resp, err := newAPIClient(l.socket).http.Get("http://stoker/metrics")
	if err == nil {
		metrics, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	for _, want := range []string{"waiting{service=\"web\",socket=\"http\"} 5", "backlog{service=\"web\",socket=\"http\"} 4",
		"full_total{service=\"web\",socket=\"http\"} 1"} {
		if !strings.Contains(string(metrics), "stoker_socket_"+want+"\n") {
			t.Errorf("no %s in the metrics (%v)", want, err)
		}
	}
	os.Remove(filepath.Join(l.dir, "hold"))
	for _, conn := range waiting {
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		var name string
		if _, err := fmt.Fscan(conn, &name); err != nil || name != "http" {
			t.Errorf("a client that has waited gets %q, %v", name, err)
		}
	}
	await(t, 5*time.Second, "the log line of its end", func() bool { return l.stderr.count(saysRoom) == 1 })
	if l.stderr.count(saysFull) != 1 || !strings.Contains(l.stderr.String(), "socket=http lasted=") {
		t.Errorf("logged %d times", l.stderr.count(saysFull))
	}
}

// A reload adds, changes and removes sockets, and a service with its sockets.
func TestReloadOfSockets(t *testing.T) {
	t.Parallel()
	l := newListening(t, listeningOptions{})
	l.awaitState("web", "RUNNING", 10*time.Second)
	path := filepath.Join(l.dir, "admin.sock")
	port := l.port
	admin := fmt.Sprintf("{name: admin, unix: %s, mode: \"0600\"}", path)

	l.listen = "[" + admin + ", {name: http, tcp: '127.0.0.1:PORT'}]"
	c := l.newClients(4, func() error { // of the other socket: nothing accepts there now, and nothing is refused
		pass(50 * time.Millisecond) // closed connections stay in the queue, which does not fill while the reload lasts
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 5*time.Second)
		if err == nil {
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
		return err
	})
	l.reload(l.config(l.dir))
	c.stop(t, "a socket is added", 0)
	if answer, err := ask("unix", path, 5*time.Second); err != nil || !strings.HasPrefix(answer, "admin ") {
		t.Errorf("the added socket: %q, %v", answer, err)
	}
	if got := l.file("names"); got != "admin http" {
		t.Errorf("LISTEN_FDNAMES has %q", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's file: %v, %v", info, err)
	}

	l.port = freeport.For(t)
	l.listen = ""
	l.reload(l.config(l.dir))
	l.wantAnswer("the other port")
	if _, err := ask("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second); !isRefused(err) {
		t.Errorf("the port before: %v", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file of the removed socket: %v", err)
	}

	l.reload("services: {other: {command: [sleep, \"1000\"]}}\n")
	await(t, 10*time.Second, "the end of web", func() bool { return l.state("web") == "" })
	l.wantRefused("the service is removed")
	l.reload(l.config(l.dir))
	l.wantAnswer("the service is back")
}

// The container's stop is not delayed by clients, and nothing is left of its sockets.
func TestContainerStopClosesSockets(t *testing.T) {
	t.Parallel()
	l := newListening(t, listeningOptions{})
	l.awaitState("web", "RUNNING", 10*time.Second)
	c := l.newClients(16, nil)
	await(t, 5*time.Second, "answers", func() bool { return c.answered.Load() > 100 })
	from := time.Now()
	l.signal(syscall.SIGTERM)
	if code := l.wait(8 * time.Second); code != 0 {
		t.Errorf("the container's code is %d", code)
	}
	t.Logf("ended after %v", time.Since(from))
	l.wantRefused("after the container's end")
	close(c.end)
	c.all.Wait()
	if c.late.Load() != 0 {
		t.Errorf("%d clients got neither an answer nor an error", c.late.Load())
	}
}

// The table of docs/howto/restart-without-errors.md: what a TCP probe, a probe that wants an answer, and stoker health say.
func TestProbesInEachPhase(t *testing.T) {
	t.Parallel()
	l := newListening(t, listeningOptions{more: "    restart: {backoff: {first: 1h, max: 1h}}\n"})
	l.awaitState("web", "RUNNING", 10*time.Second)
	want := func(phase string, tcp, answers bool, health int) {
		t.Helper()
		conn, err := net.DialTimeout("tcp", l.address(), time.Second)
		if err == nil {
			conn.Close()
		}
		if (err == nil) != tcp {
			t.Errorf("%s: a TCP probe ends with %v", phase, err)
		}
		within := 10 * time.Second
		if !answers {
			within = 300 * time.Millisecond
		}
		if _, err := ask("tcp", l.address(), within); (err == nil) != answers {
			t.Errorf("%s: a probe that wants an answer ends with %v", phase, err)
		}
		if text, err := l.run("health", "web"); exitCode(err) != health {
			t.Errorf("%s: stoker health ends with %v: %s", phase, err, text)
		}
	}
	want("RUNNING", true, true, 0)
	write(t, filepath.Join(l.dir, "hold"), "", 0o644)
	os.Remove(filepath.Join(l.dir, "accepts"))
	l.timed("restart", "web")
	l.awaitState("web", "STARTING", 5*time.Second)
	want("STARTING", true, false, 1)
	os.Remove(filepath.Join(l.dir, "hold"))
	l.awaitState("web", "RUNNING", 5*time.Second)
	l.kill()
	l.awaitState("web", "BACKOFF", 5*time.Second)
	want("BACKOFF", true, false, 1)
	l.timed("stop", "web")
	want("STOPPED", false, false, 1)
}

// A program that ends its socket for everyone costs the clients of that restart, and no later one.
func TestServiceShutsItsSocketDown(t *testing.T) {
	t.Parallel()
	l := newListening(t, listeningOptions{})
	l.awaitState("web", "RUNNING", 10*time.Second)
	write(t, filepath.Join(l.dir, "shut"), "", 0o644)
	l.timed("restart", "--wait", "web")
	l.wantAnswer("after the restart")
}
