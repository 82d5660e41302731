package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/stoker-init/stoker/internal/proc"
)

// SignalResult is the answer of POST /v1/services/{name}/signal.
type SignalResult struct {
	Service string `json:"service"`
	Signal  string `json:"signal"` // its name without SIG, or the number where it has none
	Group   bool   `json:"group"`
	Pid     int    `json:"pid"`
}

// signal sends ?signal=HUP to a service's process; ?group to all its processes.
func (s *Server) signal(w http.ResponseWriter, r *http.Request) {
	snap, ok := s.find(w, r)
	if !ok {
		return
	}
	sig, err := proc.ParseSignal(r.URL.Query().Get("signal"))
	if err != nil {
		writeError(w, http.StatusUnprocessableEntity, "bad-parameter", err.Error(), "?signal=HUP: a name with or without SIG, or a number")
		return
	}
	group := r.URL.Query().Has("group")
	err = s.opts.Backend.Signal(snap.Name, sig, group, requester(r))
	switch {
	case errors.Is(err, proc.ErrGone):
		writeError(w, http.StatusConflict, "not-now", fmt.Sprintf("service %q has no process: it is %s", snap.Name, snap.State),
			"stoker start "+snap.Name)
	case err != nil:
		writeFailure(w, err)
	default:
		writeJSON(w, http.StatusOK, SignalResult{snap.Name, proc.SignalName(sig), group, snap.Pid})
	}
}

// Signal sends a signal to a service.
func (c *Client) Signal(ctx context.Context, service, sig string, group bool) (done SignalResult, err error) {
	q := url.Values{"signal": {sig}}
	if group {
		q.Set("group", "")
	}
	err = c.post(ctx, "/v1/services/"+url.PathEscape(service)+"/signal?"+q.Encode(), &done)
	return done, err
}
