//go:build container

package tests

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// endpoint is an HTTP server that records the requests of hooks.
type endpoint struct {
	*httptest.Server
	asked atomic.Int32
	last  atomic.Pointer[string]
}

func newEndpoint(t *testing.T, answer func(n int32, w http.ResponseWriter)) *endpoint {
	r := &endpoint{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		text := fmt.Sprintf("%s %s %s", req.Method, req.URL.Path, body)
		r.last.Store(&text)
		answer(r.asked.Add(1), w)
	}))
	t.Cleanup(func() { r.CloseClientConnections(); r.Close() })
	return r
}

// If an endpoint is down, slow or broken, the hook's policy applies and the service becomes
// RUNNING.
func TestHTTPHooks(t *testing.T) {
	t.Parallel()
	fail := func(code int) func(int32, http.ResponseWriter) {
		return func(_ int32, w http.ResponseWriter) { w.WriteHeader(code) }
	}
	for name, c := range map[string]struct {
		answer func(n int32, w http.ResponseWriter)
		policy string
		tries  int32
		says   string // of `stoker hook list`
	}{
		"good": {fail(204), "ignore", 1, "204"},
		"500 then good": {func(n int32, w http.ResponseWriter) { w.WriteHeader(map[bool]int{true: 500, false: 200}[n < 3]) }, "retry 5", 3,
			"200"},
		"always 500":  {fail(500), "retry 2", 3, "500"},
		"500 ignored": {fail(500), "ignore", 1, "500"},
		"slow":        {func(_ int32, w http.ResponseWriter) { pass(3 * time.Second) }, "retry 1", 2, ""},
		"endless answer": {func(_ int32, w http.ResponseWriter) {
			for k := 0; k < 100_000; k++ {
				if _, err := w.Write([]byte(strings.Repeat("x", 1000))); err != nil {
					return
				}
			}
		}, "ignore", 1, "200"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newEndpoint(t, c.answer)
			limit := "30s" // not the subject
			if name == "slow" {
				limit = "1s"
			}
			b := newBox(t, boxOptions{env: []string{"ENV=te\"st"}, config: `
hooks:
  ready: [{name: register, url: "` + r.URL + `/agents/${STOKER_SERVICE}", method: PUT, body: '{"env": "${ENV}", "event": "${STOKER_EVENT}"}', timeout: ` + limit + `, retry_every: 50ms, on_failure: "` + c.policy + `"}]
services: {web: {command: [sleep, "98431"]}}
`})
			b.awaitState("web", "RUNNING", 15*time.Second)
			await(t, 20*time.Second, "the last try", func() bool { return r.asked.Load() == c.tries })
			if got, want := *r.last.Load(), `PUT /agents/web {"env": "te\"st", "event": "ready"}`; got != want {
				t.Errorf("asked %q, want %q", got, want)
			}
			await(t, 20*time.Second, "the outcome", func() bool {
				out, err := b.run("hook", "list", "-o", "json")
				return err == nil && strings.Contains(out, c.says)
			})
			b.endsWell()
			if n := r.asked.Load(); n != c.tries {
				t.Errorf("asked %d times, want %d", n, c.tries)
			}
		})
	}
}

// The port is closed, or its server does not speak HTTP.
func TestHTTPHooksToNowhere(t *testing.T) {
	t.Parallel()
	garbage, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { garbage.Close() })
	go func() { // ends with the listener
		for {
			conn, err := garbage.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("SSH-2.0-x\r\n"))
			conn.Close()
		}
	}()
	for name, url := range map[string]string{"down": "http://127.0.0.1:9", "garbage": "http://" + garbage.Addr().String()} {
		for _, event := range []string{"pre-start", "ready", "pre-stop"} {
			t.Run(name+" at "+event, func(t *testing.T) {
				t.Parallel()
				b := newBox(t, boxOptions{config: `
hooks: {` + event + `: [{name: register, url: "` + url + `/", timeout: 1s}]}
services: {web: {command: [sleep, "98431"]}}
`})
				b.awaitState("web", "RUNNING", 15*time.Second)
				b.endsWell()
				if said := b.stderr.String(); !strings.Contains(said, "register") || !strings.Contains(said, url) {
					t.Errorf("nothing is said of the failure: %s", said)
				}
			})
		}
	}
}

// With the policy fail the failure of the hook fails the start, which is retried.
func TestHookThatFailsTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := newBox(t, boxOptions{dir: dir, config: `
hooks: {pre-start: [{name: gate, on_failure: fail, command: [sh, -c, 'echo no gate today; [ -e ` + dir + `/open ]']}]}
services: {web: {command: [sleep, "98431"], restart: {backoff: {first: 50ms, max: 100ms}, limit: {starts: 100000}}}}
`})
	await(t, 15*time.Second, "the reason", func() bool {
		out, _ := b.run("status")
		return strings.Contains(out, "gate") && strings.Contains(out, "no gate today")
	})
	if err := os.WriteFile(filepath.Join(dir, "open"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	b.awaitState("web", "RUNNING", 15*time.Second)
	syscall.Kill(b.supervisor(), syscall.SIGKILL)
	b.awaitState("web", "RUNNING", 15*time.Second)
}

// With the policy fail a started hook fails a start that is not ready yet, and a ready hook makes
// the service degraded.
func TestHookThatFailsAService(t *testing.T) {
	t.Parallel()
	config := func(event, ready string) string {
		return `
hooks: {` + event + `: [{name: gate, on_failure: fail, command: [sh, -c, 'echo no gate today; exit 3']}]}
services: {web: {command: [sleep, "98431"], ` + ready + ` restart: {backoff: {first: 1h, max: 1h}}}}
`
	}
	reported := func(b *box) bool {
		out, _ := b.run("status")
		return strings.Contains(out, "gate") && strings.Contains(out, "no gate today")
	}
	b := newBox(t, boxOptions{config: config("started", "ready: {log: never},")})
	b.awaitState("web", "BACKOFF", 15*time.Second)
	if !reported(b) {
		t.Error("the status does not say why the start failed")
	}
	b = newBox(t, boxOptions{config: config("ready", "")})
	await(t, 15*time.Second, "the degraded service", func() bool { return b.state("web") == "RUNNING" && reported(b) })
	await(t, 15*time.Second, "the incident", func() bool {
		out, _ := b.run("incidents")
		return strings.Contains(out, "unhealthy")
	})
}
