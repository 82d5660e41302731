package agent

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/client"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/supervisor"
)

func TestSubmit(t *testing.T) {
	f, dir := newFleet(t)
	a, b := startFake(t, dir, "a", 2), startFake(t, dir, "b", 4)
	other := startFake(t, dir, "other", 100)
	other.labels = map[string]string{"appid": "2"}
	startFake(t, dir, "no-jobs", 0)
	submit := func(spec executor.Spec) (executor.Job, bool, string) {
		t.Helper()
		job, created, where, err := f.Submit(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		return job, created, where
	}
	first, created, where := submit(app("k", ""))
	if !created || where != "b" || first.Spec.Key != "k" {
		t.Errorf("%v %v in %s, want the one with most slots", first, created, where)
	}
	if again, created, where := submit(app("k", "")); created || again.ID != first.ID || where != "b" {
		t.Errorf("%v %v in %s, want the same job", again, created, where)
	}
	changed := app("k", "")
	changed.Command = []string{"false"}
	if _, _, _, err := f.Submit(t.Context(), changed); !errors.As(err, new(*executor.ConflictError)) {
		t.Errorf("%v", err)
	}
	for range 5 {
		if job, _, _ := submit(app("", "")); !strings.HasPrefix(job.Spec.Key, keyPrefix) {
			t.Errorf("the key is %q", job.Spec.Key)
		}
	}
	if a.count() != 2 || b.count() != 4 {
		t.Errorf("%d and %d jobs in 2 and 4 slots", a.count(), b.count())
	}
	foreign := app("", "")
	foreign.Labels["appid"] = "2"
	if _, _, where := submit(foreign); where != "other" {
		t.Errorf("in %s", where)
	}
	for _, labels := range []map[string]string{nil, {"appid": "3"}} {
		_, _, _, err := f.Submit(t.Context(), executor.Spec{Command: []string{"true"}, Labels: labels})
		if wrong := new(executor.SpecError); !errors.As(err, &wrong) || wrong.Fields[0].Field != "labels" {
			t.Errorf("%v: %v", labels, err)
		}
	}
	if _, _, _, err := f.Submit(t.Context(), app("", "x")); !errors.As(err, new(*executor.SpecError)) {
		t.Errorf("%v", err)
	}
}

// TestRefused: what a container refuses goes to the next, and the first refusal is the answer when all refuse.
func TestRefused(t *testing.T) {
	f, dir := newFleet(t)
	a, b := startFake(t, dir, "a", 9), startFake(t, dir, "b", 1)
	a.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "POST" {
			refuse(w, 429, executor.CodeFull)
		}
		return r.Method == "POST"
	}
	if _, _, where, err := f.Submit(t.Context(), app("", "")); err != nil || where != "b" {
		t.Errorf("in %s: %v", where, err)
	}
	b.set(func() { b.status.QueueMax = 0 })
	if _, _, _, err := f.Submit(t.Context(), app("", "")); !errors.As(err, new(*executor.FullError)) {
		t.Errorf("%v", err)
	}
	a.set(func() {
		a.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == "POST" {
				refuse(w, 500, "failed")
			}
			return r.Method == "POST"
		}
	})
	if _, _, _, err := f.Submit(t.Context(), app("", "")); err == nil || !strings.Contains(err.Error(), "refused: failed") {
		t.Errorf("%v", err)
	}
}

// TestConcurrentSubmits: jobs that are placed at once fill the slots, and a key is placed once.
func TestConcurrentSubmits(t *testing.T) {
	t.Parallel()
	f, dir := newFleet(t)
	var all []*fakeContainer
	for k := range 5 {
		all = append(all, startFake(t, dir, fmt.Sprintf("c%d", k), 30))
	}
	var clients sync.WaitGroup
	var created atomic.Int32
	for k := range 300 {
		clients.Go(func() { // ends with the answer
			spec := app("", "")
			if k%2 == 0 {
				spec.Key = "same"
			}
			job, first, _, err := f.Submit(t.Context(), spec)
			if err != nil {
				t.Error(err)
			}
			if first && job.Spec.Key == "same" {
				created.Add(1)
			}
		})
	}
	clients.Wait()
	if created.Load() != 1 {
		t.Errorf("the key was placed %d times", created.Load())
	}
	waiting := 0
	for _, c := range all {
		waiting += c.present().Waiting
	}
	if waiting > 5 { // 1, and a few that a state had already when they were counted
		t.Errorf("%d of 151 jobs wait in 150 slots", waiting)
	}
}

