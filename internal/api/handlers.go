package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/stoker-init/stoker/supervisor"
)

// Status is the answer of GET /v1/services.
type Status struct {
	Version  string                `json:"version"`
	Ready    bool                  `json:"ready"`
	Labels   map[string]string     `json:"labels,omitempty"`         // of the container
	Stopping *time.Time            `json:"stopping_until,omitempty"` // the end of the stop's budget
	Services []supervisor.Snapshot `json:"services"`
	// Config is why the configuration's files are not in force; empty: they are.
	Config string `json:"configuration_refused,omitempty"`
	// Network is absent where netinit is not configured.
	Network *NetworkStatus `json:"network,omitempty"`
	// TCP is why the API is not served over TCP, or not with the present files; empty: neither.
	TCP string `json:"tcp_problem,omitempty"`
	// Plugins are those that are active, failed, or switched off by an operator.
	Plugins []PluginLine `json:"plugins,omitempty"`
}

// PluginLine is a plugin in a Status.
type PluginLine struct {
	Name  string       `json:"name"`
	State plugin.State `json:"state"`
	Why   string       `json:"why,omitempty"`
}

// Readiness is the answer of GET /v1/ready, and of a ?service.
type Readiness struct {
	Ready   bool     `json:"ready"`
	Waiting []string `json:"waiting_for"` // why it is not, a line each
}

func (s *Server) ready(_ http.ResponseWriter, r *http.Request) (any, error) {
	var is Readiness
	if name := r.URL.Query().Get("service"); name == "" {
		is.Ready, is.Waiting = s.opts.Backend.Ready()
	} else if _, ok := s.opts.Backend.Service(name); ok {
		is.Ready, is.Waiting = s.opts.Backend.ReadyService(name)
	} else { // open to every peer: it does not list the services
		return nil, NoService(name, "stoker status lists them")
	}
	if !is.Ready {
		return withStatus{http.StatusServiceUnavailable, is}, nil
	}
	return is, nil
}

func (s *Server) services() Status {
	st := Status{Version: s.opts.Version, Services: s.opts.Backend.Services(), Config: s.opts.Backend.ConfigProblem(),
		Network: s.opts.Backend.Network(), TCP: s.opts.Gate.Problem()}
	st.Ready, _ = s.opts.Backend.Ready()
	if s.opts.Labels != nil {
		st.Labels = s.opts.Labels()
	}
	for _, p := range s.opts.Backend.Plugins(false) {
		if p.State != plugin.Inactive || p.Off == plugin.OffByOperator || p.Undecided {
			st.Plugins = append(st.Plugins, PluginLine{p.Name, p.State, p.Why})
		}
	}
	if until, ok := s.opts.Backend.StopDeadline(); ok {
		st.Stopping = &until
	}
	return st
}

// NoService is the error for an unknown service.
func NoService(name, hint string) error {
	return Refuse(http.StatusNotFound, "no-such-service", hint, "there is no service %q", name)
}

// find returns the service of a request.
func (s *Server) find(name string) (supervisor.Snapshot, error) {
	snap, ok := s.opts.Backend.Service(name)
	if ok {
		return snap, nil
	}
	var have []string
	for _, other := range s.opts.Backend.Services() {
		have = append(have, other.Name)
	}
	return snap, NoService(name, suggest.Hint(name, have))
}

