package remote

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// service is a configuration service whose behaviour can be changed.
type service struct {
	*httptest.Server
	asked  atomic.Int32
	handle atomic.Pointer[http.HandlerFunc]
}

func newService(t *testing.T, handle http.HandlerFunc) *service {
	t.Helper()
	s := &service{}
	s.set(handle)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		(*s.handle.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *service) set(handle http.HandlerFunc) { s.handle.Store(&handle) }

// says answers with a text.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

// patient is a Source that gets its answer on a loaded machine as well.
func patient(url string) Source {
	return Source{URL: url, Timeout: time.Minute, Deadline: time.Minute}
}

// keeping saves answers in a folder; empty: nowhere.
func keeping(dir string) *Fetcher[Answer] { return &Fetcher[Answer]{Dir: dir, Accept: ParseAnswer} }

func fetch(f *Fetcher[Answer], s Source) (Document[Answer], error) {
	return fetchUntil(f, s, func() bool { return false })
}

// fetchUntil ends after the first failed try after which enough is true: on a loaded machine no deadline says how many tries there were.
func fetchUntil(f *Fetcher[Answer], s Source, enough func() bool) (Document[Answer], error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.OnRetry = func(error) {
		if enough() {
			cancel()
		}
	}
	return f.Fetch(ctx, s, Variables(map[string]string{"APPID": "7"}, nil))
}

// once is enough.
func once() bool { return true }

// onlyOptions accepts lines that begin with "-".
func onlyOptions(contentType string, body []byte) (Answer, error) {
	a, err := ParseAnswer(contentType, body)
	if err == nil && a.Text != "" && !strings.HasPrefix(a.Text, "-") {
		err = errors.New("it holds no options")
	}
	return a, err
}

func TestFetchIsConditional(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		w.Header().Set("Last-Modified", "Wed, 25 Nov 2026 00:00:00 GMT")
		if r.Header.Get("If-None-Match") == `"one"` && r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "-Dpath="+r.URL.Path+" "+r.Header.Get("X-Team"))
	})
	f := keeping(filepath.Join(t.TempDir(), "state", "jvm"))
	src := patient(s.URL + "/apps/${APPID}")
	src.Headers = map[string]string{"X-Team": "blue"}
	for k := range 3 {
		d, err := fetch(f, src)
		if err != nil || d.Value.Text != "-Dpath=/apps/7 blue" || d.Stale != nil || d.Unkept != nil || d.URL != s.URL+"/apps/7" {
			t.Errorf("%d: %+v, %v", k, d, err)
		}
	}
	files, err := filepath.Glob(f.Dir + "/*")
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v: want one copy", files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// Whatever goes wrong, the last good answer counts and says why.
func TestFetchFallsBack(t *testing.T) {
	for name, tc := range map[string]struct {
		handle http.HandlerFunc
		why    string
		tries  int32 // at least; 1: exactly
	}{
		"408":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(408) }, "status 408", 2},
		"429":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, "status 429", 2},
		"500":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "status 500", 2},
		"404":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "status 404", 1},
		"204":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "status 204", 1},
		"garbage": {says("Welcome! Please log in."), "the answer is refused: it holds no options", 1},
		"half": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "-Dhalf=1")
		}, "ended in the middle", 2},
		"slow": {func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Second):
			}
		}, "no answer within 300ms", 2},
		"stuck in the body": {func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "-Dhalf=1\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "no answer within 300ms", 2},
		"slow and endless": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				fmt.Fprint(w, "-Dx=1\n")
				w.(http.Flusher).Flush()
				<-time.After(10 * time.Millisecond)
			}
		}, "no answer within 300ms", 2},
		"binary": {says("\xff\xfe"), "it is not UTF-8", 1},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			for range MaxBody/1024 + 2 {
				fmt.Fprintf(w, "-D%s=x\n", strings.Repeat("a", 1020))
			}
		}, "more than 1024 KiB", 1},
		"endless header": {func(w http.ResponseWriter, _ *http.Request) {
			for k := range 100 {
				w.Header().Set(fmt.Sprintf("X-%d", k), strings.Repeat("a", 1000))
			}
			fmt.Fprint(w, "-Dx=1")
		}, "its headers have more than 64 KiB", 1},
		"another scheme": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/hosts", http.StatusFound)
		},
			"it redirects to a URL that is neither http nor https", 1},
		"loop": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) }, "more than 5 times", 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, says("-Dgood=1"))
			f := &Fetcher[Answer]{Dir: t.TempDir(), Accept: onlyOptions}
			src := patient(s.URL + "/x?token=geheim")
			if d, err := fetch(f, src); err != nil || d.Value.Text != "-Dgood=1" {
				t.Fatalf("%+v, %v", d, err)
			}
			s.set(tc.handle)
			s.asked.Store(0)
			if strings.Contains(tc.why, "300ms") {
				src.Timeout = 300 * time.Millisecond
			}
			d, err := fetchUntil(f, src, func() bool { return s.asked.Load() >= tc.tries })
			if err != nil || d.Value.Text != "-Dgood=1" || d.Stale == nil || !strings.Contains(d.Stale.Error(), tc.why) {
				t.Errorf("%+v, %v", d, err)
			}
			if n := s.asked.Load(); n < tc.tries || tc.tries == 1 && n != 1 {
				t.Errorf("asked %d times, want %d", n, tc.tries)
			}
			src.RequireFresh = true
			_, err = fetchUntil(f, src, once)
			if err == nil || !strings.Contains(err.Error(), "require_fresh") || strings.Contains(err.Error(), "geheim") {
				t.Errorf("require_fresh gives %v", err)
			}
		})
	}
}

