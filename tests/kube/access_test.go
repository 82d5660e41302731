package kube_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
)

const execPath = "/v1/exec?command=sh&command=-c&command=echo+ready%3B+exec+sleep+1000&stdout=true"

// TestRefused checks what client-go is told when it may not.
func TestRefused(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	for _, c := range []struct {
		name, token, path string
		want              func(error) bool
	}{
		{"view only", viewToken, "", apierrors.IsForbidden},
		{"no token", "", "", apierrors.IsUnauthorized},
		{"another token", strings.Repeat("B", 43), "", apierrors.IsUnauthorized},
		{"half a token", token[:20], "", apierrors.IsUnauthorized},
		{"no command", token, "/api/v1/namespaces/default/pods/web/exec?stdout=true", apierrors.IsBadRequest},
	} {
		cause := b.refusal(t, c.token, c.path)
		if !c.want(cause) {
			t.Errorf("%s: %T: %v", c.name, cause, cause)
		}
	}
}

// refusal is why client-go could not open a session; nil: it could, or the error is another.
func (b *box) refusal(t *testing.T, token, path string) error {
	t.Helper()
	if path == "" {
		path = "/api/v1/namespaces/default/pods/web/exec?command=true&stdout=true"
	}
	config := &rest.Config{Host: b.url(""), BearerToken: token}
	executor, err := remotecommand.NewWebSocketExecutor(config, "GET", b.url(path))
	if err != nil {
		t.Fatal(err)
	}
	err = executor.StreamWithContext(within(t), remotecommand.StreamOptions{Stdout: &screen{}})
	if failure, ok := err.(*httpstream.UpgradeFailureError); ok { //nolint:errorlint // what client-go returns
		return failure.Cause
	}
	return nil
}

// TestBearerProtocol checks the way of browsers: the token is a subprotocol, which the server must not repeat.
func TestBearerProtocol(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	bearer := "base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte(token))
	for protocols, want := range map[string]int{
		v5 + ", " + bearer:       http.StatusSwitchingProtocols,
		bearer + ", " + v4:       http.StatusSwitchingProtocols,
		bearer:                   http.StatusBadRequest,
		v5 + ", " + bearer + "x": http.StatusUnauthorized,
	} {
		_, answer := b.upgrade(t, execPath, protocols, "Authorization:\r\n")
		if got := answer.Header.Get("Sec-WebSocket-Protocol"); answer.StatusCode != want || strings.Contains(got, "bearer") {
			t.Errorf("%.40s: status %d, protocol %q; want %d", protocols, answer.StatusCode, got, want)
		}
	}
}

// TestOrigins checks that a foreign page opens no session, whatever the credential, and that a listed one does.
func TestOrigins(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{api: "  origins: [\"https://ops.example\"]\n  hosts: [\"ops.example:9443\", \"ADDRESS\"]\n"})
	for _, c := range []struct {
		headers string
		want    int
	}{
		{"Host: ops.example:9443\r\n", 101},
		{"Host: ops.example:9443\r\nOrigin: https://ops.example\r\n", 101},
		{"Host: ops.example:9443\r\nOrigin: http://ops.example\r\n", 403},
		{"Host: ops.example:9443\r\nOrigin: https://ops.example:444\r\n", 403},
		{"Host: ops.example:9443\r\nOrigin: https://ops.example.evil.example\r\n", 403},
		{"Host: ops.example:9443\r\nOrigin: https://evil.example\r\n", 403},
		{"Host: ops.example:9443\r\nOrigin: null\r\n", 403},
		{"Host: ops.example:9443\r\nOrigin: https://ops.example\r\nOrigin: https://evil.example\r\n", 403},
		{"Host: evil.example\r\n", 421},
		{"Host: evil.example\r\nOrigin: http://evil.example\r\n", 421},
		{"Host: ops.example\r\n", 421},
		{"Host: ops.example:9443.evil.example\r\n", 421},
	} {
		if conn, answer := b.upgrade(t, execPath, v5, c.headers); answer.StatusCode != c.want {
			t.Errorf("%q: status %d, want %d", c.headers, answer.StatusCode, c.want)
		} else {
			conn.Close()
		}
	}
}

// TestRevoked removes a token: its session ends, and it is no credential any more.
func TestRevoked(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	for _, protocol := range []string{v5, v1} {
		conn := b.open(t, protocol, false, "sh", "-c", "echo ready; exec sleep 1000")
		conn.await(t, "ready")
		tokens := filepath.Join(b.dir, "tokens")
		old, err := os.ReadFile(tokens)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(tokens, []byte("viewer view "+viewToken+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, reason, err := conn.end(deadline); code == 1000 && protocol == v1 || err != nil {
			t.Errorf("%s: code %d %q, %v", protocol, code, reason, err)
		}
		poll(t, "the session ends", b.idle)
		if status, _ := b.get("/v1/whoami", nil); status != http.StatusUnauthorized {
			t.Errorf("%s: status %d", protocol, status)
		}
		if err := os.WriteFile(tokens, old, 0o600); err != nil {
			t.Fatal(err)
		}
		poll(t, "the token is back", func() bool {
			<-time.After(time.Second) // bad attempts are counted
			status, _ := b.get("/v1/whoami", nil)
			return status == http.StatusOK
		})
	}
}

// TestFilesOfTLS replaces the server's certificate, which the next connection gets, and then the authority of the clients, which ends the
// session of a client. There is no reload.
func TestFilesOfTLS(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{mtls: true})
	s, done := &screen{}, make(chan *result, 1)
	keys, keyboard := io.Pipe()
	go func() { // ends with the session
		done <- b.exec(within(t), call{stdout: s, stdin: keys}, "sh", "-c", "echo ready; exec cat")
	}()
	s.await(t, "ready")
	other, old := newCertificates(t, t.TempDir()), *b.tls
	replace := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	replace(other.key, old.key)
	replace(other.cert, old.cert)
	b.tls = &certificates{ca: other.ca, clientCert: old.clientCert, clientKey: old.clientKey, client: old.client}
	poll(t, "the new certificate is in force", func() bool { return b.exec(within(t), call{}, "true").err == nil })
	if _, err := io.WriteString(keyboard, "still there\n"); err != nil {
		t.Fatal(err)
	}
	s.await(t, "still there")
	replace(other.ca, old.ca)
	if r := <-done; r.err == nil || !strings.Contains(r.err.Error(), "authorised") {
		t.Errorf("the session of a client of the old authority: code %d, %v", r.code, r.err)
	}
	poll(t, "the session ends", b.idle)
	if status, body := b.get("/v1/whoami", nil); status == http.StatusOK {
		t.Errorf("the old authority is still good for %s", body)
	}
}

// TestSlowHeaders sends a header line by line for ever: the connection ends after its time.
func TestSlowHeaders(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	c := b.dial(t)
	began := time.Now()
	for {
		_, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n"[:1]))
		if err == nil {
			_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			if _, err = c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
				err = nil
			}
		}
		if err != nil {
			break
		}
		if time.Since(began) > deadline {
			t.Fatalf("the connection still lives after %v", time.Since(began))
		}
	}
	t.Log(time.Since(began))
}
