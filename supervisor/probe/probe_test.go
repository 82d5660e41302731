package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/freeport"
)

// check runs a probe once. The limit is for one that hangs.
func check(c Checker) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return c(ctx, nil)
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("error %v, want none", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("error %v, want %q", err, want)
	}
}

// closedPort is an address without a listener, until the test ends.
func closedPort(t *testing.T) string {
	return fmt.Sprintf("127.0.0.1:%d", freeport.For(t))
}

func TestHTTPProbe(t *testing.T) {
	asked := map[string]int{}
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path]++
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(204)
		case "/302":
			http.Redirect(w, r, "/500", http.StatusFound)
		case "/404":
			http.NotFound(w, r)
		case "/500":
			http.Error(w, "no", 500)
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}
	})
	plain, secure := httptest.NewServer(answer), httptest.NewTLSServer(answer)
	defer plain.Close()
	defer secure.Close()
	t.Setenv("http_proxy", "http://"+closedPort(t)) // not obeyed
	cases := []struct {
		url    string
		status []int
		want   string
	}{
		{plain.URL + "/", nil, ""},
		{plain.URL + "/204", nil, ""},
		{plain.URL + "/302", nil, ""},
		{plain.URL + "/404", nil, "/404: answered 404 Not Found"},
		{plain.URL + "/500", nil, "answered 500"},
		{plain.URL + "/404", []int{200, 404}, ""},
		{plain.URL + "/", []int{204}, "answered 200 OK"},
		{plain.URL + "/302", []int{200}, "answered 302"},
		{plain.URL + "/endless", nil, ""},
		{secure.URL + "/", nil, ""},
		{"http://" + closedPort(t) + "/", nil, "connection refused (nothing listens there)"},
		{"http://host.invalid/", nil, "GET http://host.invalid/: "},
		{"http://%zz/", nil, "GET http://%zz/: invalid URL escape"},
		{strings.Replace(plain.URL, "://", "://me:secret@", 1) + "/404", nil, "GET http://me:***@127.0.0.1"},
	}
	for _, c := range cases {
		wantError(t, check(Config{HTTP: HTTP{URL: c.url, Status: c.status}}.New(nil)), c.want)
	}
	if asked["/500"] != 1 {
		t.Errorf("/500 was asked %d times: a redirection was followed", asked["/500"])
	}
}

func TestHTTPProbeTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	wantError(t, Config{HTTP: HTTP{URL: "http://" + l.Addr().String() + "/"}}.New(nil)(ctx, nil), "no answer in time")
}

func TestTCPProbe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	wantError(t, check(Config{TCP: l.Addr().String()}.New(nil)), "")
	wantError(t, check(Config{TCP: closedPort(t)}.New(nil)), "connection refused")
	wantError(t, check(Config{TCP: "127.0.0.1"}.New(nil)), "missing port")
}

// lateError is the error of a command that was killed.
type lateError struct{}

func (lateError) Error() string { return "did not end within 5s and was killed" }
func (lateError) Unwrap() error { return context.DeadlineExceeded }

func TestExecProbe(t *testing.T) {
	cases := []struct {
		code   int
		output string
		err    error
		want   string
	}{
		{0, "fine", nil, ""},
		{1, "first\nsecond\nthird\nlast line\n", nil, "exec /check: exit code 1: second | third | last line"},
		{1, "\x1b[31mred\x07\tcell\n\n", nil, "exec /check: exit code 1: ?[31mred? cell"},
		{137, "", nil, "exec /check: exit code 137"},
		{0, "", errors.New("cannot execute it"), "exec /check: cannot execute it"},
		{137, "asking...\n", lateError{}, "exec /check: did not end within 5s and was killed: asking..."},
		{1, strings.Repeat("x", 10000), nil, "exit code 1: " + strings.Repeat("x", 200) + "..."},
	}
	for _, c := range cases {
		probe := Config{Exec: []string{"/check", "-a"}}.New(func(_ context.Context, argv []string) (int, string, error) {
			if strings.Join(argv, " ") != "/check -a" {
				t.Errorf("argv %q", argv)
			}
			return c.code, c.output, c.err
		})
		err := check(probe)
		wantError(t, err, c.want)
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
}

// All kinds must hold, and the first that does not is named.
func TestProbesTogether(t *testing.T) {
	if (Config{Timeout: time.Second}).New(nil) != nil {
		t.Error("nothing is configured, but there is a probe")
	}
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	code := 1
	start := func(context.Context, []string) (int, string, error) { return code, "", nil }
	address := strings.TrimPrefix(server.URL, "http://")
	r := Config{HTTP: HTTP{URL: server.URL, Status: []int{404}}, TCP: address, Exec: []string{"/check"}}
	wantError(t, check(r.New(start)), "exec /check: exit code 1")
	code = 0
	wantError(t, check(r.New(start)), "")
	r.HTTP.Status = nil
	wantError(t, check(r.New(start)), "answered 404")
	r.TCP = closedPort(t)
	wantError(t, check(r.New(start)), "tcp "+r.TCP)
}
