package api

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/access/accesstest"
)

// grantsOfRoutes says again, apart from the table of routes, what each needs: a route is added here after a thought about who may use it.
func grantsOfRoutes() map[string]access.Grants {
	out := map[string]access.Grants{}
	for grant, patterns := range map[access.Grants]string{
		0:            "GET /{$}, GET /assets/{name...}, GET /v1/health, GET /v1/ready, POST /v1/login, GET /api, GET /apis, GET /api/v1",
		access.Known: "GET /v1/whoami, DELETE /v1/login",
		access.View: `POST /v1/tickets, GET /v1/services, GET /v1/services/{name}, GET /v1/services/{name}/logs, GET /v1/incidents, GET /v1/events,
			GET /v1/hooks, GET /v1/limits, GET /v1/jvm, GET /v1/plugins, GET /v1/plugins/{name}, GET /v1/upgrade, GET /metrics, GET /v1/jobs,
			GET /v1/jobs/{id}, GET /v1/jobs/{id}/events, GET /v1/executor, GET /v1/schedules,
			GET /api/v1/namespaces/{namespace}/pods/{pod}`,
		access.Exec: `GET /v1/exec, POST /v1/exec, GET /v1/sessions/{id}/attach, GET /api/v1/namespaces/{namespace}/pods/{pod}/exec,
			POST /api/v1/namespaces/{namespace}/pods/{pod}/exec, GET /v1/sessions, GET /v1/sessions/{id}, DELETE /v1/sessions/{id},
			GET /v1/sessions/{id}/recording`,
		access.Job: `POST /v1/jobs, GET /v1/jobs/{id}/logs, GET /v1/jobs/{id}/artifacts/{name...}, POST /v1/jobs/{id}/stop, DELETE /v1/jobs/{id}`,
		access.Admin: `POST /v1/services/{name}/start, POST /v1/services/{name}/stop, POST /v1/services/{name}/restart,
			POST /v1/services/{name}/signal, GET /v1/services/{name}/jvm/{tool}, POST /v1/services/{name}/jvm/heapdump, POST /v1/reload,
			GET /v1/incidents/{number}, POST /v1/hooks/{event}, PUT /v1/plugins/{name}, POST /v1/plugins/{name}/actions/{action},
			POST /v1/upgrade, POST /v1/executor/pause, POST /v1/executor/resume, POST /v1/executor/drain, GET /v1/recordings`,
	} {
		for pattern := range strings.SplitSeq(patterns, ",") {
			out[strings.TrimSpace(pattern)] = grant
		}
	}
	return out
}

// remote is a server over TCP with TLS, and what its clients need.
type remoteStage struct {
	t         *testing.T
	url       string
	gate      *access.Gate
	config    access.Config
	authority *accesstest.Authority
	tokens    map[access.Grants]string
	socket    string
}

// singleGrants are the grants that a client may have alone.
func singleGrants() []access.Grants {
	return []access.Grants{access.View, access.Job, access.Exec, access.Admin}
}

