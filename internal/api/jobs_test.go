package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/executor"
	jobs "github.com/stoker-init/stoker/executor/client"
	"github.com/stoker-init/stoker/executor/schedule"
	"github.com/stoker-init/stoker/internal/proc"
)

// fakeJobs is an executor of one job, number 1, that runs nothing.
type fakeJobs struct {
	dir string // of artifacts

	mu      sync.Mutex // guards what is below
	job     executor.Job
	changed chan struct{} // closed at each change
	refuse  error         // of the next requests
	got     executor.Spec
	submits int
	filter  executor.Filter
	stop    executor.StopRequest
	verbs   []executor.Verb
	kept    map[int64]string // pieces of stdout by offset
	ended   bool             // of stdout
	fail    error            // of those who wait and read
}

func newFakeJobs(t *testing.T) *fakeJobs {
	return &fakeJobs{dir: t.TempDir(), changed: make(chan struct{}), kept: map[int64]string{}, job: executor.Job{ID: 1, State: executor.Queued,
		Spec: executor.Spec{Key: "a/b", Command: []string{"true"}, Env: map[string]string{"PASSWORD": "env"}, Stdin: []byte("in")}}}
}

// set changes it and wakes those who wait.
func (f *fakeJobs) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

// look returns the job and what is closed at its next change.
func (f *fakeJobs) look() (executor.Job, chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.job, f.changed
}

func (f *fakeJobs) Submit(_ context.Context, spec executor.Spec, by string) (executor.Job, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	again := f.got.Key != "" && f.got.Key == spec.Key
	f.got = spec
	f.submits++
	return f.job, !again, f.refuse
}

func (f *fakeJobs) Job(name string) (executor.Job, error) {
	if name != f.job.ID.String() && name != "key:a/b" {
		return executor.Job{}, executor.ErrNoJob
	}
	j, _ := f.look()
	return j, nil
}

func (f *fakeJobs) Jobs(want executor.Filter) ([]executor.Job, error) {
	f.filter = want
	return []executor.Job{f.job}, nil
}

func (f *fakeJobs) StopJob(_ context.Context, _ executor.ID, r executor.StopRequest) (executor.Job, error) {
	f.stop = r
	if f.job.State.Final() {
		return f.job, executor.ErrFinal
	}
	return f.job, nil
}

func (f *fakeJobs) AwaitJob(ctx context.Context, _ executor.ID, changed func(executor.Job)) (executor.Job, error) {
	for {
		j, next := f.look()
		f.mu.Lock()
		fail := f.fail
		f.mu.Unlock()
		if fail != nil {
			return j, fail
		}
		if changed != nil {
			changed(j)
		}
		if j.State.Final() {
			return j, nil
		}
		select {
		case <-ctx.Done():
			return j, ctx.Err()
		case <-next:
		}
	}
}

func (f *fakeJobs) ReadOutput(ctx context.Context, _ executor.ID, stream string, attempt int, offset int64, follow bool, p []byte) (
	int, int64, error) {
	if attempt > 1 {
		return 0, offset, io.EOF
	}
	if stream == "stderr" {
		return copy(p, "errors"[min(offset, 6):]), offset, io.EOF
	}
	for {
		f.mu.Lock()
		next, ended, begin := f.changed, f.ended, int64(-1)
		for at, text := range f.kept {
			if at+int64(len(text)) > offset && (begin < 0 || at < begin) {
				begin = at
			}
		}
		piece, fail := f.kept[begin], f.fail
		f.mu.Unlock()
		switch {
		case fail != nil:
			return 0, 0, fail
		case begin >= 0:
			return copy(p, piece[max(offset-begin, 0):]), max(offset, begin), nil
		case ended || !follow:
			return 0, offset, io.EOF
		}
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-next:
		}
	}
}

func (f *fakeJobs) Artifact(_ executor.ID, name string) (*os.File, error) {
	if name == "secret" {
		return nil, fs.ErrNotExist
	}
	return os.Open(filepath.Join(f.dir, name))
}

func (f *fakeJobs) ExecutorStatus() executor.Status { return executor.Status{Slots: 4, Running: 1} }

func (f *fakeJobs) Schedules() []schedule.Status { return []schedule.Status{{Name: "backup"}} }

func (f *fakeJobs) ControlExecutor(verb executor.Verb, by string) error {
	f.verbs = append(f.verbs, verb)
	return f.refuse
}

