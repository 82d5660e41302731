package api

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// serveRemote is a server that answers with the Authorization header as the name of a service.
func serveRemote(t *testing.T, start func(*httptest.Server)) (url, ca string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"services":[{"name":%q}]}`, r.Host+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
	}))
	start(s)
	t.Cleanup(s.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if c := s.Certificate(); c != nil {
		write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
	}
	return s.URL, ca
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRemote(t *testing.T) {
	url, ca := serveRemote(t, (*httptest.Server).StartTLS)
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, " first\n")
	c, err := NewRemoteClient(Remote{URL: url, CA: ca, TokenFile: token})
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(url, "https://")
	for _, word := range []string{"first", "second"} {
		write(t, token, word)
		st, err := c.Status(t.Context())
		if err != nil || len(st.Services) != 1 || st.Services[0].Name != host+" /v1/services Bearer "+word {
			t.Errorf("%+v, %v", st.Services, err)
		}
		header, err := c.Endpoint().Header()
		if err != nil || header.Get("Authorization") != "Bearer "+word {
			t.Errorf("%v, %v", header, err)
		}
	}
	resp, err := c.RoundTrip(httptest.NewRequestWithContext(t.Context(), "GET", "http://stoker/v1/x", nil))
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(err)
	}
	resp.Body.Close()
	if c, err = NewRemoteClient(Remote{URL: url}); err != nil {
		t.Fatal(err)
	}
	if _, err = c.Status(t.Context()); !errors.As(err, new(x509.UnknownAuthorityError)) || !errors.Is(err, ErrNoSocket) {
		t.Errorf("without its authority: %v", err)
	}
	if url, _ := serveRemote(t, (*httptest.Server).Start); !strings.HasPrefix(url, "http://127") {
		t.Fatal(url)
	} else if c, err = NewRemoteClient(Remote{URL: url}); err != nil {
		t.Error(err)
	} else if _, err := c.Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRemoteRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		write(t, path, text)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, empty := file("good", "abc\n", 0o400), file("empty", "\n", 0o600)
	open, shared := file("open", "abc", 0o644), file("shared", "abc", 0o640)
	for _, tc := range []struct {
		r    Remote
		want string // part of the error; empty: none
		hint string
	}{
		{Remote{URL: "https://h:1", TokenFile: good}, "", ""},
		{Remote{URL: "https://h/", TokenFile: good}, "", ""},
		{Remote{URL: "http://[::1]:1"}, "", ""},
		{Remote{URL: "http://localhost:1"}, "", ""},
		{Remote{URL: "http://10.0.0.1:1", TokenFile: good}, "not sent without TLS", "https"},
		{Remote{URL: "http://localhost.example:1"}, "not sent without TLS", "https"},
		{Remote{URL: "h:1"}, `cannot use the URL "h:1"`, "want https://HOST:PORT"},
		{Remote{URL: "https://h:1/path"}, "cannot use the URL", ""},
		{Remote{URL: "https://user:pw@h:1"}, "cannot use the URL", ""},
		{Remote{URL: "https://h:1?token=x"}, "cannot use the URL", ""},
		{Remote{URL: "https://h:1", TokenFile: open}, "its mode is 0644, and others may read it", "chmod 600 " + open},
		{Remote{URL: "https://h:1", TokenFile: shared}, "its mode is 0640", "chmod 600"},
		{Remote{URL: "https://h:1", TokenFile: empty}, "want one token and nothing else", ""},
		{Remote{URL: "https://h:1", TokenFile: file("two", "a b", 0o600)}, "want one token", ""},
		{Remote{URL: "https://h:1", TokenFile: file("long", strings.Repeat("a", 5000), 0o600)}, "cannot read the token", ""},
		{Remote{URL: "https://h:1", TokenFile: dir}, "cannot read the token", ""},
		{Remote{URL: "https://h:1", TokenFile: dir + "/none"}, "no such file", ""},
		{Remote{URL: "https://h:1", CA: good}, "it has no certificate", ""},
		{Remote{URL: "https://h:1", CA: dir + "/none"}, "no such file", ""},
		{Remote{URL: "https://h:1", Certificate: good}, "cannot read the key of the client certificate", ""},
		{Remote{URL: "https://h:1", Key: good}, "cannot read the client certificate", ""},
		{Remote{URL: "https://h:1", Certificate: good, Key: good}, "cannot use the client certificate", ""},
	} {
		_, err := NewRemoteClient(tc.r)
		var hinted *HintedError
		switch {
		case tc.want == "" && err == nil:
		case err == nil || tc.want == "" || !strings.Contains(err.Error(), tc.want):
			t.Errorf("%+v: %v, want %q", tc.r, err, tc.want)
		case tc.hint != "" && (!errors.As(err, &hinted) || !strings.Contains(hinted.Hint, tc.hint)):
			t.Errorf("%+v: the hint of %v is not %q", tc.r, err, tc.hint)
		}
	}
}

// TestRemoteIsNotThere: the error says where nothing answers.
func TestRemoteIsNotThere(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c, err := NewRemoteClient(Remote{URL: "https://" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNoSocket) || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Error(err)
	}
}
