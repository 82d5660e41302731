package source

import (
	"context"
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

	"github.com/stoker-init/stoker/netinit"
)

// describes is a description of one address.
func describes(address string) string {
	return fmt.Sprintf(`{"version": 1, "links": [{"match": {"name": "eth0"}, "addresses": [%q]}]}`, address)
}

// has reports whether a description has one address.
func has(d *Description, address string) bool {
	return d != nil && d.Plan != nil && len(d.Plan.Links) == 1 && len(d.Plan.Links[0].Addresses) == 1 &&
		d.Plan.Links[0].Addresses[0].String() == address
}

// host is a metadata service whose behaviour can be changed.
type host struct {
	*httptest.Server
	asked  atomic.Int32
	handle atomic.Pointer[http.HandlerFunc]
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{}
	h.says(describes("192.0.2.10/24"))
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.asked.Add(1)
		(*h.handle.Load())(w, r)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *host) does(f http.HandlerFunc) { h.handle.Store(&f) }

func (h *host) says(text string) {
	h.does(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
}

// patient are Options that get an answer on a loaded machine as well. Quick ones are given up soon, also before an answer.
func patient(from, folder string) Options {
	return Options{Config: netinit.Config{Source: from, Format: netinit.Auto, Wait: time.Minute, StateDir: folder}}
}

func quick(from, folder string) Options {
	o := patient(from, folder)
	o.Wait = 200 * time.Millisecond
	return o
}

// fetchTwice is Fetch that is given up after the second failed try.
func fetchTwice(t *testing.T, o Options) (*Description, error) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := 0
	o.OnRetry = func(error) {
		if failed++; failed == 2 {
			cancel()
		}
	}
	return Fetch(ctx, o)
}

// outcome is what a description, or an error, is.
func outcome(d *Description, err error) string {
	switch {
	case errors.As(err, new(*UnreachableError)):
		return "unreachable"
	case errors.As(err, new(*RefusedError)):
		return "refused"
	case err != nil:
		return "error"
	case d.Stale != nil:
		return "kept"
	}
	return "fresh"
}

// Whatever the service does, with a kept description and without one.
func TestFetch(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	text := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
	}
	for name, tc := range map[string]struct {
		handle        http.HandlerFunc
		with, without string
		why           string
	}{
		"good":     {text(describes("192.0.2.11/24")), "fresh", "fresh", ""},
		"404":      {status(404), "kept", "unreachable", "the status 404"},
		"500":      {status(500), "kept", "unreachable", "the status 500"},
		"408":      {status(408), "kept", "unreachable", "the status 408"},
		"429":      {status(429), "kept", "unreachable", "the status 429"},
		"garbage":  {text("\x00\x01"), "refused", "refused", "cannot accept the network description:\n"},
		"a page":   {text("<html>Please log in</html>"), "refused", "refused", "cannot accept the network description:\n"},
		"empty":    {text(""), "refused", "refused", "cannot accept the network description:\n"},
		"wrong":    {text(describes("192.0.2.10")), "refused", "refused", "links[0].addresses[0]"},
		"too long": {text("# " + strings.Repeat("x", netinit.MaxInput)), "refused", "refused", "more than 1024 KiB"},
		"stuck": {func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "{")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "kept", "unreachable", "no answer within"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/moved" {
				fmt.Fprint(w, describes("192.0.2.11/24"))
				return
			}
			http.Redirect(w, r, "/moved", http.StatusFound)
		}, "fresh", "fresh", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits for deadlines
			h, folder := newHost(t), t.TempDir()
			if d, err := Fetch(t.Context(), patient(h.URL, folder)); err != nil || !has(d, "192.0.2.10/24") || d.Unkept != nil {
				t.Fatalf("%+v, %v", d, err)
			}
			h.does(tc.handle)
			options := patient
			if name == "stuck" {
				options = quick
			}
			fresh := options(h.URL, folder)
			fresh.RequireFresh = true
			d, err := fetchTwice(t, fresh)
			if got := outcome(d, err); got != tc.without || err != nil && !strings.Contains(err.Error(), tc.why) {
				t.Errorf("a fresh one is required: %s, %v; want %s", got, err, tc.without)
			}
			d, err = fetchTwice(t, options(h.URL, t.TempDir()))
			if got := outcome(d, err); got != tc.without || err != nil && !strings.Contains(err.Error(), tc.why) {
				t.Errorf("nothing kept: %s, %v; want %s", got, err, tc.without)
			}
			d, err = fetchTwice(t, options(h.URL, folder))
			if got := outcome(d, err); got != tc.with || err != nil && !strings.Contains(err.Error(), tc.why) {
				t.Errorf("kept: %s, %v; want %s", got, err, tc.with)
			}
			if tc.with == "kept" && (!has(d, "192.0.2.10/24") || time.Since(d.Time) > time.Minute ||
				!strings.Contains(strings.Join(d.Warnings(), "\n"), " ago is used: ") || !strings.Contains(d.Stale.Error(), tc.why)) {
				t.Errorf("%+v: %q", d, d.Warnings())
			}
			// What is refused is not kept.
			h.Close()
			if d, err := Fetch(t.Context(), quick(h.URL, folder)); outcome(d, err) != "kept" || has(d, "192.0.2.10/24") == (tc.with == "fresh") {
				t.Errorf("afterwards: %+v, %v", d, err)
			}
		})
	}
}

