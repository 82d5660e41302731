package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/events"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// Backend is what the API asks, by role.
type Backend struct {
	Services  Services
	Control   Controller
	Records   Records
	JVMs      JVMs
	Hooks     Hooks
	Plugins   Plugins
	Config    Reloader
	Upgrades  Upgrader
	Container Container
}

// Services reads the state of the services.
type Services interface {
	Services() []supervisor.Snapshot
	Service(name string) (supervisor.Snapshot, bool)
	Ready() (bool, []string)
	ReadyService(name string) (bool, []string)
	StopDeadline() (time.Time, bool)
}

// Records are the output and the incidents of the services.
type Records interface {
	Log(name string) *logs.Log
	// Incidents are those that are kept, the newest first.
	Incidents() []incident.Summary
	// Incident is one of them with its evidence.
	Incident(number uint64) (incident.Incident, bool)
}

// Container is about the container as a whole.
type Container interface {
	// Limits are what the cgroups say now.
	Limits() any
	// Orphans is the number of orphaned processes reaped.
	Orphans() uint64
}

// Options configure a Server.
type Options struct {
	Backend Backend
	Version string
	Log     hclog.Logger
	Viewers func() []int // uids that may look: the users of the services; nil: none
	// Member gives the service that a process belongs to and that is not to be an admin;
	// empty: it belongs to none. An error: it is not known.
	Member func(pid int) (service string, err error)
	Events *events.Journal
}

// Server is the HTTP API.
type Server struct {
	opts   Options
	http   http.Server
	stall  time.Duration // how long a client may not read what a JVM answers
	waits  chan struct{} // a place for each request that waits
	places limiter
}

// New makes a server; Serve runs it.
func New(opts Options) *Server {
	s := &Server{opts: opts, stall: stallTime, waits: make(chan struct{}, maxWaits), places: limiter{open: map[int]int{}}}
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.HandleFunc(r.pattern, s.guard(r))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "not-found", fmt.Sprintf("there is no %s %s", r.Method, r.URL.Path), "")
	})
	s.http = http.Server{Handler: mux, ConnContext: withPeer, ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout: 30 * time.Second, IdleTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10, ErrorLog: opts.Log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})}
	return s
}

// Serve answers on l until ctx is done or l is closed; what it has accepted is answered
// to its end.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = s.http.Close() })
	defer stop()
	err := s.http.Serve(&fairListener{Listener: l, limits: &s.places, identify: s.identify})
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// route is one line of the API.
type route struct {
	pattern string
	grant   grants // what the peer must have
	handle  func(http.ResponseWriter, *http.Request)
}

// routes is the whole API.
func (s *Server) routes() []route {
	return []route{
		{"GET /v1/health", 0, s.health},
		{"GET /v1/ready", 0, s.ready},
		{"GET /v1/services", view, s.services},
		{"GET /v1/services/{name}", view, s.service},
		{"POST /v1/services/{name}/start", admin, s.command(supervisor.EvStart)},
		{"POST /v1/services/{name}/stop", admin, s.command(supervisor.EvStop)},
		{"POST /v1/services/{name}/restart", admin, s.command(supervisor.EvRestart)},
		{"POST /v1/services/{name}/signal", admin, s.signal},
		{"GET /v1/services/{name}/logs", view, s.logs},
		{"GET /v1/services/{name}/jvm/{tool}", admin, s.look},
		{"POST /v1/services/{name}/jvm/heapdump", admin, s.heapDump},
		{"POST /v1/reload", admin, s.reload},
		{"GET /v1/incidents", view, s.incidents},
		{"GET /v1/incidents/{number}", admin, s.incident},
		{"GET /v1/events", view, s.events},
		{"GET /v1/hooks", view, s.hooks},
		{"POST /v1/hooks/{event}", admin, s.runHooks},
		{"GET /v1/limits", view, s.limits},
		{"GET /v1/jvm", view, s.jvm},
		{"GET /v1/plugins", view, s.plugins},
		{"GET /v1/plugins/{name}", view, s.plugin},
		{"PUT /v1/plugins/{name}", admin, s.switchPlugin},
		{"POST /v1/plugins/{name}/actions/{action}", admin, s.runAction},
		{"GET /v1/upgrade", view, s.versions},
		{"POST /v1/upgrade", admin, s.upgrade},
		{"GET /metrics", view, s.metrics},
	}
}

// guard requires the route's grant of the peer.
func (s *Server) guard(r route) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		p, _ := peerOf(req.Context())
		if have, who := s.grantsOf(p); !have.has(r.grant) {
			s.opts.Log.Warn("request refused", "uid", p.uid, "pid", p.pid, "method", req.Method, "path", req.URL.Path, "peer", who, "grant", r.grant)
			hint := "ask as root, or as the user that stoker runs as"
			if p.confined != "" {
				hint = "ask from outside of the services (docker exec), let a hook ask, or name the service in api.admins"
			}
			fail(w, http.StatusForbidden, "forbidden", fmt.Sprintf("%s may not do this: it needs the grant %s", who, r.grant), hint)
			return
		}
		r.handle(w, req)
	}
}

// Error is the body of every answer that is not a success.
type Error struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"`
	} `json:"error"`
}

func fail(w http.ResponseWriter, status int, code, message, hint string) {
	var e Error
	e.Error.Code, e.Error.Message, e.Error.Hint = code, redact.Text(message), redact.Text(hint)
	answer(w, status, e)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(body) // a client that went away has nobody to tell
}
