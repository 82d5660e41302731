package hooks

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// request sends the request of a hook.
func request(t *testing.T, h Hook, o lifecycle.Occurrence) Outcome {
	t.Helper()
	b := ResolvedHook{Hook: h, Event: o.Event}
	b.Name = "register"
	b.Hook = b.WithDefaults()
	l := newTestRunner(t, newFakeHost(), Recovered{}, b)
	l.opts.Labels = func() map[string]string { return map[string]string{"app id": `a"b\c` + "\n"} }
	l.opts.Env = map[string]string{"PLACE": "a/b ?&=#", "TWO": "x\r\nX-Evil: y", "DOTS": ".."}
	outs, err := l.RunManually(context.Background(), o, "")
	if err != nil || len(outs) != 1 {
		t.Fatalf("%v, %v", outs, err)
	}
	return outs[0]
}

func TestRequests(t *testing.T) {
	var last atomic.Value // of string: a request that timed out may still be answered
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		last.Store(strings.Join([]string{r.Method, r.RequestURI, r.Header.Get("Content-Type"), r.Header.Get("X-A"), string(body)}, "|"))
		switch r.URL.Path {
		case "/down":
			http.Error(w, "first line\nsecond", http.StatusInternalServerError)
		case "/away":
			http.Redirect(w, r, "http://other.invalid/", http.StatusTemporaryRedirect)
		case "/get":
			http.Redirect(w, r, "/x", http.StatusFound)
		case "/keep":
			http.Redirect(w, r, "/kept", http.StatusTemporaryRedirect)
		case "/slow":
			<-r.Context().Done()
		case "/drip":
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/flood":
			for range 100 {
				_, _ = w.Write(make([]byte, 10_000))
			}
		case "/accepted":
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	defer server.Close()
	for _, tc := range []struct {
		name string
		hook Hook
		got  string // the request; "" any
		why  string // "" none
		code int
	}{
		{"plain", Hook{URL: server.URL + "/x"}, "POST|/x|||", "", 200},
		{"escaped in the path", Hook{URL: server.URL + "/x/${PLACE}/${STOKER_SERVICE}", Method: "PUT"}, "PUT|/x/a%2Fb%20%3F%26%3D%23/app|||",
			"", 200},
		{"escaped in the query", Hook{URL: server.URL + "/x?a=${PLACE}&b=1", Method: "DELETE"}, "DELETE|/x?a=a%2Fb+%3F%26%3D%23&b=1|||", "", 200},
		{"escaped in JSON", Hook{URL: server.URL, Body: `{"id": "${STOKER_LABEL_APP_ID}", "pid": ${STOKER_PID}}`},
			`POST|/|application/json||{"id": "a\"b\\c\n", "pid": 42}`, "", 200},
		{"escaped in a form", Hook{URL: server.URL, Body: "a=${PLACE}&b=1",
			Headers: map[string]string{"content-type": "application/x-www-form-urlencoded"}},
			"POST|/|application/x-www-form-urlencoded||a=a%2Fb+%3F%26%3D%23&b=1", "", 200},
		{"escaped in XML", Hook{URL: server.URL, Body: "<a>${PLACE}</a>", Headers: map[string]string{"Content-Type": "text/xml"}},
			"POST|/|text/xml||<a>a/b ?&amp;=#</a>", "", 200},
		{"as it is", Hook{URL: server.URL, Body: "${PLACE}", Headers: map[string]string{"Content-Type": "text/plain",
			"X-A": "${STOKER_EVENT}"}}, "POST|/|text/plain|ready|a/b ?&=#", "", 200},
		{"a header with a line break", Hook{URL: server.URL, Headers: map[string]string{"X-A": "${TWO}"}}, "",
			"header X-A: the value of TWO has a line break", 0},
		{"a variable without value", Hook{URL: server.URL, Body: "${NOPE}"}, "", "body: no variable and no label gives NOPE a value", 0},
		{"another place", Hook{URL: server.URL + "/a/${DOTS}/b"}, "", "leads to another place", 0},
		{"another status", Hook{URL: server.URL + "/accepted", Status: []int{202}}, "", "", 202},
		{"not that status", Hook{URL: server.URL + "/x", Status: []int{202}}, "", "it answers with the status 200", 200},
		{"500", Hook{URL: server.URL + "/down?token=geheim"}, "", "/down?token=***: it answers with the status 500: first line", 500},
		{"another host", Hook{URL: server.URL + "/away"}, "", "it redirects to another host, other.invalid", 0},
		{"POST becomes GET", Hook{URL: server.URL + "/get"}, "", "POST becomes GET", 0},
		{"a redirect that keeps it", Hook{URL: server.URL + "/keep", Body: "{}"}, "POST|/kept|application/json||{}", "", 200},
		{"slow", Hook{URL: server.URL + "/slow", Timeout: 50 * time.Millisecond}, "", "no answer within 50ms", 0},
		{"slow body", Hook{URL: server.URL + "/drip", Timeout: 50 * time.Millisecond}, "", "no answer within 50ms", 200},
		{"a flood", Hook{URL: server.URL + "/flood"}, "", "", 200},
	} {
		last.Store("")
		out := request(t, tc.hook, lifecycle.Occurrence{Event: lifecycle.Ready, Service: "app", Pid: 42})
		if out.OK != (tc.why == "") || !strings.Contains(out.Why, tc.why) || out.Code != tc.code || len(out.Output) > maxTail {
			t.Errorf("%s: %+v, want %q", tc.name, out, tc.why)
		}
		if strings.Contains(out.Why, "geheim") {
			t.Errorf("%s: %s", tc.name, out.Why)
		}
		if got := last.Load().(string); tc.got != "" && strings.TrimRight(got, "|") != strings.TrimRight(tc.got, "|") {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.got)
		}
	}
}

func TestRequestToInvalidServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n"))
			c.Close()
		}
	}()
	if out := request(t, Hook{URL: "http://" + l.Addr().String()}, lifecycle.Occurrence{Event: lifecycle.Ready,
		Service: "app"}); out.OK || !strings.Contains(out.Why, l.Addr().String()) {
		t.Errorf("%+v", out)
	}
	l.Close()
	if out := request(t, Hook{URL: "http://" + l.Addr().String()}, lifecycle.Occurrence{Event: lifecycle.Ready,
		Service: "app"}); out.OK || !strings.Contains(out.Why, "refused") {
		t.Errorf("%+v", out)
	}
}

func TestRequestOverASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })}
	go func() { _ = server.Serve(l) }() // ends with Close
	defer server.Close()
	if out := request(t, Hook{URL: "unix://" + path + ":/apps/${STOKER_SERVICE}"},
		lifecycle.Occurrence{Event: lifecycle.Ready, Service: "app"}); !out.OK || out.Output != "/apps/app" {
		t.Errorf("%+v", out)
	}
}
