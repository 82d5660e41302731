package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/stoker-init/stoker/internal/proc"
)

// ReloadResult is the answer of POST /v1/reload: what was done, or with ?dry_run what
// would be.
type ReloadResult struct {
	DryRun  bool     `json:"dry_run,omitempty"`
	Changes []string `json:"changes"` // a line each; empty: nothing changed
	Files   []string `json:"files"`   // that were read
}

func (s *Server) reload(_ http.ResponseWriter, r *http.Request) (any, error) {
	return s.withStarts(r, func() (any, bool, error) {
		done, err := s.opts.Backend.Reload(requester(r), r.URL.Query().Has("dry_run"))
		if err != nil && !errors.Is(err, proc.ErrStopping) {
			err = Refuse(http.StatusUnprocessableEntity, "refused", "nothing was changed; stoker config check tells the same", "%v", err)
		}
		return done, !done.DryRun, err
	})
}

// Reload makes the supervisor read the configuration again.
func (c *Client) Reload(ctx context.Context, dryRun bool) (ReloadResult, error) {
	return call[ReloadResult](ctx, c, http.MethodPost, withQuery("/v1/reload", url.Values{}, map[string]bool{"dry_run": dryRun}), nil)
}
