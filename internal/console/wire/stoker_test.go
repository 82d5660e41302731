package wire

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stoker-init/stoker/internal/console"
)

const helloText = `{"type":"session","id":"here","mode":"hold","command":["cat"],"user":"app","tty":true,"rows":24,"columns":80,` +
	`"stdout":0,"stderr":0,"stdin":0,"keep":"10m0s","by":"token ops","holder":"token other"}`

func TestStokerSession(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			st := newStage(t, cat(7))
			c := st.dial(network, "/v1/exec?command=cat&stdin=true&tty=true&rows=24&columns=80&keep=10m&env=TERM%3Dxterm", Stoker)
			c.send(0, "hello")
			_ = c.WriteMessage(websocket.TextMessage, nil)
			_ = c.WriteMessage(websocket.BinaryMessage, nil)
			c.say(`{"type":"ack","stream":1,"offset":5}`)
			c.say(`{"type":"resize","rows":30,"columns":100}`)
			c.say(`{"type":"signal","signal":"INT"}`)
			c.say(`{"type":"signal","signal":"SIGTERM"}`)
			c.say(`{"type":"eof"}`)
			channels, texts, code, _ := c.rest()
			want := []string{helloText, `{"type":"exit","code":7,"signal":"","oom":false,"message":""}`}
			if channels[1] != "hello" || channels[2] != "bye" || !slices.Equal(texts, want) || code != 1000 {
				t.Errorf("%q\ntexts %q\nclose %d", channels[1:4], texts, code)
			}
			l := st.link()
			if l.acks[1] != 5 || !slices.Equal(l.resized, [][2]uint16{{30, 100}}) ||
				!slices.Equal(l.signals, []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}) {
				t.Errorf("acks %v, sizes %v, signals %v", l.acks, l.resized, l.signals)
			}
			if spec := <-st.specs; spec.Keep != console.Duration(10*time.Minute) || !slices.Equal(spec.Env, []string{"TERM=xterm"}) {
				t.Errorf("spec %+v", spec)
			}
			if got := <-st.attach; got.Mode != console.Hold || got.Window != window {
				t.Errorf("attach %+v", got)
			}
		})
	}
}

func TestStokerNotices(t *testing.T) {
	st := newStage(t, func(l *fakeLink) int {
		l.print(console.Stdout, "one")
		l.mu.Lock()
		l.offset[1] += 5 // lost
		l.mu.Unlock()
		l.print(console.Stdout, "two")
		l.untilClosed()
		return 0
	})
	c := st.dial("tcp", "/v1/sessions/here/attach?mode=view&stdout=0&stderr=12", Stoker)
	l := st.link()
	if got := <-st.attach; got.Mode != console.View || got.From != [3]int64{-1, 0, 12} {
		t.Errorf("attach %+v", got)
	}
	var texts, data []string
	next := func() {
		kind, message, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if kind == websocket.TextMessage {
			texts = append(texts, string(message))
		} else {
			data = append(data, string(message))
		}
	}
	for range 4 {
		next()
	}
	if !slices.Equal(data, []string{"\x01one", "\x01two"}) || texts[1] != `{"type":"gap","stream":1,"bytes":5}` ||
		!strings.Contains(texts[0], `"mode":"view"`) {
		t.Errorf("%q %q", texts, data)
	}
	texts = nil
	l.notices <- console.Notice{Rows: 20, Columns: 90, Holder: "token other", Viewers: 2, Stdin: 9}
	for range 3 {
		next()
	}
	l.notices <- console.Notice{Rows: 20, Columns: 90, Holder: "", Viewers: 2, Stdin: 9}
	next()
	want := []string{`{"type":"stdin","offset":9}`, `{"type":"size","rows":20,"columns":90}`,
		`{"type":"clients","holder":"token other","viewers":2}`, `{"type":"clients","holder":"","viewers":2}`}
	if !slices.Equal(texts, want) {
		t.Errorf("%q", texts)
	}
	c.say(`{"type":"end"}`) // a viewer may not
	c.say(`{"type":"detach"}`)
	if _, _, code, reason := c.rest(); code != 1000 || reason != "detached" || l.ended != "" {
		t.Errorf("close %d %q, ended %q", code, reason, l.ended)
	}
	l.await(t, "the link to close", func() bool { return l.closed })
}