// TestRank has the containers in the order in which a job wants them.
func TestRank(t *testing.T) {
	begun := time.Now()
	memory := func(room, running, waiting int64) *executor.MemoryStatus {
		return &executor.MemoryStatus{Room: room, Running: running, Waiting: waiting}
	}
	for _, tc := range []struct {
		name   string
		need   int64
		better executor.Status
		worse  executor.Status
		placed []*placement // in better, which makes it the worse one
	}{
		{name: "free slots", better: executor.Status{Slots: 4, Running: 1}, worse: executor.Status{Slots: 9, Running: 7}},
		{name: "the shorter queue", better: executor.Status{Slots: 1, Running: 1, Waiting: 1}, worse: executor.Status{Slots: 9, Running: 9, Waiting: 2}},
		{name: "not paused", better: executor.Status{Slots: 1, Running: 1}, worse: executor.Status{Slots: 9, Paused: "x"}},
		{name: "not drained", better: executor.Status{Slots: 1, Paused: "x"}, worse: executor.Status{Slots: 9, Draining: "x"}},
		{name: "not unavailable", better: executor.Status{Slots: 1, Paused: "x"}, worse: executor.Status{Slots: 9, Unavailable: "x"}},
		{name: "free memory before slots", need: 5, better: executor.Status{Slots: 1, Memory: memory(10, 0, 0)},
			worse: executor.Status{Slots: 9, Memory: memory(20, 11, 0)}},
		{name: "a slot before memory", need: 5, better: executor.Status{Slots: 1, Memory: memory(5, 0, 0)}, worse: executor.Status{Memory: memory(20, 0, 0)}},
		{name: "no limit", need: 5, better: executor.Status{Slots: 1}, worse: executor.Status{Slots: 9, Memory: memory(20, 0, 0)}},
		{name: "it can ever fit", need: 5, better: executor.Status{Slots: 1, Memory: memory(6, 6, 9)}, worse: executor.Status{Slots: 9, Memory: memory(4, 0, 0)}},
		{name: "a large job waits where most is in all", need: 50, better: executor.Status{Slots: 9, Memory: memory(100, 90, 0)},
			worse: executor.Status{Slots: 9, Memory: memory(60, 20, 0)}},
		{name: "what a large job waits for is not free", need: 5, better: executor.Status{Slots: 9, Memory: memory(60, 50, 0)},
			worse: executor.Status{Slots: 9, Memory: memory(100, 30, 70)}},
		{name: "nor does a small one wait behind it", need: 5, better: executor.Status{Slots: 9, Memory: memory(60, 60, 0)},
			worse: executor.Status{Slots: 9, Memory: memory(100, 30, 70)}},
		{name: "without memory a large job is no matter", better: executor.Status{Slots: 9, Memory: memory(100, 30, 70)},
			worse: executor.Status{Slots: 8, Memory: memory(60, 0, 0)}},
		{name: "placed and not answered", better: executor.Status{Slots: 2}, worse: executor.Status{Slots: 1, Running: 0}, placed: []*placement{{}, {}}},
		{name: "placed and answered since", better: executor.Status{Slots: 2}, worse: executor.Status{Slots: 1},
			placed: []*placement{{answered: begun.Add(1)}, {answered: begun.Add(2)}}},
		{name: "memory of what is placed", need: 5, better: executor.Status{Slots: 9, Memory: memory(20, 0, 0)},
			worse: executor.Status{Slots: 9, Memory: memory(15, 0, 0)}, placed: []*placement{{memory: 6}}},
	} {
		f, _ := newFleet(t)
		x := &candidate{container: &container{placed: tc.placed}, asked: begun, status: tc.better}
		y := &candidate{container: &container{}, asked: begun, status: tc.worse}
		want := x
		if tc.placed != nil {
			want = y
		}
		for _, list := range [][]*candidate{{x, y}, {y, x}} {
			got, p := f.reserve(&list, tc.need)
			if got != want || len(list) != 1 {
				t.Errorf("%s: the other one", tc.name)
			}
			got.placed = got.placed[:len(got.placed)-1]
			f.settle(p)
		}
	}
	f, _ := newFleet(t)
	x := &candidate{container: &container{placed: []*placement{{answered: begun.Add(-1)}}}, asked: begun, status: executor.Status{Slots: 1}}
	if r := x.rank(0); r[4] != 1 {
		t.Errorf("a placement that the state has counts twice: %v", r)
	}
	x.placed[0].answered = begun.Add(-time.Hour)
	if f.reserve(&[]*candidate{x}, 0); len(x.placed) != 1 {
		t.Errorf("%d placements are kept", len(x.placed))
	}
}

