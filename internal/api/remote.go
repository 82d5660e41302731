package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

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

// remoteTime bounds a TCP connection, and the TLS handshake on it.
const remoteTime = 10 * time.Second

// Bounds on the files of a Remote, in bytes.
const (
	maxTokenFile = 4 << 10
	maxPEMFile   = 1 << 20
)

// checkedRemote is a checked Remote.
type checkedRemote struct {
	base      *url.URL
	tokenFile string
	tls       *tls.Config // nil: plain HTTP
}

// NewRemoteClient makes a client for a server at a URL. The token file is read again for each request, so that a token can be replaced.
func NewRemoteClient(r Remote) (*Client, error) {
	to, err := r.check()
	if err != nil {
		return nil, err
	}
	dial := (&net.Dialer{Timeout: remoteTime}).DialContext
	transport := &http.Transport{DialContext: dial, TLSClientConfig: to.tls, TLSHandshakeTimeout: remoteTime, MaxResponseHeaderBytes: maxAnswerHeader}
	end := Endpoint{URL: to.base.String(), Dial: dial, TLS: to.tls, Header: to.header}
	return &Client{socket: r.URL, http: &http.Client{Transport: &remoteTransport{to, transport}}, endpoint: end}, nil
}

// check reads the files, and checks that the URL can be used.
func (r Remote) check() (*checkedRemote, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" {
		return nil, &HintedError{fmt.Errorf("cannot use the URL %q", r.URL), "want https://HOST:PORT"}
	}
	to := &checkedRemote{base: &url.URL{Scheme: u.Scheme, Host: u.Host}, tokenFile: r.TokenFile}
	if _, err := to.header(); err != nil {
		return nil, err
	}
	if u.Scheme == "http" {
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && !ip.IsLoopback() {
			return nil, &HintedError{fmt.Errorf("cannot use the URL %q: a token and a console are not sent without TLS", r.URL),
				"use https://; http:// is for loopback addresses"}
		}
		return to, nil
	}
	to.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	if r.CA != "" {
		text, err := untrusted.ReadFile(r.CA, maxPEMFile)
		if err == nil {
			if to.tls.RootCAs = x509.NewCertPool(); !to.tls.RootCAs.AppendCertsFromPEM(text) {
				err = errors.New("it has no certificate (want PEM)")
			}
		}
		if err != nil {
			return nil, fmt.Errorf("cannot use the authorities in %s: %w", r.CA, err)
		}
	}
	if r.Certificate == "" && r.Key == "" {
		return to, nil
	}
	certificate, err := untrusted.ReadFile(r.Certificate, maxPEMFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read the client certificate %q: %w", r.Certificate, err)
	}
	key, err := untrusted.ReadFile(r.Key, maxPEMFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read the key of the client certificate %q: %w", r.Key, err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("cannot use the client certificate %s with the key %s: %w", r.Certificate, r.Key, err)
	}
	to.tls.Certificates = []tls.Certificate{pair}
	return to, nil
}

// header returns the credentials of a request.
func (r *checkedRemote) header() (http.Header, error) {
	if r.tokenFile == "" {
		return http.Header{}, nil
	}
	token, err := readToken(r.tokenFile)
	if err != nil {
		return nil, err
	}
	return http.Header{"Authorization": {"Bearer " + token}}, nil
}

// readToken reads a file that nobody but its owner may read.
func readToken(path string) (string, error) {
	f, err := untrusted.Open(path)
	if err != nil {
		return "", fmt.Errorf("cannot read the token in %s: %w", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("cannot read the token in %s: %w", path, untrusted.Cause(err))
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", &HintedError{fmt.Errorf("cannot use the token in %s: its mode is %04o, and others may read it", path, mode),
			"chmod 600 " + path}
	}
	text, err := untrusted.ReadAll(f, maxTokenFile)
	token := strings.TrimSpace(string(text))
	if err == nil && (token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })) {
		err = errors.New("want one token and nothing else")
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the token in %s: %w", path, err)
	}
	return token, nil
}

// remoteTransport sends the requests of a Client to a remote, with its credentials.
type remoteTransport struct {
	to   *checkedRemote
	next http.RoundTripper
}

// RoundTrip sends one request, whatever host its URL names.
func (t *remoteTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	header, err := t.to.header()
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host, req.Host = t.to.base.Scheme, t.to.base.Host, ""
	for name, values := range header {
		req.Header[name] = values
	}
	return t.next.RoundTrip(req)
}

// Endpoint is what a protocol beside HTTP requests needs to reach the server of a Client.
type Endpoint struct {
	URL    string // http:// or https://, with a host and no path
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	TLS    *tls.Config                 // nil: no TLS
	Header func() (http.Header, error) // the credentials as they are now
}

// Endpoint returns that of the client's server.
func (c *Client) Endpoint() Endpoint { return c.endpoint }
