package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stoker-init/stoker/internal/api"
)

func noDeadline() time.Time { return time.Now().Add(time.Minute) }

// options are those of a test: what is heard goes to out and log.
func options(f *fake, out io.Writer, log *strings.Builder) Options {
	return Options{Client: api.ClientOf(f.endpoint()), Path: "/v1/exec?command=cat&stdin=true", Stdout: out, Stderr: io.Discard,
		Patience: 30 * time.Second,
		Lost:     func(error) { log.WriteString("lost ") },
		Resumed:  func() { log.WriteString("resumed ") },
		Gap:      func(stream int, n int64) { fmt.Fprintf(log, "gap %d:%d ", stream, n) }}
}

// numbers is text in which every byte tells its place.
func numbers(size int) []byte {
	var b bytes.Buffer
	for k := 0; b.Len() < size; k++ {
		fmt.Fprintf(&b, "%d ", k)
	}
	return b.Bytes()[:size]
}

// roundTrip sends input through a cat, and checks that it returns exactly.
func roundTrip(t *testing.T, f *fake, input []byte) error {
	t.Helper()
	var out bytes.Buffer
	var log strings.Builder
	s, err := Open(t.Context(), options(f, &out, &log))
	if err != nil {
		return err
	}
	go func() { // ends with the session
		s.Write(input)
		s.CloseWrite()
	}()
	exit, err := s.Run(t.Context())
	synctest.Wait()
	if err != nil || exit.Code != 7 {
		t.Errorf("%+v, %v; want exit code 7", exit, err)
	}
	if !bytes.Equal(f.taken, input) {
		t.Errorf("the process got %d bytes %.80q, want %d", len(f.taken), f.taken, len(input))
	}
	if !bytes.Equal(out.Bytes(), input) {
		t.Errorf("we got %d bytes %.80q, want %d", out.Len(), out.Bytes(), len(input))
	}
	return nil
}

// TestBrokenAtEveryByte breaks the first connection at each byte of each direction.
func TestBrokenAtEveryByte(t *testing.T) {
	input := numbers(450)
	for _, direction := range []string{"read", "write"} {
		opened := 0
		for k := 0; ; k++ {
			cut := &cutConn{read: 1 << 30, write: 1 << 30}
			if direction == "read" {
				cut.read = k
			} else {
				cut.write = k
			}
			broken := false
			inBubble(t, func(t *testing.T, f *fake) {
				dials := 0
				f.wrap = func(c net.Conn) net.Conn {
					if dials++; dials > 1 {
						return c
					}
					cut.Conn = c
					return cut
				}
				err := roundTrip(t, f, input)
				synctest.Wait()
				broken = err != nil || dials > 1
				switch {
				case err == nil:
					opened++
				case opened > 0:
					t.Errorf("cut at %s %d: %v, but it was opened with less", direction, k, err)
				}
				if f.started > 1 {
					t.Errorf("cut at %s %d: %d sessions", direction, k, f.started)
				}
			})
			if t.Failed() {
				t.Fatalf("cut at %s %d", direction, k)
			}
			if !broken {
				break // behind the last byte
			}
		}
		if opened < len(input) {
			t.Errorf("%s: only %d connections were broken after the start", direction, opened)
		}
	}
}

// TestEveryLinkBreaks breaks every connection, at random bytes.
func TestEveryLinkBreaks(t *testing.T) {
	input := numbers(300 << 10)
	for seed := range uint64(20) {
		inBubble(t, func(t *testing.T, f *fake) {
			random := rand.New(rand.NewPCG(seed, 1))
			dials := 0
			f.wrap = func(c net.Conn) net.Conn {
				dials++
				return &cutConn{Conn: c, read: 1000 + random.IntN(40<<10), write: 1000 + random.IntN(40<<10)}
			}
			if err := roundTrip(t, f, input); err != nil || dials < 10 {
				t.Errorf("seed %d: %d connections, %v", seed, dials, err)
			}
		})
	}
}

// slowWriter lets write one byte at a time, and counts.
type slowWriter struct {
	step chan int // bytes that may be written
	n    atomic.Int64
}

func (w *slowWriter) Write(p []byte) (int, error) {
	for range p {
		<-w.step
		w.n.Add(1)
	}
	return len(p), nil
}

