package kube_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fullVariable asks for the long forms of the tests.
const fullVariable = "KUBE_TEST_FULL"

// amount is short, or full if that is asked for.
func amount(short, full int) int {
	if os.Getenv(fullVariable) != "" {
		return full
	}
	return short
}

// sameSupervisor checks that the supervisor has not been restarted, and still serves.
func (b *box) sameSupervisor(t *testing.T, pid int) {
	t.Helper()
	if now := b.supervisor(); now != pid {
		t.Fatalf("the supervisor was %d and is %d", pid, now)
	}
	b.exec(within(t), call{}, "echo", "well").check(t, 0, "well\n", "")
}

// TestBrokenFrames sends frames that no client may send. The connection ends, with a code or a status that is not success, and nothing
// else does.
func TestBrokenFrames(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	pid := b.supervisor()
	stdin := "\x00input"
	for _, c := range []struct {
		name   string
		frames [][]byte
		codes  []int // of the close frame; 0: only the end of the connection
	}{
		{"unmasked", [][]byte{rawFrame(0x82, false, len(stdin), stdin)}, []int{0, 1002}},
		{"compressed", [][]byte{rawFrame(0xc2, true, len(stdin), stdin)}, []int{0, 1002}},
		{"reserved bits", [][]byte{rawFrame(0xb2, true, len(stdin), stdin)}, []int{0, 1002}},
		{"reserved opcode", [][]byte{rawFrame(0x83, true, len(stdin), stdin)}, []int{0, 1002}},
		{"reserved control opcode", [][]byte{rawFrame(0x8b, true, 0, "")}, []int{0, 1002}},
		{"oversized", [][]byte{frame(binaryData, "\x00"+strings.Repeat("x", 1<<20))}, []int{0, 1008, 1009}},
		{"length of 2^62", [][]byte{rawFrame(0x82, true, 1<<62, stdin)}, []int{0, 1002, 1009}},
		{"negative length", [][]byte{rawFrame(0x82, true, -1, stdin)}, []int{0, 1002, 1009}},
		{"endless message", slices.Repeat([][]byte{rawFrame(0x00, true, 1000, strings.Repeat("x", 1000))}, 2000), []int{0, 1002, 1009}},
		{"endless fragments", append([][]byte{rawFrame(0x02, true, 2, "\x00x")},
			slices.Repeat([][]byte{rawFrame(0x00, true, 1000, strings.Repeat("x", 1000))}, 2000)...), []int{0, 1009}},
		{"continuation of nothing", [][]byte{rawFrame(0x80, true, len(stdin), stdin)}, []int{0, 1002}},
		{"message in a message", [][]byte{rawFrame(0x02, true, 1, "\x00"), frame(binaryData, stdin)}, []int{0, 1002}},
		{"fragmented ping", [][]byte{rawFrame(0x09, true, 1, "x")}, []int{0, 1002}},
		{"long ping", [][]byte{frame(ping, strings.Repeat("x", 126))}, []int{0, 1002}},
		{"close of one byte", [][]byte{frame(closing, "x")}, []int{0, 1000, 1002}},
		{"close with a reserved code", [][]byte{frame(closing, "\x03\xed")}, []int{0, 1002}},
		{"text", [][]byte{frame(text, stdin)}, []int{0, 1002, 1003, 1008}},
		{"text that is no UTF-8", [][]byte{frame(text, "\xff\xff")}, []int{0, 1002, 1003, 1007, 1008}},
		{"close of an unknown channel", [][]byte{frame(binaryData, "\xff\x07")}, []int{0, 1002, 1008}},
		{"close of no channel", [][]byte{frame(binaryData, "\xff")}, []int{0, 1002, 1008}},
		{"close of two channels", [][]byte{frame(binaryData, "\xff\x00\x00")}, []int{0, 1002, 1008}},
	} {
		for _, tty := range []bool{false, true} {
			conn := b.open(t, v5, tty, "sh", "-c", "echo ready; exec cat")
			conn.await(t, "ready")
			for _, f := range c.frames {
				if _, err := conn.Write(f); err != nil {
					break // the server has refused an earlier one
				}
			}
			code, reason, err := conn.end(deadline)
			if err != nil || !slices.Contains(c.codes, code) && !(code == 1000 && strings.Contains(reason, `"Failure"`)) {
				t.Errorf("%s, terminal %v: code %d %q, %v; want one of %v", c.name, tty, code, reason, err, c.codes)
			}
			conn.Close()
		}
	}
	b.sameSupervisor(t, pid)
	poll(t, "all sessions end", b.idle)
}