// An error says whether a longer wait may help.
func TestFetchWaits(t *testing.T) {
	h := newHost(t)
	for status, wait := range map[int]time.Duration{404: time.Minute, 500: 200 * time.Millisecond} {
		h.does(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		o := patient(h.URL, "")
		o.Wait = wait
		_, err := Fetch(t.Context(), o)
		if e, ok := errors.AsType[*UnreachableError](err); !ok || e.Waited == (status == 404) {
			t.Errorf("%d: %+v", status, err)
		}
	}
}

// The service fails twice and then answers.
func TestFetchRetries(t *testing.T) {
	h := newHost(t)
	h.does(func(w http.ResponseWriter, _ *http.Request) {
		if h.asked.Load() < 3 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, describes("192.0.2.10/24"))
	})
	if d, err := Fetch(t.Context(), patient(h.URL, "")); err != nil || !has(d, "192.0.2.10/24") || d.Unkept != nil {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestFetchDamagedCopy(t *testing.T) {
	h, folder := newHost(t), t.TempDir()
	if _, err := Fetch(t.Context(), patient(h.URL, folder)); err != nil {
		t.Fatal(err)
	}
	kept, err := filepath.Glob(folder + "/sources/*.json")
	if err != nil || len(kept) != 1 {
		t.Fatalf("%v, %v", kept, err)
	}
	if err := os.Truncate(kept[0], 100); err != nil {
		t.Fatal(err)
	}
	h.does(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) })
	if d, err := Fetch(t.Context(), quick(h.URL, folder)); outcome(d, err) != "unreachable" || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("%+v, %v", d, err)
	}
	h.says(describes("192.0.2.12/24"))
	if d, err := Fetch(t.Context(), patient(h.URL, folder)); err != nil || d.Unkept != nil {
		t.Errorf("%+v, %v", d, err)
	}
	h.Close()
	if d, err := Fetch(t.Context(), quick(h.URL, folder)); outcome(d, err) != "kept" || !has(d, "192.0.2.12/24") {
		t.Errorf("%+v, %v", d, err)
	}
}

// A kept description that is not accepted any more does not make an absent source one that is refused.
func TestFetchOutdatedCopy(t *testing.T) {
	h, folder := newHost(t), t.TempDir()
	if _, err := Fetch(t.Context(), patient(h.URL, folder)); err != nil {
		t.Fatal(err)
	}
	h.Close()
	o := quick(h.URL, folder)
	o.Format = netinit.OpenStack
	if d, err := Fetch(t.Context(), o); outcome(d, err) != "unreachable" || !strings.Contains(err.Error(), "it is refused") {
		t.Errorf("%+v, %v", d, err)
	}
}