// TestAcksFollowWhatIsWritten: a reader of the output that stops makes the server stop, and pings are answered meanwhile.
func TestAcksFollowWhatIsWritten(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.output, f.end = numbers(2<<20), true
		w := &slowWriter{step: make(chan int)}
		var log strings.Builder
		s, err := Open(t.Context(), options(f, w, &log))
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { // ends with the session
			_, err := s.Run(t.Context())
			done <- err
		}()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		s.mu.Lock()
		queued := s.queued
		s.mu.Unlock()
		if queued != 256<<10 || f.links != 1 {
			t.Errorf("%d bytes are queued, %d links; want the window and 1", queued, f.links)
		}
		close(w.step)
		if err := <-done; err != nil || w.n.Load() != 2<<20 || log.Len() > 0 {
			t.Errorf("%d bytes, %v, %q", w.n.Load(), err, log.String())
		}
	})
}

// TestInputIsBounded: a process that takes nothing leaves the input here.
func TestInputIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.stuck = true
		var log strings.Builder
		s, err := Open(t.Context(), options(f, io.Discard, &log))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		wrote, ran := make(chan int), make(chan error)
		go func() { // ends with the session
			n, _ := s.Write(make([]byte, 1<<20))
			wrote <- n
		}()
		go func() { // ends with ctx
			_, err := s.Run(ctx)
			ran <- err
		}()
		synctest.Wait()
		s.mu.Lock()
		if len(s.in.data) != inputRoom || s.in.sent != inputSent {
			t.Errorf("%d bytes are kept, and %d were sent", len(s.in.data), s.in.sent)
		}
		s.mu.Unlock()
		cancel()
		if n, err := <-wrote, <-ran; n != inputRoom || !errors.Is(err, context.Canceled) {
			t.Errorf("%d bytes were written, %v", n, err)
		}
	})
}

// TestEndsOfALink: what follows the close codes and answers of the server.
func TestEndsOfALink(t *testing.T) {
	for _, tc := range []struct {
		name   string
		close  *websocket.CloseError
		refuse int // after the close
		holder string
		want   error
		text   string
		links  int
	}{
		{name: "taken", close: &websocket.CloseError{Code: 4001, Text: "token ops"}, want: &TakenError{"token ops"}, links: 1},
		{name: "denied", close: &websocket.CloseError{Code: 4003, Text: "token removed"}, want: ErrNotAllowed, text: "token removed", links: 1},
		{name: "protocol", close: &websocket.CloseError{Code: 1008, Text: "bad"}, text: "close code 1008", links: 1},
		{name: "gone", close: &websocket.CloseError{Code: 1001}, refuse: 404, want: ErrNoSession, links: 2},
		{name: "no longer allowed", close: &websocket.CloseError{Code: 1006}, refuse: 403, text: "refused", links: 2},
		{name: "another has the keyboard", close: &websocket.CloseError{Code: 1001}, refuse: 409, holder: "you", want: &TakenError{"you"}, links: 2},
		{name: "busy for ever", close: &websocket.CloseError{Code: 1001}, refuse: 503, want: ErrLost, text: "refused"},
	} {
		inBubble(t, func(t *testing.T, f *fake) {
			f.close, f.holder = tc.close, tc.holder
			var log strings.Builder
			s, err := Open(t.Context(), options(f, io.Discard, &log))
			if err != nil {
				t.Fatal(err)
			}
			f.change(func() { f.refuse = tc.refuse })
			begun := time.Now()
			_, err = s.Run(t.Context())
			synctest.Wait()
			var taken, want *TakenError
			switch {
			case errors.As(tc.want, &want):
				if !errors.As(err, &taken) || *taken != *want {
					t.Errorf("%s: %v, want %v", tc.name, err, want)
				}
			case err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text):
				t.Errorf("%s: %v, want %v with %q", tc.name, err, tc.want, tc.text)
			}
			if tc.links != 0 && f.links != tc.links {
				t.Errorf("%s: %d links, want %d", tc.name, f.links, tc.links)
			}
			if took := time.Since(begun); tc.links == 0 && (took < 30*time.Second || took > 32*time.Second || log.String() != "lost ") {
				t.Errorf("%s: after %v, with %q", tc.name, took, log.String())
			}
		})
	}
}

// TestOwnOldLink: the server still knows our old link as the holder, so it is replaced.
func TestOwnOldLink(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.close = &websocket.CloseError{Code: 1001}
		var out bytes.Buffer
		var log strings.Builder
		s, err := Open(t.Context(), options(f, &out, &log))
		if err != nil {
			t.Fatal(err)
		}
		f.change(func() { f.refuse = 409 })
		modes := []string{}
		f.wrap = func(c net.Conn) net.Conn { return &spyConn{c, func(text string) { modes = append(modes, text) }} }
		time.AfterFunc(5*time.Second, func() { f.change(func() { f.refuse, f.end, f.output = 0, true, []byte("on") }) })
		exit, err := s.Run(t.Context())
		if err != nil || exit.Code != 7 || out.String() != "on" || log.String() != "lost resumed " {
			t.Errorf("%+v, %v, %q, %q", exit, err, out.String(), log.String())
		}
		if !strings.Contains(modes[0], "mode=hold") || !strings.Contains(modes[len(modes)-1], "mode=take") {
			t.Errorf("attached by %q", modes)
		}
	})
}