// TestOddFrames sends frames that are strange but harmless: the session goes on.
func TestOddFrames(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	pid := b.supervisor()
	for _, protocol := range []string{v5, v4} {
		for _, c := range []struct {
			name   string
			frames [][]byte
		}{
			{"empty message", [][]byte{frame(binaryData, "")}},
			{"empty input", [][]byte{frame(binaryData, "\x00")}},
			{"empty ping and pong", [][]byte{frame(ping, ""), frame(pong, ""), frame(pong, "unasked")}},
			{"empty fragments", [][]byte{rawFrame(0x02, true, 0, ""), rawFrame(0x00, true, 0, ""), rawFrame(0x80, true, 0, "")}},
			{"unknown channels", [][]byte{frame(binaryData, "\x07hello"), frame(binaryData, "\x03hello"), frame(binaryData, "\x01hello")}},
			{"ping in a message", [][]byte{rawFrame(0x02, true, 2, "\x00a"), frame(ping, "x"), rawFrame(0x80, true, 2, "b\n")}},
			{"byte by byte", byteByByte(rawFrame(0x82, true, 5, "\x00abc\n"))},
		} {
			conn := b.open(t, protocol, false, "sh", "-c", "echo ready; exec cat")
			conn.await(t, "ready")
			conn.send(t, c.frames...)
			conn.send(t, frame(binaryData, "\x00still there\n"))
			conn.await(t, "still there")
			if t.Failed() {
				t.Fatal(c.name)
			}
			conn.Close()
		}
	}
	b.sameSupervisor(t, pid)
}

func byteByByte(f []byte) (out [][]byte) {
	for _, c := range f {
		out = append(out, []byte{c})
	}
	return out
}

// TestBadSizes sends sizes that no terminal has: they are ignored or refused, and never reach the terminal.
func TestBadSizes(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	pid := b.supervisor()
	for _, size := range []string{"", "x", "{", "[]", `{"Width":-1,"Height":-1}`, `{"Width":70000,"Height":70000}`, `{"Width":1e99,"Height":2}`,
		`{"Width":"80","Height":"24"}`, `{"Width":0,"Height":0}`, `{"Width":1,"Height":1}`, "null", strings.Repeat("[", 10000),
		`{"Width":80`, "\x00\xff"} {
		conn := b.open(t, v5, true, "sh")
		conn.send(t, frame(binaryData, "\x04{\"Width\":100,\"Height\":30}\n"),
			frame(binaryData, "\x00PS1=; while [ \"$(stty size)\" != '30 100' ]; do sleep 0.01; done; echo siz''ed\r"))
		conn.await(t, "sized")
		conn.send(t, frame(binaryData, "\x04"+size))
		_, err := conn.Write(frame(binaryData, "\x00echo size is $(stty size)\r"))
		for seen := ""; err == nil; {
			opcode, payload, failed := conn.next()
			if failed != nil || opcode == closing {
				break // refused
			}
			if seen += string(payload[min(1, len(payload)):]); strings.Contains(seen, "size is 30 100") {
				break
			} else if strings.Contains(seen, "size is ") && strings.HasSuffix(seen, "\n") && !strings.HasSuffix(seen, "size)\r\n") {
				t.Fatalf("%q became the size: %q", size, seen)
			}
		}
		conn.Close()
	}
	b.sameSupervisor(t, pid)
}

// TestBadRequests sends what is no good request for a session.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	pid := b.supervisor()
	host, auth := "Host: "+b.address+"\r\n", "Authorization: Bearer "+token+"\r\n"
	ws := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	v13, proto := "Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Protocol: "+v5+"\r\n"
	get := "GET /v1/exec?command=true&stdout=true HTTP/1.1\r\n"
	for _, c := range []struct {
		name, request string
		status        []int // 0: the connection ends without an answer
	}{
		{"no command", "GET /v1/exec?stdout=true HTTP/1.1\r\n" + host + auth + ws + v13 + proto, []int{400}},
		{"empty command", "GET /v1/exec?command=&stdout=true HTTP/1.1\r\n" + host + auth + ws + v13 + proto, []int{400}},
		{"NUL in the command", "GET /v1/exec?command=a%00b&stdout=true HTTP/1.1\r\n" + host + auth + ws + v13 + proto, []int{400}},
		{"no websocket", get + host + auth, []int{400, 426}},
		{"version 8", get + host + auth + ws + proto + "Sec-WebSocket-Version: 8\r\n", []int{400, 426}},
		{"no key", get + host + auth + v13 + proto + "Connection: Upgrade\r\nUpgrade: websocket\r\n", []int{400}},
		{"bad key", get + host + auth + v13 + proto + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n", []int{400}},
		{"no protocol", get + host + auth + ws + v13, []int{400}},
		{"unknown protocol", get + host + auth + ws + v13 + "Sec-WebSocket-Protocol: channel.k8s.io\r\n", []int{400}},
		{"no host", get + auth + ws + v13 + proto, []int{400, 421}},
		{"two hosts", get + host + host + auth + ws + v13 + proto, []int{400}},
		{"other host", get + "Host: evil.example\r\n" + auth + ws + v13 + proto, []int{421}},
		{"origin", get + host + auth + ws + v13 + proto + "Origin: http://evil.example\r\n", []int{403}},
		{"null origin", get + host + auth + ws + v13 + proto + "Origin: null\r\n", []int{403}},
		{"no token", get + host + ws + v13 + proto, []int{401}},
		{"view token", get + host + "Authorization: Bearer " + viewToken + "\r\n" + ws + v13 + proto, []int{403}},
		{"token in the query", "GET /v1/exec?command=true&stdout=true&token=" + token + " HTTP/1.1\r\n" + host + ws + v13 + proto, []int{400, 401}},
		{"long header", get + host + "X: " + strings.Repeat("x", 2<<20) + "\r\n", []int{0, 431}},
		{"many headers", get + host + strings.Repeat("X: y\r\n", 300_000), []int{0, 431}},
		{"bad environment", "GET /v1/exec?command=true&stdout=true&env=LD_PRELOAD%3Dx HTTP/1.1\r\n" + host + auth + ws + v13 + proto, []int{400}},
		{"unknown context", "GET /v1/exec?command=true&stdout=true&context=nope HTTP/1.1\r\n" + host + auth + ws + v13 + proto, []int{400, 404}},
		{"no streams", "GET /api/v1/namespaces/d/pods/w/exec?command=true HTTP/1.1\r\n" + host + auth + ws + v13 + proto, []int{400, 101}},
		{"garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", []int{0, 400}},
		{"HTTP/0.9", "GET /\r\n", []int{0, 400}},
	} {
		if status := b.rawStatus(t, c.request); !slices.Contains(c.status, status) {
			t.Errorf("%s: status %d, want one of %v", c.name, status, c.status)
		}
	}
	b.sameSupervisor(t, pid)
}

