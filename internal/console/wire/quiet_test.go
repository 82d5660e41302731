package wire

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stoker-init/stoker/internal/console"
)

// pipes is a listener without a network: nothing is buffered, and time is the bubble's.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// inBubble connects to a session of a process in a bubble, and calls f. The link must close in the end.
func inBubble(t *testing.T, protocol string, process func(*fakeLink) int, f func(t *testing.T, c *websocket.Conn, l *fakeLink)) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		l := newLink(process)
		st := &stage{t: t, links: make(chan *fakeLink, 1), attach: make(chan console.Attach, 1)}
		listener := make(pipes)
		server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			of := st.session(l, console.Spec{Stdin: true})
			own, _ := of.attach(identity(), console.Attach{Mode: console.Hold})
			req := request{spec: console.Spec{Stdin: true}, stdout: true}
			if err := s.serve(w, r, protocol, req, of, own); err != nil {
				t.Error(err)
			}
		})}
		go server.Serve(listener) // ends with the listener
		d := websocket.Dialer{Subprotocols: []string{protocol}, NetDialContext: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			listener <- there
			return here, nil
		}}
		c, _, err := d.Dial("ws://stoker/", nil)
		if err != nil {
			t.Fatal(err)
		}
		f(t, c, l)
		c.Close()
		server.Close()
		l.set(func() { l.closed = true }) // a process that waits ends
		<-l.done
		synctest.Wait()
	})
}

// reads reads until the connection ends, and answers pings.
func reads(c *websocket.Conn) {
	for {
		if _, _, err := c.ReadMessage(); err != nil {
			return
		}
	}
}

func forever(l *fakeLink) int { l.untilClosed(); return 0 }

func (l *fakeLink) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func TestQuietClientLives(t *testing.T) {
	for _, protocol := range []string{V5, V4, Stoker} {
		inBubble(t, protocol, forever, func(t *testing.T, c *websocket.Conn, l *fakeLink) {
			var pings atomic.Int32
			answer := c.PingHandler()
			c.SetPingHandler(func(data string) error { pings.Add(1); return answer(data) })
			go reads(c) // ends with the connection
			time.Sleep(time.Hour)
			if n := pings.Load(); l.isClosed() || n < 143 || n > 144 {
				t.Errorf("%s: closed %t after an hour, %d pings", protocol, l.isClosed(), n)
			}
		})
	}
}

func TestSilentClientIsCutOff(t *testing.T) {
	flood := func(l *fakeLink) int {
		for l.print(console.Stdout, strings.Repeat("y\n", 8<<10)) {
		}
		return 0
	}
	for name, process := range map[string]func(*fakeLink) int{"no output": forever, "flood": flood} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, V5, process, func(t *testing.T, c *websocket.Conn, l *fakeLink) {
				began := time.Now()
				_, _ = io.ReadFull(c.NetConn(), make([]byte, 2)) // a part of the first message
				time.Sleep(70 * time.Second)
				if synctest.Wait(); l.isClosed() {
					t.Error("cut off too early")
				}
				time.Sleep(10 * time.Second)
				if synctest.Wait(); !l.isClosed() {
					t.Errorf("not cut off after %v", time.Since(began))
				}
			})
		})
	}
}

// TestSlowReaderLives reads 1 KiB a second, and sends nothing, not even pongs.
func TestSlowReaderLives(t *testing.T) {
	flood := func(l *fakeLink) int {
		for l.print(console.Stdout, strings.Repeat("y\n", 32<<10)) {
		}
		return 0
	}
	inBubble(t, V5, flood, func(t *testing.T, c *websocket.Conn, l *fakeLink) {
		p := make([]byte, 1<<10)
		for range 1000 {
			if _, err := io.ReadFull(c.NetConn(), p); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if l.isClosed() {
			t.Error("cut off")
		}
	})
}

// TestStuckInput has a process that does not read for ten minutes, and a client that sends 64 MiB, behind which its pings and its
// close frame are.
func TestStuckInput(t *testing.T) {
	const size = 64 << 20
	for _, gone := range []bool{false, true} {
		inBubble(t, V5, func(l *fakeLink) int {
			l.untilBegun()
			n, _ := io.Copy(io.Discard, l)
			if n != size {
				return 2
			}
			return 0
		}, func(t *testing.T, c *websocket.Conn, l *fakeLink) {
			var pongs atomic.Int32
			c.SetPongHandler(func(string) error { pongs.Add(1); return nil })
			var status bytes.Buffer
			ended := make(chan struct{})
			go func() { // ends with the connection
				defer close(ended)
				for {
					_, message, err := c.ReadMessage()
					if err != nil {
						return
					}
					if message[0] == errorChannel {
						status.Write(message[1:])
					}
				}
			}()
			go func() { // ends when all is sent, or with the connection
				message := make([]byte, 32<<10+1)
				for range size / (32 << 10) {
					if c.WriteMessage(websocket.BinaryMessage, message) != nil {
						return
					}
				}
				_ = c.WriteMessage(websocket.BinaryMessage, []byte{255, 0})
			}()
			time.Sleep(10 * time.Minute)
			if n := pongs.Load(); n < 115 || l.isClosed() || l.Room() != 0 {
				t.Errorf("%d pongs in ten minutes, closed %t, room %d", n, l.isClosed(), l.Room())
			}
			if gone {
				c.NetConn().Close()
				time.Sleep(2 * tick)
				if synctest.Wait(); !l.isClosed() {
					t.Error("a client that has gone was not noticed")
				}
				return
			}
			l.set(func() { l.begun = true })
			<-ended
			if status.String() != success {
				t.Errorf("status %s", &status)
			}
		})
	}
}

func TestServerLeaves(t *testing.T) {
	for protocol, want := range map[string]int{V5: 1001, Stoker: 1001} {
		synctest.Test(t, func(t *testing.T) {
			l := newLink(forever)
			st := &stage{t: t, links: make(chan *fakeLink, 1), attach: make(chan console.Attach, 1)}
			ctx, stop := context.WithCancel(t.Context())
			listener := make(pipes)
			s := newServer()
			server := http.Server{BaseContext: func(net.Listener) context.Context { return ctx },
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_ = s.serve(w, r, protocol, request{stdout: true}, st.session(l, console.Spec{}), l)
				})}
			go server.Serve(listener) // ends with the listener
			d := websocket.Dialer{Subprotocols: []string{protocol}, NetDialContext: func(context.Context, string, string) (net.Conn, error) {
				here, there := net.Pipe()
				listener <- there
				return here, nil
			}}
			ws, _, err := d.Dial("ws://stoker/", nil)
			if err != nil {
				t.Fatal(err)
			}
			stop()
			c := client{ws, t}
			if _, _, code, _ := c.rest(); code != want {
				t.Errorf("%s: close %d", protocol, code)
			}
			ws.Close()
			server.Close()
			<-l.done
		})
	}
}
