//go:build container

package tests

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/freeport"
)

// serverScript is a server on its first socket of systemd's protocol. It answers a line with its name and its pid, and ends at TERM when
// the connections that it has accepted are answered. The file DIR/hold keeps it from accepting.
const serverScript = `
import os, signal, socket, socketserver, sys, threading, time

assert os.environ["LISTEN_PID"] == str(os.getpid()), "LISTEN_PID is %s in %d" % (os.environ["LISTEN_PID"], os.getpid())
names = os.environ["LISTEN_FDNAMES"].split(":")
assert len(names) == int(os.environ["LISTEN_FDS"]), names
with open("DIR/names", "w") as f:
    f.write(" ".join(names))

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        if self.rfile.readline():
            self.wfile.write(b"%s %d\n" % (names[0].encode(), os.getpid()))

class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    pass

sock = socket.socket(fileno=3)
server = Server(None, Handler, bind_and_activate=False)
server.socket = sock
while os.path.exists("DIR/hold"):
    time.sleep(0.01)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
with open("DIR/accepts", "w") as f:
    f.write(str(os.getpid()))
server.serve_forever(poll_interval=0.01)
if os.path.exists("DIR/shut"): # which ends the socket for everyone
    sock.shutdown(socket.SHUT_RDWR)
server.server_close()
`

// listening is a box with the service web, which serves on its first socket.
type listening struct {
	*box
	listeningOptions
	python string // the command of web, as a list
}

type listeningOptions struct {
	port   int
	more   string // keys of web, indented by four
	others string // services, indented by two
	listen string // the value of listen with PORT and DIR; empty: "http" on the port
	held   bool   // web does not accept until the test removes the file hold
}

// newListening starts a box whose port is free.
func newListening(t *testing.T, o listeningOptions) *listening {
	t.Helper()
	const python = "/usr/bin/python3" // the box has no other PATH
	if _, err := exec.LookPath(python); err != nil {
		lacking(t, "python3 is missing")
	}
	o.port = freeport.For(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "server.py")
	write(t, path, strings.ReplaceAll(serverScript, "DIR", dir), 0o644)
	if o.held {
		write(t, filepath.Join(dir, "hold"), "", 0o644)
	}
	l := &listening{listeningOptions: o, python: fmt.Sprintf("[%s, -S, %s]", python, path)}
	l.box = newBox(t, boxOptions{dir: dir, config: l.config(dir)})
	return l
}

func (l *listening) config(dir string) string {
	text := "services:\n  web:\n    command: " + l.python + "\n    listen: " + cmp.Or(l.listen, "[{name: http, tcp: '127.0.0.1:PORT'}]") +
		"\n    ready: {file: DIR/accepts, every: 20ms}\n" + l.more + l.others
	return strings.NewReplacer("DIR", dir, "PORT", strconv.Itoa(l.port)).Replace(text)
}

// reload applies a changed configuration.
func (l *listening) reload(text string) {
	l.t.Helper()
	write(l.t, filepath.Join(l.dir, "stoker.yaml"), text, 0o644)
	l.timed("reload", "--wait")
}

// ask makes one request at an address, as "tcp" or "unix", and returns the answer.
func ask(network, address string, within time.Duration) (string, error) {
	conn, err := net.DialTimeout(network, address, within)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) // no TIME_WAIT: the ports are needed
	}
	conn.SetDeadline(time.Now().Add(within))
	if _, err := io.WriteString(conn, "who\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	if err == nil && !bytes.HasSuffix(answer, []byte("\n")) {
		err = io.ErrUnexpectedEOF
	}
	return string(answer), err
}

func (l *listening) address() string { return fmt.Sprintf("127.0.0.1:%d", l.port) }

func (l *listening) ask() (string, error) { return ask("tcp", l.address(), 10*time.Second) }

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// wantRefused checks that a connection is refused, and at once: a SYN that is dropped is sent again after a second.
func (l *listening) wantRefused(when string) {
	l.t.Helper()
	from := time.Now()
	if answer, err := l.ask(); !isRefused(err) || time.Since(from) >= time.Second {
		l.t.Errorf("%s: %q, %v after %v, want a refusal at once", when, answer, err, time.Since(from))
	}
}

func (l *listening) wantAnswer(when string) {
	l.t.Helper()
	if answer, err := l.ask(); err != nil || !strings.HasPrefix(answer, "http ") {
		l.t.Errorf("%s: %q, %v", when, answer, err)
	}
}

// clients ask all the time.
type clients struct {
	answered, refused, lost, late atomic.Int64
	slowest                       atomic.Int64
	other                         atomic.Pointer[string] // the first error that is neither
	end                           chan struct{}
	all                           sync.WaitGroup
}

