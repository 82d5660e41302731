package api

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/freeport"
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
	c, err := NewRemoteClient(access.Remote{URL: url, CA: ca, TokenFile: token})
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
	if c, err = NewRemoteClient(access.Remote{URL: url}); err != nil {
		t.Fatal(err)
	}
	if _, err = c.Status(t.Context()); !errors.As(err, new(x509.UnknownAuthorityError)) || !errors.Is(err, ErrNoSocket) {
		t.Errorf("without its authority: %v", err)
	}
	if url, _ := serveRemote(t, (*httptest.Server).Start); !strings.HasPrefix(url, "http://127") {
		t.Fatal(url)
	} else if c, err = NewRemoteClient(access.Remote{URL: url}); err != nil {
		t.Error(err)
	} else if _, err := c.Status(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRemoteIsNotThere: the error says where nothing answers.
func TestRemoteIsNotThere(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", freeport.For(t))
	c, err := NewRemoteClient(access.Remote{URL: "https://" + address})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNoSocket) || !strings.Contains(err.Error(), address) {
		t.Error(err)
	}
}
