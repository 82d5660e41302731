package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/stoker-init/stoker/internal/proc"
)

// Reloader reads the configuration again.
type Reloader interface {
	// Reload applies what has changed; dryRun only says what it would do.
	Reload(by string, dryRun bool) (Reloaded, error)
	// ConfigProblem is why the configuration's files are not in force; empty: they are.
	ConfigProblem() string
}

// Reloaded is the answer of POST /v1/reload: what was done, or with ?dry_run what
// would be.
type Reloaded struct {
	DryRun  bool     `json:"dry_run,omitempty"`
	Changes []string `json:"changes"` // a line each; empty: nothing has changed
	Files   []string `json:"files"`   // that were read
}

// reload reads the configuration again.
func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	limit, waits, err := readWait(r.URL.Query())
	if err != nil {
		fail(w, http.StatusBadRequest, "bad-request", err.Error(), "")
		return
	}
	p, _ := peerOf(r.Context())
	before := s.opts.Backend.Services.Services()
	done, err := s.opts.Backend.Config.Reload(fmt.Sprintf("uid %d by the API", p.uid), r.URL.Query().Has("dry_run"))
	switch {
	case errors.Is(err, proc.ErrStopping):
		fail(w, http.StatusServiceUnavailable, "stopping", err.Error(), "")
	case err != nil:
		fail(w, http.StatusUnprocessableEntity, "refused", err.Error(), "nothing was changed; stoker config check tells the same")
	case waits && !done.DryRun:
		s.awaitStarts(w, r, limit, Touched(before, s.opts.Backend.Services.Services()), func() any { return done })
	default:
		answer(w, http.StatusOK, done)
	}
}

// Reload has the configuration read again.
func (c *Client) Reload(ctx context.Context, dryRun bool) (done Reloaded, err error) {
	path := "/v1/reload"
	if dryRun {
		path += "?dry_run"
	}
	body, err := c.do(ctx, http.MethodPost, path, nil)
	if err != nil {
		return done, err
	}
	defer body.Close()
	return done, decode(body, &done)
}
