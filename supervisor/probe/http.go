package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// HTTP is a request that must be answered as configured; without a URL: not checked.
type HTTP struct {
	// URL is an http:// or https:// URL that must answer with one of Status.
	URL string `yaml:"http" check:"url"`
	// Method of the request (default GET).
	Method string `yaml:"method" check:"method"`
	// Headers of the request; "Host" sets the host.
	Headers map[string]string `yaml:"headers" check:"headers"`
	// Socket is the path of a unix socket to which the request goes instead of the URL's host.
	Socket string `yaml:"socket" check:"socket"`
	// Status are the accepted codes; empty: 200 to 399. A server that demands a client
	// certificate, and gets none, counts as one that answers 401.
	Status []int `yaml:"status" check:"statuses"`
	// CertFile and KeyFile are the client's certificate, with its chain, and its key,
	// in PEM; empty: it has none. They are read for each check.
	CertFile string `yaml:"cert_file" check:"absolute"`
	KeyFile  string `yaml:"key_file" check:"absolute"`
	// Body is a regular expression that the first 64 KiB of the answer must match.
	Body string `yaml:"body" check:"regexp"`
}

// Limits of what is read of an answer, in bytes.
const (
	maxBody   = 64 << 10
	maxHeader = 64 << 10
)

// drainTime is how long an irrelevant rest of an answer is read: some servers log a connection that is cut off.
const drainTime = 100 * time.Millisecond

// port returns the port of the URL; 0: the request goes to a unix socket.
func (h HTTP) port() int {
	u, err := url.Parse(h.URL)
	if err != nil || h.Socket != "" {
		return 0
	}
	return PortOf(u)
}

// PortOf returns the port of a URL, which its scheme may imply; 0: unknown.
func PortOf(u *url.URL) int {
	if port, err := strconv.Atoi(u.Port()); err == nil {
		return port
	}
	return map[string]int{"http": 80, "https": 443}[u.Scheme]
}

func (h HTTP) reportUnused(r Report) {
	const why = "no request is made: http is not set"
	set := map[string]bool{"method": h.Method != "", "headers": len(h.Headers) > 0, "socket": h.Socket != "", "body": h.Body != ""}
	for _, key := range slices.Sorted(maps.Keys(set)) {
		if set[key] {
			r.Missing(key, "http", why)
		}
	}
	if len(h.Status) > 0 {
		r.Unused("status", "http", why)
	}
}

// validateCertificate checks the client's certificate, which a Tomcat may use without http.
func (h HTTP) validateCertificate(r Report) {
	switch {
	case h.CertFile != "" && h.KeyFile == "":
		r.Missing("cert_file", "key_file", "its key is not set")
	case h.CertFile == "" && h.KeyFile != "":
		r.Missing("key_file", "cert_file", "its certificate is not set")
	case h.CertFile != "" && h.URL != "" && !strings.HasPrefix(h.URL, "https:"):
		r.Bad("cert_file", "ask an https URL", "the URL of http takes no certificate")
	}
}

func newHTTPProbe(h HTTP) *httpProbe {
	h.Method = cmp.Or(h.Method, http.MethodGet)
	p := &httpProbe{HTTP: h, name: h.Method + " " + h.URL}
	if u, err := url.Parse(h.URL); err == nil {
		p.name = h.Method + " " + redact.Arg(u.String())
	}
	if h.Socket != "" {
		p.name += " at " + h.Socket
	}
	if h.Body != "" {
		p.pattern, p.invalid = regexp.Compile(h.Body)
	}
	return p
}

// httpProbe asks a server. It follows no redirection, takes no proxy from the environment and does not verify
// certificates: it talks to the service itself. Each check has its own connection.
type httpProbe struct {
	HTTP
	pattern *regexp.Regexp // nil: any
	invalid error          // the check can never succeed
	name    string         // of the request, for errors: without a password
}

func (p *httpProbe) check(ctx context.Context, _ Process) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := p.request(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	demanded := false
	connect := func(context.Context, string, string) (net.Conn, error) { return p.connect(ctx, req.URL, &demanded) }
	transport := &http.Transport{DialContext: connect, DialTLSContext: connect, DisableKeepAlives: true, DisableCompression: true,
		MaxResponseHeaderBytes: maxHeader}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return p.failed(err, demanded)
	}
	defer resp.Body.Close()
	return p.verify(resp, cancel)
}