// newRemote serves a backend over TCP and on a unix socket. There are a token and a certificate for each grant.
func newRemoteStage(t *testing.T, b daemon, viewers ...int) *remoteStage {
	t.Helper()
	s := &remoteStage{t: t, authority: accesstest.NewAuthority(t), tokens: map[access.Grants]string{},
		gate: &access.Gate{Refusals: access.Refusals{Log: nullLog()}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	s.config = access.Config{Listen: l.Addr().String(), Tokens: filepath.Join(folder, "tokens"), Certificates: map[string][]string{}}
	s.config.TLS.Certificate, s.config.TLS.Key, s.config.TLS.Clients = s.authority.WriteServer(folder)
	for _, g := range singleGrants() {
		token, line, err := access.TokenLine(g.String(), g.Names())
		if err == nil {
			err = access.AppendLine(s.config.Tokens, line)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.tokens[g] = token
		s.config.Certificates[g.String()] = g.Names()
	}
	if err := s.gate.Configure(s.config); err != nil {
		t.Fatal(err)
	}
	s.url = "https://" + s.config.Listen
	s.socket = serveOptions(t, Options{Backend: parts(b), Version: "v1", Log: nullLog(), Viewers: func() []int { return viewers },
		Events: newJournal(t), Member: noMember, Gate: s.gate}, l)
	return s
}

// client makes a client with a token, or with a certificate of that name; both may be empty.
func (s *remoteStage) client(token, certificate string) *http.Client {
	config := &tls.Config{RootCAs: s.authority.Pool}
	if certificate != "" {
		config.Certificates = []tls.Certificate{s.authority.Client(certificate, time.Now().Add(time.Hour))}
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: certificate != ""}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: withToken{transport, token}, Timeout: 10 * time.Second}
}

// withToken adds a token to requests.
type withToken struct {
	http.RoundTripper
	token string
}

func (w withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.token != "" {
		r.Header.Set("Authorization", "Bearer "+w.token)
	}
	return w.RoundTripper.RoundTrip(r)
}

// do sends one request.
func (s *remoteStage) do(c *http.Client, method, target string, header ...string) answerOf {
	s.t.Helper()
	req, err := http.NewRequest(method, s.url+target, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for k := 0; k < len(header); k += 2 {
		req.Header.Set(header[k], header[k+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answerOf{resp.StatusCode, resp.Header.Get("Content-Type"), strings.TrimSpace(string(body))}
}

// TestEveryRouteAndGrant sends each route with each grant, over the unix socket, with a token and with a certificate.
func TestEveryRouteAndGrant(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can connect as another user")
	}
	const viewer, stranger = 4711, 4712
	b := newFake()
	b.jvmText["app"] = "text"
	s := newRemoteStage(t, b, viewer)
	decided := grantsOfRoutes()
	clients := map[string]*http.Client{"none by nothing": s.client("", "")}
	have := map[string]access.Grants{"none by nothing": 0}
	for _, g := range singleGrants() {
		token, certificate := g.String()+" by token", g.String()+" by certificate"
		clients[token], have[token] = s.client(s.tokens[g], ""), g|access.Known
		clients[certificate], have[certificate] = s.client("", g.String()), g|access.Known
	}
	for _, r := range New(Options{Backend: parts(b), Log: nullLog()}).routes() {
		want, ok := decided[r.pattern]
		if !ok || want != r.grant {
			t.Errorf("%s needs the grant %s: grantsOfRoutes of this test has decided %s (%v)", r.pattern, r.grant, want, ok)
			continue
		}
		delete(decided, r.pattern)
		method, target, _ := strings.Cut(r.pattern, " ")
		target = strings.NewReplacer("{$}", "", "{name}", "app", "{id}", "1", "{name...}", "x", "{namespace}", "default", "{pod}", "web").Replace(target)
		for uid, grants := range map[int]access.Grants{0: access.All, viewer: access.View, stranger: 0} {
			got := ask(t, s.socket, uid, method, target)
			if refused := got.status == 403; refused == grants.Has(want) {
				t.Errorf("uid %d (%s), %s: %d %s", uid, grants, r.pattern, got.status, got.body)
			} else if strings.HasPrefix(target, "/api/") {
				if refused && !strings.HasPrefix(got.body, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"uid `) {
					t.Errorf("a client of Kubernetes gets %s", got.body)
				}
			} else if message := fmt.Sprintf(`{"error":{"code":"forbidden","message":"uid %d may not do this: it needs the grant %s","hint":`+
				`"ask as root, or as the user that stoker runs as"}}`, uid, want); refused && got.body != message {
				t.Errorf("%s, want %s", got.body, message)
			}
		}
		if r.pattern == "POST /v1/login" {
			continue // its body is the credential: see package access
		}
		for name, c := range clients {
			got := s.do(c, method, target)
			allowed := have[name].Has(want) && (want == 0 || have[name] != 0)
			if wanted := map[bool]int{true: 403, false: 401}[have[name] != 0]; (got.status == wanted) == allowed {
				t.Errorf("%s, %s: %d %s; allowed should be %v", name, r.pattern, got.status, got.body, allowed)
			}
		}
	}
	for pattern := range decided {
		t.Errorf("there is no route %s", pattern)
	}
	for _, asked := range b.asked {
		if !strings.HasSuffix(asked, ", uid 0 by the API") && !strings.HasSuffix(asked, ", token admin by the API") &&
			!strings.HasSuffix(asked, ", certificate admin by the API") {
			t.Errorf("%q was accepted", asked)
		}
	}
}

// TestNothingIsServedToForeignHosts: a path that is no route is refused by the same gate.
func TestNothingIsServedToForeignHosts(t *testing.T) {
	s := newRemoteStage(t, newFake())
	c := s.client(s.tokens[access.View], "")
	for _, tc := range []struct {
		target, name, value string
		status              int
	}{
		{"/nothing", "X", "y", 404},
		{"/nothing", "Origin", "https://evil.example", 403},
		{"/v1/health", "Origin", "https://evil.example", 403},
		{"/v1/health", "Origin", s.url, 200},
		{"/v1/services", "Origin", "null", 403},
		{"/v1/services", "X-Forwarded-For", "192.0.2.1", 200},
	} {
		if got := s.do(c, "GET", tc.target, tc.name, tc.value); got.status != tc.status {
			t.Errorf("%s with %s: %s: %d %s", tc.target, tc.name, tc.value, got.status, got.body)
		}
	}
	req, _ := http.NewRequest("GET", s.url+"/v1/services", nil)
	req.Host = "evil.example"
	if resp, err := c.Do(req); err != nil || resp.StatusCode != 421 {
		t.Errorf("%v, %v", resp, err)
	}
	if got := s.do(s.client("", ""), "GET", "/v1/services?token="+s.tokens[access.View]); got.status != 400 || !strings.Contains(got.body, "replace it") {
		t.Errorf("a token in the URL: %d %s", got.status, got.body)
	}
	who := s.do(c, "GET", "/v1/whoami")
	var is Whoami
	if err := json.Unmarshal([]byte(who.body), &is); err != nil || fmt.Sprint(is) != "{token view [view] false v1}" {
		t.Errorf("%s, %v", who.body, err)
	}
}

// TestProtocols: there is no HTTP/2 over TCP, and nothing less than TLS 1.2.
func TestProtocols(t *testing.T) {
	s := newRemoteStage(t, newFake())
	for _, tc := range []struct {
		offered []string
		version uint16
		want    string
	}{{[]string{"h2", "http/1.1"}, 0, "http/1.1"}, {[]string{"h2"}, 0, "refused"}, {[]string{"http/1.1"}, 0, "http/1.1"}, {nil, 0, ""}, {nil, tls.VersionTLS12, ""}, {nil, tls.VersionTLS11, "refused"}} {
		conn, err := tls.Dial("tcp", s.config.Listen, &tls.Config{RootCAs: s.authority.Pool, NextProtos: tc.offered, MinVersion: tls.VersionTLS10,
			MaxVersion: tc.version})
		if err != nil {
			if tc.want != "refused" {
				t.Errorf("%q: %v", tc.offered, err)
			}
			continue
		}
		if got := conn.ConnectionState().NegotiatedProtocol; got != tc.want {
			t.Errorf("%q: %q, want %q", tc.offered, got, tc.want)
		}
		fmt.Fprintf(conn, "GET /v1/health HTTP/1.1\r\nHost: %s\r\n\r\n", s.config.Listen)
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 200 {
			t.Errorf("%q: %v, %v", tc.offered, resp, err)
		}
		conn.Close()
	}
}

// prefaceOfHTTP2 begins a connection of HTTP/2, with no settings.
const prefaceOfHTTP2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// TestHTTP2IsForOwnUsers: a connection of anybody else is one of HTTP/1.1, and so are the requests of the command line by it.
func TestHTTP2IsForOwnUsers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can connect as another user")
	}
	const viewer, stranger = 1234, 4712
	f := newFakeJobs(t)
	jobsOf := parts(newFake())
	jobsOf.JobManager, jobsOf.JobFiles, jobsOf.ExecutorControl = f, f, f
	for name, tc := range map[string]struct {
		uid    int
		member string
		proto  int // 2: HTTP/2
		status int // of GET /v1/jobs
	}{"root": {0, "", 2, 200}, "a service of root": {0, "app", 1, 200}, "a viewer": {viewer, "", 1, 200}, "a stranger": {stranger, "", 1, 403}} {
		path := serveOptions(t, Options{Backend: jobsOf, Log: nullLog(), Events: newJournal(t), Viewers: func() []int { return []int{viewer} },
			Member: func(int) (access.Owner, error) { return access.Owner{Service: tc.member}, nil }})
		conn, err := as(tc.uid, path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, prefaceOfHTTP2)
		begin := make([]byte, 9)
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.ReadFull(conn, begin); err != nil || (string(begin) == "HTTP/1.1 ") != (tc.proto == 1) {
			t.Errorf("%s: the preface of HTTP/2 is answered with %q, %v", name, begin, err)
		}
		c := NewClient(path)
		dial := func(context.Context, string, string) (net.Conn, error) { return as(tc.uid, path) }
		c.http.Transport.(*http.Transport).DialContext, c.shared.(*http.Transport).DialContext = dial, dial
		resp, err := c.RoundTrip(httptest.NewRequestWithContext(t.Context(), "GET", "http://stoker/v1/jobs", nil))
		if err != nil || resp.StatusCode != tc.status || resp.ProtoMajor != tc.proto {
			t.Errorf("%s: %v, %v", name, resp, err)
			continue
		}
		resp.Body.Close()
	}
}

// TestFilesAreReplaced: a new certificate of the server, and new tokens, are in force for the next connection and request.
func TestFilesAreReplaced(t *testing.T) {
	s := newRemoteStage(t, newFake())
	open := s.client(s.tokens[access.View], "")
	if got := s.do(open, "GET", "/v1/services"); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	other := accesstest.NewAuthority(t)
	other.WriteServer(filepath.Dir(s.config.Tokens))
	if err := os.Truncate(s.config.Tokens, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.gate.Configure(s.config); err != nil {
		t.Fatal(err)
	}
	if got := s.do(open, "GET", "/v1/services"); got.status != 401 {
		t.Errorf("a token that was removed, over a connection that is open: %d %s", got.status, got.body)
	}
	if _, err := s.client("", "").Get(s.url + "/v1/health"); err == nil {
		t.Error("the old certificate is still served")
	}
	s.authority = other
	if got := s.do(s.client("", ""), "GET", "/v1/health"); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// hostileConnections is how many there are at once.
const hostileConnections = 1000

// TestHostileConnections: connections that send nothing, half a handshake, half a header, half a body or HTTP/2 cost little, and keep
// no other client out.
func TestHostileConnections(t *testing.T) {
	s := newRemoteStage(t, newFake())
	c := s.client(s.tokens[access.View], "")
	if got := s.do(c, "GET", "/v1/services"); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	post := "POST %s HTTP/1.1\r\nHost: " + s.config.Listen + "\r\nContent-Length: %d\r\n\r\n%s"
	hostile := []string{
		"GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("x:\r\n", 5<<9),
		fmt.Sprintf(post, "/v1/login", 4000, strings.Repeat(" ", 3999)),
		fmt.Sprintf(post, "/v1/reload", 200<<10, strings.Repeat(" ", 30<<10)),
		prefaceOfHTTP2 + strings.Repeat("x", 30<<10),
	}
	before := memoryInUse()
	var all []net.Conn
	defer func() {
		for _, conn := range all {
			conn.Close()
		}
	}()
	for k := range hostileConnections {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+k/200), byte(1+k%200))}, Timeout: 5 * time.Second}
		conn, err := dialer.Dial("tcp", s.config.Listen)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, conn)
		switch k % 6 {
		case 1:
			conn.Write([]byte{22, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb}) // a handshake of 16 KiB that does not come
		case 2, 3, 4, 5:
			secured := tls.Client(conn, &tls.Config{RootCAs: s.authority.Pool, ServerName: "localhost", NextProtos: []string{"h2", "http/1.1"}})
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			if secured.Handshake() == nil {
				io.WriteString(secured, hostile[k%6-2])
			}
		}
		if k%100 == 0 {
			if got := s.do(s.client(s.tokens[access.View], ""), "GET", "/v1/services"); got.status != 200 {
				t.Errorf("among %d: %d %s", k, got.status, got.body)
			}
		}
	}
	if more := memoryInUse() - before; more > 16<<20 {
		t.Errorf("%d KiB more", more>>10)
	} else {
		t.Logf("%d connections: %d KiB more, with those of the clients", len(all), more>>10)
	}
	if got := s.do(c, "GET", "/v1/services"); got.status != 200 {
		t.Errorf("the connection of before: %d %s", got.status, got.body)
	}
	// A new connection is accepted after all of these.
	if got := s.do(s.client(s.tokens[access.View], ""), "GET", "/v1/services"); got.status != 200 {
		t.Errorf("a new connection: %d %s", got.status, got.body)
	}
	cut := 0
	for _, conn := range all {
		conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := io.Copy(io.Discard, conn); err == nil || !os.IsTimeout(err) {
			cut++
		}
	}
	if open := len(all) - cut; open > 96 {
		t.Errorf("%d are still open", open)
	}
}