// serveJobs serves an executor, to which the uid 1234 is a user of a service.
func serveJobs(t *testing.T, f *fakeJobs) string {
	t.Helper()
	b := parts(newFake())
	b.JobManager, b.JobFiles, b.ExecutorControl = f, f, f
	return serveOptions(t, Options{Backend: b, Log: hclog.NewNullLogger(), Events: newJournal(t), Member: noMember,
		Viewers: func() []int { return []int{1234} }, Labels: func() map[string]string { return map[string]string{"appid": "7"} }})
}

const oneID = "0000000000000001"

func TestJobRoutes(t *testing.T) {
	f := newFakeJobs(t)
	path := serveJobs(t, f)
	if err := os.WriteFile(filepath.Join(f.dir, "report"), []byte("the report"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.kept[0], f.kept[100] = "head", "tail"
	for _, tc := range []struct {
		method, target string
		status         int
		want           string // part of the body
	}{
		{"GET", "/v1/jobs", 200, `{"jobs":[{"id":"` + oneID + `","spec":{"key":"a/b","command":["true"]},"state":"QUEUED"`},
		{"GET", "/v1/services", 200, `"ready":true,"labels":{"appid":"7"},`},
		{"GET", "/v1/jobs?state=nothing", 400, `there is no state \"nothing\"`},
		{"GET", "/v1/jobs?label=x", 400, `label is \"x\", want NAME=VALUE`},
		{"GET", "/v1/jobs?before=x", 400, `before is \"x\"`},
		{"GET", "/v1/jobs?limit=1001", 400, `limit is \"1001\"`},
		{"GET", "/v1/jobs/1", 404, `{"error":{"code":"no-such-job","message":"there is no such job","hint":"stoker job list`},
		{"GET", "/v1/jobs/" + oneID, 200, `"env":{"PASSWORD":"env"},"stdin":"aW4="`},
		{"GET", "/v1/jobs/key:a%2Fb", 200, `"state":"QUEUED"`},
		{"GET", "/v1/jobs/" + oneID + "?wait=1ms", 202, `"state":"QUEUED"`},
		{"GET", "/v1/jobs/" + oneID + "?wait=x", 400, `"code":"bad-request"`},
		{"GET", "/v1/jobs/" + oneID + "/logs", 200, "head"},
		{"GET", "/v1/jobs/" + oneID + "/logs?offset=50", 200, "tail"},
		{"GET", "/v1/jobs/" + oneID + "/logs?offset=102", 200, "il"},
		{"GET", "/v1/jobs/" + oneID + "/logs?stream=stderr&follow", 200, "errors"},
		{"GET", "/v1/jobs/" + oneID + "/logs?stream=x", 400, `"code":"bad-request"`},
		{"GET", "/v1/jobs/" + oneID + "/logs?offset=-1", 400, `"code":"bad-request"`},
		{"GET", "/v1/jobs/" + oneID + "/logs?attempt=2", 200, ""},
		{"GET", "/v1/jobs/" + oneID + "/logs?attempt=0", 400, `"code":"bad-request"`},
		{"GET", "/v1/jobs/" + oneID + "/artifacts/report", 200, "the report"},
		{"GET", "/v1/jobs/" + oneID + "/artifacts/secret", 404, `"code":"no-artifact"`},
		{"POST", "/v1/jobs/" + oneID + "/stop?signal=HUPP", 422, `"code":"bad-parameter"`},
		{"POST", "/v1/jobs/" + oneID + "/stop?grace=-1s", 400, `"code":"bad-request"`},
		{"DELETE", "/v1/jobs/" + oneID + "?signal=INT&grace=3s", 200, `"state":"QUEUED"`},
		{"GET", "/v1/executor", 200, `{"slots":4,"running":1,`},
		{"GET", "/v1/schedules", 200, `{"schedules":[{"name":"backup"}]}`},
		{"POST", "/v1/executor/pause", 200, `{"slots":4`},
		{"POST", "/v1/executor/resume", 200, `{"slots":4`},
		{"POST", "/v1/executor/drain", 200, `{"slots":4`},
		{"POST", "/v1/executor/explode", 404, `"code":"not-found"`},
	} {
		if got := ask(t, path, -1, tc.method, tc.target); got.status != tc.status || !strings.Contains(got.body, tc.want) {
			t.Errorf("%s %s: %d %s\nwant %d %s", tc.method, tc.target, got.status, got.body, tc.status, tc.want)
		}
	}
	if f.stop.Signal != syscall.SIGINT || f.stop.Grace == nil || *f.stop.Grace != 3*time.Second ||
		!strings.HasSuffix(f.stop.By, " by the API") {
		t.Errorf("stopped with %+v", f.stop)
	}
	if got := fmt.Sprint(f.verbs); got != "[pause resume drain]" {
		t.Errorf("verbs %s", got)
	}
	ask(t, path, -1, "GET", "/v1/jobs?state=running&state=LOST&label=a=b=c&key=k&before=ff&limit=7")
	want := executor.Filter{States: []executor.State{executor.Running, executor.Lost}, Labels: map[string]string{"a": "b=c"},
		Key: "k", Before: 255, Limit: 7}
	if !reflect.DeepEqual(f.filter, want) {
		t.Errorf("filter %+v, want %+v", f.filter, want)
	}
}

// post sends a Spec.
func post(t *testing.T, path, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://stoker/v1/jobs", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	resp, err := NewClient(path).http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, strings.TrimSpace(string(text))
}

func TestSubmitReadsASpec(t *testing.T) {
	f := newFakeJobs(t)
	path := serveJobs(t, f)
	for _, tc := range []struct {
		body   string
		status int
		want   string
	}{
		{`{"command":["a"],"timeout":"1m30s","umask":"022","retry":{"max":2},"key":"k"}`, 201, `{"id":"` + oneID + `"`},
		{`{"command":["a"],"key":"k"}`, 200, `{"id":"` + oneID + `"`},
		{`{"comand":["a"],"timeout":5,"retry":{"maxx":1},"start_within":"1y","nice":"x","key":"x"}`, 422,
			`"fields":[{"field":"comand","why":"there is no such field"},{"field":"nice","why":"it cannot be a JSON string"},` +
				`{"field":"retry.maxx","why":"there is no such field"},{"field":"start_within","why":"\"1y\" is not a duration such as 90s or 1h30m"},` +
				`{"field":"timeout","why":"it cannot be a JSON number"}]`},
		{`{"command":["a"]} {}`, 400, `"code":"bad-request"`},
		{`{"command":["a"]`, 400, `"code":"bad-request"`},
		{`[]`, 400, `"code":"bad-request"`},
		{``, 400, `"code":"bad-request"`},
		{`{"stdin":"` + strings.Repeat("A", maxSpec) + `"}`, 413, `"code":"too-large"`},
	} {
		resp, body := post(t, path, tc.body, nil)
		if resp.StatusCode != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%.100s: %d %s\nwant %d %s", tc.body, resp.StatusCode, body, tc.status, tc.want)
		}
	}
	resp, body := post(t, path, `{"command":["a"],"tracestate":"mine"}`,
		http.Header{"Traceparent": {"00-1-2-01"}, "Tracestate": {"theirs"}, "Baggage": {"a=1", "b=2"}})
	if f.got.Traceparent != "00-1-2-01" || f.got.Tracestate != "mine" || f.got.Baggage != "a=1,b=2" {
		t.Errorf("the trace context is %q %q %q", f.got.Traceparent, f.got.Tracestate, f.got.Baggage)
	}
	if resp.Header.Get("Location") != "/v1/jobs/"+oneID || strings.Contains(body, "PASSWORD") {
		t.Errorf("%v %s", resp.Header, body)
	}
}

// TestErrorsOfJobs holds the answers to the errors of package executor, and the client to the answers.
func TestErrorsOfJobs(t *testing.T) {
	f := newFakeJobs(t)
	path := serveJobs(t, f)
	for _, tc := range []struct {
		err    error
		status int
		code   string
		retry  string
	}{
		{&executor.SpecError{Fields: []executor.FieldError{{Field: "cwd", Why: "is not absolute"}}}, 422, "bad-spec", ""},
		{&executor.ConflictError{Key: "k", ID: 7, Diff: []string{"command: [a] is not [b]"}}, 409, "key-conflict", ""},
		{&executor.FullError{RetryAfter: 1500 * time.Millisecond}, 429, "queue-full", "2"},
		{&executor.FullError{Class: "c"}, 429, "queue-full", "1"},
		{&executor.UnavailableError{Why: "read-only"}, 503, "unavailable", ""},
		{&executor.UnavailableError{Why: "no space left", NoSpace: true}, 507, "no-space", ""},
		{executor.ErrDraining, 503, "draining", ""},
		{proc.ErrStopping, 503, "stopping", ""},
		{errors.New("else"), 500, "failed", ""},
	} {
		f.refuse = fmt.Errorf("cannot submit: %w", tc.err)
		resp, body := post(t, path, `{"command":["a"]}`, nil)
		if resp.StatusCode != tc.status || !strings.Contains(body, `"code":"`+tc.code+`"`) || resp.Header.Get("Retry-After") != tc.retry {
			t.Errorf("%v: %d %s, Retry-After %q", tc.err, resp.StatusCode, body, resp.Header.Get("Retry-After"))
		}
		_, _, err := jobs.Dial(path).Submit(t.Context(), executor.Spec{Command: []string{"a"}})
		answer := new(jobs.Error)
		if !errors.As(err, &answer) || answer.Status != tc.status || answer.Code != tc.code {
			t.Errorf("%v: the client has %#v", tc.err, err)
		}
	}
	var spec *executor.SpecError
	f.refuse = &executor.SpecError{Fields: []executor.FieldError{{Field: "cwd", Why: "is not absolute"}}}
	if _, _, err := jobs.Dial(path).Submit(t.Context(), executor.Spec{}); !errors.As(err, &spec) || len(spec.Fields) != 1 ||
		spec.Fields[0].Field != "cwd" {
		t.Errorf("the client has %v", err)
	}
	var conflict *executor.ConflictError
	f.refuse = &executor.ConflictError{Key: "k", ID: 7, Diff: []string{"command: [a] is not [b]"}}
	if _, _, err := jobs.Dial(path).Submit(t.Context(), executor.Spec{}); !errors.As(err, &conflict) || conflict.ID != 7 ||
		len(conflict.Diff) != 1 {
		t.Errorf("the client has %v", err)
	}
	if _, err := jobs.Dial(path).Job(t.Context(), "9"); !errors.Is(err, executor.ErrNoJob) {
		t.Errorf("the client has %v", err)
	}
	f.job.State = executor.Killed
	if _, err := jobs.Dial(path).Stop(t.Context(), oneID, executor.StopRequest{}); !errors.Is(err, executor.ErrFinal) {
		t.Errorf("the client has %v", err)
	}
}

func TestJobsNeedAnExecutor(t *testing.T) {
	path := serve(t, newFake())
	for _, target := range []string{"GET /v1/jobs", "POST /v1/jobs", "GET /v1/jobs/1", "GET /v1/jobs/1/logs", "DELETE /v1/jobs/1",
		"GET /v1/executor", "POST /v1/executor/drain"} {
		method, target, _ := strings.Cut(target, " ")
		got := ask(t, path, -1, method, target)
		if want := `{"error":{"code":"no-executor","message":"no executor is configured","hint":"set executor.slots"}}`; got.status != 404 || got.body != want {
			t.Errorf("%s %s: %d %s", method, target, got.status, got.body)
		}
	}
}

// TestGrantsOfJobs: the user of a service sees states, but neither submits nor sees what may hold secrets.
func TestGrantsOfJobs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	f := newFakeJobs(t)
	path := serveJobs(t, f)
	for _, tc := range []struct {
		method, target string
		viewer         int
	}{
		{"GET", "/v1/jobs", 200},
		{"GET", "/v1/jobs/" + oneID, 200},
		{"GET", "/v1/executor", 200},
		{"GET", "/v1/schedules", 200},
		{"POST", "/v1/jobs", 403},
		{"GET", "/v1/jobs/" + oneID + "/logs", 403},
		{"GET", "/v1/jobs/" + oneID + "/artifacts/x", 403},
		{"POST", "/v1/jobs/" + oneID + "/stop", 403},
		{"DELETE", "/v1/jobs/" + oneID, 403},
		{"POST", "/v1/executor/pause", 403},
	} {
		if got := ask(t, path, 1234, tc.method, tc.target); got.status != tc.viewer || strings.Contains(got.body, "PASSWORD") {
			t.Errorf("viewer: %s %s: %d %s", tc.method, tc.target, got.status, got.body)
		}
		if got := ask(t, path, 4321, tc.method, tc.target); got.status != 403 {
			t.Errorf("another user: %s %s: %d %s", tc.method, tc.target, got.status, got.body)
		}
	}
}