// rawStatus sends a request and returns the status of the answer, 0 if there is none.
func (b *box) rawStatus(t *testing.T, request string) int {
	t.Helper()
	c := b.dial(t)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(deadline))
	_, _ = io.WriteString(c, request+"\r\n") // the server may close before the end
	answer, err := io.ReadAll(io.LimitReader(c, 15))
	if ne, ok := err.(net.Error); ok && ne.Timeout() { //nolint:errorlint // it is not wrapped
		t.Fatalf("no end: %.100q", request)
	}
	var status int
	_, _ = fmt.Sscanf(string(answer), "HTTP/1.1 %d", &status)
	return status
}

// restartTime kills the service and measures until it runs again.
func (b *box) restartTime(t *testing.T) time.Duration {
	t.Helper()
	service := func() int {
		for _, pid := range children(b.init) {
			if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && string(text) == "sleep\x001000000\x00" {
				return pid
			}
		}
		return 0
	}
	poll(t, "the service runs", func() bool { return service() != 0 })
	old, began := service(), time.Now()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for pid := 0; pid == 0 || pid == old; pid = service() {
		if time.Since(began) > deadline {
			t.Fatal("the service is not restarted")
		}
	}
	return time.Since(began)
}

// restartTimes is the median of some.
func (b *box) restartTimes(t *testing.T) time.Duration {
	t.Helper()
	var all []time.Duration
	for range 9 {
		all = append(all, b.restartTime(t))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// TestManyConnections holds half-open and hostile connections: they cost little memory, and do not delay what the supervisor is for.
func TestManyConnections(t *testing.T) {
	for name, o := range map[string]boxOptions{"tcp": {}, "tls": {tls: true}} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, o)
			b.warmUp(t)
			pid, before, sockets := b.supervisor(), b.usage(), b.files()["socket"]
			calm := b.restartTimes(t)
			says := []string{"", "G", "GET /v1/exec?command=true HTTP/1.1\r\nHost: " + b.address + "\r\nX: ",
				"POST /v1/exec HTTP/1.1\r\nHost: " + b.address + "\r\nContent-Length: 1000000\r\n\r\n", "\x16\x03\x01\x40\x00\x01",
				"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}
			for k := range 1000 {
				c, err := net.DialTimeout("tcp", b.address, deadline)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_, _ = io.WriteString(c, says[k%len(says)]) // it may be closed at once
			}
			loaded, during := b.restartTimes(t), b.usage()
			t.Logf("restart %v, with 1000 connections %v; memory %d and %d KiB, descriptors %d and %d", calm, loaded,
				before.RSS, during.RSS, before.FDs, during.FDs)
			if during.RSS-before.RSS > 16<<10 {
				t.Errorf("memory rose from %d to %d KiB", before.RSS, during.RSS)
			}
			if loaded > 2*calm+50*time.Millisecond {
				t.Errorf("a restart took %v, and %v with 1000 connections", calm, loaded)
			}
			// Slow headers end after their time, and then others are served.
			pollFor(t, time.Minute, "the connections end", func() bool {
				return b.files()["socket"] <= sockets
			})
			if now := b.supervisor(); now != pid {
				t.Errorf("the supervisor was %d and is %d", pid, now)
			}
			if status, body := b.get("/v1/health", nil); status != http.StatusOK {
				t.Errorf("status %d: %s", status, body)
			}
		})
	}
}
