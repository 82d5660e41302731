package access

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/untrusted"
)

// Gate decides who may use the API over TCP, and for how long. Without api.listen it has no state but a nil pointer. It is a Checker.
type Gate struct {
	// Refusals are those of every client of the API.
	Refusals
	// Keep keeps the logins of pages for the next supervisor; nil: they end with this one.
	Keep func(logins any) error

	mu      sync.Mutex    // guards the fields below and what is in endpoint
	tcp     *endpoint     // nil: api.listen is not set
	changed chan struct{} // of Changed; nil: not asked for
}

// endpoint is what is in force for the TCP listener.
type endpoint struct {
	cfg     Config
	tokens  []token
	tls     *tls.Config    // nil: there is none, or the files were never good
	clients *x509.CertPool // nil: no client certificate is accepted
	good    bool           // every file was good once
	removed bool           // the token file is gone
	problem string         // of the files; empty: they are in force
	// unserved is why the listener could not be opened; nil: it is open, or waits for good files.
	unserved error
	limits   limits

	tickets map[hash]ticket
	logins  map[hash]*login
	wake    *time.Timer // closes changed when something runs out; nil: nothing does
	wakeAt  time.Time
}

// maxPEM bounds a file of certificates, in bytes.
const maxPEM = 1 << 20

// Configure applies a configuration, which is valid, and reads its files. An error says which files cannot be used: those that were good
// before stay in force, but a token file that is gone means no tokens. It is called again when the configuration or a file changes.
func (g *Gate) Configure(cfg Config) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.broadcast()
	if cfg.Listen == "" {
		g.tcp = nil
		return nil
	}
	if g.tcp == nil {
		g.tcp = &endpoint{tickets: map[hash]ticket{}, logins: map[hash]*login{}, limits: limits{admitted: map[string]int{}}}
	}
	e := g.tcp
	e.cfg = cfg
	err := errors.Join(e.readTokens(), e.readTLS())
	if e.problem = ""; err != nil {
		e.problem = err.Error()
	} else {
		e.good = true
	}
	return err
}

func (e *endpoint) readTokens() error {
	e.removed = false
	if e.cfg.Tokens == "" {
		e.tokens = nil
		return nil
	}
	tokens, err := readTokens(e.cfg.Tokens)
	switch {
	case err == nil:
		e.tokens = tokens
	case errors.Is(err, fs.ErrNotExist): // to shut everybody out
		e.tokens, e.removed = nil, true
		err = fmt.Errorf("%w: no token is valid", err)
	}
	return err
}

func (e *endpoint) readTLS() error {
	if !e.cfg.TLS.on() {
		e.tls, e.clients = nil, nil
		return nil
	}
	config, err := e.cfg.TLS.read()
	if err == nil {
		e.tls, e.clients = config, config.ClientCAs
	}
	return err
}

// read makes the configuration of a TLS server of the files.
func (t TLS) read() (*tls.Config, error) {
	public, err := untrusted.ReadFile(t.Certificate, maxPEM)
	if err != nil {
		return nil, fmt.Errorf("cannot read the certificate %s: %w", t.Certificate, err)
	}
	key, err := readSecretFile(t.Key, 0o007)
	if err != nil {
		return nil, fmt.Errorf("cannot read the key %s: %w", t.Key, err)
	}
	pair, err := tls.X509KeyPair(public, []byte(key))
	if err != nil {
		return nil, fmt.Errorf("cannot use the certificate %s with the key %s: %w", t.Certificate, t.Key, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}
	if t.Clients != "" {
		authorities, err := untrusted.ReadFile(t.Clients, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("cannot read the authorities in %s: %w", t.Clients, err)
		}
		config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
		if !config.ClientCAs.AppendCertsFromPEM(authorities) {
			return nil, fmt.Errorf("cannot use the authorities in %s: it has no certificate in PEM form", t.Clients)
		}
	}
	return config, nil
}

// CheckFiles returns what is wrong with the files of a configuration: what Configure would return.
func CheckFiles(cfg Config) error { return new(Gate).Configure(cfg) }

// Ready reports whether the listener can be served: every file was good once.
func (g *Gate) Ready() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tcp != nil && g.tcp.good
}

// NotServed notes why the listener could not be opened; nil: it is open.
func (g *Gate) NotServed(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tcp != nil {
		g.tcp.unserved = err
	}
}