func TestJobIsAwaited(t *testing.T) {
	f := newFakeJobs(t)
	path := serveJobs(t, f)
	c := jobs.Dial(path)
	var seen []string
	ended := make(chan error, 1)
	first := make(chan struct{}, 10)
	go func() { // ends with the job
		j, err := c.Wait(context.Background(), "key:a/b", func(j executor.Job) {
			seen = append(seen, fmt.Sprint(j.State, j.Attempt))
			first <- struct{}{}
		})
		seen = append(seen, string(j.State), j.Reason)
		ended <- err
	}()
	<-first
	polled := make(chan answerOf, 1)
	go func() { polled <- ask(t, path, -1, "GET", "/v1/jobs/"+oneID+"?wait=20s") }() // ends with the job
	f.set(func() { f.job.State, f.job.Attempt = executor.Running, 1 })
	<-first
	f.set(func() { f.job.Attempt = 2 }) // the states between were missed
	<-first
	f.set(func() { f.job.Pid = 7 }) // no other state
	f.set(func() { f.job.State, f.job.Reason = executor.Failed, "exit code 3" })
	if err := <-ended; err != nil || fmt.Sprint(seen) != "[QUEUED0 RUNNING1 RUNNING2 FAILED exit code 3]" {
		t.Errorf("%v, seen %q", err, seen)
	}
	if got := <-polled; got.status != 200 || !strings.Contains(got.body, `"state":"FAILED"`) {
		t.Errorf("%d %s", got.status, got.body)
	}
	if j, err := c.Wait(t.Context(), oneID, nil); err != nil || j.State != executor.Failed {
		t.Errorf("%v %v", j.State, err)
	}
	if got := ask(t, path, -1, "GET", "/v1/jobs/"+oneID+"/events"); strings.Count(got.body, "data:") != 1 {
		t.Errorf("the states of a job that has ended: %s", got.body)
	}
	f.set(func() { f.job.State = executor.Running })
	end := make(chan answerOf, 1)
	go func() { end <- ask(t, path, -1, "GET", "/v1/jobs/"+oneID+"/events?final") }() // ends with the job
	f.set(func() { f.job.State = executor.Stopping })
	f.set(func() { f.job.State = executor.Killed })
	if got := <-end; strings.Count(got.body, "data:") != 1 || !strings.Contains(got.body, `"state":"KILLED"`) {
		t.Errorf("the final state of a job: %s", got.body)
	}
}

