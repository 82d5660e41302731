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
	"github.com/stoker-init/stoker/internal/proc"
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
	// Plugins are those that count, have failed, or were switched off by an operator.
	Plugins []PluginLine `json:"plugins,omitempty"`
}

// PluginLine is a plugin in a Status.
type PluginLine struct {
	Name  string       `json:"name"`
	State plugin.State `json:"state"`
	Why   string       `json:"why,omitempty"`
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

// Readiness is the answer of GET /v1/ready, and of a ?service.
type Readiness struct {
	Ready   bool     `json:"ready"`
	Waiting []string `json:"waiting_for"` // why it is not, a line each
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	var is Readiness
	if name := r.URL.Query().Get("service"); name == "" {
		is.Ready, is.Waiting = s.opts.Backend.Services.Ready()
	} else if _, ok := s.opts.Backend.Services.Service(name); ok {
		is.Ready, is.Waiting = s.opts.Backend.Services.ReadyService(name)
	} else { // to anybody: which services there are is not said
		fail(w, http.StatusNotFound, "no-such-service", fmt.Sprintf("there is no service %q", name), "stoker status lists them")
		return
	}
	status := http.StatusOK
	if !is.Ready {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, is)
}

func (s *Server) services(w http.ResponseWriter, _ *http.Request) {
	st := Status{Version: s.opts.Version, Services: s.opts.Backend.Services.Services(),
		Config: s.opts.Backend.Config.ConfigProblem()}
	st.Ready, _ = s.opts.Backend.Services.Ready()
	for _, p := range s.opts.Backend.Plugins.Plugins(false) {
		if p.State != plugin.Inactive || p.Off == plugin.OffByOperator || p.Undecided {
			st.Plugins = append(st.Plugins, PluginLine{p.Name, p.State, p.Why})
		}
	}
	if until, ok := s.opts.Backend.Services.StopDeadline(); ok {
		st.Stopping = &until
	}
	answer(w, http.StatusOK, st)
}

func (s *Server) service(w http.ResponseWriter, r *http.Request) {
	snap, ok := s.find(w, r)
	if !ok {
		return
	}
	limit, waits, err := readWait(r.URL.Query())
	switch {
	case err != nil:
		fail(w, http.StatusBadRequest, "bad-request", err.Error(), "")
	case waits:
		s.awaitService(w, r, snap, limit)
	default:
		answer(w, http.StatusOK, snap)
	}
}

// find gives the service of the path, or answers that there is none.
func (s *Server) find(w http.ResponseWriter, r *http.Request) (supervisor.Snapshot, bool) {
	name := r.PathValue("name")
	snap, ok := s.opts.Backend.Services.Service(name)
	if !ok {
		s.noService(w, name)
	}
	return snap, ok
}

// noService answers that there is no service of a name.
func (s *Server) noService(w http.ResponseWriter, name string) {
	var have []string
	for _, other := range s.opts.Backend.Services.Services() {
		have = append(have, other.Name)
	}
	fail(w, http.StatusNotFound, "no-such-service", fmt.Sprintf("there is no service %q", name), suggest.Hint(name, have))
}

// command starts, stops or restarts; a stop answers when all is gone, the others with
// ?wait when every start that they lead to is over.
func (s *Server) command(event supervisor.Event) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, ok := s.find(w, r); !ok {
			return
		}
		limit, waits, err := readWait(r.URL.Query())
		after, badAfter := readNumber(r.URL.Query(), "after")
		if err = errors.Join(err, badAfter); err != nil {
			fail(w, http.StatusBadRequest, "bad-request", err.Error(), "")
			return
		}
		p, _ := peerOf(r.Context())
		name := r.PathValue("name")
		before := s.opts.Backend.Services.Services()
		start, err := s.opts.Backend.Control.Ask(r.Context(), name, event, fmt.Sprintf("uid %d by the API", p.uid), after)
		switch {
		case errors.Is(err, proc.ErrStopping):
			fail(w, http.StatusServiceUnavailable, "stopping", err.Error(), "")
			return
		case err != nil:
			fail(w, http.StatusInternalServerError, "failed", err.Error(), "")
			return
		}
		now := func() any {
			snap, _ := s.opts.Backend.Services.Service(name)
			if start != 0 {
				snap.Start = start
			}
			return snap
		}
		if !waits || event == supervisor.EvStop {
			answer(w, http.StatusOK, now())
			return
		}
		starts := Touched(before, s.opts.Backend.Services.Services())
		starts[name] = start
		s.awaitStarts(w, r, limit, starts, now)
	}
}

func (s *Server) limits(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, s.opts.Backend.Container.Limits())
}

// jvm explains the options of ?service=NAME, by default of the main service or
// of the first that has a JVM; ?format=text is for people, within
// &width=80.
func (s *Server) jvm(w http.ResponseWriter, r *http.Request) {
	var names []string
	for _, snap := range s.opts.Backend.Services.Services() {
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
		data, text, ok := s.opts.Backend.JVMs.JVM(name)
		if !ok {
			continue
		}
		if r.URL.Query().Get("format") == "text" {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			width, _ := strconv.Atoi(r.URL.Query().Get("width")) // what is no number has no bounds
			fmt.Fprint(w, text(max(width, 0)))
			return
		}
		answer(w, http.StatusOK, data)
		return
	}
	fail(w, http.StatusNotFound, "no-jvm", fmt.Sprintf("no JVM options were rendered for %s", strings.Join(names, ", ")),
		"a service of kind java or tomcat has them from its first start on")
}
