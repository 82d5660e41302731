package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// How long a ticket is valid, a page's login at most, and a login that is not used.
const (
	ticketTime = time.Minute
	loginTime  = 12 * time.Hour
	unusedTime = time.Hour
)

// Tickets and logins at once, of one client and in all.
const (
	maxOfMaker = 16
	maxTickets = 128
	maxLogins  = 128
)

// ticket is good for one request.
type ticket struct {
	maker Identity
	path  string // of the GET that it is for; empty: for a login
	until time.Time
}

// login is that of a page: it has the grants of the client that made its ticket.
type login struct {
	name   string
	grants Grants
	maker  *proof // nil: a process at the unix socket
	until  time.Time
	used   time.Time
}

// end is when the login is over unless it is used.
func (l *login) end() time.Time { return earlier(l.until, l.used.Add(unusedTime)) }

// useLogin returns the grants of a login, and notes its use.
func (e *endpoint) useLogin(h hash, now time.Time) (have Grants, until time.Time, err error) {
	l := e.logins[h]
	if l == nil || !now.Before(l.end()) {
		delete(e.logins, h)
		return 0, until, errors.New("the login of the page is over: stoker console makes a new one")
	}
	have = l.grants
	if l.maker != nil {
		if have, until, err = e.current(l.name, l.maker, now); err != nil {
			return 0, until, err
		}
		have &= l.grants
	}
	l.used = now
	return have, earlier(until, l.end()), nil
}

// TicketRequest is the body of POST /v1/tickets.
type TicketRequest struct {
	Path string `json:"path,omitempty"` // of the GET that it is for, with its query; empty: for a login
}

// Ticket is the answer of POST /v1/tickets.
type Ticket struct {
	Ticket  string    `json:"ticket"`
	Expires time.Time `json:"expires"`
	URLs    []string  `json:"urls"` // to open, best first
}

// ServeTickets makes a ticket with the grants of its maker.
func (g *Gate) ServeTickets(w http.ResponseWriter, r *http.Request) (any, error) {
	var req TicketRequest
	if err := readBody(w, r, &req); err != nil {
		return nil, err
	}
	if u, err := url.Parse(req.Path); req.Path != "" && (err != nil || !strings.HasPrefix(req.Path, "/") || u.Host != "" || u.Fragment != "") {
		return nil, refuse(http.StatusBadRequest, "bad-request", `write "/v1/..." as the request has it`, "the path is not one of this API")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	e, now, maker := g.tcp, time.Now(), Of(r.Context())
	if maker.Confined { // its login would outlive it, and give other machines what the process may see
		return nil, refuse(http.StatusForbidden, "forbidden", "run stoker console outside of the services (docker exec)",
			"%s may not make tickets", maker.Name)
	}
	if e == nil {
		return nil, refuse(http.StatusNotFound, "no-listener", `set api.listen, for example "127.0.0.1:9443", and api.tokens`,
			"no browser can connect: the API is served on the unix socket only")
	}
	count := 0
	for h, t := range e.tickets {
		if !now.Before(t.until) {
			delete(e.tickets, h)
		} else if t.maker.Name == maker.Name {
			count++
		}
	}
	if count >= maxOfMaker || len(e.tickets) >= maxTickets {
		busy := refuse(http.StatusTooManyRequests, "too-many", "use one, or wait", "%s has %d tickets that are not used", maker.Name, count)
		busy.After = ticketTime
		return nil, busy
	}
	secret := NewSecret()
	t := ticket{maker, req.Path, now.Add(ticketTime)}
	e.tickets[hashOf(secret)] = t
	answer := Ticket{Ticket: secret, Expires: t.until, URLs: e.cfg.urls()}
	suffix := "/#ticket=" + secret // a fragment is not sent, so it is in no log
	if t.path != "" {
		suffix = t.path + "?ticket=" + secret
		if strings.Contains(t.path, "?") {
			suffix = t.path + "&ticket=" + secret
		}
	}
	for k := range answer.URLs {
		answer.URLs[k] += suffix
	}
	w.Header().Set("Cache-Control", "no-store")
	return answer, nil
}

// useTicket removes a ticket. False: there is none that is valid for the path.
func (e *endpoint) useTicket(secret, path string) (t ticket, ok bool) {
	if e == nil || len(secret) > maxToken {
		return t, false
	}
	h := hashOf(secret)
	t, ok = e.tickets[h]
	delete(e.tickets, h)
	return t, ok && t.path == path && time.Now().Before(t.until)
}

// Login is the answer of POST /v1/login.
type Login struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"` // at the latest; without a use for an hour before
	Name    string    `json:"name"`
	Grants  []string  `json:"grants"`
}

