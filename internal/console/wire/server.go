package wire

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/program"
)

// Server connects clients to the sessions of a Manager.
type Server struct {
	open     func(context.Context, console.Spec, access.Identity) (session, error)
	check    func(console.Spec, access.Identity) error // why open would refuse
	find     func(id string) (session, error)
	upgrader websocket.Upgrader
}

// session is a *console.Session.
type session struct {
	attach func(access.Identity, console.Attach) (link, error)
	info   func() console.Info
	end    func(why string)
}

// New returns a Server.
func New(m *console.Manager) *Server {
	s := newServer()
	s.open = func(ctx context.Context, spec console.Spec, by access.Identity) (session, error) {
		return adapt(m.Open(ctx, spec, by))
	}
	s.check = m.Check
	s.find = func(id string) (session, error) { return adapt(m.Session(id)) }
	return s
}

func newServer() *Server {
	return &Server{upgrader: websocket.Upgrader{
		WriteBufferSize: frameSize + 1, // a message is one frame
		WriteBufferPool: new(sync.Pool),
		CheckOrigin:     func(*http.Request) bool { return true }, // the guard has checked it
		Error:           func(http.ResponseWriter, *http.Request, int, error) {},
	}}
}

func adapt(s *console.Session, err error) (session, error) {
	if err != nil {
		return session{}, err
	}
	attach := func(by access.Identity, o console.Attach) (link, error) {
		l, err := s.Attach(by, o)
		if err != nil {
			return nil, err
		}
		return l, nil
	}
	return session{attach, s.Info, s.End}, nil
}

// Exec opens a session for a websocket and serves it. The error is what the answer has to be; nil: there was one. A program that
// cannot be started is told over the websocket, as a kubelet does.
func (s *Server) Exec(w http.ResponseWriter, r *http.Request) error { return s.exec(w, r, kubernetes) }

// ExecPod is Exec at a path of Kubernetes.
func (s *Server) ExecPod(w http.ResponseWriter, r *http.Request) error { return s.exec(w, r, pod) }

func (s *Server) exec(w http.ResponseWriter, r *http.Request, d dialect) error {
	offered := []string{V5, V4, Stoker}
	if d == pod {
		offered = []string{V5, V4}
	}
	name, err := handshake(r, offered...)
	if err != nil {
		return err
	}
	if name == Stoker {
		d = ours
	}
	req, err := parseQuery(r.URL.RawQuery, d)
	if err != nil {
		return s.refuse(w, r, name, err)
	}
	by := access.Of(r.Context())
	opened, err := s.open(r.Context(), req.spec, by)
	if start := (*program.StartError)(nil); errors.As(err, &start) {
		return s.tell(w, r, name, start)
	}
	if err != nil {
		return s.refuse(w, r, name, err)
	}
	how := console.Attach{Mode: console.Hold, From: console.Everything()}
	if d == ours {
		how.Window = window
	}
	l, err := opened.attach(by, how)
	if err == nil {
		err = s.serve(w, r, name, req, opened, l)
	}
	if err != nil {
		opened.end("its client could not be connected")
	}
	return err
}

// Attach serves the session of an ID to a websocket. The error is what the answer has to be; nil: there was one. A session that
// there is not is told over the websocket, because a page cannot see why an upgrade was refused.
func (s *Server) Attach(w http.ResponseWriter, r *http.Request, id string) error {
	name, err := handshake(r, Stoker)
	if err != nil {
		return err
	}
	how, err := parseAttach(r.URL.RawQuery)
	if err != nil {
		return s.refuse(w, r, name, err)
	}
	found, err := s.find(id)
	var l link
	if err == nil {
		l, err = found.attach(access.Of(r.Context()), how)
	}
	if errors.Is(err, console.ErrNoSession) {
		return s.tell(w, r, name, err)
	}
	if err != nil {
		return s.refuse(w, r, name, err)
	}
	return s.serve(w, r, name, request{}, found, l)
}

// serve upgrades the connection and serves the link, which it closes in any case.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, name string, req request, of session, l link) error {
	c := &conn{link: l, begun: time.Now(), pongs: make(chan string, 1)}
	if name == Stoker {
		c.protocol = &own{conn: c, info: of.info, terminate: of.end, by: access.Of(r.Context()).Name}
	} else {
		c.protocol = &kube{conn: c, request: req, halfClose: name == V5, info: of.info}
	}
	ws, err := s.upgrade(w, r, name, c.touch)
	if err != nil {
		l.Close()
		return err
	}
	c.ws = ws
	c.serve(r.Context())
	return nil
}

// tell upgrades the connection only to say why there is no link.
func (s *Server) tell(w http.ResponseWriter, r *http.Request, name string, why error) error {
	c := &conn{begun: time.Now()}
	p := protocol(&own{conn: c})
	if name != Stoker {
		p = &kube{conn: c}
	}
	var err error
	if c.ws, err = s.upgrade(w, r, name, c.touch); err != nil {
		return err
	}
	defer func() { _ = c.ws.Close() }() // the client may have closed it
	c.ws.SetReadLimit(maxMessage)
	_ = c.ws.NetConn().SetDeadline(time.Now().Add(closeTime))
	closing := p.end(why)
	_ = c.ws.WriteControl(websocket.CloseMessage, closing.frame(), time.Now().Add(lingerTime)) // the client may be gone
	for err == nil {
		_, _, err = c.ws.NextReader()
	}
	return nil
}

// refuse returns an error for the answer. A page is told over the websocket: it cannot see why an upgrade was refused.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, name string, why error) error {
	if name != Stoker || r.Header.Get("Origin") == "" {
		return why
	}
	return s.tell(w, r, name, refusedError{why})
}

// refusedError is why a page gets no link.
type refusedError struct{ error }

// upgrade makes a websocket of the connection of a request.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, name string, touch func()) (*websocket.Conn, error) {
	return s.upgrader.Upgrade(&hijacker{w, touch}, r, http.Header{"Sec-Websocket-Protocol": {name}})
}

// handshake checks everything that an upgrade needs, and returns the subprotocol.
func handshake(r *http.Request, offered ...string) (string, error) {
	if r.Method != http.MethodGet { // the routes of GET take HEAD too
		return "", fault("method", "a websocket begins with GET")
	}
	if r.ProtoMajor != 1 {
		return "", fault("Upgrade", "a websocket needs HTTP/1.1")
	}
	if !websocket.IsWebSocketUpgrade(r) {
		return "", fault("Upgrade", "it must be websocket, with Connection: Upgrade")
	}
	if version := strings.TrimSpace(r.Header.Get("Sec-Websocket-Version")); version != "13" {
		return "", fault("Sec-WebSocket-Version", "it must be 13")
	}
	if key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-Websocket-Key")); err != nil || len(key) != 16 {
		return "", fault("Sec-WebSocket-Key", "it must be 16 bytes in base64")
	}
	return subprotocol(r.Header, offered...)
}
