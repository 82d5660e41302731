package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/executor"
)

// serve serves with handle, which gets the number of the request from 1.
func serve(t *testing.T, handle func(n int64, w http.ResponseWriter, r *http.Request)) *Client {
	t.Helper()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(n.Add(1), w, r) }))
	t.Cleanup(s.Close)
	return New(s.Client().Transport, s.URL+"/")
}

// lose breaks the connection of a request.
func lose() { panic(http.ErrAbortHandler) }

func TestLostAnswerOfSubmit(t *testing.T) {
	for _, tc := range []struct {
		key  string
		want bool // a job
	}{{"k", true}, {"", false}} {
		var requests atomic.Int64
		c := serve(t, func(n int64, w http.ResponseWriter, r *http.Request) {
			if requests.Store(n); n < 3 {
				lose()
			}
			json.NewEncoder(w).Encode(executor.Job{ID: 5})
		})
		job, created, err := c.Submit(t.Context(), executor.Spec{Key: tc.key, Command: []string{"a"}})
		if tc.want && (err != nil || job.ID != 5 || created || requests.Load() != 3) || !tc.want && (err == nil || requests.Load() != 1) {
			t.Errorf("key %q: %v %v %v after %d requests", tc.key, job.ID, created, err, requests.Load())
		}
	}
}

