package api

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/console/recording"
)

// fakeSessions are sessions that never run.
type fakeSessions struct{ all []console.Info }

func (f *fakeSessions) Sessions() []console.Info { return append([]console.Info{}, f.all...) }
func (f *fakeSessions) Metrics() console.Metrics {
	return console.Metrics{Open: 1, Opened: map[string]int64{"started": 3, "denied": 2}, In: 7, Out: 80}
}

func (f *fakeSessions) End(_ context.Context, id, why string) {
	for k := range f.all {
		if f.all[k].ID == id {
			f.all[k].Exit = &console.Exit{Code: 143, Signal: "TERM", Why: why}
		}
	}
}

// consoleOptions have two sessions, and a recording of the first and of one that is forgotten.
func consoleOptions(t *testing.T) (Options, *fakeSessions) {
	t.Helper()
	started := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f := &fakeSessions{}
	for k, by := range []string{"token ops", "uid 0"} {
		f.all = append(f.all, console.Info{ID: strings.Repeat(string(rune('a'+k)), 10), By: by, User: "app", Started: started,
			Spec: console.Spec{Command: []string{"/bin/sh", "-c", "a\x1b[1m", "--password=hunter2"}, Env: []string{"X_TOKEN=hunter3"}, TTY: true}})
	}
	r := recording.New(recording.Options{Folder: filepath.Join(t.TempDir(), "recordings"), FileSize: 1 << 20, TotalSize: 1 << 30},
		hclog.NewNullLogger())
	for _, i := range []console.Info{f.all[0], {ID: "forgotten0", By: "token ops", Started: started}} {
		c, err := r.Create(i)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Output([]byte("shown")); err != nil {
			t.Fatal(err)
		}
		c.Close(console.Exit{Code: 7})
	}
	return Options{Backend: parts(newFake()), Log: hclog.NewNullLogger(), Events: newJournal(t), Member: noMember,
		Sessions: console.New(console.Options{Config: console.Config{Enabled: true}}), Recordings: r}, f
}

// askAs sends a request as an identity, past the guard.
func askAs(s *Server, id access.Identity, method, target string) *httptest.ResponseRecorder {
	mux := http.NewServeMux()
	for _, r := range s.sessionRoutes() {
		mux.HandleFunc(r.pattern, Answer(r.handle))
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(method, target, nil).WithContext(access.With(context.Background(), id)))
	return w
}

