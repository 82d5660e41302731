package api

import (
	"context"
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
func (s *Server) hooks(http.ResponseWriter, *http.Request) (any, error) {
	return HookList{append([]hooks.Status{}, s.opts.Backend.Statuses()...)}, nil
}

// runHooks runs those of ?service=NAME, or of the container, or ?name=NAME alone.
func (s *Server) runHooks(_ http.ResponseWriter, r *http.Request) (any, error) {
	event, ok := lifecycle.Parse(r.PathValue("event"))
	if !ok {
		return nil, Refuse(http.StatusNotFound, "no-such-event", suggest.Hint(string(event), lifecycle.Names()), "there is no event %q", event)
	}
	q := r.URL.Query()
	done, err := s.opts.Backend.RunHooks(r.Context(), event, q.Get("name"), q.Get("service"), requester(r))
	return HookRun{event, done}, err
}

// Hooks returns all hooks.
func (c *Client) Hooks(ctx context.Context) (HookList, error) {
	return call[HookList](ctx, c, http.MethodGet, "/v1/hooks", nil)
}

// RunHooks runs the hooks of an event, or the one of a name, as if it happened to a
// service; empty: to the only one, or to the container.
func (c *Client) RunHooks(ctx context.Context, event, name, service string) (HookRun, error) {
	q := url.Values{"name": {name}, "service": {service}}
	return call[HookRun](ctx, c, http.MethodPost, "/v1/hooks/"+url.PathEscape(event)+"?"+q.Encode(), nil)
}