// TestUnsentRequestIsRepeated: without a connection nothing was submitted.
func TestUnsentRequestIsRepeated(t *testing.T) {
	dials := 0
	c := serve(t, func(_ int64, w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"id":"5"}`) })
	c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials++; dials < 3 {
			return nil, &net.OpError{Op: "dial", Net: "unix", Err: syscall.ECONNREFUSED}
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	if job, _, err := c.Submit(t.Context(), executor.Spec{}); err != nil || job.ID != 5 || dials != 3 {
		t.Errorf("%v %v after %d dials", job.ID, err, dials)
	}
}

// TestPatience: a request is repeated until then, and at the end of ctx no more.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		c := New(transport(func(*http.Request) (*http.Response, error) {
			tries++
			return nil, syscall.ECONNRESET
		}), "http://stoker")
		begun := time.Now()
		if _, err := c.Job(t.Context(), "5"); !errors.Is(err, syscall.ECONNRESET) || time.Since(begun) != defaultPatience || tries < 100 {
			t.Errorf("%v after %v and %d tries", err, time.Since(begun), tries)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun = time.Now()
		if _, err := c.Wait(ctx, "5", nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

// TestPatienceOfAQuietStream: each loss of a connection counts alone.
func TestPatienceOfAQuietStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		c := New(transport(func(*http.Request) (*http.Response, error) {
			if tries++; tries%2 == 1 {
				return nil, syscall.ECONNRESET
			}
			body := quiet(io.ErrUnexpectedEOF)
			if tries == 10 {
				body = quiet(io.EOF)
			}
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{executor.OffsetHeader: {"0"}}, Body: body}, nil
		}), "http://stoker")
		begun := time.Now()
		if text, err := io.ReadAll(c.Output(t.Context(), "5", "stdout", 0, true)); err != nil || len(text) > 0 ||
			time.Since(begun) < 5*time.Hour {
			t.Errorf("%q %v after %v", text, err, time.Since(begun))
		}
	})
}

// quiet returns a body that has nothing for an hour, and then breaks off.
func quiet(err error) io.ReadCloser {
	r, w := io.Pipe()
	time.AfterFunc(time.Hour, func() { w.CloseWithError(err) })
	return r
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestOneConnection: whoever waits for jobs one after the other needs one connection.
func TestOneConnection(t *testing.T) {
	var connections atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "final" {
			t.Errorf("asked for %s", r.URL)
		}
		fmt.Fprint(w, "id: 0\n\n")
		_ = http.NewResponseController(w).Flush()
		fmt.Fprint(w, "id: 1\ndata: {\"state\": \"KILLED\"}\n\n")
		_ = http.NewResponseController(w).Flush() // the end of the answer comes later
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	c := New(s.Client().Transport, s.URL)
	for range 5 {
		if job, err := c.Wait(t.Context(), "5", nil); err != nil || job.State != executor.Killed {
			t.Errorf("%v %v", job.State, err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestRequests(t *testing.T) {
	var got string
	c := serve(t, func(_ int64, w http.ResponseWriter, r *http.Request) {
		got = r.Method + " " + r.RequestURI
		fmt.Fprint(w, `{"jobs": [{"id":"5"}], "slots": 3}`)
	})
	grace := 3 * time.Second
	for _, tc := range []struct {
		want string
		ask  func() error
	}{
		{"GET /v1/jobs/key:a%2Fb%20c", func() error { _, err := c.Job(t.Context(), "key:a/b c"); return err }},
		{"GET /v1/jobs?before=00000000000000ff&key=k&label=a%3Db&limit=5&state=RUNNING&state=LOST", func() error {
			list, err := c.Jobs(t.Context(), executor.Filter{States: []executor.State{executor.Running, executor.Lost},
				Labels: map[string]string{"a": "b"}, Key: "k", Before: 255, Limit: 5})
			if len(list) != 1 || list[0].ID != 5 {
				t.Errorf("the list is %v", list)
			}
			return err
		}},
		{"POST /v1/jobs/5/stop?grace=3s&signal=1", func() error {
			_, err := c.Stop(t.Context(), "5", executor.StopRequest{Signal: syscall.SIGHUP, Grace: &grace})
			return err
		}},
		{"POST /v1/jobs/5/stop?", func() error { _, err := c.Stop(t.Context(), "5", executor.StopRequest{}); return err }},
		{"GET /v1/schedules", func() error { _, err := c.Schedules(t.Context()); return err }},
		{"GET /v1/executor", func() error { _, err := c.Status(t.Context()); return err }},
		{"POST /v1/executor/drain", func() error { _, err := c.Control(t.Context(), executor.Drain); return err }},
		{"GET /v1/jobs/5/artifacts/a%20b/c", func() error {
			body, err := c.Artifact(t.Context(), "5", "a b/c")
			if err == nil {
				body.Close()
			}
			return err
		}},
	} {
		if err := tc.ask(); err != nil || got != tc.want {
			t.Errorf("%v: %s, want %s", err, got, tc.want)
		}
	}
}

func TestErrorOfAnotherServer(t *testing.T) {
	c := serve(t, func(_ int64, w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusTeapot) })
	var answer *Error
	if _, err := c.Status(t.Context()); !errors.As(err, &answer) || answer.Status != http.StatusTeapot ||
		!strings.Contains(answer.Message, "418") {
		t.Errorf("%v", err)
	}
}

// TestOutputOverLostConnections: each byte comes once, whatever breaks.
func TestOutputOverLostConnections(t *testing.T) {
	text := strings.Repeat("0123456789", 1000)
	const gap, behind = 4000, 9000 // not kept between
	c := serve(t, func(n int64, w http.ResponseWriter, r *http.Request) {
		var offset int
		fmt.Sscan(r.URL.Query().Get("offset"), &offset)
		if r.URL.Query().Get("stream") != "stderr" || !r.URL.Query().Has("follow") {
			t.Errorf("asked for %s", r.RequestURI)
		}
		if n == 3 {
			lose()
		}
		w.Header().Set(executor.OffsetHeader, fmt.Sprint(offset))
		w.Header().Set("Trailer", executor.NextHeader)
		end := min(offset+700, len(text))
		if offset < gap {
			end = min(end, gap)
		}
		io.WriteString(w, text[offset:end])
		http.NewResponseController(w).Flush()
		switch end {
		case gap:
			w.Header().Set(executor.NextHeader, fmt.Sprint(behind))
		case len(text):
		default:
			lose()
		}
	})
	o := c.Output(t.Context(), "5", "stderr", 5, true)
	got, err := io.ReadAll(o)
	if want := text[5:gap] + text[behind:]; err != nil || string(got) != want || o.Offset() != int64(len(text)) {
		t.Errorf("%v: %d bytes, want %d, at %d", err, len(got), len(want), o.Offset())
	}
	o.Close()
}

// playStates answers a request for events.
func playStates(w http.ResponseWriter, list ...executor.Job) {
	for i, j := range list {
		data, _ := json.Marshal(j)
		fmt.Fprintf(w, "id: %d\ndata: %s\n\n", i, data)
	}
	http.NewResponseController(w).Flush()
}

// TestFollow follows two attempts, of which the second is over before it is looked at.
func TestFollow(t *testing.T) {
	var waits, outputs atomic.Int64
	c := serve(t, func(_ int64, w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/events") {
			if waits.Add(1) == 1 {
				playStates(w, executor.Job{ID: 5, State: executor.Queued}, executor.Job{ID: 5, State: executor.Running, Attempt: 1})
				<-r.Context().Done()
			}
			playStates(w, executor.Job{ID: 5, State: executor.Failed, Attempt: 2})
			return
		}
		outputs.Add(1)
		w.Header().Set(executor.OffsetHeader, "3")
		fmt.Fprintf(w, "%s %s;", r.URL.Query().Get("stream"), r.URL.Query().Get("attempt"))
	})
	var stdout, stderr strings.Builder
	var gaps atomic.Int64
	var seen []string
	job, err := c.Follow(t.Context(), "5", Sinks{Stdout: &stdout, Stderr: &stderr, Gap: func(_ string, n int64) { gaps.Add(n) },
		Changed: func(j executor.Job) {
			seen = append(seen, fmt.Sprint(j.State, j.Attempt, " with ", outputs.Load(), " outputs"))
		}})
	if got := strings.Join(seen, ", "); got != "QUEUED0 with 0 outputs, RUNNING1 with 0 outputs, FAILED2 with 2 outputs, FAILED2 with 4 outputs" {
		t.Errorf("seen %s", got)
	}
	if err != nil || job.State != executor.Failed || stdout.String() != "stdout 1;stdout 2;" || stderr.String() != "stderr 1;stderr 2;" ||
		outputs.Load() != 4 || gaps.Load() != 12 {
		t.Errorf("%v %v %q %q, %d outputs, %d bytes are not kept", job.State, err, stdout.String(), stderr.String(), outputs.Load(), gaps.Load())
	}
}

// TestWaitOverLostConnections sees the present state again after a loss.
func TestWaitOverLostConnections(t *testing.T) {
	send := func(w http.ResponseWriter, states ...executor.State) {
		for _, s := range states {
			playStates(w, executor.Job{ID: 5, State: s})
		}
	}
	c := serve(t, func(n int64, w http.ResponseWriter, r *http.Request) {
		switch n {
		case 1:
			send(w, executor.Queued, executor.Running)
			lose()
		case 2:
			lose()
		case 3:
			send(w, executor.Running) // a clean end is no final state
		default:
			send(w, executor.Running, executor.Killed)
		}
	})
	var seen []executor.State
	job, err := c.Wait(t.Context(), "5", func(j executor.Job) { seen = append(seen, j.State) })
	want := []executor.State{executor.Queued, executor.Running, executor.Running, executor.Running}
	if err != nil || job.State != executor.Killed || !reflect.DeepEqual(seen, want) {
		t.Errorf("%v %v %v", job.State, err, seen)
	}
}

// TestCopyArtifact: other bytes, or a part of them, are an error.
func TestCopyArtifact(t *testing.T) {
	const sum = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9" // of hello world
	body, state := "hello world", executor.Succeeded
	c := serve(t, func(_ int64, w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.Contains(r.URL.Path, "/artifacts/"):
			json.NewEncoder(w).Encode(executor.Job{ID: 5, State: state, Artifacts: []executor.KeptArtifact{{Name: "a/b", SHA256: sum},
				{Name: "big", Error: "it is larger than its limit"}}})
		case strings.HasSuffix(r.URL.Path, "/a/b"):
			w.Header().Set("Content-Length", "11")
			fmt.Fprint(w, body)
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintf(w, `{"error":{"code":"no-artifact","message":"job 5 has none"}}`)
		}
	})
	for _, tc := range []struct {
		name, body string
		state      executor.State
		want       string // of the error; empty: there is none
	}{
		{"a/b", "hello world", executor.Succeeded, ""},
		{"a/b", "hello wordl", executor.Succeeded, "the 11 bytes that came are not what was kept"},
		{"a/b", "hello", executor.Succeeded, "it broke off after 5 bytes"},
		{"big", "", executor.Succeeded, "it was not kept: it is larger than its limit"},
		{"c", "", executor.Running, "job 0000000000000005 is RUNNING: artifacts are kept when it has ended"},
		{"c", "", executor.Succeeded, "job 5 has none"},
	} {
		body, state = tc.body, tc.state
		var got strings.Builder
		err := c.CopyArtifact(t.Context(), "5", tc.name, &got)
		if tc.want == "" && (err != nil || got.String() != tc.body) || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s %q: %q, %v", tc.name, tc.body, got.String(), err)
		}
	}
}
