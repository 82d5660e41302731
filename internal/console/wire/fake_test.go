package wire

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/console"
)

// fakeLink is a link to a process that is a function: it reads its input, and its output is what it writes.
type fakeLink struct {
	mu     sync.Mutex // guards the fields below, and wakes changed
	change *sync.Cond

	input   []byte // queued, at most queueSize
	eof     bool   // after input
	taken   int64
	output  []console.Chunk
	unsent  int // bytes of output
	offset  [3]int64
	err     error // of Next after the output
	closed  bool
	resized [][2]uint16
	signals []syscall.Signal
	acks    [3]int64
	exit    *console.Exit
	ended   string
	notices chan console.Notice
	view    bool
	begun   bool
	done    chan struct{} // the process has ended
}

const queueSize = 64 << 10

// newLink starts a process. It ends when it returns its exit code, and everything that it does fails after the link is closed.
func newLink(process func(*fakeLink) int) *fakeLink {
	l := &fakeLink{notices: make(chan console.Notice, 1), done: make(chan struct{})}
	l.change = sync.NewCond(&l.mu)
	go func() {
		code := process(l)
		l.set(func() {
			if l.exit == nil {
				l.exit = &console.Exit{Code: code}
			}
			if l.err == nil {
				l.err = io.EOF
			}
		})
		close(l.done)
	}()
	return l
}

func (l *fakeLink) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	l.change.Broadcast()
}

// wait waits for a condition or the link's end.
func (l *fakeLink) wait(ready func() bool) {
	for !l.closed && !ready() {
		l.change.Wait()
	}
}

// Read is of the process.
func (l *fakeLink) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wait(func() bool { return len(l.input) > 0 || l.eof })
	n := copy(p, l.input)
	l.input, l.taken = l.input[n:], l.taken+int64(n)
	l.change.Broadcast()
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// print is of the process: it waits while 64 KiB are unsent.
func (l *fakeLink) print(stream int, data string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wait(func() bool { return l.unsent < queueSize })
	l.output = append(l.output, console.Chunk{Stream: stream, Offset: l.offset[stream], Data: []byte(data)})
	l.unsent += len(data)
	l.offset[stream] += int64(len(data))
	l.change.Broadcast()
	return !l.closed
}

// untilClosed is of the process.
func (l *fakeLink) untilClosed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wait(func() bool { return false })
}

// untilBegun is of the process.
func (l *fakeLink) untilBegun() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wait(func() bool { return l.begun })
}

func (l *fakeLink) Next(ctx context.Context) (console.Chunk, error) {
	defer context.AfterFunc(ctx, func() { l.set(func() {}) })()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wait(func() bool { return len(l.output) > 0 || l.err != nil || ctx.Err() != nil })
	switch {
	case ctx.Err() != nil:
		return console.Chunk{}, ctx.Err()
	case len(l.output) > 0 && !l.closed:
		c := l.output[0]
		l.output = l.output[1:]
		l.unsent -= len(c.Data)
		l.change.Broadcast()
		return c, nil
	case l.closed:
		return console.Chunk{}, console.ErrClosed
	}
	return console.Chunk{}, l.err
}

func (l *fakeLink) Write(p []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(p) > 0 {
		l.wait(func() bool { return len(l.input) < queueSize || l.exit != nil })
		if l.closed {
			return console.ErrClosed
		}
		if l.exit != nil || l.eof {
			return io.ErrClosedPipe
		}
		n := min(queueSize-len(l.input), len(p))
		l.input = append(l.input, p[:n]...)
		p = p[n:]
		l.change.Broadcast()
	}
	return nil
}

func (l *fakeLink) Room() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return queueSize - len(l.input)
}

func (l *fakeLink) Taken() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken
}

func (l *fakeLink) CloseStdin() { l.set(func() { l.eof = true }) }

func (l *fakeLink) Resize(rows, columns uint16) {
	l.set(func() { l.resized = append(l.resized, [2]uint16{rows, columns}) })
}

func (l *fakeLink) Signal(sig syscall.Signal) error {
	l.set(func() { l.signals = append(l.signals, sig) })
	return nil
}

func (l *fakeLink) Ack(stream int, offset int64)   { l.set(func() { l.acks[stream] = offset }) }
func (l *fakeLink) Notices() <-chan console.Notice { return l.notices }
func (l *fakeLink) Position() [3]int64             { return [3]int64{} }
func (l *fakeLink) Holds() bool                    { return !l.view }
func (l *fakeLink) Close()                         { l.set(func() { l.closed = true }) }

// await waits until the link is in a state.
func (l *fakeLink) await(t testing.TB, what string, ready func() bool) {
	t.Helper()
	deadline := time.AfterFunc(10*time.Second, func() { l.set(func() {}) })
	defer deadline.Stop()
	until := time.Now().Add(10 * time.Second)
	l.mu.Lock()
	defer l.mu.Unlock()
	for !ready() {
		if time.Now().After(until) {
			t.Fatalf("waited in vain for %s", what)
		}
		l.change.Wait()
	}
}

func identity() access.Identity {
	return access.Identity{Name: "token ops", Grants: access.Exec, UID: -1, Pid: -1}
}

// stage serves sessions of fake processes.
type stage struct {
	t       testing.TB
	links   chan *fakeLink // of sessions, in their order
	specs   chan console.Spec
	attach  chan console.Attach
	process func(*fakeLink) int
	refuse  error
	headers http.Header // of the requests of dial
	url     string      // of a TCP listener
	socket  string      // of a unix socket
}