// ServeLogin exchanges a ticket for the token of a page.
func (g *Gate) ServeLogin(w http.ResponseWriter, r *http.Request) (any, error) {
	var req struct {
		Ticket string `json:"ticket"`
	}
	if err := readBody(w, r, &req); err != nil {
		return nil, err
	}
	g.mu.Lock()
	t, ok := g.tcp.useTicket(req.Ticket, "")
	if !ok {
		g.mu.Unlock()
		err := g.wrong(peerOf(r), "the ticket is not known: each is for one login, within a minute", "stoker console makes another one")
		g.AddRequest(r, err)
		return nil, err
	}
	defer g.mu.Unlock()
	e, now := g.tcp, time.Now()
	l := &login{t.maker.Name, t.maker.Grants, t.maker.proof, now.Add(loginTime), now}
	if p := t.maker.proof; p != nil && p.login != (hash{}) { // a page's ticket makes a login like its own
		own := e.logins[p.login]
		if own == nil {
			return nil, refuse(http.StatusUnauthorized, "unauthorized", "stoker console makes another ticket",
				"the login that made the ticket is over")
		}
		l.maker, l.until = own.maker, own.until
	}
	if l.grants == 0 {
		return nil, refuse(http.StatusForbidden, "forbidden", "", "%s has no grants", l.name)
	}
	if err := e.makeRoom(l.name, now); err != nil {
		return nil, err
	}
	secret := NewSecret()
	e.logins[hashOf(secret)] = l
	g.keepLogins()
	g.Log.Info("page logged in", "name", l.name, "grants", l.grants, "address", r.RemoteAddr, "until", l.until.Format(time.RFC3339))
	w.Header().Set("Cache-Control", "no-store")
	return Login{secret, l.until, l.name, l.grants.Names()}, nil
}

// ServeLogout ends the login that a page presents.
func (g *Gate) ServeLogout(_ http.ResponseWriter, r *http.Request) (any, error) {
	id := Of(r.Context())
	if id.proof == nil || id.proof.login == (hash{}) {
		return nil, refuse(http.StatusBadRequest, "bad-request", "a token ends when its line is removed from the token file",
			"this is no login of a page")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tcp != nil {
		delete(g.tcp.logins, id.proof.login)
		g.keepLogins()
		g.broadcast()
	}
	return map[string]string{"status": "ok"}, nil
}

// makeRoom forgets logins that are over, and the one that was not used for the longest if its maker has too many.
func (e *endpoint) makeRoom(maker string, now time.Time) error {
	count, oldest := 0, hash{}
	for h, l := range e.logins {
		switch {
		case !now.Before(l.end()):
			delete(e.logins, h)
		case l.name == maker:
			if count++; oldest == (hash{}) || l.used.Before(e.logins[oldest].used) {
				oldest = h
			}
		}
	}
	if count >= maxOfMaker {
		delete(e.logins, oldest)
	}
	if len(e.logins) >= maxLogins {
		return refuse(http.StatusTooManyRequests, "too-many", "", "there are %d logins", len(e.logins))
	}
	return nil
}

// keepLogins keeps the logins for the next supervisor; mu is held.
func (g *Gate) keepLogins() {
	if g.Keep == nil {
		return
	}
	kept := []keptLogin{}
	for h, l := range g.tcp.logins {
		kept = append(kept, keptLogin{h, l.name, l.grants, l.until, l.maker.keep()})
	}
	if err := g.Keep(kept); err != nil {
		g.Log.Warn("the logins of pages end with this supervisor", "error", err)
	}
}

// Restore takes the logins of the supervisor before, which has kept them as JSON. Their hour without a use begins again. It is called
// after Configure.
func (g *Gate) Restore(kept json.RawMessage) error {
	var all []keptLogin
	if err := json.Unmarshal(kept, &all); err != nil {
		return fmt.Errorf("cannot read the logins of pages: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tcp == nil {
		return nil
	}
	for _, k := range all[:min(len(all), maxLogins)] {
		maker, err := k.restore()
		if err != nil {
			return fmt.Errorf("cannot read the login of %s: %w", k.Name, err)
		}
		g.tcp.logins[k.Hash] = &login{k.Name, k.Grants, maker, k.Until, time.Now()}
	}
	return nil
}

// maxBody bounds the bodies of these requests, in bytes.
const maxBody = 4 << 10

// readBody reads a JSON object; an empty body is an empty one.
func readBody(w http.ResponseWriter, r *http.Request, into any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return refuse(http.StatusBadRequest, "bad-request", "", "cannot read the body: %v", err)
	}
	return nil
}
