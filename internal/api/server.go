// Package api serves the supervisor's HTTP API on a unix socket, and over TCP where that is configured: one table of
// routes, each with the grant that it needs. Package access knows who has it. It decides nothing about services; it asks the supervisor.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/events"
	"github.com/stoker-init/stoker/internal/page"
	"github.com/stoker-init/stoker/supervisor"
)

// Options configure a Server.
type Options struct {
	Backend Backend
	Version string
	Log     hclog.Logger
	Viewers func() []int             // uids with the grant view: the users of the services; nil: none
	Labels  func() map[string]string // of the container; nil: none
	// Member returns whose process one is that has the grant view at most. An error: unknown.
	Member func(pid int) (access.Owner, error)
	Events *events.Journal
	// Sessions and Recordings are those of the console; nil: there is no console.
	Sessions   *console.Manager
	Recordings Recordings
	// Gate admits clients over TCP; nil: there are none.
	Gate *access.Gate
}

// Server is the HTTP API.
type Server struct {
	opts   Options
	socket access.Socket
	http   *http.Server  // HTTP/1.1
	shared *http.Server  // the same with HTTP/2, for own users
	stall  time.Duration // how long a client may stall during a JVM's answer
	waits  chan struct{} // a place for each request that waits
	// leaving ends the requests that outlive the HTTP server: websockets.
	leaving context.Context
	leave   context.CancelFunc

	sessions sessionManager // Options.Sessions, or what a test has in its place
	files    page.Page
}

// New makes a server; Serve runs it.
func New(opts Options) *Server {
	s := &Server{opts: opts, stall: stallTime, waits: make(chan struct{}, maxWaits), sessions: opts.Sessions}
	if s.opts.Gate == nil {
		s.opts.Gate = &access.Gate{Refusals: access.Refusals{Log: opts.Log}}
	}
	s.socket = access.Socket{Gate: s.opts.Gate, Viewers: opts.Viewers, Member: opts.Member}
	s.leaving, s.leave = context.WithCancel(context.Background())
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.HandleFunc(r.pattern, s.guard(r))
	}
	mux.HandleFunc("/", s.guard(route{handle: func(_ http.ResponseWriter, r *http.Request) (any, error) {
		return nil, Refuse(http.StatusNotFound, "not-found", "", "there is no %s %s", r.Method, r.URL.Path)
	}}))
	s.http, s.shared = s.server(mux), s.server(mux)
	s.shared.MaxHeaderBytes = maxOwnHeader
	s.shared.Protocols.SetUnencryptedHTTP2(true) // a client that follows a job needs one connection for its states and both outputs
	return s
}

// Bounds on a request's line and header; net/http allows 4 KiB more. With many small fields they take 20 times that in memory, and
// over TCP no credential is known by then.
const (
	maxHeader    = 8 << 10
	maxOwnHeader = 16 << 10 // of own users on the unix socket
)

// server makes a server of HTTP/1.1. HTTP/2 is not for everybody: its streams hold much before a request is admitted, and for a while after
// the connection was closed.
func (s *Server) server(handler http.Handler) *http.Server {
	server := &http.Server{Handler: handler,
		BaseContext: func(net.Listener) context.Context { return s.leaving }, ConnContext: access.WithConn,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 10 * time.Second, MaxHeaderBytes: maxHeader,
		ErrorLog:  s.opts.Log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams}}
	server.Protocols.SetHTTP1(true)
	return server
}

// Serve answers on l, a unix socket or a TCP listener, until ctx is done or l is closed; accepted requests are finished.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() {
		s.leave()
		_ = s.http.Close()
		_ = s.shared.Close()
	})
	defer stop()
	if _, tcp := l.(*net.TCPListener); tcp {
		l = s.opts.Gate.Listener(l)
	} else {
		l = &sharingListener{s.socket.Listener(l), s.shared}
	}
	err := s.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// maxStreams is how many requests a connection of HTTP/2 has at once.
const maxStreams = 8

type route struct {
	pattern string
	grant   access.Grants // what the peer must have
	handle  handler
}

// handler returns the answer, or nil if it has written one.
type handler func(http.ResponseWriter, *http.Request) (answer any, err error)

// withStatus is an answer with another status than 200.
type withStatus struct {
	status int
	body   any
}

// value makes the handler of an answer that depends on nothing of the request.
func value[T any](f func() T) handler {
	return func(http.ResponseWriter, *http.Request) (any, error) { return f(), nil }
}

