package kube_test

import (
	"slices"
	"strings"
	"testing"
)

// TestBadMessages sends text messages of stoker.v1 that no client may send: the connection ends with a code that is not success.
func TestBadMessages(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	pid := b.supervisor()
	for _, c := range []struct{ name, message string }{
		{"no JSON", "hello"},
		{"half an object", `{"type":"ack"`},
		{"a list", `[]`},
		{"deep", strings.Repeat("[", 4000)},
		{"no type", `{}`},
		{"unknown type", `{"type":"root"}`},
		{"type of another type", `{"type":1}`},
		{"negative acknowledgement", `{"type":"ack","stream":1,"offset":-1}`},
		{"acknowledgement of stdin", `{"type":"ack","stream":0,"offset":1}`},
		{"acknowledgement of no number", `{"type":"ack","stream":1,"offset":1e99}`},
		{"acknowledgement of an unknown stream", `{"type":"ack","stream":1000000,"offset":1}`},
		{"size that is too large", `{"type":"resize","rows":65536,"columns":80}`},
		{"negative size", `{"type":"resize","rows":-1,"columns":80}`},
		{"unknown signal", `{"type":"signal","signal":"NOPE"}`},
		{"number of a signal", `{"type":"signal","signal":9}`},
		{"long", `{"type":"` + strings.Repeat("x", 60<<10) + `"}`},
	} {
		conn := b.open(t, v1, true, "sh", "-c", "echo ready; exec cat")
		conn.await(t, "ready")
		conn.send(t, frame(text, c.message))
		if code, reason, err := conn.end(deadline); err != nil || !slices.Contains([]int{1002, 1003, 1007, 1008, 1009}, code) {
			t.Errorf("%s: code %d %q, %v", c.name, code, reason, err)
		}
		conn.Close()
	}
	// What is odd but harmless.
	for _, message := range []string{"", `{"type":"ack","stream":1,"offset":9000000000000000000}`, `{"type":"resize","rows":0,"columns":0}`,
		`{"type":"resize","rows":1,"columns":1}`, `{"type":"resize","rows":65535,"columns":65535}`, `{"type":"ack","stream":2,"offset":5,"x":1}`} {
		conn := b.open(t, v1, true, "sh", "-c", "echo ready; exec cat")
		conn.await(t, "ready")
		conn.send(t, frame(text, message), frame(binaryData, "\x00still there\n"))
		conn.await(t, "still there")
		conn.Close()
	}
	b.sameSupervisor(t, pid)
	poll(t, "all sessions end", b.idle)
}
