package api

import (
	"context"
	"errors"
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
func (s *Server) signal(_ http.ResponseWriter, r *http.Request) (any, error) {
	snap, err := s.find(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	sig, err := proc.ParseSignal(r.URL.Query().Get("signal"))
	if err != nil {
		return nil, Refuse(http.StatusUnprocessableEntity, "bad-parameter", "?signal=HUP: a name with or without SIG, or a number", "%v", err)
	}
	group := r.URL.Query().Has("group")
	err = s.opts.Backend.Signal(snap.Name, sig, group, requester(r))
	if errors.Is(err, proc.ErrGone) {
		err = Refuse(http.StatusConflict, CodeNotNow, "stoker start "+snap.Name, "service %q has no process: it is %s", snap.Name, snap.State)
	}
	return SignalResult{snap.Name, proc.SignalName(sig), group, snap.Pid}, err
}

// Signal sends a signal to a service.
func (c *Client) Signal(ctx context.Context, service, sig string, group bool) (SignalResult, error) {
	path := withQuery(servicePath(service)+"/signal", url.Values{"signal": {sig}}, map[string]bool{"group": group})
	return call[SignalResult](ctx, c, http.MethodPost, path, nil)
}