// Problem says why changed files are not in force, or why TCP is off; empty: neither.
func (g *Gate) Problem() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.tcp == nil:
		return ""
	case g.tcp.unserved != nil:
		return "it is not served on " + g.tcp.cfg.Listen + ": " + g.tcp.unserved.Error()
	case g.tcp.problem == "":
		return ""
	case g.tcp.removed: // the problem says that nothing of it stays in force
		return g.tcp.problem
	case g.tcp.good:
		return "what was read before stays in force: " + g.tcp.problem
	}
	return "it is not served on " + g.tcp.cfg.Listen + ": " + g.tcp.problem
}

// config returns the configuration in force; false: TCP is off.
func (g *Gate) config() (Config, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tcp == nil {
		return Config{}, false
	}
	return g.tcp.cfg, true
}

var errOff = errors.New("api.listen is not set any more")

// Listener makes the listener to serve of a TCP listener: with the limits of connections, and with TLS where it is configured.
func (g *Gate) Listener(l net.Listener) net.Listener {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tcp == nil {
		return l
	}
	limited := &limitedListener{l, &g.tcp.limits}
	if !g.tcp.cfg.TLS.on() {
		return limited
	}
	return tls.NewListener(limited, &tls.Config{MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.tcp == nil || g.tcp.tls == nil {
				return nil, errOff
			}
			return g.tcp.tls, nil
		}})
}

// proof is what an identity was established by: one of a token, a certificate and the login of a page.
type proof struct {
	token, login hash                // zero: not by one
	chain        []*x509.Certificate // the client's first
}

// Check implements Checker. An open session is a use of a page's login.
func (g *Gate) Check(id Identity, need Grants) error {
	have, err := g.current(id)
	if err == nil && !have.Has(need) {
		err = fmt.Errorf("%s no longer has the grant %s", id.Name, need)
	}
	return err
}

// Changed implements Checker.
func (g *Gate) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	return g.changed
}

// broadcast wakes those that wait for a change; mu is held.
func (g *Gate) broadcast() {
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// current returns the grants that an identity has now.
func (g *Gate) current(id Identity) (Grants, error) {
	if id.proof == nil {
		return id.Grants, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.tcp == nil:
		return 0, errOff
	case !g.tcp.good && (!g.tcp.removed || id.proof.token == hash{}):
		return id.Grants, nil // as the supervisor before saw it: a file that is damaged now takes nothing from anybody
	}
	have, until, err := g.tcp.current(id.Name, id.proof, time.Now())
	if err == nil && !until.IsZero() {
		g.wakeAt(until)
	}
	return have, err
}

// wakeAt closes changed at a time, or before it; mu is held.
func (g *Gate) wakeAt(at time.Time) {
	e := g.tcp
	if e.wake != nil && !at.Before(e.wakeAt) {
		return
	}
	if e.wake != nil {
		e.wake.Stop()
	}
	e.wakeAt = at
	e.wake = time.AfterFunc(time.Until(at), func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		e.wake = nil
		g.broadcast()
	})
}

// current returns the grants that a credential has at a time, and when that may be over; zero: it has no such time.
func (e *endpoint) current(name string, p *proof, now time.Time) (have Grants, until time.Time, err error) {
	switch {
	case p.login != hash{}:
		return e.useLogin(p.login, now)
	case p.token != hash{}:
		t, ok := findToken(e.tokens, p.token)
		if !ok || tokenIdentity(t) != name {
			return 0, until, fmt.Errorf("%s is not in the token file any more", name)
		}
		return t.grants, until, nil
	default:
		return e.checkChain(p.chain, now)
	}
}

func tokenIdentity(t token) string { return "token " + t.name }

// checkChain verifies a client certificate by the authorities in force, and returns the grants of its common name.
func (e *endpoint) checkChain(chain []*x509.Certificate, now time.Time) (have Grants, until time.Time, err error) {
	leaf := chain[0]
	name := leaf.Subject.CommonName
	if e.clients == nil {
		return 0, until, errors.New("client certificates are not accepted any more")
	}
	others := x509.NewCertPool()
	for _, c := range chain[1:] {
		others.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: e.clients, Intermediates: others, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return 0, until, fmt.Errorf("the certificate %q is not accepted any more: %s", name, strings.TrimPrefix(err.Error(), "x509: "))
	}
	for _, c := range chains[0] {
		if until.IsZero() || c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	have, err = ParseGrants(e.cfg.Certificates[name])
	return have, until.Add(time.Second), err // the certificate is valid to the end of that second
}

// earlier returns the earlier of two times that are not zero.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.IsZero() {
		return cmp.Or(a, b)
	}
	if a.Before(b) {
		return a
	}
	return b
}