// TestLargeJobGetsItsTurn: small jobs stream in while a large one waits.
func TestLargeJobGetsItsTurn(t *testing.T) {
	f, dir := newFleet(t)
	a, b := startFake(t, dir, "a", 10), startFake(t, dir, "b", 10)
	a.room, b.room = 100<<20, 60<<20
	for range 20 {
		if _, _, _, err := f.Submit(t.Context(), app("", "8MiB")); err != nil {
			t.Fatal(err)
		}
	}
	large, _, where, err := f.Submit(t.Context(), app("large", "90MiB"))
	if err != nil || where != "a" || large.State != executor.Queued {
		t.Fatalf("the large job is %s in %s: %v", large.State, where, err)
	}
	for range 10 {
		if job, _, where, err := f.Submit(t.Context(), app("", "8MiB")); err != nil || where != "b" {
			t.Errorf("a small job is %s in %s, before the large one: %v", job.State, where, err)
		}
		f.mu.Lock() // what was placed is in the states
		for _, c := range f.known {
			c.placed = nil
		}
		f.mu.Unlock()
	}
}

// TestSilentContainer: a container that does not answer delays nobody for long. Only jobs with keys need it, because it may have them.
func TestSilentContainer(t *testing.T) {
	t.Parallel()
	f, dir := newFleet(t)
	startFake(t, dir, "a", 100)
	stuck := startFake(t, dir, "stuck", 100)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	if _, _, _, err := f.Submit(t.Context(), app("before", "")); err != nil { // its labels are known now
		t.Fatal(err)
	}
	stuck.set(func() { stuck.before = func(http.ResponseWriter, *http.Request) bool { <-release; return true } })
	begun := time.Now()
	for range 20 {
		if _, _, where, err := f.Submit(t.Context(), app("", "")); err != nil || where != "a" {
			t.Errorf("in %s: %v", where, err)
		}
	}
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("20 submits took %v", took)
	}
	_, _, _, err := f.Submit(t.Context(), app("new", ""))
	refused := new(api.StatusError)
	if !errors.As(err, &refused) || refused.Status != 503 || !strings.Contains(err.Error(), "stuck (no answer within") {
		t.Errorf("%v", err)
	}
	foreign := app("foreign", "")
	foreign.Labels["appid"] = "2"
	if _, _, _, err := f.Submit(t.Context(), foreign); !errors.As(err, new(*executor.SpecError)) {
		t.Errorf("a container of another application counts: %v", err)
	}
	if list, err := f.Jobs(t.Context(), url.Values{}); err != nil || len(list.Jobs) < 20 || list.Missing["stuck"] == "" {
		t.Errorf("%d jobs, missing %v: %v", len(list.Jobs), list.Missing, err)
	}
	stuck.set(func() { stuck.before = nil })
	for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		_, _, _, err = f.Submit(t.Context(), app("new", ""))
	}
	if err != nil {
		t.Errorf("it answers again: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "stuck")); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := f.Submit(t.Context(), app("newer", "")); err != nil {
		t.Errorf("without the folder: %v", err)
	}
}