// A notice that comes after the last message does not cut the client off: it may still read, and acknowledge what it reads.
func TestNoticeAfterTheEnd(t *testing.T) {
	st := newStage(t, func(*fakeLink) int { return 0 })
	c := st.dial("tcp", "/v1/exec?command=x", Stoker)
	l := st.link()
	for last := ""; !strings.Contains(last, `"exit"`); {
		_, message, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		last = string(message)
	}
	l.notices <- console.Notice{Stdin: 1}
	for n := int64(1); n <= 20; n++ {
		c.say(`{"type":"ack","stream":1,"offset":` + strconv.FormatInt(n, 10) + `}`)
		l.await(t, "the acknowledgement", func() bool { return l.acks[1] == n })
	}
}

func TestStokerEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		code   int
		reason string
	}{
		{"taken", console.ErrTaken, 4001, "token other"},
		{"revoked", console.ErrRevoked, 4003, "no longer authorised"},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := newStage(t, func(l *fakeLink) int { l.set(func() { l.err = c.err }); return 0 })
			if _, texts, code, reason := st.dial("tcp", "/v1/exec?command=x", Stoker).rest(); code != c.code || reason != c.reason || len(texts) != 1 {
				t.Errorf("close %d %q, texts %q", code, reason, texts)
			}
		})
	}
	st := newStage(t, func(l *fakeLink) int { l.untilClosed(); return 0 })
	c := st.dial("tcp", "/v1/exec?command=x", Stoker)
	c.say(`{"type":"end"}`)
	_, texts, code, _ := c.rest()
	if len(texts) != 2 || texts[1] != `{"type":"exit","code":143,"signal":"TERM","oom":false,"message":"by token ops"}` || code != 1000 {
		t.Errorf("texts %q, close %d", texts, code)
	}
	if _, _, code, reason := st.dial("tcp", "/v1/sessions/gone/attach", Stoker).rest(); code != 4004 || reason == "" {
		t.Errorf("no session: close %d %q", code, reason)
	}
}

// TestPageIsToldWhy: a browser does not show the answer of an upgrade that was refused.
func TestPageIsToldWhy(t *testing.T) {
	st := newStage(t, cat(0))
	st.refuse = console.ErrNotAllowed
	if _, resp, err := st.tryDial("tcp", "/v1/exec?command=x", Stoker); err == nil || resp == nil || resp.StatusCode == 101 {
		t.Errorf("a program gets no answer: %v, %v", resp, err)
	}
	st.headers = http.Header{"Origin": {"http://stoker"}}
	for path, want := range map[string]string{
		"/v1/exec?command=x":              console.ErrNotAllowed.Error(),
		"/v1/exec?command=x&rows=many":    "rows",
		"/v1/sessions/here/attach?mode=x": "mode",
	} {
		if _, texts, code, reason := st.dial("tcp", path, Stoker).rest(); code != CloseRefused || !strings.Contains(reason, want) || len(texts) != 0 {
			t.Errorf("%s: close %d %q, texts %q", path, code, reason, texts)
		}
	}
}

// TestCommandsAreStrict: what a client says is refused whole.
func TestCommandsAreStrict(t *testing.T) {
	for _, text := range []string{`{`, `[]`, `{"type":"nope"}`, `{}`, `{"type":"ack","stream":3,"offset":1}`, `{"type":"ack","stream":1,"offset":-1}`,
		`{"type":"resize","rows":70000,"columns":1}`, `{"type":"signal","signal":"NOPE"}`, `{"type":"signal","signal":""}`} {
		st := newStage(t, func(l *fakeLink) int { l.untilClosed(); return 0 })
		c := st.dial("tcp", "/v1/exec?command=x", Stoker)
		c.say(text)
		if _, _, code, reason := c.rest(); code != 1008 || reason == "" {
			t.Errorf("%s: close %d %q", text, code, reason)
		}
		l := st.link()
		l.await(t, "the link to close", func() bool { return l.closed })
	}
	st := newStage(t, func(l *fakeLink) int { l.untilClosed(); return 0 })
	c := st.dial("tcp", "/v1/exec?command=x", Stoker)
	long, _ := json.Marshal(map[string]string{"type": strings.Repeat("x", maxText)})
	c.say(string(long))
	if _, _, code, _ := c.rest(); code != 1009 {
		t.Errorf("a long text: close %d", code)
	}
}