// failed returns the error of a probe without an answer. The TLS alert of a server that got no client certificate
// counts as 401. With TLS 1.3 it comes instead of the answer.
func (p *httpProbe) failed(err error, demanded bool) error {
	var op *net.OpError
	alert := errors.As(err, &op) && op.Op == "remote error" // as crypto/tls calls the alerts of the other side
	switch {
	case demanded && alert && p.pattern == nil && p.accepts(http.StatusUnauthorized):
		return nil
	case demanded && alert:
		return fmt.Errorf("%s: the server demands a client certificate (%s): set cert_file and key_file, or add 401 to status",
			p.name, networkError(innerError(err)))
	}
	return fmt.Errorf("%s: %s", p.name, networkError(innerError(err)))
}

// connect dials, with TLS for https. It sets demanded when the server demands a certificate that is not configured.
func (p *httpProbe) connect(ctx context.Context, u *url.URL, demanded *bool) (net.Conn, error) {
	network, address := "unix", p.Socket
	if address == "" {
		network, address = "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme]))
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil || u.Scheme != "https" {
		return conn, err
	}
	cfg := &tls.Config{InsecureSkipVerify: true, ServerName: u.Hostname()}
	if p.CertFile == "" {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			*demanded = true
			return new(tls.Certificate), nil // none
		}
	} else {
		cert, err := clientPair(p.CertFile, p.KeyFile)
		if err != nil {
			conn.Close()
			return nil, err
		}
		// The configured certificate is sent even if the server does not name its issuer.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	client := tls.Client(conn, cfg)
	if err := client.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return client, nil
}

// maxPEM bounds a file with a certificate and its chain, or a key, in bytes.
const maxPEM = 1 << 20

func clientPair(certFile, keyFile string) (pair tls.Certificate, err error) {
	var texts [2][]byte
	for k, path := range []string{certFile, keyFile} {
		if texts[k], err = untrusted.ReadFile(path, maxPEM); err != nil {
			return pair, fmt.Errorf("cannot read %s: %w", path, err)
		}
	}
	if pair, err = tls.X509KeyPair(texts[0], texts[1]); err != nil {
		return pair, fmt.Errorf("cannot use the certificate %s with the key %s: %w", certFile, keyFile, err)
	}
	return pair, nil
}

// verify returns what is wrong with an answer. cancel ends the reading of its body.
func (p *httpProbe) verify(resp *http.Response, cancel func()) error {
	answered := fmt.Sprintf("%s: answered %s", p.name, printable.OneLine(resp.Status))
	wrong := !p.accepts(resp.StatusCode)
	if wrong || p.pattern == nil { // the status has decided
		defer time.AfterFunc(drainTime, cancel).Stop()
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	switch {
	case wrong && p.pattern == nil:
		return errors.New(answered + explanation(resp, body))
	case p.pattern == nil:
		return nil
	case err != nil && !wrong:
		return fmt.Errorf("%s, but its body does not end: %s after %d bytes", answered, networkError(innerError(err)), len(body))
	case !p.pattern.Match(body):
		return fmt.Errorf("%s, body does not match %q: \"%s\"", answered, p.Body, printable.OneLine(string(body)))
	case wrong:
		return errors.New(answered)
	}
	return nil
}

func (p *httpProbe) request(ctx context.Context) (*http.Request, error) {
	if p.invalid != nil {
		return nil, p.invalid
	}
	req, err := http.NewRequestWithContext(ctx, p.Method, p.URL, nil)
	switch {
	case err != nil:
		return nil, innerError(err)
	case req.URL.Scheme != "http" && req.URL.Scheme != "https":
		return nil, errors.New("not an http or https URL")
	}
	req.Header.Set("User-Agent", "stoker")
	if user := req.URL.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	for name, value := range p.Headers {
		if strings.EqualFold(name, "Host") {
			req.Host = value
		} else {
			req.Header.Set(name, value)
		}
	}
	return req, nil
}

func (p *httpProbe) accepts(status int) bool {
	if len(p.Status) > 0 {
		return slices.Contains(p.Status, status)
	}
	return status >= 200 && status < 400
}

// explanation is the body of a refusal, which names the part that is down. HTML is left out.
func explanation(resp *http.Response, body []byte) string {
	kind := resp.Header.Get("Content-Type")
	if len(body) == 0 || strings.HasPrefix(kind, "text/html") {
		return ""
	}
	return `: "` + printable.OneLine(string(body)) + `"`
}

// innerError removes the URL, which may hold a password.
func innerError(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}