func TestSessionRoutes(t *testing.T) {
	root := access.Identity{Name: "uid 0", Grants: access.All}
	ops := access.Identity{Name: "token ops", Grants: access.Exec}
	other := access.Identity{Name: "token other", Grants: access.Exec | access.View | access.Job}
	const a, b = "/v1/sessions/aaaaaaaaaa", "/v1/sessions/bbbbbbbbbb"
	opts, f := consoleOptions(t)
	s := New(opts)
	s.sessions = f
	for _, tc := range []struct {
		by             access.Identity
		method, target string
		status         int
		want           string // part of the body
	}{
		{other, "GET", "/v1/sessions", 200, `{"sessions":[{"id":"aaaaaaaaaa","command":["/bin/sh","-c","a\u001b[1m","--password=***"],"env":["X_TOKEN=***"],"tty":true,`},
		{ops, "GET", "/v1/sessions", 200, `"--password=hunter2"],"env":["X_TOKEN=hunter3"]`},
		{root, "GET", a, 200, `"--password=hunter2"],"env":["X_TOKEN=hunter3"]`},
		{ops, "GET", b, 200, `"--password=***"],"env":["X_TOKEN=***"]`},
		{other, "GET", a, 200, `"by":"token ops"`},
		{other, "GET", "/v1/sessions/none", 404, `"code":"no-such-session"`},
		{other, "GET", a + "/recording", 403, `token other may not do this: the session is that of token ops`},
		{ops, "GET", a + "/recording", 200, `"o", "shown"]`},
		{root, "GET", a + "/recording", 200, `"exit":{"code":7,`},
		{ops, "GET", b + "/recording", 404, `"code":"no-such-recording"`},
		{ops, "GET", "/v1/sessions/forgotten0/recording", 200, `"session":"forgotten0"`},
		{other, "GET", "/v1/sessions/forgotten0/recording", 403, `"code":"forbidden"`},
		{root, "GET", "/v1/sessions/..%2Fx/recording", 404, `"code":"no-such-recording"`},
		{root, "GET", "/v1/recordings", 200, `{"recordings":[{"id":"forgotten0","size":`},
		{other, "DELETE", a, 403, `"hint":"ask as token ops, or with the grant admin"`},
		{ops, "DELETE", b, 403, `"code":"forbidden"`},
		{ops, "DELETE", a, 200, `"exit":{"code":143,"signal":"TERM","why":"ended by token ops"}`},
		{other, "DELETE", a, 200, `"why":"ended by token ops"`}, // it has ended before
		{root, "DELETE", b, 200, `"why":"ended by uid 0"`},
		{root, "DELETE", "/v1/sessions/none", 404, `"code":"no-such-session"`},
	} {
		w := askAs(s, tc.by, tc.method, tc.target)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("%s: %s %s: %d %s; want %d %s", tc.by.Name, tc.method, tc.target, w.Code, w.Body, tc.status, tc.want)
		}
	}
	if h := askAs(s, ops, "GET", a+"/recording").Header(); h.Get("Content-Type") != "application/x-asciicast" ||
		h.Get("Content-Disposition") != "attachment; filename=aaaaaaaaaa.cast" {
		t.Errorf("%v", h)
	}
	opts.Sessions.Configure(console.Config{})
	for _, r := range s.sessionRoutes() {
		method, path, _ := strings.Cut(r.pattern, " ")
		w := askAs(s, root, method, strings.Replace(path, "{id}", "aaaaaaaaaa", 1))
		if w.Code != 404 || !strings.Contains(w.Body.String(), CodeConsoleOff) {
			t.Errorf("off: %s: %d %s", r.pattern, w.Code, w.Body)
		}
		want := access.Exec
		if path == "/v1/recordings" {
			want = access.Admin
		}
		if r.grant != want {
			t.Errorf("%s needs the grant %s, want %s", r.pattern, r.grant, want)
		}
	}
}

func TestSessionClient(t *testing.T) {
	opts, f := consoleOptions(t)
	s := New(opts)
	s.sessions = f
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(ctx, l) // ends with ctx
	c := NewClient(path)
	list, err := c.Sessions(ctx)
	if err != nil || len(list.Sessions) != 2 || list.Sessions[0].Command[2] != "a\x1b[1m" || list.Sessions[0].User != "app" {
		t.Errorf("%+v %v", list, err)
	}
	if i, err := c.Session(ctx, "bbbbbbbbbb"); err != nil || i.By != "uid 0" {
		t.Errorf("%+v %v", i, err)
	}
	if i, err := c.EndSession(ctx, "aaaaaaaaaa"); err != nil || i.Exit == nil || i.Exit.Code != 143 {
		t.Errorf("%+v %v", i, err)
	}
	all, err := c.Recordings(ctx)
	if err != nil || len(all.Recordings) != 2 || all.Recordings[1].Header.Stoker.Exit.Code != 7 {
		t.Errorf("%+v %v", all, err)
	}
	r, err := c.Recording(ctx, "aaaaaaaaaa")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := recording.NewReader(r); err != nil {
		t.Error(err)
	}
	if _, err := c.Recording(ctx, "bbbbbbbbbb"); err == nil {
		t.Error("a recording that is not there")
	}
	got := ask(t, path, -1, "GET", "/metrics")
	checkExposition(t, got.body)
	_, body, found := strings.Cut(got.body, "# HELP stoker_sessions_")
	if !found {
		t.Fatalf("there are none: %s", got.body)
	}
	golden(t, "testdata/sessionmetrics.golden", "# HELP stoker_sessions_"+body+"\n")
}
