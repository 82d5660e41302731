package supervisor

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// maxBody is how much of an answer's body is looked at, and maxAnswer how much
// of the whole of it, in bytes.
const (
	maxBody   = 64 << 10
	maxAnswer = 2*maxBody + 64<<10 // a body in chunks, and the header
)

// politeTime is how long the rest of an answer that does not matter is read: a
// server whose answer is cut off may write that to its log, at each look.
const politeTime = 100 * time.Millisecond

// httpProbe asks a server. It follows no redirection, takes no proxy from the
// environment and does not check certificates: it asks the service, not somebody
// it must trust. Each look has one connection and no goroutine: the dials of an
// http.Transport go on after the request has been given up.
type httpProbe struct {
	look   Look
	body   *regexp.Regexp // nil: any
	broken error          // the look can never succeed
	name   string         // what is asked, for errors: without a password
}

func newHTTPProbe(l Look) *httpProbe {
	l.Method = cmp.Or(l.Method, http.MethodGet)
	p := &httpProbe{look: l, name: l.Method + " " + l.HTTP}
	if u, err := url.Parse(l.HTTP); err == nil {
		p.name = l.Method + " " + redact.Arg(u.String())
	}
	if l.Socket != "" {
		p.name += " at " + l.Socket
	}
	if l.Body != "" {
		p.body, p.broken = regexp.Compile(l.Body)
	}
	return p
}

// Check asks once.
func (p *httpProbe) Check(ctx context.Context, _ Process) error {
	req, err := p.request(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	demanded := false
	conn, err := p.connect(ctx, req.URL, &demanded)
	if err != nil {
		return p.failed(err, demanded)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	resp, err := exchange(conn, req)
	if err != nil {
		return p.failed(err, demanded)
	}
	defer resp.Body.Close()
	return p.judge(conn, resp)
}

// failed is the error of a probe that got no answer. A server that has demanded a
// client's certificate, was given none, and ends the handshake by an alert has said
// what 401 says. With TLS 1.3 the alert comes instead of the answer.
func (p *httpProbe) failed(err error, demanded bool) error {
	var op *net.OpError
	alert := errors.As(err, &op) && op.Op == "remote error" // as crypto/tls calls the alerts of the other side
	switch {
	case demanded && alert && p.body == nil && p.accepts(http.StatusUnauthorized):
		return nil
	case demanded && alert:
		return fmt.Errorf("%s: the server demands a client certificate (%s): set cert_file and key_file, or add 401 to status",
			p.name, httpCause(err))
	}
	return fmt.Errorf("%s: %s", p.name, httpCause(err))
}

// connect dials, with TLS for https. demanded is set when the server asks for a
// certificate that is not there.
func (p *httpProbe) connect(ctx context.Context, u *url.URL, demanded *bool) (net.Conn, error) {
	network, address := "unix", p.look.Socket
	if address == "" {
		network, address = "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme]))
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil || u.Scheme != "https" {
		return conn, err
	}
	cfg := &tls.Config{InsecureSkipVerify: true, ServerName: u.Hostname()}
	if p.look.CertFile == "" {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			*demanded = true
			return new(tls.Certificate), nil // none
		}
	} else {
		cert, err := clientPair(p.look.CertFile, p.look.KeyFile)
		if err != nil {
			conn.Close()
			return nil, err
		}
		// Also where the server does not name its issuer: it is what is configured.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// maxPEM bounds a file with a certificate and its chain, or a key, in bytes.
const maxPEM = 1 << 20

// clientPair reads a certificate and its key.
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

// exchange sends the request and reads the answer up to its body.
func exchange(conn net.Conn, req *http.Request) (*http.Response, error) {
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: conn, N: maxAnswer}
	in := bufio.NewReader(limited)
	for {
		resp, err := http.ReadResponse(in, req)
		switch {
		case err != nil && limited.N <= 0:
			return nil, errors.New("the answer's header does not end")
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, errors.New("the connection was closed without an answer")
		case err != nil:
			return nil, err
		case resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols:
			return resp, nil
		} // else the real answer is still to come
	}
}

// judge says what is wrong with an answer.
func (p *httpProbe) judge(conn net.Conn, resp *http.Response) error {
	answered := fmt.Sprintf("%s: answered %s", p.name, proc.OneLine(resp.Status))
	wrong := !p.accepts(resp.StatusCode)
	if wrong || p.body == nil { // the status has decided; the rest is worth a moment
		_ = conn.SetReadDeadline(time.Now().Add(politeTime))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	switch {
	case wrong && p.body == nil:
		return errors.New(answered + explanation(resp, body))
	case p.body == nil:
		return nil
	case err != nil && !wrong:
		return fmt.Errorf("%s, but its body does not end: %s after %d bytes", answered, httpCause(err), len(body))
	case !p.body.Match(body):
		return fmt.Errorf("%s, body does not match %q: \"%s\"", answered, p.look.Body, proc.OneLine(string(body)))
	case wrong:
		return errors.New(answered)
	}
	return nil
}

// request makes the request of one look.
func (p *httpProbe) request(ctx context.Context) (*http.Request, error) {
	if p.broken != nil {
		return nil, p.broken
	}
	req, err := http.NewRequestWithContext(ctx, p.look.Method, p.look.HTTP, nil)
	switch {
	case err != nil:
		return nil, urlCause(err)
	case req.URL.Scheme != "http" && req.URL.Scheme != "https":
		return nil, errors.New("not an http or https URL")
	}
	req.Close = true
	req.Header.Set("User-Agent", "stoker")
	if user := req.URL.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	for name, value := range p.look.Headers {
		if strings.EqualFold(name, "Host") {
			req.Host = value
		} else {
			req.Header.Set(name, value)
		}
	}
	return req, nil
}

func (p *httpProbe) accepts(status int) bool {
	if len(p.look.Status) > 0 {
		return slices.Contains(p.look.Status, status)
	}
	return status >= 200 && status < 400
}

// explanation is what a refusing answer says for programs: health checks name
// the part that is down. A page of HTML says nothing in one line.
func explanation(resp *http.Response, body []byte) string {
	kind := resp.Header.Get("Content-Type")
	if len(body) == 0 || strings.HasPrefix(kind, "text/html") {
		return ""
	}
	return `: "` + proc.OneLine(string(body)) + `"`
}

// urlCause strips the URL, which the caller names already, with its password.
func urlCause(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

func httpCause(err error) string { return netCause(urlCause(err)) }
