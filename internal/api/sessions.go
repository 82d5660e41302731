package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/console/recording"
	"github.com/stoker-init/stoker/internal/redact"
)

// sessionManager has the sessions of the console.
type sessionManager interface {
	// Sessions returns those that run and the latest that have ended, newest first.
	Sessions() []console.Info
	// End ends a session, and returns when it has ended or ctx is done.
	End(ctx context.Context, id, why string)
	Metrics() console.Metrics
}

// Recordings are the recordings of sessions.
type Recordings interface {
	List() ([]recording.Info, error) // newest first
	// Open opens the recording of a session. fs.ErrNotExist: there is none.
	Open(id string) (*os.File, recording.Header, error)
	// Removed counts those that made room for others.
	Removed() int64
}

// CodeNoRecording is the code of an answer for a session without a recording.
const CodeNoRecording = "no-such-recording"

// SessionList is the answer of GET /v1/sessions.
type SessionList struct {
	Sessions []console.Info `json:"sessions"`
}

// RecordingList is the answer of GET /v1/recordings.
type RecordingList struct {
	Recordings []recording.Info `json:"recordings"`
}

func (s *Server) sessionRoutes() []route {
	return []route{
		{"GET /v1/sessions", access.Exec, s.withConsole(s.listSessions)},
		{"GET /v1/sessions/{id}", access.Exec, s.withConsole(s.session)},
		{"DELETE /v1/sessions/{id}", access.Exec, s.withConsole(s.endSession)},
		{"GET /v1/sessions/{id}/recording", access.Exec, s.withConsole(s.sendRecording)},
		{"GET /v1/recordings", access.Admin, s.withConsole(s.listRecordings)},
	}
}

func (s *Server) listSessions(_ http.ResponseWriter, r *http.Request) (any, error) {
	return SessionList{s.sessionsFor(r)}, nil
}

// sessionsFor returns all sessions. Only who has opened one and administrators see the secrets in its arguments and variables.
func (s *Server) sessionsFor(r *http.Request) []console.Info {
	all := append([]console.Info{}, s.sessions.Sessions()...)
	for k := range all {
		if i := &all[k]; mayTouch(r, i.By) != nil {
			i.Command, i.Env = redact.Args(i.Command), redact.Args(i.Env)
		}
	}
	return all
}

func (s *Server) session(_ http.ResponseWriter, r *http.Request) (any, error) {
	return s.findSession(r)
}

func (s *Server) findSession(r *http.Request) (console.Info, error) {
	all, id := s.sessionsFor(r), r.PathValue("id")
	at := slices.IndexFunc(all, func(i console.Info) bool { return i.ID == id })
	if at < 0 {
		return console.Info{}, fmt.Errorf("%w: %.40q", console.ErrNoSession, id)
	}
	return all[at], nil
}

// mayTouch wants the identity that opened a session, or the grant admin.
func mayTouch(r *http.Request, by string) error {
	if id := access.Of(r.Context()); id.Name != by && !id.Grants.Has(access.Admin) {
		return Refuse(http.StatusForbidden, "forbidden", "ask as "+by+", or with the grant admin",
			"%s may not do this: the session is that of %s", id.Name, by)
	}
	return nil
}

// endTime is how long the end of a session is waited for: KILL comes 2 s after TERM.
const endTime = 5 * time.Second

// endSession answers with the session, which has ended by then if it could be ended.
func (s *Server) endSession(_ http.ResponseWriter, r *http.Request) (any, error) {
	i, err := s.findSession(r)
	if err != nil || i.Exit != nil {
		return i, err
	}
	if err := mayTouch(r, i.By); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), endTime)
	defer cancel()
	s.sessions.End(ctx, i.ID, "ended by "+access.Of(r.Context()).Name)
	return s.findSession(r)
}

// sendRecording answers with the recording of a session, also of one that is only known by that.
func (s *Server) sendRecording(w http.ResponseWriter, r *http.Request) (any, error) {
	id := r.PathValue("id")
	f, h, err := s.opts.Recordings.Open(id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, Refuse(http.StatusNotFound, CodeNoRecording, "console.recording.mode makes them; the oldest ones are removed",
			"there is no recording of session %q", id)
	case err != nil:
		return nil, fmt.Errorf("cannot read the recording of session %q: %w", id, err)
	}
	defer f.Close()
	by := "an unknown identity"
	if h.Stoker != nil {
		by = h.Stoker.By
	}
	if err := mayTouch(r, by); err != nil {
		return nil, err
	}
	w.Header().Set("Content-Type", "application/x-asciicast")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": id + ".cast"}))
	http.ServeContent(w, r, "", time.Time{}, f) // also a part of it (Range)
	return nil, nil
}

func (s *Server) listRecordings(http.ResponseWriter, *http.Request) (any, error) {
	list, err := s.opts.Recordings.List()
	return RecordingList{list}, err
}

// sessionMetrics are those of the console.
func (s *Server) sessionMetrics(x *exposition) {
	m := s.sessions.Metrics()
	x.single("stoker_sessions_open", "gauge", "Sessions of the console that run.", float64(m.Open))
	x.family("stoker_sessions_opened_total", "counter", "Requests to open a session by result.")
	for _, result := range console.Results() {
		x.sample(float64(m.Opened[result]), "result", result)
	}
	x.family("stoker_sessions_bytes_total", "counter", "Bytes that the processes of sessions have read (in) and written (out).")
	x.sample(float64(m.In), "direction", "in")
	x.sample(float64(m.Out), "direction", "out")
	x.single("stoker_recordings_removed_total", "counter", "Recordings of sessions that were removed to make room for others.",
		float64(s.opts.Recordings.Removed()))
}

// SessionPath is the path of a session's routes.
func SessionPath(id string) string { return "/v1/sessions/" + url.PathEscape(id) }

// Sessions returns the sessions of the console.
func (c *Client) Sessions(ctx context.Context) (SessionList, error) {
	return call[SessionList](ctx, c, http.MethodGet, "/v1/sessions", nil)
}

// Session returns a session.
func (c *Client) Session(ctx context.Context, id string) (console.Info, error) {
	return call[console.Info](ctx, c, http.MethodGet, SessionPath(id), nil)
}

// EndSession ends a session. Without an Exit in the answer its end takes longer than some seconds.
func (c *Client) EndSession(ctx context.Context, id string) (console.Info, error) {
	return call[console.Info](ctx, c, http.MethodDelete, SessionPath(id), nil)
}

// Recordings returns the recordings of sessions, the newest first.
func (c *Client) Recordings(ctx context.Context) (RecordingList, error) {
	return call[RecordingList](ctx, c, http.MethodGet, "/v1/recordings", nil)
}

// Recording returns the recording of a session, asciicast v2. The caller closes it.
func (c *Client) Recording(ctx context.Context, id string) (io.ReadCloser, error) {
	resp, err := c.send(ctx, http.MethodGet, SessionPath(id)+"/recording", nil, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}
