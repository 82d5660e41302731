package kube_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const v1 = "stoker.v1"

// attached is a client of stoker.v1 that reconnects and knows what it has.
type attached struct {
	b      *box
	t      *testing.T
	conn   *raw
	id     string
	have   [3]int64 // bytes of each stream, by channel; 0: acknowledged input
	stdout strings.Builder
	exit   *struct {
		Code    int
		Signal  string
		Message string
	}
	times  int   // of connections
	sent   int64 // input up to this offset is under way
	sentTo int   // by this connection
}

// message is a text message of the server.
type message struct {
	Type                          string
	ID                            string
	Stdout, Stderr, Stdin, Offset int64
	Stream                        int
	Bytes                         int64
	Code                          int
	Signal, Message               string
}

// connect opens the session, or attaches to it again.
func (a *attached) connect(query url.Values) {
	a.t.Helper()
	path := "/v1/exec?" + query.Encode()
	if a.id != "" {
		path = fmt.Sprintf("/v1/sessions/%s/attach?mode=hold&stdout=%d&stderr=%d", a.id, a.have[1], a.have[2])
	}
	poll(a.t, "the API answers", func() bool {
		status, _ := a.b.get("/v1/health", nil)
		return status == http.StatusOK
	})
	conn, answer := a.b.upgrade(a.t, path, v1, "")
	if answer.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
		a.t.Fatalf("%s: status %d: %s", path, answer.StatusCode, body)
	}
	a.conn = conn
	a.times++
}

// step handles one message. It returns false when the connection has ended.
func (a *attached) step() bool {
	a.t.Helper()
	opcode, payload, err := a.conn.next()
	if err != nil || opcode == closing {
		a.conn.Close()
		return false
	}
	switch {
	case opcode == ping:
		_, _ = a.conn.Write(frame(pong, string(payload))) // an error shows at the next read
	case opcode == binaryData && len(payload) > 0:
		stream := int(payload[0])
		a.have[stream] += int64(len(payload) - 1)
		if stream == 1 {
			a.stdout.Write(payload[1:])
		}
		_, _ = a.conn.Write(frame(text, fmt.Sprintf(`{"type":"ack","stream":%d,"offset":%d}`, stream, a.have[stream])))
	case opcode == text:
		var m message
		if err := json.Unmarshal(payload, &m); err != nil {
			a.t.Fatalf("%q: %v", payload, err)
		}
		a.told(m)
	}
	return true
}

func (a *attached) told(m message) {
	switch m.Type {
	case "session":
		if m.Stdout != a.have[1] || m.Stderr != a.have[2] {
			a.t.Fatalf("the session goes on at %d and %d, want %v", m.Stdout, m.Stderr, a.have)
		}
		a.id, a.have[0] = m.ID, m.Stdin
	case "stdin":
		a.have[0] = m.Offset
	case "gap":
		a.t.Fatalf("%d bytes of stream %d are lost", m.Bytes, m.Stream)
	case "exit":
		a.exit = &struct {
			Code    int
			Signal  string
			Message string
		}{m.Code, m.Signal, m.Message}
	}
}

// TestSupervisorKilled kills the supervisor in the middle of sessions: the process goes on, and its output is exact.
func TestSupervisorKilled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		tty     bool
		command string
		lines   int
		every   int // bytes between two kills
	}{
		{"pipes", false, "seq %d | while read n; do echo $n; done; exit 9", 200_000, 150_000},
		{"terminal", true, "seq %d | while read n; do echo $n; done; exit 9", 200_000, 150_000},
		{"fast pipes", false, "seq %d; exit 9", 2_000_000, 1_500_000},
		{"fast terminal", true, "seq %d; exit 9", 1_000_000, 700_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, boxOptions{})
			a := &attached{b: b, t: t}
			newline := "\n"
			query := url.Values{"command": {"sh", "-c", fmt.Sprintf(c.command, c.lines)}, "keep": {"1m"}}
			if c.tty {
				query.Set("tty", "true")
				newline = "\r\n"
			}
			a.connect(query)
			for kills := 0; a.exit == nil; {
				if a.stdout.Len() > (kills+1)*c.every && kills < amount(5, 8) {
					kills++
					if err := syscall.Kill(b.supervisor(), syscall.SIGKILL); err != nil {
						t.Fatal(err)
					}
				}
				if !a.step() && a.exit == nil {
					a.connect(nil)
				}
			}
			var want strings.Builder
			for n := range c.lines {
				fmt.Fprintf(&want, "%d%s", n+1, newline)
			}
			if got := a.stdout.String(); got != want.String() || a.exit.Code != 9 {
				t.Errorf("%d bytes, code %d, want %d bytes; %s", len(got), a.exit.Code, want.Len(), firstDifference(got, want.String()))
			}
			if a.times < 5 {
				t.Errorf("only %d connections: the supervisor was not killed often enough", a.times)
			}
		})
	}
}