// TestOutputIsFollowed reads over a piece that is not kept, to the end of the stream.
func TestOutputIsFollowed(t *testing.T) {
	f := newFakeJobs(t)
	path := serveJobs(t, f)
	c := jobs.Dial(path)
	resp, err := NewClient(path).http.Get("http://stoker/v1/jobs/" + oneID + "/logs?follow")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	f.set(func() { f.kept[0] = "head" }) // nothing was written when it was asked for
	p := make([]byte, 10)
	if n, err := io.ReadFull(resp.Body, p[:4]); err != nil || string(p[:n]) != "head" {
		t.Fatalf("%q %v", p[:n], err)
	}
	o := c.Output(t.Context(), oneID, "stdout", 1, true)
	defer o.Close()
	n, err := o.Read(p)
	if err != nil || string(p[:n]) != "ead" || o.Offset() != 4 {
		t.Fatalf("%q %v at %d", p[:n], err, o.Offset())
	}
	f.set(func() { f.kept[100] = "tail" })
	n, err = o.Read(p)
	if err != nil || string(p[:n]) != "tail" || o.Offset() != 104 {
		t.Fatalf("%q %v at %d", p[:n], err, o.Offset())
	}
	f.set(func() { f.ended = true })
	if n, err = o.Read(p); n != 0 || err != io.EOF {
		t.Errorf("%q %v", p[:n], err)
	}
	whole, err := io.ReadAll(c.Output(t.Context(), oneID, "stdout", 0, false))
	if err != nil || !bytes.Equal(whole, []byte("headtail")) {
		t.Errorf("%q %v", whole, err)
	}
	if _, err := io.ReadAll(c.Output(t.Context(), "9", "stdout", 0, true)); !errors.Is(err, executor.ErrNoJob) {
		t.Errorf("output of no job: %v", err)
	}
}