// TestContainerBeginsAgain: while a container that was seen has no socket, or nobody listens there, it may have the job.
func TestContainerBeginsAgain(t *testing.T) {
	f, dir := newFleet(t)
	startFake(t, dir, "a", 1)
	b := startFake(t, dir, "b", 100)
	if _, _, where, err := f.Submit(t.Context(), app("k", "")); err != nil || where != "b" {
		t.Fatalf("in %s: %v", where, err)
	}
	socket := filepath.Join(dir, "b", SocketName)
	b.server.Listener.(*net.UnixListener).SetUnlinkOnClose(false)
	b.server.Close()
	for _, when := range []string{"nobody listens", "no socket"} {
		if _, _, _, err := f.Submit(t.Context(), app("k", "")); err == nil || !strings.Contains(err.Error(), "b (") {
			t.Errorf("%s: %v", when, err)
		}
		_ = os.Remove(socket)
	}
	if err := os.Mkdir(filepath.Join(dir, "new"), 0o700); err != nil { // it has not begun, and has no job
		t.Fatal(err)
	}
	again := startFake(t, dir, "b", 100)
	again.jobs = b.jobs
	if _, created, where, err := f.Submit(t.Context(), app("k", "")); err != nil || created || where != "b" {
		t.Errorf("in %s, created %v: %v", where, created, err)
	}
}

// TestLyingContainer: whatever a container answers, the others work.
func TestLyingContainer(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]func(w http.ResponseWriter){
		"garbage":  func(w http.ResponseWriter) { io.WriteString(w, "garbage") },
		"endless":  func(w http.ResponseWriter) { io.CopyN(w, zeros{}, 1<<30) },
		"redirect": func(w http.ResponseWriter) { w.Header().Set("Location", "http://stoker/v1/health"); w.WriteHeader(302) },
		"header":   func(w http.ResponseWriter) { w.Header().Set("X", strings.Repeat("x", 1<<20)) },
		"nothing":  func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		f, dir := newFleet(t)
		startFake(t, dir, "a", 100)
		liar := startFake(t, dir, "liar", 1)
		liar.before = func(w http.ResponseWriter, _ *http.Request) bool { lie(w); return true }
		if _, _, where, err := f.Submit(t.Context(), app("", "")); err != nil || where != "a" {
			t.Errorf("%s: in %s: %v", name, where, err)
		}
		if _, _, _, err := f.Submit(t.Context(), app("k", "")); err == nil || !strings.Contains(err.Error(), "liar (") {
			t.Errorf("%s: %v", name, err)
		}
		all, err := f.Containers(t.Context())
		if err != nil || len(all) != 2 || all[0].Executor == nil || all[0].Limits.EffectiveCPUs != 2 || all[1].Error == "" {
			t.Errorf("%s: %+v %v", name, all, err)
		}
	}
}

// TestLargeAnswer: the answer of a submission is bounded too.
func TestLargeAnswer(t *testing.T) {
	t.Parallel()
	f, dir := newFleet(t)
	liar := startFake(t, dir, "liar", 1)
	liar.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "POST" {
			fmt.Fprintf(w, `{"reason": "%s"}`, strings.Repeat("x", maxAnswer))
		}
		return r.Method == "POST"
	}
	if job, _, _, err := f.Submit(t.Context(), app("", "")); err == nil {
		t.Errorf("%d bytes are read", len(job.Reason))
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestAnswerOfASubmissionIsLost: it is repeated at the same container; where nothing comes the key is in the error.
func TestAnswerOfASubmissionIsLost(t *testing.T) {
	t.Parallel()
	f, dir := newFleet(t)
	a := startFake(t, dir, "a", 100)
	startFake(t, dir, "b", 1)
	var losses atomic.Int32
	a.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "POST" && losses.Add(1) == 1 {
			a.set(func() { a.submit(httptest.NewRecorder(), r) })
			panic(http.ErrAbortHandler)
		}
		return false
	}
	if _, created, where, err := f.Submit(t.Context(), app("", "")); err != nil || created || where != "a" || a.count() != 1 {
		t.Errorf("in %s, created %v, %d jobs: %v", where, created, a.count(), err)
	}
	a.set(func() {
		a.before = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == "POST" {
				panic(http.ErrAbortHandler)
			}
			return false
		}
	})
	_, _, _, err := f.Submit(t.Context(), app("", ""))
	refused := new(api.StatusError)
	if !errors.As(err, &refused) || refused.Status != 503 || !strings.Contains(refused.Hint, "the key "+keyPrefix) {
		t.Errorf("%v", err)
	}
}

