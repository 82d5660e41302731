package kube_test

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Opcodes of websocket frames.
const (
	continuation = 0
	text         = 1
	binaryData   = 2
	closing      = 8
	ping         = 9
	pong         = 10
)

// raw is a websocket without a library: a test says what its frames are.
type raw struct {
	net.Conn
	in *bufio.Reader
}

// dial connects to the box without a word.
func (b *box) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", b.address, deadline)
	if err != nil {
		t.Fatal(err)
	}
	if b.tls != nil {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// upgrade asks for a websocket; headers are more lines, each with its end.
func (b *box) upgrade(t testing.TB, path, protocol, headers string) (*raw, *http.Response) {
	t.Helper()
	c := &raw{Conn: b.dial(t)}
	c.in = bufio.NewReader(c)
	_ = c.SetDeadline(time.Now().Add(deadline))
	if !strings.Contains(headers, "Host:") {
		headers += "Host: " + b.address + "\r\n"
	}
	if !strings.Contains(headers, "Authorization:") {
		headers += "Authorization: Bearer " + token + "\r\n"
	}
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\n%sConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n\r\n", path, headers, protocol); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c, answer
}

// open opens a session with a terminal or without.
func (b *box) open(t testing.TB, protocol string, tty bool, command ...string) *raw {
	t.Helper()
	query := url.Values{"command": command, "stdin": {"true"}}
	if tty {
		query.Set("tty", "true")
	}
	if protocol != v1 {
		query.Set("stdout", "true")
		query.Set("stderr", strconv.FormatBool(!tty))
	}
	c, answer := b.upgrade(t, "/v1/exec?"+query.Encode(), protocol, "")
	if answer.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
		t.Fatalf("status %d: %s", answer.StatusCode, body)
	}
	return c
}

// frame is a frame of a client, complete and masked.
func frame(opcode byte, payload string) []byte {
	return rawFrame(0x80|opcode, true, len(payload), payload)
}

// rawFrame is a frame with any first byte and any length in its header.
func rawFrame(first byte, masked bool, length int, payload string) []byte {
	out := []byte{first, 0}
	switch {
	case length >= 0 && length < 126:
		out[1] = byte(length)
	case length >= 0 && length < 1<<16:
		out[1] = 126
		out = binary.BigEndian.AppendUint16(out, uint16(length))
	default:
		out[1] = 127
		out = binary.BigEndian.AppendUint64(out, uint64(length))
	}
	if !masked {
		return append(out, payload...)
	}
	out[1] |= 0x80
	var key [4]byte
	_, _ = rand.Read(key[:])
	out = append(out, key[:]...)
	for k := range len(payload) {
		out = append(out, payload[k]^key[k%4])
	}
	return out
}

// send sends frames.
func (c *raw) send(t testing.TB, frames ...[]byte) {
	t.Helper()
	for _, f := range frames {
		if _, err := c.Write(f); err != nil {
			t.Fatal(err)
		}
	}
}

// next reads a frame of the server.
func (c *raw) next() (opcode byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return 0, nil, err
	}
	if head[0]&0x70 != 0 || head[1]&0x80 != 0 {
		return 0, nil, fmt.Errorf("a server does not send %x", head)
	}
	length := uint64(head[1])
	switch length {
	case 126:
		var more [2]byte
		_, err = io.ReadFull(c.in, more[:])
		length = uint64(binary.BigEndian.Uint16(more[:]))
	case 127:
		var more [8]byte
		_, err = io.ReadFull(c.in, more[:])
		length = binary.BigEndian.Uint64(more[:])
	}
	if err == nil && length > 1<<20 {
		err = fmt.Errorf("a frame of %d bytes", length)
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(c.in, payload)
	return head[0] & 0x0f, payload, err
}

// await reads until a text has come on channel 1.
func (c *raw) await(t testing.TB, want string) {
	t.Helper()
	var got strings.Builder
	for !strings.Contains(got.String(), want) {
		opcode, payload, err := c.next()
		if err != nil || opcode == closing {
			t.Fatalf("no %q but %.200q, and then %q, %v", want, got.String(), payload, err)
		}
		if opcode == binaryData && len(payload) > 0 && payload[0] == 1 {
			got.Write(payload[1:])
		}
	}
}

// end reads to the end of the connection. The code is 0 without a close frame; the reason is the status, if there was one.
func (c *raw) end(limit time.Duration) (code int, reason string, err error) {
	_ = c.SetReadDeadline(time.Now().Add(limit))
	status := ""
	for {
		opcode, payload, err := c.next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return 0, "", err
		case err != nil:
			return 0, "", nil
		case opcode == closing && len(payload) >= 2:
			return int(binary.BigEndian.Uint16(payload)), cmp.Or(status, string(payload[2:])), nil
		case opcode == binaryData && len(payload) > 0 && payload[0] == 3:
			status = string(payload[1:])
		}
	}
}
