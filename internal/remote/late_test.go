package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A service that comes up late is asked until it has an answer.
func TestFetchFromALateService(t *testing.T) {
	t.Parallel()
	left := map[string]int{"/500": 2, "/429": 1}
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		if left[r.URL.Path]--; left[r.URL.Path] >= 0 {
			w.WriteHeader(map[string]int{"/500": 500, "/429": 429}[r.URL.Path])
			return
		}
		fmt.Fprint(w, "-Dgood=1")
	})
	for _, path := range []string{"/500", "/429"} {
		if d, err := fetch(keeping(""), patient(s.URL+path)); err != nil || d.Value.Text != "-Dgood=1" || d.Stale != nil {
			t.Errorf("%s: %+v, %v", path, d, err)
		}
	}
	if n := s.asked.Load(); n != 5 {
		t.Errorf("asked %d times, want 5", n)
	}
}

// With a saved answer the service has less time, unless a fresh one is required.
func TestKeptDeadline(t *testing.T) {
	t.Parallel()
	s := newService(t, says("-Dgood=1"))
	f, src := keeping(t.TempDir()), patient(s.URL)
	if _, err := fetch(f, src); err != nil {
		t.Fatal(err)
	}
	s.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	src.KeptDeadline = 50 * time.Millisecond
	begin := time.Now()
	if d, err := fetch(f, src); err != nil || d.Stale == nil || time.Since(begin) > 30*time.Second {
		t.Errorf("%+v, %v after %v", d, err, time.Since(begin))
	}
	s.asked.Store(0)
	src.RequireFresh = true
	if _, err := fetchUntil(f, src, func() bool { return s.asked.Load() == 3 }); err == nil || s.asked.Load() < 3 {
		t.Errorf("%v after %d tries", err, s.asked.Load())
	}
}

func TestJittered(t *testing.T) {
	for random, want := range map[float64]time.Duration{0: 50 * time.Millisecond, 0.5: 75 * time.Millisecond, 1: 100 * time.Millisecond} {
		if got := jittered(100*time.Millisecond, random); got != want {
			t.Errorf("%v: %v, want %v", random, got, want)
		}
	}
}

func TestProxy(t *testing.T) {
	proxy := exceptLinkLocal(func(*http.Request) (*url.URL, error) { return &url.URL{Scheme: "http", Host: "proxy:3128"}, nil })
	for address, want := range map[string]bool{
		"http://169.254.169.254/openstack": false, "http://169.254.0.1:8775/": false, "http://[fe80::a9fe:a9fe%25eth0]/": false,
		"http://[fe80::1]:80/": false, "http://[::ffff:169.254.169.254]/": false,
		"http://169.253.255.255/": true, "http://192.0.2.1/": true, "http://[2001:db8::1]/": true, "http://config/": true,
	} {
		got, err := proxy(httptest.NewRequest(http.MethodGet, address, nil))
		if err != nil || (got != nil) != want {
			t.Errorf("%s: %v, %v", address, got, err)
		}
	}
}

func TestFetchFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "7.options")
	f := &Fetcher[Answer]{Dir: filepath.Join(dir, "state"), Accept: onlyOptions}
	src := Source{File: dir + "/${APPID}.options", Timeout: time.Minute, Deadline: time.Minute}
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := fetchUntil(f, src, once)
	if err == nil || !strings.Contains(err.Error(), "cannot get "+path+": no such file or directory, and no good") {
		t.Errorf("without the file: %v", err)
	}
	put("")
	if _, err := fetchUntil(f, src, once); err == nil || !strings.Contains(err.Error(), "it is empty") {
		t.Errorf("an empty file: %v", err)
	}
	put("-Da=1")
	d, err := fetch(f, src)
	if err != nil || d.Value.Text != "-Da=1" || d.Stale != nil || d.Unkept != nil || d.URL != path {
		t.Errorf("%+v, %v", d, err)
	}
	kept, _ := filepath.Glob(f.Dir + "/*")
	before, err := os.Stat(kept[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err = fetch(f, src); err != nil {
		t.Error(err)
	}
	if after, err := os.Stat(kept[0]); err != nil || !os.SameFile(before, after) {
		t.Errorf("the same content is saved again: %v", err)
	}
	put("-Da=2")
	if d, err = fetch(f, src); err != nil || d.Value.Text != "-Da=2" {
		t.Errorf("%+v, %v", d, err)
	}
	for what, spoil := range map[string]func() error{
		"no such file":             func() error { return nil },
		"the answer is refused":    func() error { return os.WriteFile(path, []byte("options"), 0o600) },
		"too large":                func() error { return os.WriteFile(path, make([]byte, MaxBody+1), 0o600) },
		"it is not a regular file": func() error { return os.Mkdir(path, 0o700) },
	} {
		if err := errors.Join(os.RemoveAll(path), spoil()); err != nil {
			t.Fatal(err)
		}
		d, err := fetchUntil(f, src, once)
		if err != nil || d.Value.Text != "-Da=2" || d.Stale == nil || !strings.Contains(d.Stale.Error(), what) {
			t.Errorf("%s: %+v, %v", what, d, err)
		}
		if refused := errors.As(d.Stale, new(*RefusedError)); refused != (what == "the answer is refused" || what == "too large") {
			t.Errorf("%s: refused is %v", what, refused)
		}
	}
	_, err = f.Fetch(t.Context(), src, Variables(map[string]string{"APPID": ".."}, nil))
	if err == nil || !strings.Contains(err.Error(), `the variable APPID is ".."`) {
		t.Error(err)
	}
}

// An answer that an earlier version saved is readable.
func TestSavedAnswer(t *testing.T) {
	const saved = `{"stoker":"last-good-answer","sha256":"6c3d9203b8651313f20fb3eba47c7118b8a8576727310ab2e3dd6e4bd78ca6fd","data":` +
		`{"url":"http://192.0.2.1:1/jvm","key":"f950558a277ec854d5a58dc3421ec4072844be40a78cb11b65232909c7b1a495",` +
		`"time":"2001-09-09T01:46:40Z","etag":"\"1\"","content_type":"text/plain","body":"-Dgood=1\n"}}` + "\n"
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/f950558a277ec854d5a58dc3421ec407.json", []byte(saved), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nothing is asked
	d, err := keeping(dir).Fetch(ctx, patient("http://192.0.2.1:1/jvm"), nil)
	if err != nil || d.Stale == nil || d.Value.Text != "-Dgood=1\n" || !d.Time.Equal(time.Unix(1e9, 0)) {
		t.Errorf("%+v, %v", d, err)
	}
}
