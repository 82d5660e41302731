package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/suggest"
)

// HookList is the answer of GET /v1/hooks.
type HookList struct {
	Hooks []hooks.Status `json:"hooks"` // by event, in their order
}

// HookRun is the answer of POST /v1/hooks/{event}.
type HookRun struct {
	Event    lifecycle.Event `json:"event"`
	Outcomes []hooks.Outcome `json:"outcomes"`
}

// hooks lists the hooks, without their output.
func (s *Server) hooks(w http.ResponseWriter, _ *http.Request) {
	list := HookList{s.opts.Backend.Hooks()}
	if list.Hooks == nil {
		list.Hooks = []hooks.Status{}
	}
	writeJSON(w, http.StatusOK, list)
}

// runHooks runs those of ?service=NAME, or of the container, or ?name=NAME alone.
func (s *Server) runHooks(w http.ResponseWriter, r *http.Request) {
	event, ok := lifecycle.Parse(r.PathValue("event"))
	if !ok {
		writeError(w, http.StatusNotFound, "no-such-event", fmt.Sprintf("there is no event %q", event),
			suggest.Hint(string(event), lifecycle.Names()))
		return
	}
	done, err := s.opts.Backend.RunHooks(r.Context(), event, r.URL.Query().Get("name"), r.URL.Query().Get("service"), requester(r))
	if err != nil {
		writeFailure(w, err)
		return
	}
	writeJSON(w, http.StatusOK, HookRun{event, done})
}

// Hooks returns all hooks.
func (c *Client) Hooks(ctx context.Context) (list HookList, err error) {
	err = c.get(ctx, "/v1/hooks", &list)
	return list, err
}

// RunHooks runs the hooks of an event, or the one of a name, as if it happened to a
// service; empty: to the only one, or to the container.
func (c *Client) RunHooks(ctx context.Context, event, name, service string) (done HookRun, err error) {
	body, err := c.do(ctx, http.MethodPost, "/v1/hooks/"+url.PathEscape(event)+"?"+url.Values{"name": {name}, "service": {service}}.Encode(),
		nil)
	if err != nil {
		return done, err
	}
	defer body.Close()
	return done, decode(body, &done)
}
