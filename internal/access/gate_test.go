package access

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/access/accesstest"
)

// stage is a gate with a token file, TLS and client certificates.
type stage struct {
	*Gate
	t         *testing.T
	cfg       Config
	authority *accesstest.Authority
	kept      json.RawMessage
}

func newStage(t *testing.T, tokens string) *stage {
	t.Helper()
	s := &stage{t: t, authority: accesstest.NewAuthority(t)}
	folder := t.TempDir()
	s.cfg = Config{Listen: "127.0.0.1:9443", Tokens: filepath.Join(folder, "tokens"), Origins: []string{"https://ops.example"},
		Certificates: map[string][]string{"agent": {"job", "view"}}}
	s.cfg.TLS.Certificate, s.cfg.TLS.Key, s.cfg.TLS.Clients = s.authority.WriteServer(folder)
	s.write(tokens)
	s.Gate = s.newGate()
	if err := s.Configure(s.cfg); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stage) newGate() *Gate {
	return &Gate{Refusals: Refusals{Log: hclog.NewNullLogger()}, Keep: func(logins any) (err error) {
		s.kept, err = json.Marshal(logins)
		return err
	}}
}

// write writes the token file.
func (s *stage) write(text string) {
	s.t.Helper()
	if err := os.WriteFile(s.cfg.Tokens, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// request makes a request.
func (s *stage) request(method, target string, header ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "localhost:9443"
	for k := 0; k < len(header); k += 2 {
		r.Header.Add(header[k], header[k+1])
	}
	return r
}

// admit admits a request over a connection of its own.
func (s *stage) admit(r *http.Request, need Grants) (Identity, error) {
	conn := s.tcp.limits.add(fakeConn{})
	defer conn.Close()
	return s.Admit(r.WithContext(WithConn(r.Context(), conn)), need)
}

// withCertificate presents a client certificate, which the handshake has verified.
func withCertificate(r *http.Request, c tls.Certificate) *http.Request {
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c.Leaf}, VerifiedChains: [][]*x509.Certificate{{c.Leaf}}}
	return r
}

// fakeConn is a connection of 192.0.2.1.
type fakeConn struct{ net.Conn }

func (fakeConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1000} }
func (fakeConn) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9443} }
func (fakeConn) Close() error         { return nil }

