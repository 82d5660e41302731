package wire

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/program"
	"syscall"
)

// cat echoes its input and ends with a code.
func cat(code int) func(*fakeLink) int {
	return func(l *fakeLink) int {
		p := make([]byte, 8<<10)
		for {
			n, err := l.Read(p)
			if err == io.EOF {
				l.print(console.Stderr, "bye")
				return code
			}
			if !l.print(console.Stdout, string(p[:n])) {
				return code
			}
		}
	}
}

const success = `{"metadata":{},"status":"Success"}`

func exited(code int) string {
	return fmt.Sprintf(`{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: %d",`+
		`"reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"%d"}]}}`, code, code)
}

func TestKubernetesSession(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for _, path := range []string{"/v1/exec", "/pod/exec"} {
			t.Run(network+path, func(t *testing.T) {
				st := newStage(t, cat(7))
				c := st.dial(network, path+"?command=cat&stdin=true&stdout=true&stderr=true&container=app", V5)
				if kind, first, err := c.ReadMessage(); err != nil || kind != websocket.BinaryMessage || string(first) != "\x01" {
					t.Fatalf("first message %d %q %v", kind, first, err)
				}
				c.send(0, "hello ")
				c.send(9, "unknown channels are ignored")
				c.send(1, "those of the server too")
				_ = c.WriteMessage(websocket.BinaryMessage, nil)
				c.send(0, "")
				c.send(0, "world")
				c.send(255, "\x01") // the client's side of another channel
				c.send(255, "\x00")
				channels, texts, code, _ := c.rest()
				if channels[1] != "hello world" || channels[2] != "bye" || channels[3] != exited(7) || code != 1000 || len(texts) > 0 {
					t.Errorf("%q, texts %q, close %d", channels[1:4], texts, code)
				}
				want := console.Spec{Command: []string{"cat"}, Container: "app", Stdin: true}
				if got := <-st.specs; fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("spec %+v", got)
				}
			})
		}
	}
}

func TestV4KeepsStdinOpen(t *testing.T) {
	st := newStage(t, cat(0))
	c := st.dial("tcp", "/v1/exec?command=cat&stdin=true&stdout=true", V4)
	c.send(255, "\x00")
	c.send(0, "still open")
	l := st.link()
	l.await(t, "input", func() bool { return l.taken == int64(len("still open")) })
	if l.eof {
		t.Error("v4 has no half-close")
	}
	l.CloseStdin()
	channels, _, code, _ := c.rest()
	if channels[1] != "still open" || channels[2] != "" || channels[3] != success || code != 1000 {
		t.Errorf("%q %d", channels[1:4], code)
	}
}

func TestKubernetesEnds(t *testing.T) {
	internal := func(why string) string {
		return `{"metadata":{},"status":"Failure","message":"Internal error occurred: ` + why + `","reason":"InternalError",` +
			`"details":{"causes":[{"message":"` + why + `"}]},"code":500}`
	}
	for _, c := range []struct {
		name    string
		process func(*fakeLink) int
		stderr  string
		status  string
	}{
		{"signal", func(*fakeLink) int { return 137 }, "", exited(137)},
		{"idle", func(l *fakeLink) int {
			l.set(func() { l.exit = &console.Exit{Code: 129, Signal: "HUP", Why: "idle for 15m0s"} })
			return 0
		}, "stoker: the session was ended: idle for 15m0s\n", exited(129)},
		{"oom", func(l *fakeLink) int {
			l.set(func() { l.exit = &console.Exit{Code: 137, Signal: "KILL", OOM: true} })
			return 0
		}, "stoker: the session was killed: out of memory\n", exited(137)},
		{"taken", func(l *fakeLink) int { l.set(func() { l.err = console.ErrTaken }); return 0 }, "", internal("the keyboard was taken")},
		{"revoked", func(l *fakeLink) int { l.set(func() { l.err = console.ErrRevoked }); return 0 }, "",
			`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"no longer authorised","reason":"Forbidden","code":403}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := newStage(t, c.process)
			channels, _, code, _ := st.dial("tcp", "/v1/exec?command=x&stderr=true", V5).rest()
			if channels[1] != "" || channels[2] != c.stderr || channels[3] != c.status || code != 1000 {
				t.Errorf("%q, close %d\nwant %s", channels[1:4], code, c.status)
			}
		})
	}
}

func TestCommandThatCannotStart(t *testing.T) {
	st := newStage(t, nil)
	st.refuse = &program.StartError{Path: "nope", Step: "find", Err: syscall.ENOENT}
	channels, _, code, _ := st.dial("tcp", "/v1/exec?command=nope&stdout=true", V5).rest()
	var status Status
	err := json.Unmarshal([]byte(channels[3]), &status)
	if err != nil || status.Reason != "InternalError" || status.Code != 500 || code != 1000 {
		t.Errorf("%q, close %d, %v", channels[3], code, err)
	}
	_, texts, code, _ := st.dial("unix", "/v1/exec?command=nope", Stoker).rest()
	want := `{"type":"exit","code":127,"signal":"","oom":false,"message":"cannot find nope: no such file or directory"}`
	if !slices.Equal(texts, []string{want}) || code != 1000 {
		t.Errorf("%q, close %d", texts, code)
	}
}

func TestKubernetesResize(t *testing.T) {
	st := newStage(t, cat(0))
	c := st.dial("tcp", "/pod/exec?command=sh&stdin=true&stdout=true&tty=true", V5)
	c.send(4, `{"Width":100,"Height":30}`+"\n")
	c.send(4, "")
	c.send(4, `{"Width":1,"Height":2}{"Width":90,"Height":20}`)
	c.send(255, "\x00")
	if _, _, code, _ := c.rest(); code != 1000 {
		t.Errorf("close %d", code)
	}
	if got := st.link().resized; !slices.Equal(got, [][2]uint16{{30, 100}, {0, 0}, {20, 90}}) {
		t.Errorf("sizes %v", got)
	}
}

// TestBinaryRoundTrip sends all bytes in both directions, in large messages.
func TestBinaryRoundTrip(t *testing.T) {
	st := newStage(t, cat(0))
	c := st.dial("tcp", "/v1/exec?command=cat&stdin=true&stdout=true", V5)
	var all strings.Builder
	for k := range 4 << 20 {
		all.WriteByte(byte(k ^ k>>8))
	}
	go func() { // ends with the connection
		for data := all.String(); len(data) > 0; {
			n := min(len(data), 64<<10)
			if c.WriteMessage(websocket.BinaryMessage, append([]byte{0}, data[:n]...)) != nil {
				return
			}
			data = data[n:]
		}
		_ = c.WriteMessage(websocket.BinaryMessage, []byte{255, 0})
	}()
	channels, _, code, _ := c.rest()
	if channels[1] != all.String() || channels[3] != success || code != 1000 {
		t.Errorf("%d bytes of %d, %q, close %d", len(channels[1]), all.Len(), channels[3], code)
	}
}
