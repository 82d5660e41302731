package kube_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// post runs a command by a plain request.
func (b *box) post(ctx context.Context, stdin io.Reader, query url.Values) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url("/v1/exec?"+query.Encode()), stdin)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	return (&http.Client{Transport: transport}).Do(r)
}

// TestPost checks the way of clients that cannot close the input of a websocket.
func TestPost(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]boxOptions{"tcp": {}, "tls": {tls: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, o)
			for _, c := range []struct{ script, stdin, query, want, code string }{
				{"cat; exit 7", "input", "", "input", "7"},
				{"echo out; sleep 0.2; echo err >&2", "", "", "out\nerr\n", "0"},
				{"echo out; echo err >&2", "", "false", "out\n", "0"},
				{"kill -KILL $$", "", "", "", "137"},
			} {
				query := url.Values{"command": {"sh", "-c", c.script}}
				if c.query != "" {
					query.Set("stderr", c.query)
				}
				answer, err := b.post(within(t), strings.NewReader(c.stdin), query)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(answer.Body)
				if err != nil || answer.StatusCode != http.StatusOK || string(body) != c.want || answer.Trailer.Get("Stoker-Exit-Code") != c.code {
					t.Errorf("%q: status %d, %q, trailers %v, %v; want %q, %s", c.script, answer.StatusCode, body, answer.Trailer, err, c.want, c.code)
				}
			}
			b.postMuch(t)
			b.postAbandoned(t)
		})
	}
}

// postMuch sends much in both directions at the same time.
func (b *box) postMuch(t *testing.T) {
	t.Helper()
	const size = 64 << 20
	want, got := sha256.New(), sha256.New()
	_, _ = io.Copy(want, noise(size)) // neither of them fails
	answer, err := b.post(within(t), noise(size), url.Values{"command": {"cat"}})
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(got, answer.Body)
	if err != nil || n != size || fmt.Sprintf("%x", got.Sum(nil)) != fmt.Sprintf("%x", want.Sum(nil)) ||
		answer.Trailer.Get("Stoker-Exit-Code") != "0" {
		t.Errorf("%d bytes, trailers %v, %v", n, answer.Trailer, err)
	}
}

// postAbandoned leaves in the middle: the process ends.
func (b *box) postAbandoned(t *testing.T) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	answer, err := b.post(ctx, nil, url.Values{"command": {"sh", "-c", "echo ready; exec sleep 1000"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(answer.Body, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	leave()
	pollFor(t, 5*time.Second, "the process ends", b.idle)
}

// TestOff checks that nothing of the console is there without its configuration.
func TestOff(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{off: true})
	for _, path := range []string{"/v1/exec?command=true", "/v1/sessions", "/v1/sessions/x", "/api/v1/namespaces/default/pods/web/exec?command=true&stdout=true"} {
		if status, body := b.get(path, nil); status != http.StatusNotFound || !strings.Contains(body, "console") {
			t.Errorf("%s: status %d, %s", path, status, body)
		}
	}
}