// identify wants a client to be admitted.
func (s *stage) identify(r *http.Request, need Grants) Identity {
	s.t.Helper()
	id, err := s.admit(r, need)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// post sends a request of an identity to a handler, and reads its answer.
func post[T any](s *stage, by Identity, handle func(http.ResponseWriter, *http.Request) (any, error), body string) (T, error) {
	r := s.request("POST", "/")
	r.Body = http.NoBody
	if body != "" {
		r.Body = readCloser{strings.NewReader(body)}
	}
	answer, err := handle(httptest.NewRecorder(), r.WithContext(With(r.Context(), by)))
	v, _ := answer.(T)
	return v, err
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// logIn makes a ticket and a login with it.
func (s *stage) logIn(by Identity) Login {
	s.t.Helper()
	ticket, err := post[Ticket](s, by, s.ServeTickets, "")
	if err != nil {
		s.t.Fatal(err)
	}
	login, err := post[Login](s, Identity{}, s.ServeLogin, `{"ticket":"`+ticket.Ticket+`"}`)
	if err != nil {
		s.t.Fatal(err)
	}
	return login
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

const twoTokens = "ops view,exec " + secretA + "\nci job " + secretB + "\n"

func TestAdmit(t *testing.T) {
	s := newStage(t, twoTokens)
	protocol := "Sec-Websocket-Protocol"
	encoded := bearerProtocol + base64.RawURLEncoding.EncodeToString([]byte(secretA))
	hour := time.Now().Add(time.Hour)
	for _, tc := range []struct {
		name   string
		r      *http.Request
		need   Grants
		status int // 0: admitted
		want   string
	}{
		{"open", s.request("GET", "/v1/health"), 0, 0, "anonymous none"},
		{"nothing", s.request("GET", "/"), View, 401, "needs a credential"},
		{"token", s.request("GET", "/", bearer(secretA)...), View, 0, "token ops view, exec"},
		{"lower case", s.request("GET", "/", "Authorization", "bearer "+secretA), Known, 0, "token ops view, exec"},
		{"grant", s.request("GET", "/", bearer(secretB)...), View, 403, "token ci may not do this: it needs the grant view"},
		{"wrong", s.request("GET", "/", bearer(secretA+"a")...), View, 401, "the token is not known"},
		{"prefix", s.request("GET", "/", bearer(secretA[1:])...), View, 401, "the token is not known"},
		{"empty", s.request("GET", "/", "Authorization", "Bearer "), View, 401, "the token is not known"},
		{"hash as token", s.request("GET", "/", bearer(hexOf(hashOf(secretA)))...), View, 401, "the token is not known"},
		{"basic", s.request("GET", "/", "Authorization", "Basic eDp5"), View, 401, "this kind of credential"},
		{"protocol", s.request("GET", "/", protocol, encoded+", v5.channel.k8s.io"), Exec, 0, "token ops view, exec"},
		{"bad protocol", s.request("GET", "/", protocol, bearerProtocol+"%%"), Exec, 401, "the token is not known"},
		{"in the URL", s.request("GET", "/?a=b&token="+secretA), View, 400, "must not be in a URL"},
		{"access_token", s.request("GET", "/?access_token="+secretA, bearer(secretA)...), View, 400, "must not be in a URL"},
		{"in the URL of what is open", s.request("GET", "/?token="+secretA), 0, 400, "must not be in a URL"},
		{"unknown ticket", s.request("GET", "/?ticket=x"), View, 429, "too many wrong credentials"},
		{"host", rename(s.request("GET", "/", bearer(secretA)...), "evil.example:9443"), View, 421, "this is not the host"},
		{"host of what is open", rename(s.request("GET", "/"), "evil.example:9443"), 0, 421, "this is not the host"},
		{"origin", s.request("GET", "/", append(bearer(secretA), "Origin", "https://evil.example")...), View, 403, "pages of the origin"},
		{"no origin", s.request("GET", "/", append(bearer(secretA), "Origin", "")...), View, 403, "pages of the origin"},
		{"two origins", s.request("GET", "/", "Origin", "https://ops.example", "Origin", "https://x"), 0, 403, "pages of the origin"},
		{"own origin", s.request("GET", "/", append(bearer(secretA), "Origin", "https://localhost:9443")...), View, 0, "token ops view, exec"},
		{"listed origin", s.request("GET", "/", append(bearer(secretA), "Origin", "https://ops.example")...), View, 0, "token ops view, exec"},
		{"image of another site", s.request("GET", "/", append(bearer(secretA), "Sec-Fetch-Site", "cross-site")...), View, 403, "a page of another site"},
		{"link of another site", s.request("GET", "/", "Sec-Fetch-Site", "cross-site"), 0, 0, "anonymous none"},
		{"certificate", withCertificate(s.request("GET", "/"), s.authority.Client("agent", hour)), Job, 0, "certificate agent view, job"},
		{"its grants", withCertificate(s.request("GET", "/"), s.authority.Client("agent", hour)), Exec, 403, "certificate agent may not do this"},
		{"its name", withCertificate(s.request("GET", "/"), s.authority.Client("other", hour)), View, 403, `"certificate other" has no grants`},
		{"its end", withCertificate(s.request("GET", "/"), s.authority.Client("agent", hour.Add(-2*time.Hour))), View, 401, "not accepted any more"},
		{"its authority", withCertificate(s.request("GET", "/"), accesstest.NewAuthority(t).Client("agent", hour)), View, 401, "not accepted any more"},
		{"a bad token beside it", withCertificate(s.request("GET", "/", bearer(secretA+"x")...), s.authority.Client("agent", hour)), View, 429, "too many"},
	} {
		id, err := s.admit(tc.r, tc.need)
		text, status := id.Name+" "+id.Grants.String(), 0
		if err != nil {
			text, status = err.Error(), statusOf(err)
		}
		if status != tc.status || !strings.Contains(text, tc.want) {
			t.Errorf("%s: %d %s, want %d %s", tc.name, status, text, tc.status, tc.want)
		}
		if err == nil && (id.UID != -1 || id.Pid != -1 || id.Address == "") {
			t.Errorf("%s: %+v", tc.name, id)
		}
		var rest bytes.Buffer
		if err := tc.r.Write(&rest); err != nil {
			t.Error(err)
		}
		if left := rest.String(); status == 0 && (strings.Contains(left, secretA) || strings.Contains(left, encoded)) {
			t.Errorf("%s: the credential is still there:\n%s", tc.name, left)
		}
		if tc.name == "protocol" && tc.r.Header.Get(protocol) != "v5.channel.k8s.io" {
			t.Errorf("subprotocols %q", tc.r.Header[protocol])
		}
	}
}

// statusOf is that of a Refusal; 0: it is none.
func statusOf(err error) int {
	refused := new(Refusal)
	if errors.As(err, &refused) {
		return refused.Status
	}
	return 0
}

func rename(r *http.Request, host string) *http.Request {
	r.Host = host
	return r
}

// TestKnownTokenWhileOthersGuess: a peer that guesses is refused with 429, and those behind the same address are admitted.
func TestKnownTokenWhileOthersGuess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, twoTokens)
		guess := func() *Refusal {
			t.Helper()
			r := s.request("GET", "/", bearer("x")...)
			_, err := s.admit(r, View)
			refused := new(Refusal)
			if !errors.As(err, &refused) {
				t.Fatalf("a guess ends with %v", err)
			}
			return refused
		}
		for k := range maxGuesses + 2 {
			want := 401
			if k >= maxGuesses {
				want = 429
			}
			if got := guess(); got.Status != want || (got.After > 0) != (want == 429) {
				t.Errorf("guess %d: %d after %s", k, got.Status, got.After)
			}
		}
		s.identify(s.request("GET", "/", bearer(secretA)...), View)
		time.Sleep(guessTime)
		synctest.Wait()
		if got := guess(); got.Status != 401 {
			t.Errorf("a minute later: %d", got.Status)
		}
		time.Sleep(guessTime)
	})
}

