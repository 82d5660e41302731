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

// upgrade answers before the supervisor exits; a client that misses the answer sees the
// result by GET.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) (any, error) {
	q := r.URL.Query()
	v, err := s.opts.Backend.Upgrade(r.Context(), q.Get("path"), q.Has("check"), requester(r))
	if err != nil || q.Has("check") {
		return v, err
	}
	w.Header().Set("Connection", "close")
	writeJSON(w, http.StatusAccepted, v)
	_ = http.NewResponseController(w).Flush() // the client may be gone
	s.opts.Backend.Leave()
	return nil, nil
}

// Versions returns what runs.
func (c *Client) Versions(ctx context.Context) (Versions, error) {
	return call[Versions](ctx, c, http.MethodGet, "/v1/upgrade", nil)
}

// Upgrade swaps the supervisor's binary for the one at path, or with check only validates it.
// It returns before the new one works.
func (c *Client) Upgrade(ctx context.Context, path string, check bool) (Versions, error) {
	route := withQuery("/v1/upgrade", url.Values{"path": {path}}, map[string]bool{"check": check})
	return call[Versions](ctx, c, http.MethodPost, route, nil)
}
