package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/stoker-init/stoker/internal/proc"
)

// Program says which stoker something is.
type Program struct {
	Version  string `json:"version"`
	Protocol int    `json:"protocol"` // of the wire between init and supervisor
	Pid      int    `json:"pid,omitempty"`
	Path     string `json:"path,omitempty"` // where the binary was found; empty: it is the init's own
}

// Versions is the answer of GET and POST /v1/upgrade.
type Versions struct {
	Supervisor Program  `json:"supervisor"`
	Init       Program  `json:"init"`
	Upgrades   int      `json:"upgrades"`            // of this container, so far
	Fallback   *Undone  `json:"fallback,omitempty"`  // the latest upgrade was undone
	Candidate  *Program `json:"candidate,omitempty"` // of POST: the binary that was checked
}

// Undone says why an upgrade was undone.
type Undone struct {
	Version string `json:"version"` // that was given up
	Reason  string `json:"reason"`
}

// Upgrader swaps the supervisor's binary.
type Upgrader interface {
	// Versions says what runs.
	Versions() Versions
	// Upgrade checks the binary at path (empty: where the running one was found)
	// and, unless check is set, has the init start the next supervisor from it.
	// What is wrong with a binary is a *BinaryError.
	Upgrade(ctx context.Context, path string, check bool, by string) (Versions, error)
	// Leave ends this supervisor for the next one.
	Leave()
}

// BinaryError says why a binary was refused.
type BinaryError struct {
	Err  error
	Hint string
}

func (e *BinaryError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *BinaryError) Unwrap() error { return e.Err }

// ErrUpgrading refuses an upgrade beside another one.
var ErrUpgrading = errors.New("another upgrade is under way")

func (s *Server) versions(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, s.opts.Backend.Upgrades.Versions())
}

// upgrade answers before the supervisor leaves; a client that misses the answer
// sees by GET what has become of it.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	p, _ := peerOf(r.Context())
	q := r.URL.Query()
	v, err := s.opts.Backend.Upgrades.Upgrade(r.Context(), q.Get("path"), q.Has("check"), fmt.Sprintf("uid %d by the API", p.uid))
	var bad *BinaryError
	switch {
	case errors.As(err, &bad):
		fail(w, http.StatusBadRequest, "bad-binary", err.Error(), bad.Hint)
		return
	case errors.Is(err, ErrUpgrading):
		fail(w, http.StatusConflict, "upgrading", err.Error(), "")
		return
	case errors.Is(err, proc.ErrStopping):
		fail(w, http.StatusServiceUnavailable, "stopping", err.Error(), "")
		return
	case err != nil:
		fail(w, http.StatusInternalServerError, "failed", err.Error(), "")
		return
	}
	if q.Has("check") {
		answer(w, http.StatusOK, v)
		return
	}
	w.Header().Set("Connection", "close")
	answer(w, http.StatusAccepted, v)
	_ = http.NewResponseController(w).Flush() // a client that went away has nobody to tell
	s.opts.Backend.Upgrades.Leave()
}

// Versions says what runs.
func (c *Client) Versions(ctx context.Context) (v Versions, err error) {
	err = c.get(ctx, "/v1/upgrade", &v)
	return v, err
}

// Upgrade swaps the supervisor's binary for the one at path, or with check only
// looks at it. It returns before the new one works.
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
