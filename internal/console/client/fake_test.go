package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/console/wire"
)

// fake is a server with one session, whose command is a cat: it writes what it reads, and exits with 7 at the end of its input.
type fake struct {
	listener *pipeListener
	wrap     func(net.Conn) net.Conn // a client's connection
	server   *http.Server

	mu       sync.Mutex
	changed  *sync.Cond
	started  int // sessions
	links    int
	acked    int64
	current  int // the latest link that was opened
	taken    []byte
	output   []byte
	lost     int64 // of the output: what is before is overwritten
	end      bool
	stuck    bool // it takes no input
	window   int64
	holder   string
	close    *websocket.CloseError // for the next link, behind its first message
	refuse   int                   // status for the next links
	messages []message
}

// pipeListener accepts connections in memory.
type pipeListener struct{ conns chan net.Conn }

func (l *pipeListener) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l *pipeListener) Close() error   { return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{} }

func newFake() *fake {
	f := &fake{listener: &pipeListener{make(chan net.Conn)}, wrap: func(c net.Conn) net.Conn { return c }, window: 256 << 10, holder: "me"}
	f.changed = sync.NewCond(&f.mu)
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/exec", f.serve)
	mux.HandleFunc("/v1/sessions/ID/attach", f.serve)
	mux.HandleFunc("/v1/sessions/ID", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"holder":%q}`, f.holder) })
	f.server = &http.Server{Handler: mux}
	go f.server.Serve(f.listener) // ends with stop
	return f
}

// stop ends the server, and waits for its links if it runs in a bubble.
func (f *fake) stop() {
	close(f.listener.conns)
	f.server.Close()
}

func (f *fake) endpoint() access.Endpoint {
	return access.Endpoint{URL: "http://stoker", Header: func() (http.Header, error) { return http.Header{}, nil },
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			select {
			case f.listener.conns <- theirs:
				return f.wrap(ours), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}
}

func (f *fake) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	f.changed.Broadcast()
}

// serve is one link.
func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	at, _ := strconv.ParseInt(q.Get("stdout"), 10, 64)
	f.mu.Lock()
	status, closeWith := f.refuse, f.close
	f.close = nil
	if r.URL.Path == "/v1/exec" {
		f.started++
	}
	f.links++
	lost := max(f.lost-at, 0)
	f.mu.Unlock()
	if status != 0 {
		http.Error(w, `{"error":{"code":"x","message":"refused"}}`, status)
		return
	}
	conn, err := (&websocket.Upgrader{Subprotocols: []string{wire.Stoker}}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	f.mu.Lock()
	f.current++ // what an older link still brings is not taken
	mine, told := f.current, len(f.taken)
	hello := map[string]any{"type": "session", "id": "ID", "mode": "hold", "stdout": at, "stderr": 0, "stdin": told, "holder": "me"}
	f.mu.Unlock()
	if conn.WriteJSON(hello) != nil {
		return
	}
	if lost > 0 {
		if conn.WriteJSON(message{Type: "gap", Stream: 1, Bytes: lost}) != nil {
			return
		}
		at += lost
	}
	if closeWith != nil {
		conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(closeWith.Code, closeWith.Text))
		return
	}
	defer pings(conn)()
	acked, gone := at, false
	var reader sync.WaitGroup
	defer reader.Wait()
	defer conn.Close()
	reader.Go(func() { // ends with the connection
		f.read(conn, mine, &acked)
		f.change(func() { gone = true })
	})
	for {
		f.mu.Lock()
		for int64(len(f.output)) == at && !f.end && !gone && told == len(f.taken) || at-acked >= f.window && !gone {
			f.changed.Wait()
		}
		part := bytes.Clone(f.output[at:min(int64(len(f.output)), at+100, acked+f.window)])
		at += int64(len(part))
		taken, end, over := len(f.taken), f.end && at == int64(len(f.output)), gone
		f.mu.Unlock()
		switch {
		case over:
			return
		case taken != told:
			err, told = conn.WriteJSON(message{Type: "stdin", Offset: int64(taken)}), taken
		}
		if err == nil && len(part) > 0 {
			err = conn.WriteMessage(websocket.BinaryMessage, append([]byte{1}, part...))
		}
		if err == nil && end {
			conn.WriteJSON(message{Type: "exit", Code: 7})
			conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
			return
		}
		if err != nil {
			return
		}
	}
}

// pings sends one every 25 s until its result is called.
func pings(conn *websocket.Conn) (stop func()) {
	var timer *time.Timer
	const pause = 25 * time.Second
	timer = time.AfterFunc(pause, func() {
		conn.WriteControl(websocket.PingMessage, nil, noDeadline())
		timer.Reset(pause)
	})
	return func() { timer.Stop() }
}

// read takes what a client sends.
func (f *fake) read(conn *websocket.Conn, link int, acked *int64) {
	for {
		kind, data, err := conn.ReadMessage()
		if err != nil {
			return
		}
		var m message
		if kind == websocket.TextMessage && json.Unmarshal(data, &m) != nil {
			return
		}
		f.change(func() {
			switch {
			case link != f.current:
			case kind == websocket.BinaryMessage && !f.stuck:
				f.taken = append(f.taken, data[1:]...)
				f.output = append(f.output, data[1:]...)
			case m.Type == "eof":
				f.end = true
			case m.Type == "ack":
				*acked = max(*acked, m.Offset)
				f.acked = *acked
			default:
				f.messages = append(f.messages, m)
			}
		})
		if m.Type == "detach" {
			conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), noDeadline())
			return
		}
	}
}

// cutConn breaks after a number of bytes in one direction.
type cutConn struct {
	net.Conn
	read, write int // bytes that are left
}

var errCut = errors.New("cut")

func (c *cutConn) Read(p []byte) (int, error) {
	if c.read == 0 {
		c.Close()
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p[:min(len(p), c.read)])
	c.read -= n
	return n, err
}

func (c *cutConn) Write(p []byte) (int, error) {
	if len(p) <= c.write {
		c.write -= len(p)
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:c.write])
	c.write = 0
	c.Close()
	return n, errCut
}

// inBubble runs a test with a fake server and fake time.
func inBubble(t *testing.T, test func(t *testing.T, f *fake)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		defer f.stop()
		test(t, f)
	})
}