// TestTokenFileChanges: long sessions are told what has become of their token.
func TestTokenFileChanges(t *testing.T) {
	s := newStage(t, twoTokens)
	id := s.identify(s.request("GET", "/", bearer(secretA)...), Exec)
	for _, step := range []struct{ name, text, want, problem string }{
		{"as before", twoTokens, "", ""},
		{"broken", "ops\n", "", "line 1: want NAME"},
		{"other token removed", "ops view,exec " + secretA, "", ""},
		{"reduced", "ops view " + secretA, "token ops no longer has the grant exec", ""},
		{"renamed", "op view,exec " + secretA, "token ops is not in the token file any more", ""},
		{"replaced", "ops view,exec " + secretB, "token ops is not in the token file any more", ""},
		{"empty", "", "token ops is not in the token file any more", ""},
		{"again", twoTokens, "", ""},
		{"removed", "-", "token ops is not in the token file any more", "no token is valid"},
		{"broken then", "ops\n", "token ops is not in the token file any more", "line 1: want NAME"},
		{"there again", twoTokens, "", ""},
		{"with its folder", "--", "token ops is not in the token file any more", "no token is valid"},
	} {
		changed := s.Changed()
		switch step.text {
		case "-":
			_ = os.Remove(s.cfg.Tokens)
		case "--":
			_ = os.RemoveAll(filepath.Dir(s.cfg.Tokens))
		default:
			s.write(step.text)
		}
		if err := s.Configure(s.cfg); (err == nil) != (step.problem == "") {
			t.Errorf("%s: %v", step.name, err)
		}
		select {
		case <-changed:
		default:
			t.Errorf("%s: sessions are not woken", step.name)
		}
		err := s.Check(id, Exec)
		if (err == nil) != (step.want == "") || err != nil && err.Error() != step.want {
			t.Errorf("%s: %v, want %q", step.name, err, step.want)
		}
		if p := s.Problem(); (p == "") != (step.problem == "") || !strings.Contains(p, step.problem) || !s.Ready() {
			t.Errorf("%s: the problem is %q", step.name, p)
		}
	}
	if err := s.Configure(Config{}); err != nil || s.Check(id, Exec) == nil {
		t.Errorf("without api.listen the token is still valid (%v)", err)
	}
}

