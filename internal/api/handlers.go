package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/hooks"
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
	Name  string            `json:"name"`
	State hooks.PluginState `json:"state"`
	Why   string            `json:"why,omitempty"`
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	ok, not := s.opts.Backend.Ready()
	status := http.StatusOK
	if !ok {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, map[string]any{"ready": ok, "waiting_for": not})
}

func (s *Server) services(w http.ResponseWriter, _ *http.Request) {
	st := Status{Version: s.opts.Version, Services: s.opts.Backend.Services(),
		Config: s.opts.Backend.ConfigProblem()}
	st.Ready, _ = s.opts.Backend.Ready()
	for _, p := range s.opts.Backend.Plugins(false) {
		if p.State != hooks.PluginInactive || p.Off == hooks.OffByOperator {
			st.Plugins = append(st.Plugins, PluginLine{p.Name, p.State, p.Why})
		}
	}
	if until, ok := s.opts.Backend.StopDeadline(); ok {
		st.Stopping = &until
	}
	answer(w, http.StatusOK, st)
}

func (s *Server) service(w http.ResponseWriter, r *http.Request) {
	if snap, ok := s.find(w, r); ok {
		answer(w, http.StatusOK, snap)
	}
}

// find gives the service of the path, or answers that there is none.
func (s *Server) find(w http.ResponseWriter, r *http.Request) (supervisor.Snapshot, bool) {
	name := r.PathValue("name")
	snap, ok := s.opts.Backend.Service(name)
	if !ok {
		s.noService(w, name)
	}
	return snap, ok
}

// noService answers that there is no service of a name.
func (s *Server) noService(w http.ResponseWriter, name string) {
	var have []string
	for _, other := range s.opts.Backend.Services() {
		have = append(have, other.Name)
	}
	fail(w, http.StatusNotFound, "no-such-service", fmt.Sprintf("there is no service %q", name), suggest.Hint(name, have))
}

// command starts, stops or restarts; a stop answers when all is gone.
func (s *Server) command(event supervisor.Event) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, ok := s.find(w, r); !ok {
			return
		}
		p, _ := peerOf(r.Context())
		name := r.PathValue("name")
		err := s.opts.Backend.Command(r.Context(), name, event, fmt.Sprintf("uid %d by the API", p.uid))
		switch {
		case errors.Is(err, proc.ErrStopping):
			fail(w, http.StatusServiceUnavailable, "stopping", err.Error(), "")
			return
		case err != nil:
			fail(w, http.StatusInternalServerError, "failed", err.Error(), "")
			return
		}
		snap, _ := s.opts.Backend.Service(name)
		answer(w, http.StatusOK, snap)
	}
}

func (s *Server) limits(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, s.opts.Backend.Limits())
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
