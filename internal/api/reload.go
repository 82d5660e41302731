package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/stoker-init/stoker/internal/proc"
)

// ReloadResult is the answer of POST /v1/reload: what was done, or with ?dry_run what
// would be.
type ReloadResult struct {
	DryRun  bool     `json:"dry_run,omitempty"`
	Changes []string `json:"changes"` // a line each; empty: nothing changed
	Files   []string `json:"files"`   // that were read
}

// reload reads the configuration again.
func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	limit, waits, err := readWait(r.URL.Query())
	if err != nil {
		badRequest(w, err)
		return
	}
	before := s.opts.Backend.Services()
	done, err := s.opts.Backend.Reload(requester(r), r.URL.Query().Has("dry_run"))
	switch {
	case errors.Is(err, proc.ErrStopping):
		writeFailure(w, err)
	case err != nil:
		writeError(w, http.StatusUnprocessableEntity, "refused", err.Error(), "nothing was changed; stoker config check tells the same")
	case waits && !done.DryRun:
		s.awaitStarts(w, r, limit, StartsBetween(before, s.opts.Backend.Services()), func() any { return done })
	default:
		writeJSON(w, http.StatusOK, done)
	}
}

// Reload makes the supervisor read the configuration again.
func (c *Client) Reload(ctx context.Context, dryRun bool) (done ReloadResult, err error) {
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