// TestCertificateEnds: a session of a certificate is woken when that has expired.
func TestCertificateEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, twoTokens)
		c := s.authority.Client("agent", time.Now().Add(time.Hour))
		id := s.identify(withCertificate(s.request("GET", "/"), c), Job)
		if err := s.Check(id, Job); err != nil {
			t.Fatal(err)
		}
		changed, begun := s.Changed(), time.Now()
		<-changed
		if took := time.Since(begun); took < time.Hour || took > time.Hour+2*time.Second {
			t.Errorf("woken after %s", took)
		}
		if err := s.Check(id, Job); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("an expired certificate: %v", err)
		}
	})
}

// TestAuthorityChanges: a certificate of an authority that is no longer there, or without its name in the configuration, ends.
func TestAuthorityChanges(t *testing.T) {
	s := newStage(t, twoTokens)
	id := s.identify(withCertificate(s.request("GET", "/"), s.authority.Client("agent", time.Now().Add(time.Hour))), Job)
	reduced := s.cfg
	reduced.Certificates = map[string][]string{"agent": {"view"}}
	if err := s.Configure(reduced); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(id, Job); err == nil || err.Error() != "certificate agent no longer has the grant job" {
		t.Errorf("%v", err)
	}
	accesstest.NewAuthority(t).WriteServer(filepath.Dir(s.cfg.Tokens))
	if err := s.Configure(s.cfg); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(id, Job); err == nil || !strings.Contains(err.Error(), "not accepted any more") {
		t.Errorf("%v", err)
	}
}

// TestLogin: a page's login has the grants of its maker, ends an hour after its use and with its maker's credential, and survives the
// supervisor.
func TestLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, twoTokens)
		login := s.logIn(s.identify(s.request("GET", "/", bearer(secretA)...), View))
		if login.Name != "token ops" || strings.Join(login.Grants, " ") != "view exec" || time.Until(login.Expires) != loginTime {
			t.Errorf("%+v", login)
		}
		use := func(need Grants) (Identity, error) {
			return s.admit(s.request("GET", "/", bearer(login.Token)...), need)
		}
		id, err := use(Exec)
		if err != nil || id.Name != "token ops" || id.Grants != View|Exec {
			t.Fatalf("%+v, %v", id, err)
		}
		// Its maker's grants are more than they were, then reduced, and come back.
		s.write("ops admin,view,exec " + secretA)
		_ = s.Configure(s.cfg)
		if err := s.Check(id, Admin); err == nil {
			t.Error("a login has more than its ticket")
		}
		s.write("ops view " + secretA)
		_ = s.Configure(s.cfg)
		if err := s.Check(id, Exec); err == nil || s.Check(id, View) != nil {
			t.Errorf("a login has more than its maker: %v", err)
		}
		s.write(twoTokens)
		_ = s.Configure(s.cfg)
		// Each use, a check of a session among them, lets it go on.
		for range 3 {
			time.Sleep(50 * time.Minute)
			if err := s.Check(id, Exec); err != nil {
				t.Fatal(err)
			}
		}
		if strings.Contains(string(s.kept), login.Token) {
			t.Error("the token itself is kept")
		}
		old := s.Gate
		s.Gate = s.newGate()
		if err := s.Configure(s.cfg); err != nil {
			t.Fatal(err)
		}
		if err := s.Restore(s.kept); err != nil {
			t.Fatal(err)
		}
		if id, err = use(Exec); err != nil {
			t.Fatalf("the next supervisor: %v", err)
		}
		// Without a use it is over, and who waits is woken.
		if err := old.Check(id, Exec); err != nil {
			t.Fatal(err)
		}
		changed, begun := s.Changed(), time.Now()
		if err := s.Check(id, Exec); err != nil {
			t.Fatal(err)
		}
		<-changed
		if took := time.Since(begun); took != unusedTime {
			t.Errorf("over after %s", took)
		}
		if err := s.Check(id, View); err == nil || !strings.Contains(err.Error(), "login of the page is over") {
			t.Errorf("%v", err)
		}
		if _, err := use(View); err == nil {
			t.Error("a login that is over is accepted")
		}
	})
}

