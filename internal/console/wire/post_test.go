package wire

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/console"
)

func (st *stage) post(network, query string, body io.Reader) *http.Response {
	st.t.Helper()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		if network == "unix" {
			return new(net.Dialer).DialContext(ctx, "unix", st.socket)
		}
		return new(net.Dialer).DialContext(ctx, "tcp", st.url)
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}, Timeout: 20 * time.Second}
	resp, err := c.Post("http://stoker/v1/exec"+query, "", body)
	if err != nil {
		st.t.Fatal(err)
	}
	return resp
}

func TestPost(t *testing.T) {
	data := bytes.Repeat([]byte("\x00\xffsome text\n"), 200<<10)
	for _, c := range []struct {
		network, query string
		body           io.Reader
		want           string
	}{
		{"tcp", "?command=cat", bytes.NewReader(data), string(data) + "bye"},
		{"unix", "?command=cat&stderr=false", io.MultiReader(bytes.NewReader(data)), string(data)}, // of unknown length
		{"tcp", "?command=cat&stdout=false", strings.NewReader("x"), "bye"},
	} {
		st := newStage(t, cat(7))
		resp := st.post(c.network, c.query, c.body)
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(got) != c.want || resp.Header.Get("Stoker-Session") != "here" || resp.Trailer.Get("Stoker-Exit-Code") != "7" ||
			resp.Header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%s: %d bytes of %d, %v, %v %v", c.query, len(got), len(c.want), err, resp.Header, resp.Trailer)
		}
		if spec := <-st.specs; !spec.Stdin || spec.TTY {
			t.Errorf("%+v", spec)
		}
	}
}

// TestPostEndsEarly: the process ends before its input, and one is ended by something else.
func TestPostEndsEarly(t *testing.T) {
	st := newStage(t, func(l *fakeLink) int {
		l.print(console.Stdout, "no, thanks")
		l.set(func() { l.exit = &console.Exit{Code: 129, Signal: "HUP", Why: "idle for\n15m0s"} })
		return 0
	})
	r, w := io.Pipe()
	defer w.Close()
	resp := st.post("tcp", "?command=cat", r)
	got, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(got) != "no, thanks" || resp.Trailer.Get("Stoker-Exit-Code") != "129" || resp.Trailer.Get("Stoker-Error") != "idle for 15m0s" {
		t.Errorf("%q, %v, %v", got, err, resp.Trailer)
	}
}

// TestPostWithoutClient: a client that goes away ends the session, with and without a body that it still sends.
func TestPostWithoutClient(t *testing.T) {
	for name, body := range map[string]string{
		"no body":   "POST /v1/exec?command=x HTTP/1.1\r\nHost: x\r\n\r\n",
		"half body": "POST /v1/exec?command=x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
	} {
		t.Run(name, func(t *testing.T) {
			st := newStage(t, func(l *fakeLink) int { l.untilClosed(); return 0 })
			c, err := net.Dial("tcp", st.url)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, body)
			l := st.link()
			c.Close()
			l.await(t, "the link to close", func() bool { return l.closed })
			if l.eof {
				t.Error("input that was cut off has ended")
			}
		})
	}
}

func TestPostIsRefused(t *testing.T) {
	for query, why := range map[string]string{
		"?command=x&tty=true": "tty: a POST has no terminal",
		"?command=x&keep=1m":  "keep: unknown parameter",
	} {
		st := newStage(t, cat(0))
		resp := st.post("tcp", query, nil)
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 400 || !strings.Contains(string(body), why) {
			t.Errorf("%s: %d %s", query, resp.StatusCode, body)
		}
	}
}
