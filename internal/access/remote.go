package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// Remote names a server at a URL, and the files of a client's credentials. Files are paths; empty: there is none.
type Remote struct {
	URL         string // https://HOST:PORT; http:// only for a loopback address
	TokenFile   string // a token and nothing else; the mode is 0600 or stricter
	CA          string // certificates of the authorities that are trusted, PEM; empty: those of the system
	Certificate string // of the client, PEM
	Key         string // of Certificate, PEM
}

// Endpoint is what a client needs to reach a server.
type Endpoint struct {
	URL    string // http:// or https://, with a host and no path
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	TLS    *tls.Config                 // nil: no TLS
	Header func() (http.Header, error) // the credentials as they are now
}

// RemoteTime bounds a TCP connection to a Remote, and the TLS handshake on it.
const RemoteTime = 10 * time.Second

// maxBearerFile bounds the token file of a Remote, in bytes.
const maxBearerFile = 4 << 10

// Endpoint reads the files, and checks that the URL can be used. The token file is read again by each call of Header, so that a token can
// be replaced. Errors are an *exit.Error.
func (r Remote) Endpoint() (Endpoint, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" {
		return Endpoint{}, exit.UsageError("want https://HOST:PORT", "cannot use the URL %q", r.URL)
	}
	to := Endpoint{URL: u.Scheme + "://" + u.Host, Dial: (&net.Dialer{Timeout: RemoteTime}).DialContext, Header: r.header}
	if _, err := r.header(); err != nil {
		return Endpoint{}, err
	}
	if u.Scheme == "http" {
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && !ip.IsLoopback() {
			return Endpoint{}, exit.UsageError("use https://; http:// is for loopback addresses",
				"cannot use the URL %q: a token and a console are not sent without TLS", r.URL)
		}
		return to, nil
	}
	to.TLS, err = r.tls()
	return to, err
}

func (r Remote) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.CA != "" {
		text, err := untrusted.ReadFile(r.CA, maxPEM)
		if err == nil {
			if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(text) {
				err = errors.New("it has no certificate (want PEM)")
			}
		}
		if err != nil {
			return nil, exit.UsageError("", "cannot use the authorities in %s: %w", r.CA, err)
		}
	}
	if r.Certificate == "" && r.Key == "" {
		return config, nil
	}
	certificate, err := untrusted.ReadFile(r.Certificate, maxPEM)
	if err != nil {
		return nil, exit.UsageError("", "cannot read the client certificate %q: %w", r.Certificate, err)
	}
	key, err := untrusted.ReadFile(r.Key, maxPEM)
	if err != nil {
		return nil, exit.UsageError("", "cannot read the key of the client certificate %q: %w", r.Key, err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, exit.UsageError("", "cannot use the client certificate %s with the key %s: %w", r.Certificate, r.Key, err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// header returns the credentials of a request.
func (r Remote) header() (http.Header, error) {
	if r.TokenFile == "" {
		return http.Header{}, nil
	}
	f, err := untrusted.Open(r.TokenFile)
	if err != nil {
		return nil, exit.UsageError("", "cannot read the token in %s: %w", r.TokenFile, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, exit.UsageError("", "cannot read the token in %s: %w", r.TokenFile, untrusted.Cause(err))
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, exit.UsageError("chmod 600 "+r.TokenFile, "cannot use the token in %s: its mode is %04o, and others may read it",
			r.TokenFile, mode)
	}
	text, err := untrusted.ReadAll(f, maxBearerFile)
	token := strings.TrimSpace(string(text))
	if err == nil && (token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })) {
		err = errors.New("want one token and nothing else")
	}
	if err != nil {
		return nil, exit.UsageError("", "cannot read the token in %s: %w", r.TokenFile, err)
	}
	return http.Header{"Authorization": {"Bearer " + token}}, nil
}
