package access

import (
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// bearerProtocol begins the subprotocol by which a page presents a token, in base64url, for a websocket: browsers send no header of their
// own with one. It is Kubernetes' own.
const bearerProtocol = "base64url.bearer.authorization.k8s.io."

// Admit decides about a request over TCP: Host, Origin, credential, grant, and the number of connections, in this order. It removes the
// credential from the request, so that no handler logs or repeats it. Errors are a *Refusal. Without a needed grant, Host and Origin alone
// are checked.
func (g *Gate) Admit(r *http.Request, need Grants) (Identity, error) {
	id, err := g.admit(r, need)
	if err != nil {
		g.AddRequest(r, err, "name", id.Name)
	}
	return id, err
}

func (g *Gate) admit(r *http.Request, need Grants) (Identity, error) {
	conn := connOf(r)
	id := Identity{Name: "anonymous", UID: -1, Pid: -1, Address: r.RemoteAddr}
	cfg, on := g.config()
	if !on || conn == nil {
		return id, refuse(http.StatusForbidden, "forbidden", "", "%v", errOff)
	}
	if !cfg.hostAllowed(r.Host, conn.LocalAddr()) {
		return id, refuse(http.StatusMisdirectedRequest, "unknown-host", "name it in api.hosts, or use one of "+strings.Join(cfg.urls(), ", "),
			"this is not the host %q", r.Host)
	}
	if err := checkOrigin(r, cfg, r.Host, need); err != nil {
		return id, err
	}
	presented, err := takeCredential(r)
	if err != nil || need == 0 {
		return id, err
	}
	id, err = g.identify(r, id, presented)
	if err != nil {
		return id, err
	}
	if !id.Grants.Has(need) {
		return id, refuse(http.StatusForbidden, "forbidden", "it has "+id.Grants.String(), "%s may not do this: it needs the grant %s",
			id.Name, need)
	}
	if !conn.admit() {
		busy := refuse(http.StatusTooManyRequests, "too-many", "close some", "there are too many connections")
		busy.After = time.Second
		return id, busy
	}
	return id, nil
}

// admitOrigin checks the Origin of a request at the unix socket.
func (g *Gate) admitOrigin(r *http.Request, need Grants) error {
	cfg, _ := g.config()
	return checkOrigin(r, cfg, "", need)
}

// checkOrigin refuses the requests of pages that are not listed. host is the checked Host of the request; empty: it has none. A browser
// leaves Origin out of the requests of links and images, and tells where they come from in Sec-Fetch-Site.
func checkOrigin(r *http.Request, cfg Config, host string, need Grants) error {
	const code, hint = "foreign-origin", "name it in api.origins as browsers write it, such as https://ops.example"
	if all, sent := r.Header["Origin"]; sent {
		if len(all) != 1 || !cfg.originAllowed(all[0], host) {
			return refuse(http.StatusForbidden, code, hint, "pages of the origin %q may not use this API", strings.Join(all, ", "))
		}
		return nil
	}
	if site := r.Header.Get("Sec-Fetch-Site"); need != 0 && (site == "cross-site" || site == "same-site") {
		return refuse(http.StatusForbidden, code, "open the page of stoker itself", "a page of another site may not use this API")
	}
	return nil
}

// credential is what a request presents; both empty: at most a certificate.
type credential struct{ bearer, ticket string }

// takeCredential returns the credential in a request, and removes it from there.
func takeCredential(r *http.Request) (c credential, err error) {
	if r.URL.RawQuery != "" {
		q := r.URL.Query()
		for _, name := range []string{"token", "access_token", "bearer_token", "authorization"} {
			if q.Has(name) {
				return c, refuse(http.StatusBadRequest, "token-in-url", "send it as a bearer token in the header Authorization, and replace it: "+
					"URLs are kept in logs and histories", "a token must not be in a URL (parameter %s)", name)
			}
		}
		c.ticket = q.Get("ticket")
		r.URL.RawQuery = withoutTicket(r.URL.RawQuery)
		r.RequestURI = r.URL.RequestURI()
	}
	c.bearer = takeBearerProtocol(r.Header)
	text := r.Header.Get("Authorization")
	r.Header.Del("Authorization")
	if text == "" {
		return c, nil
	}
	scheme, token, _ := strings.Cut(text, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return c, refuse(http.StatusUnauthorized, "unauthorized", "send a bearer token in the header Authorization",
			"this kind of credential is not accepted")
	}
	c.bearer = strings.TrimSpace(token)
	if c.bearer == "" {
		c.bearer = "-" // it is wrong, and not absent
	}
	return c, nil
}

// withoutTicket removes the parameter ticket from a query, and leaves the rest as it is.
func withoutTicket(query string) string {
	var rest []string
	for part := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(part, "=")
		if name, err := url.QueryUnescape(name); err != nil || name != "ticket" {
			rest = append(rest, part)
		}
	}
	return strings.Join(rest, "&")
}

