package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stoker-init/stoker/internal/console"
)

// rawConn is a client that makes its own frames.
type rawConn struct {
	net.Conn
	r *bufio.Reader
	t testing.TB
}

// raw connects and upgrades.
func (st *stage) raw(path, protocol string) *rawConn {
	st.t.Helper()
	c, err := net.Dial("unix", st.socket)
	if err != nil {
		st.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: %s\r\n\r\n", path, protocol)
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		st.t.Fatalf("%v %v", resp, err)
	}
	return &rawConn{c, r, st.t}
}

// frame makes a masked frame.
func frame(head byte, data string) []byte {
	out := []byte{head}
	switch n := len(data); {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	mask := []byte{1, 2, 3, 4}
	out = append(out, mask...)
	for k := range data {
		out = append(out, data[k]^mask[k%4])
	}
	return out
}

// closeCode reads frames until the close frame, and returns its code; 0: the connection ended without one.
func (c *rawConn) closeCode() int {
	for {
		var head [2]byte
		if _, err := io.ReadFull(c.r, head[:]); err != nil {
			return 0
		}
		n := int64(head[1])
		if n == 126 {
			var long [2]byte
			_, _ = io.ReadFull(c.r, long[:])
			n = int64(binary.BigEndian.Uint16(long[:]))
		}
		data := make([]byte, n)
		if _, err := io.ReadFull(c.r, data); err != nil {
			return 0
		}
		if head[0] == 0x88 && n == 0 {
			return noCode
		}
		if head[0] == 0x88 && n >= 2 {
			return int(binary.BigEndian.Uint16(data))
		}
	}
}

// noCode is a close frame without a code.
const noCode = -1

const ask = "?command=cat&stdin=true&stdout=true"

func TestHostileFrames(t *testing.T) {
	before := footprint()
	big := strings.Repeat("x", maxMessage)
	for _, c := range []struct {
		name string
		data []byte
		v5   int
		own  int
	}{
		{"text", frame(0x81, "hello"), 1003, 1008},
		{"empty text", frame(0x81, ""), 1003, 0},
		{"too big", frame(0x82, "\x00"+big), 1009, 1009},
		{"a length of 2^63", []byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, 1009, 1009},
		{"a length of 2^62", []byte{0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, 1009, 1009},
		{"too big in fragments", append(frame(0x02, "\x00"+big[:60000]), frame(0x80, big[:60000])...), 1009, 1009},
		{"unmasked", []byte{0x82, 0x02, 0, 'x'}, 1002, 1002},
		{"compressed", frame(0xc2, "\x00x"), 1002, 1002},
		{"reserved bits", frame(0xb2, "\x00x"), 1002, 1002},
		{"reserved opcode", frame(0x83, "\x00x"), 1002, 1002},
		{"reserved control", frame(0x8b, ""), 1002, 1002},
		{"continuation of nothing", frame(0x80, "x"), 1002, 1002},
		{"message in a message", append(frame(0x02, "\x00x"), frame(0x82, "\x00x")...), 1002, 1002},
		{"long ping", frame(0x89, big[:126]), 1002, 1002},
		{"fragmented ping", frame(0x09, "x"), 1002, 1002},
		{"close of one byte", frame(0x88, "x"), noCode, noCode},
		{"close with a bad code", frame(0x88, "\x03\xee"), 1002, 1002},
		{"close with bad UTF-8", frame(0x88, "\x03\xe8\xff"), 1002, 1002},
		{"half-close of no channel", frame(0x82, "\xff"), 1008, 1008},
		{"half-close of two", frame(0x82, "\xff\x00\x00"), 1008, 1008},
		{"half-close of 5", frame(0x82, "\xff\x05"), 1008, 1008},
		{"no size", frame(0x82, "\x04{"), 1008, 1008},
		{"negative size", frame(0x82, "\x04"+`{"Width":-1}`), 1008, 1008},
		{"large size", frame(0x82, "\x04"+`{"Width":65536}`), 1008, 1008},
		{"size of an array", frame(0x82, "\x04[]"), 1008, 1008},
		{"unknown channel", frame(0x82, "\x09x"), 0, 1008},
	} {
		for protocol, want := range map[string]int{V5: c.v5, Stoker: c.own} {
			t.Run(c.name+" "+protocol, func(t *testing.T) {
				t.Parallel()
				path := "/v1/exec" + ask
				if protocol == Stoker {
					path = "/v1/exec?command=cat&stdin=true"
				}
				st := newStage(t, cat(0))
				conn := st.raw(path, protocol)
				defer conn.Close()
				if _, err := conn.Write(c.data); err != nil {
					t.Log(err) // the server has had enough
				}
				l := st.link()
				if want == 0 { // harmless: the session goes on
					if protocol == V5 {
						_, _ = conn.Write(frame(0x82, "\xff\x00"))
					} else {
						_, _ = conn.Write(frame(0x81, `{"type":"eof"}`))
					}
					want = 1000
				}
				if code := conn.closeCode(); code != want {
					t.Errorf("close %d, want %d", code, want)
				}
				l.await(t, "the link to close", func() bool { return l.closed })
			})
		}
	}
	t.Cleanup(func() { before.same(t) })
}

// TestHarmlessFrames: empty frames of each kind, empty fragments, and a message in fragments with a ping between them.
func TestHarmlessFrames(t *testing.T) {
	st := newStage(t, cat(0))
	conn := st.raw("/v1/exec"+ask, V5)
	defer conn.Close()
	for _, f := range [][]byte{frame(0x82, ""), frame(0x89, ""), frame(0x8a, ""), frame(0x8a, "nobody asked"), frame(0x02, ""), frame(0x00, ""),
		frame(0x80, ""), frame(0x02, ""), frame(0x00, "\x00a"), frame(0x89, "ping"), frame(0x00, ""), frame(0x80, "b"), frame(0x82, "\x00"),
		frame(0x82, "\x04")} {
		if _, err := conn.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	var got bytes.Buffer
	until := func(want string) {
		t.Helper()
		piece := make([]byte, 1<<10)
		for !bytes.Contains(got.Bytes(), []byte(want)) {
			n, err := conn.r.Read(piece)
			if err != nil {
				t.Fatalf("%v after %q, want %q", err, &got, want)
			}
			got.Write(piece[:n])
		}
	}
	until("\x8a\x04ping")
	if _, err := conn.Write(frame(0x82, "\xff\x00")); err != nil {
		t.Fatal(err)
	}
	until(success)
	if l := st.link(); l.taken != 2 {
		t.Errorf("%d bytes of input", l.taken)
	}
}

func TestRefusedBeforeTheUpgrade(t *testing.T) {
	upgrade := http.Header{"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}, "Sec-Websocket-Protocol": {"v5.channel.k8s.io"}}
	for _, c := range []struct {
		path, name, value string
		why               string
	}{
		{"/v1/exec" + ask, "Connection", "close", "Upgrade: it must be websocket"},
		{"/v1/exec" + ask, "Upgrade", "SPDY/3.1", "Upgrade: it must be websocket"},
		{"/v1/exec" + ask, "Sec-Websocket-Version", "8", "Sec-WebSocket-Version: it must be 13"},
		{"/v1/exec" + ask, "Sec-Websocket-Key", "AAAA", "Sec-WebSocket-Key: it must be 16 bytes in base64"},
		{"/v1/exec" + ask, "Sec-Websocket-Protocol", "v3.channel.k8s.io", "Sec-WebSocket-Protocol: it names none of v5"},
		{"/v1/exec" + ask, "Sec-Websocket-Protocol", "", "Sec-WebSocket-Protocol: it names none of v5"},
		{"/pod/exec" + ask, "Sec-Websocket-Protocol", "stoker.v1", "Sec-WebSocket-Protocol: it names none of v5.channel.k8s.io, v4"},
		{"/v1/sessions/here/attach", "", "", "Sec-WebSocket-Protocol: it names none of stoker.v1"},
		{"/v1/exec" + ask + "&tty=true&stderr=true", "", "", "stderr: a terminal has one output"},
		{"/pod/exec?command=ls", "", "", "stdout: one of stdin, stdout and stderr must be true"},
		{"/v1/exec" + ask + "&shell=true", "", "", "shell: unknown parameter"},
		{"/v1/exec" + ask + "&keep=10m", "", "", "keep: unknown parameter"},
		{"/v1/exec" + ask + "&tty=maybe", "", "", `tty: "maybe" is neither true nor false`},
		{"/v1/exec" + ask + "&%zz", "", "", "query: invalid URL escape"},
		{"/v1/exec" + ask + "&rows=-1", "", "", `rows: "-1" is not a number`},
		{"/v1/exec" + ask + "&container=a&container=b", "", "", "container: it is given more than once"},
		{"/v1/exec?command=a%00b&stdout=1", "", "", "command: it has a NUL character"},
		{"/v1/exec?command=x&stdout=true", "Sec-Websocket-Protocol", "stoker.v1", "stdout: unknown parameter"},
		{"/v1/exec?command=x&keep=-1s", "Sec-Websocket-Protocol", "stoker.v1", "keep: "},
		{"/v1/sessions/here/attach?mode=steal", "Sec-Websocket-Protocol", "stoker.v1", `mode: "steal" is none of`},
		{"/v1/sessions/here/attach?stdout=-5", "Sec-Websocket-Protocol", "stoker.v1", `stdout: "-5" is not an offset`},
	} {
		st := newStage(t, cat(0))
		req, _ := http.NewRequest("GET", "http://"+st.url+c.path, nil)
		req.Header = upgrade.Clone()
		if c.name != "" {
			req.Header.Set(c.name, c.value)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		var status Status
		_ = json.NewDecoder(resp.Body).Decode(&status)
		resp.Body.Close()
		if resp.StatusCode != 400 || !strings.Contains(status.Message, c.why) {
			t.Errorf("%s %s=%s: %d %q", c.path, c.name, c.value, resp.StatusCode, status.Message)
		}
		if len(st.links) > 0 {
			t.Errorf("%s: a session was opened", c.path)
		}
	}
}

func TestSPDYIsToldWhy(t *testing.T) {
	st := newStage(t, cat(0))
	for _, c := range []struct {
		query  string
		refuse error
		why    string
	}{
		{ask, nil, "Upgrade: SPDY is not spoken: use a websocket"},
		{"?command=ls", nil, "one of stdin, stdout and stderr"},
		{ask, fmt.Errorf("cannot open a session: %w", console.ErrNotAllowed), "not allowed"},
	} {
		st.refuse = c.refuse
		resp, err := http.Post("http://"+st.url+"/pod/exec"+c.query, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(body), c.why) {
			t.Errorf("%s", body)
		}
	}
}

// cost is what connections cost.
type cost struct{ goroutines, files int }

func footprint() cost {
	files, _ := os.ReadDir("/proc/self/fd")
	return cost{runtime.NumGoroutine(), len(files)}
}

// same waits until nothing more is in use than before.
func (before cost) same(t *testing.T) {
	t.Helper()
	until := time.Now().Add(20 * time.Second)
	for {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		now := footprint()
		if now.goroutines <= before.goroutines && now.files <= before.files {
			return
		}
		if time.Now().After(until) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("before %+v, now %+v\n%s", before, now, stacks[:runtime.Stack(stacks, true)])
		}
		<-time.After(10 * time.Millisecond)
	}
}

// TestNothingLeaks runs 500 sessions, half of which are cut off at some point.
func TestNothingLeaks(t *testing.T) {
	st := newStage(t, cat(0))
	start := footprint()
	for k := range 500 {
		network, protocol, path := "tcp", V5, "/v1/exec"+ask
		if k%3 == 0 {
			network = "unix"
		}
		if k%4 < 2 {
			protocol, path = Stoker, "/v1/exec?command=cat&stdin=true"
		}
		c := st.dial(network, path, protocol)
		l := st.link()
		c.send(0, "hello")
		switch {
		case k%2 == 0:
			if k%5 > 2 {
				l.await(t, "input", func() bool { return l.taken > 0 })
			}
			if tcp, ok := c.NetConn().(*net.TCPConn); ok && k%7 < 4 {
				_ = tcp.SetLinger(0) // a reset
			}
		case protocol == V5:
			c.send(255, "\x00")
			_, _, _, _ = c.rest()
		default:
			c.say(`{"type":"eof"}`)
			_, _, _, _ = c.rest()
		}
		c.Close()
		l.await(t, "the link to close", func() bool { return l.closed })
		<-st.specs
		<-st.attach
	}
	start.same(t)
}

// TestFloodedInputCostsLittle has a process that does not read, and clients that send 64 MiB.
func TestFloodedInputCostsLittle(t *testing.T) {
	st := newStage(t, func(l *fakeLink) int { l.untilClosed(); return 0 })
	c := st.dial("unix", "/v1/exec"+ask, V5)
	l := st.link()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	sent := make(chan int)
	go func() { // ends with the connection
		message, n := make([]byte, 64<<10), 0
		for n < 64<<20 && c.WriteMessage(websocket.BinaryMessage, message) == nil {
			n += len(message)
		}
		sent <- n
	}()
	l.await(t, "the queue to fill", func() bool { return len(l.input) == queueSize })
	select {
	case n := <-sent:
		t.Errorf("%d bytes were taken", n)
	case <-time.After(100 * time.Millisecond):
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("%d KiB more", grown>>10)
	}
	l.Close() // as if the session had ended
	c.Close()
	if n := <-sent; n > 4<<20 {
		t.Errorf("%d bytes were taken", n)
	}
}