// TestLoginOfLogin: a page that makes a ticket for another one lends what it has, and not more time.
func TestLoginOfLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, twoTokens)
		root := Identity{Name: "uid 0", Grants: All, UID: 0, Pid: 7}
		first := s.logIn(root)
		page := s.identify(s.request("GET", "/", bearer(first.Token)...), View)
		time.Sleep(30 * time.Minute)
		second := s.logIn(page)
		if !second.Expires.Equal(first.Expires) || second.Name != "uid 0" || len(second.Grants) != 4 {
			t.Errorf("%+v, want until %s", second, first.Expires)
		}
		if _, err := post[any](s, page, s.ServeLogout, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := s.admit(s.request("GET", "/", bearer(first.Token)...), View); err == nil {
			t.Error("a login that has ended is still valid")
		}
		s.Gate = s.newGate()
		if err := errors.Join(s.Configure(s.cfg), s.Restore(s.kept)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.admit(s.request("GET", "/", bearer(first.Token)...), View); err == nil {
			t.Error("a login that has ended is valid again at the next supervisor")
		}
		id := s.identify(s.request("GET", "/", bearer(second.Token)...), Admin)
		for range 20 { // it is used all the time
			time.Sleep(35 * time.Minute)
			_ = s.Check(id, View)
		}
		if err := s.Check(id, View); err == nil {
			t.Error("it goes on after its end")
		}
	})
}

// TestTooManyConnections: a client with a credential gets 429.
func TestTooManyConnections(t *testing.T) {
	s := newStage(t, twoTokens)
	s.tcp.limits.all = maxAdmitted
	_, err := s.admit(s.request("GET", "/", bearer(secretA)...), View)
	h := http.Header{}
	if SetHeaders(h, err); statusOf(err) != 429 || h.Get("Retry-After") != "1" {
		t.Errorf("%v, %v", err, h)
	}
}