// TestLinks: a link of a container leads nowhere.
func TestLinks(t *testing.T) {
	f, dir := newFleet(t)
	startFake(t, dir, "a", 1)
	if err := os.Mkdir(filepath.Join(dir, "liar"), 0o700); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"liar/" + SocketName: "../a/" + SocketName, "link": "a"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := f.Containers(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%+v %v", all, err)
	}
	liar := startFake(t, dir, "b", 1) // seen as a socket, then replaced by a link
	if all, err := f.containers(); err != nil || len(all) != 2 {
		t.Fatalf("%v %v", all, err)
	}
	liar.server.Close()
	if err := os.Symlink("../a/"+SocketName, filepath.Join(dir, "b", SocketName)); err != nil {
		t.Fatal(err)
	}
	if all, err := f.Containers(t.Context()); err != nil || len(all) != 2 || !strings.Contains(all[1].Error, "symbolic link") {
		t.Errorf("%+v %v", all, err)
	}
	if _, err := Open(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there is opened")
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil {
		t.Error("a folder that others can change is opened")
	}
}

// TestServer uses the client of package executor/client on the agent.
func TestServer(t *testing.T) {
	t.Parallel()
	f, dir := newFleet(t)
	a, b := startFake(t, dir, "a", 5), startFake(t, dir, "b", 4)
	socket := serveFleet(t, f, dir)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if err := f.Serve(t.Context(), socket, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "another agent answers") {
		t.Errorf("%v", err)
	}
	c := client.Dial(socket)
	job, created, err := c.Submit(t.Context(), app("k/1", ""))
	if err != nil || !created || a.count() != 1 {
		t.Fatalf("%v %v", created, err)
	}
	if _, created, err := c.Submit(t.Context(), app("k/1", "")); err != nil || created {
		t.Errorf("%v %v", created, err)
	}
	if got, err := c.Job(t.Context(), "key:k/1"); err != nil || got.ID != job.ID {
		t.Errorf("%v %v", got.ID, err)
	}
	if _, err := c.Job(t.Context(), "key:none"); !errors.Is(err, executor.ErrNoJob) {
		t.Errorf("%v", err)
	}
	body, err := c.Artifact(t.Context(), job.ID.String(), "x/y z")
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := io.ReadAll(body); string(text) != "artifacts/x/y%20z of k/1" {
		t.Errorf("%q", text)
	}
	body.Close()
	refused := new(client.Error)
	if _, _, err := c.Submit(t.Context(), executor.Spec{Command: []string{"true"}}); !errors.As(err, new(*executor.SpecError)) ||
		!errors.As(err, &refused) || !strings.Contains(refused.Hint, "agent.md") {
		t.Errorf("%v, %+v", err, refused)
	}
	newer := executor.Job{ID: job.ID + 1000, Spec: app("k/2", "")}
	b.set(func() { b.jobs = append(b.jobs, newer) })
	list, err := c.Jobs(t.Context(), executor.Filter{})
	if err != nil || len(list) != 2 || list[0].ID != newer.ID {
		t.Errorf("%v %v", list, err)
	}
	if list, err := c.Jobs(t.Context(), executor.Filter{Limit: 1}); err != nil || len(list) != 1 {
		t.Errorf("%v %v", list, err)
	}
	b.set(func() { b.jobs[0].ID = job.ID })
	if _, err := c.Job(t.Context(), job.ID.String()); err == nil || !strings.Contains(err.Error(), "the containers") {
		t.Errorf("two jobs with one ID: %v", err)
	}
	b.set(func() {
		b.before = func(w http.ResponseWriter, r *http.Request) bool {
			refuse(w, 400, "bad-request")
			return r.URL.Path == "/v1/jobs"
		}
	})
	if _, err := c.Jobs(t.Context(), executor.Filter{}); err == nil || !strings.Contains(err.Error(), "bad-request") {
		t.Errorf("%v", err)
	}
	if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "the agent has no GET /v1/executor") {
		t.Errorf("%v", err)
	}
}