func TestFetchWithoutServer(t *testing.T) {
	t.Parallel() // it waits for deadlines
	s := newService(t, says("-Dgood=1"))
	f := keeping(t.TempDir())
	src := patient(strings.Replace(s.URL, "http://", "http://me:geheim@", 1) + "/x")
	if _, err := fetch(f, src); err != nil {
		t.Fatal(err)
	}
	s.Close()
	src = patient(src.URL)
	d, err := fetchUntil(f, src, once)
	if err != nil || d.Value.Text != "-Dgood=1" || d.Stale == nil || !strings.Contains(d.Stale.Error(), "refused") {
		t.Errorf("%+v, %v", d, err)
	}
	if all := fmt.Sprintf("%v %+v", err, d); strings.Contains(all, "geheim") {
		t.Errorf("the password is shown: %s", all)
	}
	// Another URL has no copy, and a damaged copy is not used.
	if _, err := fetchUntil(f, patient(src.URL+"y"), once); err == nil || !strings.Contains(err.Error(), "no good answer was kept") ||
		strings.Contains(err.Error(), "geheim") {
		t.Errorf("%v", err)
	}
	files, _ := filepath.Glob(f.Dir + "/*")
	for what, spoil := range map[string]func() error{
		"its checksum is wrong": func() error {
			data, err := os.ReadFile(files[0])
			if err != nil {
				return err
			}
			return os.WriteFile(files[0], []byte(strings.Replace(string(data), "good", "evil", 1)), 0o600)
		},
		"it is too short":              func() error { return os.Truncate(files[0], 10) },
		"others could have written it": func() error { return os.Chmod(files[0], 0o666) },
	} {
		good, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if _, err := fetchUntil(f, src, once); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		if err := errors.Join(os.WriteFile(files[0], good, 0o600), os.Chmod(files[0], 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFetchFromASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://example.invalid/", http.StatusFound)
			return
		}
		fmt.Fprintf(w, `["-Dpath=%s", "-Dq=%s"]`, r.URL.Path, r.URL.Query().Get("q"))
	}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	defer s.Close()
	d, err := fetch(keeping(""), patient("unix://"+path+":/v1/${APPID}?q=1"))
	if err != nil || strings.Join(d.Value.List, " ") != "-Dpath=/v1/7 -Dq=1" {
		t.Errorf("%+v, %v", d, err)
	}
	if d.Unkept == nil {
		t.Error("without a folder nothing is saved, and no error says so")
	}
	if _, err := fetch(keeping(""), patient("unix://"+path+":/away")); err == nil || !strings.Contains(err.Error(), "away from its socket") {
		t.Errorf("%v", err)
	}
}

// A folder that cannot be written costs the copy, and nothing else.
func TestFetchKeepsNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newService(t, says("-Dgood=1"))
	d, err := fetch(keeping(filepath.Join(file, "jvm")), patient(s.URL))
	if err != nil || d.Value.Text != "-Dgood=1" || d.Unkept == nil {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestFetchOverTLS(t *testing.T) {
	seen := ""
	plain := newService(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("X-Team")
		fmt.Fprint(w, "-Dplain=1")
	})
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			http.Redirect(w, r, plain.URL, http.StatusFound)
			return
		}
		fmt.Fprint(w, "-Dsafe=1")
	}))
	s.Config.ErrorLog = nil
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	src := patient(s.URL)
	if _, err := fetch(keeping(""), src); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate gives %v", err)
	}
	src.CAFile = ca
	if d, err := fetch(keeping(""), src); err != nil || d.Value.Text != "-Dsafe=1" {
		t.Errorf("%+v, %v", d, err)
	}
	src.URL += "/down"
	if _, err := fetch(keeping(""), src); err == nil || !strings.Contains(err.Error(), "from https to http") {
		t.Errorf("%v", err)
	}
	src.CAFile = os.DevNull
	if _, err := fetch(keeping(""), src); err == nil || !strings.Contains(err.Error(), "ca_file") {
		t.Errorf("%v", err)
	}
	// What was configured for one host does not go to another.
	front := newService(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain.URL, http.StatusFound) })
	src = patient(front.URL)
	src.Headers = map[string]string{"X-Team": "blue"}
	if d, err := fetch(keeping(""), src); err != nil || d.Value.Text != "-Dplain=1" || seen != "" {
		t.Errorf("%+v, %v; the other host saw %q", d, err, seen)
	}
}