func TestTickets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, twoTokens)
		ops := s.identify(s.request("GET", "/", bearer(secretA)...), View)
		ticket := func(path string) string {
			t.Helper()
			made, err := post[Ticket](s, ops, s.ServeTickets, `{"path":"`+path+`"}`)
			if err != nil || time.Until(made.Expires) != ticketTime || !strings.Contains(made.URLs[0], "ticket="+made.Ticket) {
				t.Fatalf("%+v, %v", made, err)
			}
			return made.Ticket
		}
		get := func(method, target string) error {
			_, err := s.admit(s.request(method, target), View)
			return err
		}
		one := ticket("/v1/x?n=1&raw")
		if err := get("GET", "/v1/x?n=1&raw&ticket="+one); err != nil {
			t.Error(err)
		}
		if get("GET", "/v1/x?n=1&raw&ticket="+one) == nil {
			t.Error("a ticket was used twice")
		}
		for _, target := range []string{"/v1/y", "/v1/x/", "/v1/x?n=1", "/v1/../v1/x"} {
			separator := map[bool]string{true: "&", false: "?"}[strings.Contains(target, "?")]
			if get("GET", target+separator+"ticket="+ticket("/v1/x")) == nil {
				t.Errorf("a ticket for /v1/x opens %s", target)
			}
		}
		if get("POST", "/v1/x?ticket="+ticket("/v1/x")) == nil {
			t.Error("a ticket allows a POST")
		}
		if get("GET", "/v1/x?ticket="+ticket("")) == nil {
			t.Error("a ticket for a login opens a path")
		}
		if _, err := post[Login](s, Identity{}, s.ServeLogin, `{"ticket":"`+ticket("/v1/x")+`"}`); err == nil {
			t.Error("a ticket for a path is a login")
		}
		late := ticket("/v1/x")
		time.Sleep(ticketTime)
		if get("GET", "/v1/x?ticket="+late) == nil {
			t.Error("a ticket is valid after its time")
		}
		withdrawn := ticket("/v1/x")
		s.write("ci job " + secretB)
		_ = s.Configure(s.cfg)
		if get("GET", "/v1/x?ticket="+withdrawn) == nil {
			t.Error("a ticket outlives its maker's token")
		}
		for k := range maxOfMaker + 1 {
			if _, err := post[Ticket](s, ops, s.ServeTickets, ""); (err != nil) != (k == maxOfMaker) && k < maxOfMaker-1 {
				t.Errorf("ticket %d: %v", k, err)
			}
		}
		for _, body := range []string{`{"path":"v1"}`, `{"path":"//evil/x"}`, `{"path":"/x#y"}`, `{"paths":"/"}`, `[`} {
			if _, err := post[Ticket](s, Identity{Name: "x"}, s.ServeTickets, body); statusOf(err) != 400 {
				t.Errorf("%s: %v", body, err)
			}
		}
		time.Sleep(guessTime) // of the refusals
	})
}

// TestLoginsAreBounded: the seventeenth login of one client ends the one that was not used for the longest.
func TestLoginsAreBounded(t *testing.T) {
	s := newStage(t, twoTokens)
	by := Identity{Name: "uid 0", Grants: All}
	first := s.logIn(by)
	for range maxOfMaker {
		s.logIn(by)
	}
	if _, err := s.admit(s.request("GET", "/", bearer(first.Token)...), View); err == nil || len(s.tcp.logins) != maxOfMaker {
		t.Errorf("%d logins, %v", len(s.tcp.logins), err)
	}
}

// TestOff: without api.listen there is no state, no goroutine and no file.
func TestOff(t *testing.T) {
	g := &Gate{Refusals: Refusals{Log: hclog.NewNullLogger()}}
	before := runtime.NumGoroutine()
	id := Identity{Name: "uid 0", Grants: All}
	r := httptest.NewRequest("GET", "/", nil)
	if n := testing.AllocsPerRun(100, func() {
		if g.Configure(Config{}) != nil || g.Check(id, Exec) != nil || g.admitOrigin(r, View) != nil || g.Problem() != "" || g.Ready() {
			t.Error("it is not off")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if g.tcp != nil || g.changed != nil || g.peers != nil || runtime.NumGoroutine() > before {
		t.Errorf("%+v, %d goroutines", g.tcp, runtime.NumGoroutine()-before)
	}
	r.Header.Set("Origin", "http://stoker")
	if g.admitOrigin(r, 0) == nil {
		t.Error("an origin is allowed")
	}
	if _, err := g.ServeTickets(httptest.NewRecorder(), r.WithContext(With(context.Background(), id))); err == nil {
		t.Error("there is a ticket for nothing")
	}
	if _, err := g.ServeLogin(httptest.NewRecorder(), r); err == nil {
		t.Error("there is a login without a listener")
	}
}
