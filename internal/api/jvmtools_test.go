package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// JVMTool answers with text, or with the error refuse.
func (f *fake) JVMTool(_ context.Context, service string, t JVMTool, by string) (io.ReadCloser, error) {
	f.asked = append(f.asked, fmt.Sprintf("%s %+v, %s", service, t, by))
	if f.refuse != nil {
		return nil, f.refuse
	}
	if f.text == nil {
		return http.NoBody, nil
	}
	return io.NopCloser(f.text), nil
}

func TestJVMTools(t *testing.T) {
	b := newFake()
	name := b.snaps[0].Name
	c := NewClient(serve(t, b))
	by := fmt.Sprintf(", uid %d by the API", os.Getuid())
	for _, tool := range []JVMTool{
		{Tool: ToolThreads, Timeout: time.Second}, {Tool: ToolHisto, All: true, Timeout: time.Minute}, {Tool: ToolFlags, Timeout: time.Hour},
		{Tool: ToolNMT, Timeout: time.Second},
		{Tool: ToolHeapDump, All: true, File: "/a b/c&d.hprof", GZ: true, Force: true, Timeout: 90 * time.Second},
	} {
		b.text, b.asked = strings.NewReader(strings.Repeat("text\n", 100000)), nil
		body, err := c.JVMTool(t.Context(), name, tool)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(body)
		body.Close()
		if err != nil || len(text) != 500000 {
			t.Errorf("%s: %d bytes, %v", tool.Tool, len(text), err)
		}
		if want := fmt.Sprintf("%s %+v%s", name, tool, by); len(b.asked) != 1 || b.asked[0] != want {
			t.Errorf("asked %q, want %q", b.asked, want)
		}
	}
}

func TestJVMToolsRefused(t *testing.T) {
	b := newFake()
	socket, name := serve(t, b), b.snaps[0].Name
	for _, c := range []struct {
		method, path string
		refuse       error
		status       int
		says         string
	}{
		{"GET", "nothing/jvm/threads", nil, 404, "no-such-service"},
		{"GET", name + "/jvm/frobnicate", nil, 404, "there are: threads, histo, flags, nmt"},
		{"GET", name + "/jvm/heapdump", nil, 404, "not-found"}, // it changes something: POST
		{"GET", name + "/jvm/threads?timeout=0s", nil, 400, "timeout"},
		{"GET", name + "/jvm/threads?timeout=2h", nil, 400, "timeout"},
		{"GET", name + "/jvm/threads?timeout=soon", nil, 400, "timeout"},
		{"POST", name + "/jvm/heapdump?file=x.hprof", nil, 400, "absolute"},
		{"POST", name + "/jvm/heapdump?file=/tmp/a%0ab", nil, 400, "control"},
		{"POST", name + "/jvm/heapdump?file=/tmp/a%00b", nil, 400, "control"},
		{"GET", name + "/jvm/threads", &StatusError{409, "not-now", "it is stopped", "start it"}, 409, `"hint":"start it"`},
		{"GET", name + "/jvm/threads", fmt.Errorf("outer: %w", &StatusError{504, "timeout", "no answer", ""}), 504, "no answer"},
		{"GET", name + "/jvm/threads", errors.New("it broke"), 500, "it broke"},
	} {
		b.refuse = c.refuse
		got := ask(t, socket, -1, c.method, "/v1/services/"+c.path)
		if got.status != c.status || !strings.Contains(got.body, c.says) {
			t.Errorf("%s %s: %+v, want %d and %q", c.method, c.path, got, c.status, c.says)
		}
	}
}

// TestJVMToolBreaksOff: an incomplete answer is an error for the client, and has the reason.
func TestJVMToolBreaksOff(t *testing.T) {
	b := newFake()
	b.text = io.MultiReader(strings.NewReader("begun\n"), failing{})
	c := NewClient(serve(t, b))
	body, err := c.JVMTool(t.Context(), b.snaps[0].Name, JVMTool{Tool: ToolThreads})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if text, err := io.ReadAll(body); string(text) != "begun\n\n[stoker: it broke]\n" || err == nil {
		t.Errorf("%q, %v", text, err)
	}
}

// failing is a text whose reader fails.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("it broke") }

// endless is a text without an end; closed reports its Close.
type endless struct{ closed chan struct{} }

func (e endless) Read(b []byte) (int, error) { return len(b), nil }
func (e endless) Close() error               { close(e.closed); return nil }

// endlessBackend answers with an endless text.
type endlessBackend struct {
	*fake
	text endless
}

func (b endlessBackend) JVMTool(context.Context, string, JVMTool, string) (io.ReadCloser, error) {
	return b.text, nil
}

// TestJVMToolStalledReader: a client that does not read is disconnected, and the JVM's answer is closed.
func TestJVMToolStalledReader(t *testing.T) {
	b := endlessBackend{newFake(), endless{make(chan struct{})}}
	l, err := net.Listen("unix", t.TempDir()+"/api.sock")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Member: noMember, Backend: parts(b), Log: hclog.NewNullLogger()})
	s.stall = 50 * time.Millisecond
	go s.Serve(t.Context(), l) // ends with the test
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s /v1/services/%s/jvm/%s HTTP/1.1\r\nHost: stoker\r\n\r\n", http.MethodGet, b.snaps[0].Name, ToolThreads)
	select {
	case <-b.text.closed:
	case <-time.After(20 * time.Second):
		t.Fatal("the text is still open")
	}
}

// slowBackend answers late, unless the request is canceled.
type slowBackend struct{ *fake }

func (b slowBackend) JVMTool(ctx context.Context, _ string, _ JVMTool, _ string) (io.ReadCloser, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(200 * time.Millisecond):
		return io.NopCloser(strings.NewReader("late")), nil
	}
}

// TestJVMToolOutlivesReadTimeout: the answer of a JVM may take longer than the limit for reading a request.
func TestJVMToolOutlivesReadTimeout(t *testing.T) {
	b := slowBackend{newFake()}
	l, err := net.Listen("unix", t.TempDir()+"/api.sock")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Backend: parts(b), Log: hclog.NewNullLogger(), Member: noMember})
	s.http.ReadTimeout = 100 * time.Millisecond
	go s.Serve(t.Context(), l) // ends with the test
	body, err := NewClient(l.Addr().String()).JVMTool(t.Context(), b.snaps[0].Name, JVMTool{Tool: ToolHeapDump})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if text, err := io.ReadAll(body); string(text) != "late" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}