func firstDifference(got, want string) string {
	for k := range min(len(got), len(want)) {
		if got[k] != want[k] {
			return fmt.Sprintf("at byte %d %.60q, want %.60q", k, got[k:], want[k:])
		}
	}
	return "one is the beginning of the other"
}

// TestInputOverKill kills the supervisor while input is sent: each byte reaches the program once.
func TestInputOverKill(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	a := &attached{b: b, t: t}
	const lines = 20_000
	var input strings.Builder
	for n := range lines {
		fmt.Fprintln(&input, n)
	}
	a.connect(url.Values{"command": {"cat"}, "stdin": {"true"}, "keep": {"1m"}})
	for kills := 0; a.exit == nil; {
		alive := a.step()
		if alive && a.have[0] >= int64((kills+1)*20_000) && kills < 3 {
			kills++
			if err := syscall.Kill(b.supervisor(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		if !alive && a.exit == nil {
			a.connect(nil)
			continue
		}
		a.feed(input.String())
	}
	if got := a.stdout.String(); got != input.String() || a.exit.Code != 0 {
		t.Errorf("%d bytes, code %d, want %d bytes; %s", len(got), a.exit.Code, input.Len(), firstDifference(got, input.String()))
	}
	if a.times < 3 {
		t.Errorf("only %d connections", a.times)
	}
}

// feed sends the next input after what was acknowledged, when all before was.
func (a *attached) feed(input string) {
	if a.id == "" || a.have[0] < a.sent && a.sentTo == a.times {
		return
	}
	rest := input[a.have[0]:]
	if rest == "" {
		_, _ = a.conn.Write(frame(text, `{"type":"eof"}`)) // an error shows at the next read
		return
	}
	part := rest[:min(len(rest), 4<<10)]
	_, _ = a.conn.Write(frame(binaryData, "\x00"+part)) // an error shows at the next read
	a.sent, a.sentTo = a.have[0]+int64(len(part)), a.times
}

// TestKilledWhileIdle kills the supervisor under a client of Kubernetes: its connection ends with an error, never as a success.
func TestKilledWhileIdle(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	s, done := &screen{}, make(chan *result, 1)
	go func() { done <- b.exec(within(t), call{stdout: s}, "sh", "-c", "echo ready; exec sleep 1000") }() // ends with the supervisor
	s.await(t, "ready")
	if err := syscall.Kill(b.supervisor(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.err == nil {
		t.Errorf("code %d, no error", r.code)
	}
	pollFor(t, 40*time.Second, "the session of the lost client ends", b.idle)
}

// TestRevokedAfterKill removes the token of a session that an earlier supervisor has opened: the session ends.
func TestRevokedAfterKill(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	a := &attached{b: b, t: t}
	a.connect(url.Values{"command": {"sh", "-c", "echo ready; exec sleep 1000"}, "keep": {"10m"}})
	for !strings.Contains(a.stdout.String(), "ready") && a.step() {
	}
	old := b.supervisor()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	a.conn.Close()
	poll(t, "another supervisor answers", func() bool {
		status, _ := b.get("/v1/whoami", nil)
		return status == http.StatusOK && b.supervisor() != old
	})
	if b.idle() {
		t.Fatal("the session did not survive")
	}
	if err := os.WriteFile(filepath.Join(b.dir, "tokens"), []byte("viewer view "+viewToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pollFor(t, 10*time.Second, "the session ends", b.idle)
}