// newClients starts n clients; nil: they are answered by web.
func (l *listening) newClients(n int, request func() error) *clients {
	if request == nil {
		request = func() error { _, err := l.ask(); return err }
	}
	c := &clients{end: make(chan struct{})}
	for range n {
		c.all.Go(func() { // ends with stop
			for {
				select {
				case <-c.end:
					return
				case <-time.After(2 * time.Millisecond): // the load is bounded
				}
				from := time.Now()
				c.count(request(), time.Since(from))
			}
		})
	}
	return c
}

func (c *clients) count(err error, took time.Duration) {
	var timeout net.Error
	switch {
	case err == nil:
		c.answered.Add(1)
	case isRefused(err):
		c.refused.Add(1)
	case errors.As(err, &timeout) && timeout.Timeout():
		c.late.Add(1)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE):
		c.lost.Add(1)
	default:
		text := err.Error()
		c.other.CompareAndSwap(nil, &text)
	}
	for {
		slowest := c.slowest.Load()
		if int64(took) <= slowest || c.slowest.CompareAndSwap(slowest, int64(took)) {
			return
		}
	}
}

// String is what the clients have seen.
func (c *clients) String() string {
	text := fmt.Sprintf("%d answered, %d refused, %d lost, %d late, the slowest took %v", c.answered.Load(), c.refused.Load(), c.lost.Load(),
		c.late.Load(), time.Duration(c.slowest.Load()).Round(time.Millisecond))
	if other := c.other.Load(); other != nil {
		text += ", " + *other
	}
	return text
}

// stop ends the clients. lost is how many requests may have been inside a process that was killed.
func (c *clients) stop(t testing.TB, what string, lost int64) {
	t.Helper()
	close(c.end)
	c.all.Wait()
	t.Logf("%s: %s", what, c)
	if c.refused.Load() != 0 || c.lost.Load() > lost || c.late.Load() != 0 || c.answered.Load() == 0 || c.other.Load() != nil {
		t.Errorf("%s: %s; want none refused or late, and at most %d lost", what, c, lost)
	}
}

// Restarts, crashes of the service and of the supervisor under 16 clients: no connection is refused, and what is lost was inside a process
// that was killed. STOKER_LISTEN_ROUNDS is how often.
func TestNoClientIsRefused(t *testing.T) {
	t.Parallel()
	const many = 16
	rounds := number(t, "STOKER_LISTEN_ROUNDS", 4)
	l := newListening(t, listeningOptions{more: "    restart: {backoff: {first: 50ms, max: 50ms}, limit: {starts: 1000}}\n"})
	l.awaitState("web", "RUNNING", 10*time.Second)
	l.wantAnswer("before")
	next := func(old int) int {
		t.Helper()
		pid := 0
		await(t, 10*time.Second, "the next process", func() bool {
			svc, err := newAPIClient(l.socket).service("web")
			pid = svc.Pid
			return err == nil && svc.State == "RUNNING" && pid != old
		})
		return pid
	}
	pid := next(0)

	c := l.newClients(many, nil)
	for range rounds {
		l.timed("restart", "web")
		pid = next(pid)
	}
	c.stop(t, "restarts", 0)

	c = l.newClients(many, nil)
	for k := range rounds {
		if err := syscall.Kill(l.hostPid("/usr/bin/python3 -S "), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if k == rounds/2 { // while nothing accepts
			syscall.Kill(l.supervisor(), syscall.SIGKILL)
		}
		pid = next(pid)
	}
	c.stop(t, "kill -9 of the service, once also of the supervisor", int64(many*rounds))

	c = l.newClients(many, nil)
	for range 3 {
		l.killSupervisor()
	}
	c.stop(t, "3 kill -9 of the supervisor", 0)

	newer := other(t)
	c = l.newClients(many, nil)
	if out, err := l.run("upgrade", newer); err != nil {
		t.Errorf("upgrade: %v: %s", err, out)
	}
	l.wantSupervisor("other")
	l.timed("restart", "web")
	next(pid)
	c.stop(t, "an upgrade and a restart after it", 0)

	c = l.newClients(many, nil) // that these clients would see it
	l.timed("stop", "web")
	if !eventually(5*time.Second, 10*time.Millisecond, func() bool { return c.refused.Load() > many }) {
		text, _ := l.run("status")
		t.Errorf("stopped: %s; want more refused\n%s", c, text)
	}
	close(c.end)
	c.all.Wait()
}

// hostPid returns the pid of the only process whose command line begins with a text, seen from here.
func (l *listening) hostPid(text string) int {
	l.t.Helper()
	return l.awaitInside(text, 1)[0].pid
}