// TestStranger: who is neither root nor the agent's user is refused.
func TestStranger(t *testing.T) {
	f, _ := newFleet(t)
	w := httptest.NewRecorder()
	f.handler(hclog.NewNullLogger()).ServeHTTP(w, httptest.NewRequest("GET", "/v1/jobs", nil))
	if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), `"code":"forbidden"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestStreamBreaks: the end of a stream that broke off is no end for the client of the agent.
func TestStreamBreaks(t *testing.T) {
	t.Parallel()
	f, dir := newFleet(t)
	a := startFake(t, dir, "a", 5)
	job, _, _, err := f.Submit(t.Context(), app("k", ""))
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	a.set(func() {
		a.before = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/logs") {
				return false
			}
			offset := r.URL.Query().Get("offset")
			w.Header().Set(executor.OffsetHeader, offset)
			if asked.Add(1) == 1 {
				io.WriteString(w, "first ")
				http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
			io.WriteString(w, "second from "+offset)
			return true
		}
	})
	c := client.Dial(serveFleet(t, f, dir))
	text, err := io.ReadAll(c.Output(t.Context(), job.ID.String(), "stdout", 0, true))
	if err != nil || string(text) != "first second from 6" {
		t.Errorf("%q %v", text, err)
	}
}

// TestFindWithSilence: a job that no container has may be in one that does not answer.
func TestFindWithSilence(t *testing.T) {
	t.Parallel()
	f, dir := newFleet(t)
	startFake(t, dir, "a", 5)
	b := startFake(t, dir, "b", 5)
	job, _, _, err := f.Submit(t.Context(), app("k", ""))
	if err != nil {
		t.Fatal(err)
	}
	var refusals atomic.Int32
	b.set(func() {
		b.before = func(w http.ResponseWriter, _ *http.Request) bool {
			refuse(w, 503, executor.CodeUnavailable)
			return refusals.Add(1) > 0
		}
	})
	if c, err := f.find(t.Context(), job.ID.String()); err != nil || c.name != "a" {
		t.Errorf("%v", err)
	}
	if _, err := f.find(t.Context(), "key:none"); err == nil || !strings.Contains(err.Error(), "b (refused: unavailable)") || refusals.Load() < 5 {
		t.Errorf("%v after %d questions", err, refusals.Load())
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	f, dir := newFleet(t)
	var all []*fakeContainer
	for k := range 5 {
		all = append(all, startFake(t, dir, fmt.Sprintf("c%d", k), 1))
	}
	all[0].services = nil
	all[1].labels = map[string]string{"appid": "2"}
	unready := 0
	all[2].before = func(_ http.ResponseWriter, r *http.Request) bool { // its first answer is lost, and it is not ready at once
		all[2].set(func() {
			if len(all[3].restarts) > 0 {
				t.Error("the next one was restarted before this one was ready")
			}
			if len(all[2].restarts) > 0 {
				unready++
			}
			all[2].ready = len(all[2].restarts) < 2 || unready > 5
			if r.Method == "POST" && len(all[2].restarts) == 0 {
				all[2].restarts = append(all[2].restarts, "lost")
				panic(http.ErrAbortHandler)
			}
		})
		return false
	}
	all[3].before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == "POST" {
			all[3].set(func() {
				all[2].set(func() { all[2].before = nil })
				all[3].services = []supervisor.Snapshot{{Name: "app", State: supervisor.Fatal, Starts: 2, Reason: "it crashes"}}
				all[3].restarts = append(all[3].restarts, "")
			})
			return true
		}
		return false
	}
	var got []string
	report := func(name string, err error) { got = append(got, fmt.Sprintf("%s: %v", name, err)) }
	failed, err := f.Restart(t.Context(), "app", map[string]string{"appid": "1"}, 20*time.Second, report)
	want := "c2: <nil>; c3: app is FATAL: it crashes; c4: not touched"
	if err != nil || failed != 2 || strings.Join(got, "; ") != want {
		t.Errorf("%d %v: %q, want %q", failed, err, got, want)
	}
	if r := all[2].restarts; len(r) != 2 || r[1] != "/v1/services/app/restart?after=1" || len(all[4].restarts) > 0 {
		t.Errorf("%q, %q", r, all[4].restarts)
	}
	if _, err := f.Restart(t.Context(), "none", nil, time.Second, report); !errors.Is(err, ErrNoService) {
		t.Errorf("%v", err)
	}
	all[3].set(func() { all[3].services, all[3].before = nil, nil })
	all[4].set(func() { all[4].ready = false })
	got = nil
	failed, err = f.Restart(t.Context(), "app", map[string]string{"appid": "1"}, 500*time.Millisecond, report)
	want = "c2: <nil>; c4: not ready within 500ms: app is RUNNING, and the container is not ready"
	if err != nil || failed != 1 || strings.Join(got, "; ") != want {
		t.Errorf("%d %v: %q, want %q", failed, err, got, want)
	}
}