// memoryInUse is that of heap and stacks, in bytes, garbage included.
func memoryInUse() int {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse + m.StackInuse)
}

// TestLargeHeader: more than 8 KiB and what net/http adds are refused before anything else.
func TestLargeHeader(t *testing.T) {
	s := newRemoteStage(t, newFake())
	if got := s.do(s.client("", ""), "GET", "/v1/health", "X", strings.Repeat("x", 32<<10)); got.status != 431 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := s.do(s.client("", ""), "GET", "/v1/health", "X", strings.Repeat("x", 8<<10)); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// TestOriginAtTheSocket: a page that reaches the socket through a relay is refused.
func TestOriginAtTheSocket(t *testing.T) {
	c := NewClient(serve(t, newFake()))
	_, err := c.send(context.Background(), "GET", "/v1/health", http.Header{"Origin": {"http://stoker"}}, nil)
	refused := new(StatusError)
	if !errors.As(err, &refused) || refused.Status != 403 || refused.Code != "foreign-origin" {
		t.Errorf("%v", err)
	}
}

// TestTicketOfTheSocket: stoker console at the socket lets a browser log in over TCP.
func TestTicketOfTheSocket(t *testing.T) {
	s := newRemoteStage(t, newFake())
	ticket, err := NewClient(s.socket).Ticket(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if want := "https://localhost:"; !strings.HasPrefix(ticket.URLs[0], want) {
		t.Errorf("%q", ticket.URLs)
	}
	logIn := func() (login access.Login, status int) {
		resp, err := s.client("", "").Post(s.url+"/v1/login", "application/json", strings.NewReader(`{"ticket":"`+ticket.Ticket+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_ = json.NewDecoder(resp.Body).Decode(&login)
		return login, resp.StatusCode
	}
	login, status := logIn()
	if status != 200 || login.Name != fmt.Sprintf("uid %d", os.Getuid()) {
		t.Fatalf("%d %+v", status, login)
	}
	if _, again := logIn(); again != 401 {
		t.Errorf("the second login with a ticket: %d", again)
	}
	if got := s.do(s.client(login.Token, ""), "POST", "/v1/reload"); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if _, err = NewClient(serve(t, newFake())).Ticket(context.Background()); err == nil || !strings.Contains(err.Error(), "unix socket only") {
		t.Errorf("without a listener: %v", err)
	}
}