// takeBearerProtocol removes a token from the subprotocols of a websocket, so that it is not echoed. Empty: there is none.
func takeBearerProtocol(h http.Header) (token string) {
	const name = "Sec-Websocket-Protocol"
	var others []string
	for _, line := range h[name] {
		for part := range strings.SplitSeq(line, ",") {
			part = strings.TrimSpace(part)
			encoded, ok := strings.CutPrefix(part, bearerProtocol)
			if !ok {
				others = append(others, part)
			} else if data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(encoded, "=")); err == nil && len(data) > 0 {
				token = string(data)
			} else {
				token = "-" // it is wrong, and not absent
			}
		}
	}
	if token != "" {
		h[name] = []string{strings.Join(others, ", ")}
		if len(others) == 0 {
			h.Del(name)
		}
	}
	return token
}

// identify completes the identity of who presents a credential.
func (g *Gate) identify(r *http.Request, id Identity, c credential) (_ Identity, err error) {
	switch {
	case c.bearer != "":
		id.Name, id.proof = g.findBearer(c.bearer)
		if id.proof == nil {
			return id, g.wrong(peerOf(r), "the token is not known", "stoker console token NAME makes one")
		}
	case c.ticket != "" && r.Method == http.MethodGet:
		g.mu.Lock()
		t, ok := g.tcp.useTicket(c.ticket, r.URL.RequestURI())
		g.mu.Unlock()
		if !ok {
			return id, g.wrong(peerOf(r), "the ticket is not known: each is for one request, within a minute", "ask for another one")
		}
		id.Name, id.Grants, id.proof = t.maker.Name, t.maker.Grants, t.maker.proof
	case r.TLS != nil && len(r.TLS.VerifiedChains) > 0:
		leaf := r.TLS.PeerCertificates[0]
		// Not PeerCertificates: a client may send more than it needs, and this is kept.
		id.Name, id.proof = "certificate "+leaf.Subject.CommonName, &proof{chain: r.TLS.VerifiedChains[0]}
	default:
		return id, refuse(http.StatusUnauthorized, "unauthorized",
			"send a bearer token in the header Authorization, or log in with stoker console", "this needs a credential")
	}
	if id.Grants, err = g.current(id); err != nil {
		return id, refuse(http.StatusUnauthorized, "unauthorized", "", "%v", err)
	}
	if id.Grants == 0 {
		return id, refuse(http.StatusForbidden, "forbidden", "name it in api.certificates", "%q has no grants", id.Name)
	}
	return id, nil
}

// findBearer returns the name and the proof of a token, or of a page's login; nil: it is neither.
func (g *Gate) findBearer(text string) (name string, p *proof) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tcp == nil || len(text) > maxToken {
		return "anonymous", nil
	}
	h := hashOf(text)
	if t, ok := findToken(g.tcp.tokens, h); ok {
		return tokenIdentity(t), &proof{token: h}
	}
	if l := g.tcp.logins[h]; l != nil {
		return l.name, &proof{login: h}
	}
	return "anonymous", nil
}

// wrong is the error for an unknown credential. Known ones are accepted also while the peer guesses: 32 random bytes cannot be guessed,
// and an attempt must not lock out the others behind the same address.
func (g *Gate) wrong(peer, message, hint string) error {
	e := refuse(http.StatusUnauthorized, "unauthorized", hint, "%s", message)
	if wait := g.guessed(peer); wait > 0 {
		e = refuse(http.StatusTooManyRequests, "too-many-attempts", "try again later, with the right token",
			"too many wrong credentials came from %s", peer)
		e.After = wait
	}
	e.guess = true
	return e
}

// peerOf is what limits count the client of a request by.
func peerOf(r *http.Request) string {
	if c := connOf(r); c != nil {
		return c.peer
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	return host
}