// TestBrokenStreamsDoNotEndWell: what the executor fails to give is not taken for the end.
func TestBrokenStreamsDoNotEndWell(t *testing.T) {
	f := newFakeJobs(t)
	f.kept[0] = "head"
	path := serveJobs(t, f)
	for _, target := range []string{"/logs?follow", "/events"} {
		resp, err := NewClient(path).http.Get("http://stoker/v1/jobs/" + oneID + target)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(resp.Body, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		f.set(func() { f.fail = errors.New("no journal") })
		if rest, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s ends well with %q", target, rest)
		}
		resp.Body.Close()
		f.set(func() { f.fail = nil })
	}
	o := jobs.Dial(path).Output(t.Context(), oneID, "stdout", 0, true)
	defer o.Close()
	if n, err := o.Read(make([]byte, 10)); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	f.set(func() { f.fail = errors.New("no journal") })
	answer := new(jobs.Error)
	if n, err := o.Read(make([]byte, 10)); !errors.As(err, &answer) || answer.Message != "no journal" {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestSharedConnection: requests that follow jobs share connections, and the requests on one are bounded.
func TestSharedConnection(t *testing.T) {
	f := newFakeJobs(t)
	f.kept[0] = "head"
	client := NewClient(serveJobs(t, f))
	shared := client.shared.(*http.Transport)
	var dials atomic.Int32
	dial := shared.DialContext
	shared.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return dial(ctx, network, addr)
	}
	url := "http://stoker/v1/jobs/" + oneID + "/logs?follow"
	for range 2*maxStreams + 1 {
		resp, err := client.shared.RoundTrip(httptest.NewRequestWithContext(t.Context(), "GET", url, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.ReadFull(resp.Body, make([]byte, 4)); err != nil || resp.ProtoMajor != 2 {
			t.Fatalf("%s: %v", resp.Proto, err)
		}
	}
	// net/http gives a new connection to its first request before others find it: a request that comes in between dials too.
	if got := dials.Load(); got < 3 || got > 2*3 {
		t.Errorf("%d connections for %d requests, want 3, and at most as many again", got, 2*maxStreams+1)
	}
}

// TestClientAsTransport: the client of the command line is the transport of the client of jobs.
func TestClientAsTransport(t *testing.T) {
	f := newFakeJobs(t)
	path := serveJobs(t, f)
	if st, err := jobs.New(NewClient(path), "http://stoker").Status(t.Context()); err != nil || st.Slots != 4 {
		t.Errorf("%+v %v", st, err)
	}
	lost := jobs.New(NewClient(path+".none"), "http://stoker")
	lost.Patience = 0
	if _, err := lost.Status(t.Context()); !errors.Is(err, ErrNoSocket) {
		t.Errorf("no socket: %v", err)
	}
}

// TestSubmitterIsGone: what its submitter sent before it died is not accepted, however late it is read.
func TestSubmitterIsGone(t *testing.T) {
	f := newFakeJobs(t)
	b := parts(newFake())
	b.JobManager, b.JobFiles, b.ExecutorControl = f, f, f
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dial := func(key string) net.Conn {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		body := fmt.Sprintf(`{"key": %q, "command": ["true"]}`, key)
		fmt.Fprintf(conn, "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		return conn
	}
	dial("gone").Close()
	here := dial("here")
	defer here.Close()
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	s := New(Options{Backend: b, Log: hclog.NewNullLogger(), Events: newJournal(t), Member: noMember})
	closed := make(chan struct{}, 2)
	s.shared.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	go func() { over <- s.Serve(ctx, l) }() // ends with ctx
	answer := make([]byte, 12)
	if _, err := io.ReadFull(here, answer); err != nil || string(answer) != "HTTP/1.1 201" {
		t.Errorf("%q %v", answer, err)
	}
	select {
	case <-closed: // the other has been handled
	case <-time.After(5 * time.Second):
		t.Fatal("the connection of the submitter that is gone is still open")
	}
	f.mu.Lock()
	if f.got.Key != "here" || f.submits != 1 {
		t.Errorf("%d submits, the last %q", f.submits, f.got.Key)
	}
	f.mu.Unlock()
	cancel()
	<-over
}