// An unwritable folder costs the copy, and a warning.
func TestFetchKeepsNothing(t *testing.T) {
	h, file := newHost(t), filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Fetch(t.Context(), patient(h.URL, file+"/netinit"))
	if err != nil || d.Unkept == nil || !strings.Contains(strings.Join(d.Warnings(), "\n"), "is not kept for a start without "+h.URL) {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestFetchFromASocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" || r.URL.Path == "/v1/net" {
			fmt.Fprint(w, describes("192.0.2.10/24"))
			return
		}
		w.WriteHeader(404)
	})}
	go server.Serve(l) // ends with Close
	defer server.Close()
	for from, want := range map[string]string{"unix:" + socket: "fresh", "unix:" + socket + ":/v1/net": "fresh",
		"unix://" + socket + ":/v1/net": "fresh", "unix://" + socket + ":/": "fresh", "unix:" + socket + ":/other": "unreachable",
		"unix:" + socket + ".none": "unreachable", "unix:agent.sock": "unreachable", "unix://" + socket: "unreachable"} {
		o := patient(from, "")
		if want == "unreachable" {
			o = quick(from, "")
		}
		if d, err := Fetch(t.Context(), o); outcome(d, err) != want {
			t.Errorf("%s: %+v, %v, want %s", from, d, err, want)
		}
	}
}

func TestFetchFromAFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	folder := filepath.Join(dir, "state")
	put := func(text string) { // at once, as a host should
		if err := errors.Join(os.WriteFile("new", []byte(text), 0o600), os.Rename("new", "7.json")); err != nil {
			t.Error(err)
		}
	}
	lookup := func(name string) (string, bool) { return "7", name == "ID" }
	if d, err := Fetch(t.Context(), quick(dir+"/7.json", folder)); outcome(d, err) != "unreachable" {
		t.Errorf("no file: %+v, %v", d, err)
	}
	late := time.AfterFunc(300*time.Millisecond, func() { put(describes("192.0.2.10/24")) })
	defer late.Stop()
	o := patient(dir+"/${ID}.json", folder)
	o.Lookup = lookup
	if d, err := Fetch(t.Context(), o); outcome(d, err) != "fresh" || !has(d, "192.0.2.10/24") || d.From != dir+"/7.json" {
		t.Errorf("a late file: %+v, %v", d, err)
	}
	if d, err := Fetch(t.Context(), patient("7.json", folder)); outcome(d, err) != "fresh" {
		t.Errorf("a relative path: %+v, %v", d, err)
	}
	put(describes("192.0.2.10"))
	if d, err := Fetch(t.Context(), o); outcome(d, err) != "refused" || !strings.Contains(err.Error(), dir+"/${ID}.json:1:") {
		t.Errorf("refused: %+v, %v", d, err)
	}
	if err := os.Remove("7.json"); err != nil {
		t.Fatal(err)
	}
	o.Wait = 200 * time.Millisecond
	if d, err := Fetch(t.Context(), o); outcome(d, err) != "kept" || !has(d, "192.0.2.10/24") {
		t.Errorf("the file has gone: %+v, %v", d, err)
	}
	o.RequireFresh = true
	if d, err := Fetch(t.Context(), o); outcome(d, err) != "unreachable" {
		t.Errorf("the file has gone, and a fresh one is required: %+v, %v", d, err)
	}
}

func TestCheck(t *testing.T) {
	for from, want := range map[string]string{
		"/run/net.json": "", "net.json": "", "./a:b": "", "${DIR}/net.json": "", "${NET:-/run/net.json}": "", "http://169.254.169.254/x": "",
		"https://host/${ID}": "", "unix:/run/agent.sock": "", "unix:///run/agent.sock:/x": "",
		"unix:agent.sock": "unix:///path", "unix:///run/agent.sock": "unix:///path", "ftp://x/y": "begins with", "http:///x": "names no host",
		"/run/${": "${NAME}",
	} {
		if err := Check(from, false); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", from, err, want)
		}
	}
}

// The example of the page is a description.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/netinit.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```yaml\nversion: 1\n")
	example, _, _ = strings.Cut(example, "```")
	plan, err := Parse(netinit.Auto, "page", []byte("version: 1\n"+example))
	if err != nil || len(plan.Links) != 3 || len(plan.Warnings) > 0 {
		t.Errorf("%+v, %v", plan, err)
	}
}
