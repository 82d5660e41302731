package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/proc"
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
		var have []string
		for _, other := range s.opts.Backend.Services() {
			have = append(have, other.Name)
		}
		fail(w, http.StatusNotFound, "no-such-service", fmt.Sprintf("there is no service %q", name),
			"there are: "+strings.Join(have, ", "))
	}
	return snap, ok
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

// LogLine is one line of output on the wire. Text that is not UTF-8 comes as
// Bytes.
type LogLine struct {
	Stream string    `json:"stream"` // stdout, stderr
	Time   time.Time `json:"time"`
	Text   string    `json:"text,omitempty"`
	Bytes  []byte    `json:"bytes,omitempty"`
	Open   bool      `json:"open,omitempty"` // it has no newline
	Offset int64     `json:"offset"`         // behind it; where to go on
}

// logs gives the last lines as one JSON object a line, or with ?follow as
// server-sent events whose ids are offsets.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.find(w, r); !ok {
		return
	}
	log := s.opts.Backend.Log(r.PathValue("name"))
	if log == nil {
		fail(w, http.StatusNotFound, "no-output", fmt.Sprintf("the output of %q is not captured", r.PathValue("name")),
			"it goes to the container's terminal")
		return
	}
	q := r.URL.Query()
	n := 100
	if v := q.Get("n"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil || n < 0 {
			fail(w, http.StatusBadRequest, "bad-request", fmt.Sprintf("n is %q, want a number from 0", v), "")
			return
		}
	}
	from := log.End()
	if n > 0 {
		from = log.TailOffset(n)
	}
	if id, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64); err == nil {
		from = id
	}
	follow := q.Has("follow")
	kind := "application/x-ndjson"
	if follow {
		kind = "text/event-stream"
	}
	w.Header().Set("Content-Type", kind)
	flush := http.NewResponseController(w)
	if follow { // where to go on, also for a client that has not seen a line yet
		fmt.Fprintf(w, "id: %d\n\n", from)
	}
	flush.Flush()
	_ = log.Lines(r.Context(), from, follow, func(l proc.Line) error { // ends with the client
		data, err := json.Marshal(logLine(l))
		if err != nil {
			return err
		}
		if !follow {
			_, err = fmt.Fprintf(w, "%s\n", data)
			return err
		}
		if _, err = fmt.Fprintf(w, "id: %d\ndata: %s\n\n", l.Offset, data); err != nil {
			return err
		}
		return flush.Flush()
	})
}

func logLine(l proc.Line) LogLine {
	out := LogLine{Stream: "stdout", Time: l.Time, Open: l.Open, Offset: l.Offset}
	if l.Stream == proc.Stderr {
		out.Stream = "stderr"
	}
	if utf8.Valid(l.Text) {
		out.Text = string(l.Text)
	} else {
		out.Bytes = l.Text
	}
	return out
}

func (s *Server) limits(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, s.opts.Backend.Limits())
}

// jvm explains the options of ?service=NAME, by default of the main service or
// of the first that has a JVM; ?format=text is for people.
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
		names = []string{name}
	}
	for _, name := range names {
		data, text, ok := s.opts.Backend.JVM(name)
		if !ok {
			continue
		}
		if r.URL.Query().Get("format") == "text" {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			fmt.Fprint(w, text)
			return
		}
		answer(w, http.StatusOK, data)
		return
	}
	fail(w, http.StatusNotFound, "no-jvm", fmt.Sprintf("no JVM options were rendered for %s", strings.Join(names, ", ")),
		"a service of kind java or tomcat has them from its first start on")
}