// newStage serves sessions that run process, on TCP and on a unix socket.
func newStage(t testing.TB, process func(*fakeLink) int) *stage {
	t.Helper()
	st := &stage{t: t, process: process, links: make(chan *fakeLink, 1000), specs: make(chan console.Spec, 1000),
		attach: make(chan console.Attach, 1000)}
	s := newServer()
	s.open = func(_ context.Context, spec console.Spec, _ access.Identity) (session, error) {
		if st.refuse != nil {
			return session{}, st.refuse
		}
		l := newLink(st.process)
		st.specs <- spec
		return st.session(l, spec), nil
	}
	s.check = func(console.Spec, access.Identity) error { return st.refuse }
	s.find = func(id string) (session, error) {
		if id != "here" {
			return session{}, console.ErrNoSession
		}
		return st.session(newLink(st.process), console.Spec{Command: []string{"sh"}, TTY: true}), nil
	}
	mux := http.NewServeMux()
	handle := func(pattern string, f func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r = r.WithContext(access.With(r.Context(), identity()))
			if err := f(w, r); err != nil {
				w.WriteHeader(http.StatusBadRequest)
				_ = json.NewEncoder(w).Encode(Failure(http.StatusBadRequest, err.Error()))
			}
		})
	}
	handle("GET /v1/exec", s.Exec)
	handle("POST /v1/exec", s.Post)
	handle("GET /pod/exec", s.ExecPod)
	handle("POST /pod/exec", s.RefuseSPDY)
	handle("GET /v1/sessions/{id}/attach", func(w http.ResponseWriter, r *http.Request) error { return s.Attach(w, r, r.PathValue("id")) })
	tcp := httptest.NewServer(mux)
	unix := httptest.NewUnstartedServer(mux)
	st.socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", st.socket)
	if err != nil {
		t.Fatal(err)
	}
	unix.Listener.Close()
	unix.Listener = l
	unix.Start()
	st.url = strings.TrimPrefix(tcp.URL, "http://")
	t.Cleanup(func() { tcp.Close(); unix.Close() })
	return st
}

func (st *stage) session(l *fakeLink, spec console.Spec) session {
	return session{
		attach: func(_ access.Identity, o console.Attach) (link, error) {
			l.view = o.Mode == console.View
			st.attach <- o
			st.links <- l
			return l, nil
		},
		info: func() console.Info {
			l.mu.Lock()
			defer l.mu.Unlock()
			return console.Info{ID: "here", Spec: spec, By: "token ops", User: "app", Holder: "token other", Exit: l.exit}
		},
		end: func(why string) {
			l.set(func() { l.ended, l.exit, l.err = why, &console.Exit{Code: 143, Signal: "TERM", Why: why}, io.EOF })
		},
	}
}

// link is the next session's.
func (st *stage) link() *fakeLink {
	st.t.Helper()
	select {
	case l := <-st.links:
		return l
	case <-time.After(10 * time.Second):
		st.t.Fatal("no session was opened")
		return nil
	}
}

// client is a websocket client with deadlines.
type client struct {
	*websocket.Conn
	t testing.TB
}

// dial connects over TCP, or over the unix socket.
func (st *stage) dial(network, path, protocol string) *client {
	st.t.Helper()
	c, resp, err := st.tryDial(network, path, protocol)
	if err != nil {
		body := []byte{}
		if resp != nil {
			body, _ = io.ReadAll(resp.Body)
		}
		st.t.Fatalf("%s: %v: %s", path, err, body)
	}
	if got := resp.Header.Get("Sec-Websocket-Protocol"); got != c.Subprotocol() || !strings.HasSuffix(protocol, got) {
		st.t.Fatalf("subprotocol %q", got)
	}
	return c
}

func (st *stage) tryDial(network, path, protocol string) (*client, *http.Response, error) {
	d := websocket.Dialer{NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if network == "unix" {
			return new(net.Dialer).DialContext(ctx, "unix", st.socket)
		}
		return new(net.Dialer).DialContext(ctx, "tcp", st.url)
	}, Subprotocols: strings.Split(protocol, " "), HandshakeTimeout: 10 * time.Second}
	ws, resp, err := d.Dial("ws://stoker"+path, st.headers)
	if err != nil {
		return nil, resp, err
	}
	_ = ws.SetReadDeadline(time.Now().Add(20 * time.Second))
	_ = ws.SetWriteDeadline(time.Now().Add(20 * time.Second))
	return &client{ws, st.t}, resp, nil
}

// send sends a binary message.
func (c *client) send(channel byte, data string) {
	c.t.Helper()
	if err := c.WriteMessage(websocket.BinaryMessage, append([]byte{channel}, data...)); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// say sends a text message.
func (c *client) say(text string) {
	c.t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatalf("say: %v", err)
	}
}

// rest reads until the connection ends: what came on each channel, the text messages, and the close code.
func (c *client) rest() (channels [256]string, texts []string, code int, reason string) {
	c.t.Helper()
	var data [256]strings.Builder
	for {
		kind, message, err := c.ReadMessage()
		if err != nil {
			for k := range data {
				channels[k] = data[k].String()
			}
			var closed *websocket.CloseError
			if !errors.As(err, &closed) {
				c.t.Errorf("the connection ended without a close frame: %v", err)
				return channels, texts, 0, ""
			}
			return channels, texts, closed.Code, closed.Text
		}
		if kind == websocket.TextMessage {
			texts = append(texts, string(message))
		} else if len(message) > 0 {
			data[message[0]].Write(message[1:])
		}
	}
}