// service answers with a service; with ?wait once a start is over: the numbered or the current one.
func (s *Server) service(_ http.ResponseWriter, r *http.Request) (any, error) {
	snap, err := s.find(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	limit, waits, err := readWait(r.URL.Query())
	if err != nil || !waits {
		return snap, err
	}
	number, err := readStartNumber(r.URL.Query(), "start")
	if err != nil {
		return nil, err
	}
	if number == nil {
		number = &snap.Start
	}
	return s.awaitStarts(r, limit, map[string]uint64{snap.Name: *number}, func() any {
		now, _ := s.opts.Backend.Service(snap.Name)
		return now
	})
}

// command starts, stops or restarts a service. A stop answers when its processes are gone;
// with ?wait the others answer when every start that they cause is over.
func (s *Server) command(event supervisor.Event) func(http.ResponseWriter, *http.Request) (any, error) {
	return func(_ http.ResponseWriter, r *http.Request) (any, error) {
		name := r.PathValue("name")
		if _, err := s.find(name); err != nil {
			return nil, err
		}
		limit, waits, err := readWait(r.URL.Query())
		if err != nil {
			return nil, err
		}
		after, err := readStartNumber(r.URL.Query(), "after")
		if err != nil {
			return nil, err
		}
		before := s.opts.Backend.Services()
		start, err := s.opts.Backend.Ask(r.Context(), name, event, requester(r), after)
		if err != nil {
			return nil, err
		}
		now := func() any {
			snap, _ := s.opts.Backend.Service(name)
			if start != 0 {
				snap.Start = start
			}
			return snap
		}
		if !waits || event == supervisor.EvStop {
			return now(), nil
		}
		starts := StartsBetween(before, s.opts.Backend.Services())
		starts[name] = start
		return s.awaitStarts(r, limit, starts, now)
	}
}

// serviceNames lists the services, the main one first.
func (s *Server) serviceNames() (names []string) {
	for _, snap := range s.opts.Backend.Services() {
		if snap.Main {
			names = append([]string{snap.Name}, names...)
		} else {
			names = append(names, snap.Name)
		}
	}
	return names
}

// jvm explains the options of ?service=NAME, by default of the main service or of the first
// that has a JVM; ?format=text is for people, within &width=80.
func (s *Server) jvm(w http.ResponseWriter, r *http.Request) (any, error) {
	q := r.URL.Query()
	names := s.serviceNames()
	if name := q.Get("service"); name != "" {
		if _, err := s.find(name); err != nil {
			return nil, err
		}
		names = []string{name}
	}
	for _, name := range names {
		data, text, ok := s.opts.Backend.JVM(name)
		switch {
		case !ok:
		case q.Get("format") == "text":
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			width, _ := strconv.Atoi(q.Get("width")) // not a number: unbounded
			_, _ = fmt.Fprint(w, text(max(width, 0)))
			return nil, nil
		default:
			return data, nil
		}
	}
	return nil, Refuse(http.StatusNotFound, "no-jvm", "a service of kind java or tomcat has them from its first start on",
		"no JVM options were rendered for %s", strings.Join(names, ", "))
}

// Status returns the state of everything.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, http.MethodGet, "/v1/services", nil)
}

// Ready reports whether the container, or one service, is ready, and why not.
func (c *Client) Ready(ctx context.Context, service string) (is Readiness, err error) {
	path := "/v1/ready"
	if service != "" {
		path += "?" + url.Values{"service": {service}}.Encode()
	}
	resp, err := c.exchange(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return is, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		defer resp.Body.Close()
		return is, ReadError(resp)
	}
	err = decode(resp, &is)
	return is, err
}

// Command is "start", "stop" or "restart". Where a start of the service later than
// number after has begun, start and restart do nothing.
func (c *Client) Command(ctx context.Context, name, verb string, after uint64) (supervisor.Snapshot, error) {
	return call[supervisor.Snapshot](ctx, c, http.MethodPost, fmt.Sprintf("%s/%s?after=%d", servicePath(name), verb, after), nil)
}

// JVM explains the options of a service's JVM; empty: the main service. Text is laid out within
// a width; 0: unbounded.
func (c *Client) JVM(ctx context.Context, service, format string, width int) (string, error) {
	q := url.Values{"service": {service}, "format": {format}, "width": {strconv.Itoa(width)}}
	resp, err := c.send(ctx, http.MethodGet, "/v1/jvm?"+q.Encode(), nil, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return string(data), err
}

// SignalResult is the answer of POST /v1/services/{name}/signal.
type SignalResult struct {
	Service string `json:"service"`
	Signal  string `json:"signal"` // its name without SIG, or the number where it has none
	Group   bool   `json:"group"`
	Pid     int    `json:"pid"`
}

// signal sends ?signal=HUP to a service's process; ?group to all its processes.
func (s *Server) signal(_ http.ResponseWriter, r *http.Request) (any, error) {
	snap, err := s.find(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	sig, err := proc.ParseSignal(r.URL.Query().Get("signal"))
	if err != nil {
		return nil, Refuse(http.StatusUnprocessableEntity, "bad-parameter", "?signal=HUP: a name with or without SIG, or a number", "%v", err)
	}
	group := r.URL.Query().Has("group")
	err = s.opts.Backend.Signal(snap.Name, sig, group, requester(r))
	if errors.Is(err, proc.ErrGone) {
		err = Refuse(http.StatusConflict, CodeNotNow, "stoker start "+snap.Name, "service %q has no process: it is %s", snap.Name, snap.State)
	}
	return SignalResult{snap.Name, proc.SignalName(sig), group, snap.Pid}, err
}

// Signal sends a signal to a service.
func (c *Client) Signal(ctx context.Context, service, sig string, group bool) (SignalResult, error) {
	path := withQuery(servicePath(service)+"/signal", url.Values{"signal": {sig}}, map[string]bool{"group": group})
	return call[SignalResult](ctx, c, http.MethodPost, path, nil)
}