// spyConn reports the first line of each request.
type spyConn struct {
	net.Conn
	line func(string)
}

func (c *spyConn) Write(p []byte) (int, error) {
	if line, _, found := strings.Cut(string(p), "\r\n"); found && strings.Contains(line, "attach") {
		c.line(line)
	}
	return c.Conn.Write(p)
}

// TestGap: what was overwritten while nobody read is reported once, and the offsets go on behind it, also on the next link.
func TestGap(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.close = &websocket.CloseError{Code: 1001}
		var out bytes.Buffer
		var log strings.Builder
		s, err := Open(t.Context(), options(f, &out, &log))
		if err != nil {
			t.Fatal(err)
		}
		f.change(func() { f.output, f.lost, f.end = numbers(1000), 600, true })
		cuts := 0
		f.wrap = func(c net.Conn) net.Conn {
			if cuts++; cuts > 1 {
				return c
			}
			return &cutConn{Conn: c, read: 600, write: 1 << 20}
		}
		exit, err := s.Run(t.Context())
		synctest.Wait()
		if err != nil || exit.Code != 7 || log.String() != "gap 1:600 " || f.links != 3 || !bytes.Equal(out.Bytes(), numbers(1000)[600:]) {
			t.Errorf("%+v, %v, %q, %d bytes", exit, err, log.String(), out.Len())
		}
	})
}

// TestRequests: signals, sizes, detach and end reach the server, in this order.
func TestRequests(t *testing.T) {
	for _, request := range []string{"detach", "end"} {
		inBubble(t, func(t *testing.T, f *fake) {
			var log strings.Builder
			s, err := Open(t.Context(), options(f, io.Discard, &log))
			if err != nil {
				t.Fatal(err)
			}
			s.Resize(24, 80)
			s.Signal("INT")
			begun := time.Now()
			if request == "detach" {
				s.Detach(time.Minute)
			} else {
				s.End(5 * time.Second)
			}
			if _, err := s.Run(t.Context()); !errors.Is(err, ErrLeft) {
				t.Errorf("%s: %v", request, err)
			}
			if took := time.Since(begun); request == "detach" && took > time.Second || request == "end" && took != 5*time.Second {
				t.Errorf("%s after %v", request, took)
			}
			synctest.Wait()
			got := fmt.Sprint(f.messages)
			want := fmt.Sprint([]message{{Type: "resize", Rows: 24, Columns: 80}, {Type: "signal", Signal: "INT"}, {Type: request}})
			if got != want {
				t.Errorf("%s: the server got %s, want %s", request, got, want)
			}
		})
	}
}

// TestOutputFails: our own command is ended, another's session is left, and output that follows is in the way of neither.
func TestOutputFails(t *testing.T) {
	for own, want := range map[bool]string{true: "end", false: "detach"} {
		inBubble(t, func(t *testing.T, f *fake) {
			f.output = numbers(2 << 20)
			var log strings.Builder
			r, w := io.Pipe()
			r.CloseWithError(errors.New("nobody reads"))
			o := options(f, w, &log)
			o.Own = own
			s, err := Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Run(t.Context()); !errors.Is(err, ErrOutput) || !strings.Contains(err.Error(), "nobody reads") {
				t.Error(err)
			}
			synctest.Wait()
			if len(f.messages) != 1 || f.messages[0].Type != want || own && f.acked < 1<<20 {
				t.Errorf("the server got %v, want %s, and acks to %d", f.messages, want, f.acked)
			}
		})
	}
}

// TestRefusedStart: an answer that is no upgrade is the API's error, and a server that is not there is api.ErrNoSocket.
func TestRefusedStart(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.refuse = 404
		var log strings.Builder
		o := options(f, io.Discard, &log)
		var refused *api.StatusError
		if _, err := Open(t.Context(), o); !errors.As(err, &refused) || refused.Status != 404 || refused.Message != "refused" {
			t.Error(err)
		}
		gone := f.endpoint()
		gone.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, io.ErrUnexpectedEOF }
		o.Client = api.ClientOf(gone)
		if _, err := Open(t.Context(), o); !errors.Is(err, api.ErrNoSocket) {
			t.Error(err)
		}
	})
}