// routes is the whole API.
func (s *Server) routes() []route {
	b := s.opts.Backend
	return slices.Concat(s.execRoutes(), s.sessionRoutes(), []route{
		{"GET /{$}", 0, s.page},
		{"GET /assets/{name...}", 0, s.page},
		{"GET /v1/health", 0, value(func() map[string]string { return map[string]string{"status": "ok"} })},
		{"GET /v1/ready", 0, s.ready},
		{"GET /v1/whoami", access.Known, s.whoami},
		{"POST /v1/tickets", access.View, s.opts.Gate.ServeTickets},
		{"POST /v1/login", 0, s.opts.Gate.ServeLogin},
		{"DELETE /v1/login", access.Known, s.opts.Gate.ServeLogout},
		{"GET /v1/services", access.View, value(s.services)},
		{"GET /v1/services/{name}", access.View, s.service},
		{"POST /v1/services/{name}/start", access.Admin, s.command(supervisor.EvStart)},
		{"POST /v1/services/{name}/stop", access.Admin, s.command(supervisor.EvStop)},
		{"POST /v1/services/{name}/restart", access.Admin, s.command(supervisor.EvRestart)},
		{"POST /v1/services/{name}/signal", access.Admin, s.signal},
		{"GET /v1/services/{name}/logs", access.View, s.logs},
		{"GET /v1/services/{name}/jvm/{tool}", access.Admin, s.runTool},
		{"POST /v1/services/{name}/jvm/heapdump", access.Admin, s.runTool},
		{"POST /v1/reload", access.Admin, s.reload},
		{"GET /v1/incidents", access.View, value(func() IncidentList { return IncidentList{b.Incidents()} })},
		{"GET /v1/incidents/{number}", access.Admin, s.incident},
		{"GET /v1/events", access.View, s.events},
		{"GET /v1/hooks", access.View, value(func() HookList { return HookList{append([]hooks.Status{}, b.Statuses()...)} })},
		{"POST /v1/hooks/{event}", access.Admin, s.runHooks},
		{"GET /v1/limits", access.View, value(b.Limits)},
		{"GET /v1/jvm", access.View, s.jvm},
		{"GET /v1/plugins", access.View, value(func() PluginList { return PluginList{append([]plugin.Info{}, b.Plugins(true)...)} })},
		{"GET /v1/plugins/{name}", access.View, s.plugin},
		{"PUT /v1/plugins/{name}", access.Admin, s.switchPlugin},
		{"POST /v1/plugins/{name}/actions/{action}", access.Admin, s.runAction},
		{"GET /v1/upgrade", access.View, value(b.Versions)},
		{"POST /v1/upgrade", access.Admin, s.upgrade},
		{"GET /metrics", access.View, s.metrics},
		{"POST /v1/jobs", access.Job, s.withJobs(s.submit)},
		{"GET /v1/jobs", access.View, s.withJobs(s.listJobs)},
		{"GET /v1/jobs/{id}", access.View, s.withJobs(s.job)},
		{"GET /v1/jobs/{id}/events", access.View, s.withJobs(s.jobEvents)},
		{"GET /v1/jobs/{id}/logs", access.Job, s.withJobs(s.jobOutput)},
		{"GET /v1/jobs/{id}/artifacts/{name...}", access.Job, s.withJobs(s.artifact)},
		{"POST /v1/jobs/{id}/stop", access.Job, s.withJobs(s.stopJob)},
		{"DELETE /v1/jobs/{id}", access.Job, s.withJobs(s.stopJob)},
		{"GET /v1/executor", access.View, s.withJobs(value(func() executor.Status { return b.ExecutorStatus() }))},
		{"GET /v1/schedules", access.View, s.withJobs(value(func() ScheduleList { return ScheduleList{b.Schedules()} }))},
		{"POST /v1/executor/pause", access.Admin, s.withJobs(s.control(executor.Pause))},
		{"POST /v1/executor/resume", access.Admin, s.withJobs(s.control(executor.Resume))},
		{"POST /v1/executor/drain", access.Admin, s.withJobs(s.control(executor.Drain))},
	})
}

// page serves the page for browsers: what it shows it asks for with a credential.
func (s *Server) page(w http.ResponseWriter, r *http.Request) (any, error) {
	s.files.ServeHTTP(w, r)
	return nil, nil
}

// Whoami is the answer of GET /v1/whoami.
type Whoami struct {
	Name    string   `json:"name"`
	Grants  []string `json:"grants"`
	Console bool     `json:"console"` // the console is on
	Version string   `json:"version"`
}

func (s *Server) whoami(_ http.ResponseWriter, r *http.Request) (any, error) {
	id := access.Of(r.Context())
	return Whoami{id.Name, id.Grants.Names(), s.consoleOn(), s.opts.Version}, nil
}

// Ticket makes a one-time ticket for a browser.
func (c *Client) Ticket(ctx context.Context) (access.Ticket, error) {
	return call[access.Ticket](ctx, c, http.MethodPost, "/v1/tickets", nil)
}

func requester(r *http.Request) string { return access.Of(r.Context()).Name + " by the API" }

// guard is the one gate of the API: it admits the client, which needs the route's grant, and puts its identity into the context of the
// request. Who is behind a connection of the unix socket is known; who is behind one of TCP proves it.
func (s *Server) guard(r route) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		admit := s.socket.Admit
		if access.OverTCP(req) {
			admit = s.opts.Gate.Admit
			w.Header().Set("X-Content-Type-Options", "nosniff")
			w.Header().Set("Cache-Control", "no-store")
		}
		id, err := admit(req, r.grant)
		if err != nil {
			fail(w, req, err)
			return
		}
		Answer(r.handle)(w, req.WithContext(access.With(req.Context(), id)))
	}
}

// Answer writes what handle returns: the answer as JSON, or an error as an Error with its status and code.
func Answer(handle func(http.ResponseWriter, *http.Request) (answer any, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		answer, err := handle(w, req)
		if err != nil {
			fail(w, req, err)
		} else if other, ok := answer.(withStatus); ok {
			writeJSON(w, other.status, other.body)
		} else if answer != nil {
			writeJSON(w, http.StatusOK, answer)
		}
	}
}

// Error is the body of every answer that is not a success.
type Error struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"`
		// Fields are what is wrong with the Spec of a job.
		Fields []executor.FieldError `json:"fields,omitempty"`
		// Job is the one that has the key of another Spec, and Diff are the fields that differ.
		Job  string   `json:"job,omitempty"`
		Diff []string `json:"diff,omitempty"`
	} `json:"error"`
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(body) // the client may be gone
}
