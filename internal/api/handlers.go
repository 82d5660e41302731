package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/stoker-init/stoker/supervisor"
)

// Status is the answer of GET /v1/services.
type Status struct {
	Version  string                `json:"version"`
	Ready    bool                  `json:"ready"`
	Stopping *time.Time            `json:"stopping_until,omitempty"` // the end of the stop's budget
	Services []supervisor.Snapshot `json:"services"`
	// Config is why the configuration's files are not in force; empty: they are.
	Config string `json:"configuration_refused,omitempty"`
	// Plugins are those that are active, failed, or switched off by an operator.
	Plugins []PluginLine `json:"plugins,omitempty"`
}

// PluginLine is a plugin in a Status.
type PluginLine struct {
	Name  string       `json:"name"`
	State plugin.State `json:"state"`
	Why   string       `json:"why,omitempty"`
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// Readiness is the answer of GET /v1/ready, and of a ?service.
type Readiness struct {
	Ready   bool     `json:"ready"`
	Waiting []string `json:"waiting_for"` // why it is not, a line each
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	var is Readiness
	if name := r.URL.Query().Get("service"); name == "" {
		is.Ready, is.Waiting = s.opts.Backend.Ready()
	} else if _, ok := s.opts.Backend.Service(name); ok {
		is.Ready, is.Waiting = s.opts.Backend.ReadyService(name)
	} else { // open to every peer: it does not list the services
		writeError(w, http.StatusNotFound, "no-such-service", fmt.Sprintf("there is no service %q", name), "stoker status lists them")
		return
	}
	status := http.StatusOK
	if !is.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, is)
}

func (s *Server) services(w http.ResponseWriter, _ *http.Request) {
	st := Status{Version: s.opts.Version, Services: s.opts.Backend.Services(),
		Config: s.opts.Backend.ConfigProblem()}
	st.Ready, _ = s.opts.Backend.Ready()
	for _, p := range s.opts.Backend.Plugins(false) {
		if p.State != plugin.Inactive || p.Off == plugin.OffByOperator || p.Undecided {
			st.Plugins = append(st.Plugins, PluginLine{p.Name, p.State, p.Why})
		}
	}
	if until, ok := s.opts.Backend.StopDeadline(); ok {
		st.Stopping = &until
	}
	writeJSON(w, http.StatusOK, st)
}

func (s *Server) service(w http.ResponseWriter, r *http.Request) {
	snap, ok := s.find(w, r)
	if !ok {
		return
	}
	limit, waits, err := readWait(r.URL.Query())
	switch {
	case err != nil:
		badRequest(w, err)
	case waits:
		s.awaitService(w, r, snap, limit)
	default:
		writeJSON(w, http.StatusOK, snap)
	}
}

// find returns the service of the path, or answers 404.
func (s *Server) find(w http.ResponseWriter, r *http.Request) (supervisor.Snapshot, bool) {
	name := r.PathValue("name")
	snap, ok := s.opts.Backend.Service(name)
	if !ok {
		s.noService(w, name)
	}
	return snap, ok
}

// noService answers that there is no such service.
func (s *Server) noService(w http.ResponseWriter, name string) {
	var have []string
	for _, other := range s.opts.Backend.Services() {
		have = append(have, other.Name)
	}
	writeError(w, http.StatusNotFound, "no-such-service", fmt.Sprintf("there is no service %q", name), suggest.Hint(name, have))
}

// command starts, stops or restarts a service. A stop answers when its processes are gone;
// with ?wait the others answer when every start that they cause is over.
func (s *Server) command(event supervisor.Event) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, ok := s.find(w, r); !ok {
			return
		}
		limit, waits, err := readWait(r.URL.Query())
		after, badAfter := readStartNumber(r.URL.Query(), "after")
		if err = errors.Join(err, badAfter); err != nil {
			badRequest(w, err)
			return
		}
		name := r.PathValue("name")
		before := s.opts.Backend.Services()
		start, err := s.opts.Backend.Ask(r.Context(), name, event, requester(r), after)
		if err != nil {
			writeFailure(w, err)
			return
		}
		now := func() any {
			snap, _ := s.opts.Backend.Service(name)
			if start != 0 {
				snap.Start = start
			}
			return snap
		}
		if !waits || event == supervisor.EvStop {
			writeJSON(w, http.StatusOK, now())
			return
		}
		starts := StartsBetween(before, s.opts.Backend.Services())
		starts[name] = start
		s.awaitStarts(w, r, limit, starts, now)
	}
}

func (s *Server) limits(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.opts.Backend.Limits())
}

// jvm explains the options of ?service=NAME, by default of the main service or
// of the first that has a JVM; ?format=text is for people, within
// &width=80.
func (s *Server) jvm(w http.ResponseWriter, r *http.Request) {
	var names []string
	for _, snap := range s.opts.Backend.Services() {
		if snap.Main {
			names = append([]string{snap.Name}, names...)
		} else {
			names = append(names, snap.Name)
		}
	}
	if name := r.URL.Query().Get("service"); name != "" {
		if !slices.Contains(names, name) {
			s.noService(w, name)
			return
		}
		names = []string{name}
	}
	for _, name := range names {
		data, text, ok := s.opts.Backend.JVM(name)
		if !ok {
			continue
		}
		if r.URL.Query().Get("format") == "text" {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			width, _ := strconv.Atoi(r.URL.Query().Get("width")) // not a number: unbounded
			fmt.Fprint(w, text(max(width, 0)))
			return
		}
		writeJSON(w, http.StatusOK, data)
		return
	}
	writeError(w, http.StatusNotFound, "no-jvm", fmt.Sprintf("no JVM options were rendered for %s", strings.Join(names, ", ")),
		"a service of kind java or tomcat has them from its first start on")
}
