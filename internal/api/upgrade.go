package api

import (
	"context"
	"net/http"
	"net/url"
)

// Program identifies a stoker.
type Program struct {
	Version  string `json:"version"`
	Protocol int    `json:"protocol"` // of the wire between init and supervisor
	Pid      int    `json:"pid,omitempty"`
	Path     string `json:"path,omitempty"` // of the binary; empty: the init's own
}

// Versions is the answer of GET and POST /v1/upgrade.
type Versions struct {
	Supervisor Program   `json:"supervisor"`
	Init       Program   `json:"init"`
	Upgrades   int       `json:"upgrades"`            // of this container, so far
	Fallback   *Rollback `json:"fallback,omitempty"`  // why the latest upgrade was rolled back
	Candidate  *Program  `json:"candidate,omitempty"` // of POST: the binary that was checked
}

// Rollback is why an upgrade was rolled back.
type Rollback struct {
	Version string `json:"version"` // of the abandoned binary
	Reason  string `json:"reason"`
}

func (s *Server) versions(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.opts.Backend.Versions())
}

// upgrade answers before the supervisor exits; a client that misses the answer sees the
// result by GET.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	v, err := s.opts.Backend.Upgrade(r.Context(), q.Get("path"), q.Has("check"), requester(r))
	if err != nil {
		writeFailure(w, err)
		return
	}
	if q.Has("check") {
		writeJSON(w, http.StatusOK, v)
		return
	}
	w.Header().Set("Connection", "close")
	writeJSON(w, http.StatusAccepted, v)
	_ = http.NewResponseController(w).Flush() // the client may be gone
	s.opts.Backend.Leave()
}

// Versions returns what runs.
func (c *Client) Versions(ctx context.Context) (v Versions, err error) {
	err = c.get(ctx, "/v1/upgrade", &v)
	return v, err
}

// Upgrade swaps the supervisor's binary for the one at path, or with check only validates it.
// It returns before the new one works.
func (c *Client) Upgrade(ctx context.Context, path string, check bool) (v Versions, err error) {
	q := url.Values{"path": {path}}
	if check {
		q.Set("check", "")
	}
	body, err := c.do(ctx, http.MethodPost, "/v1/upgrade?"+q.Encode(), nil)
	if err != nil {
		return v, err
	}
	defer body.Close()
	return v, decode(body, &v)
}
