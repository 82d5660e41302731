package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/suggest"
)

// Hooks lists the hooks and runs them.
type Hooks interface {
	Statuses() []hooks.Status
	// Counters are how the runs of hooks ended.
	Counters() []hooks.Counter
	// RunHooks runs the hooks of an event, or the one of a name, as if it happened to
	// a service; empty: to the only one, or to the container.
	RunHooks(ctx context.Context, event lifecycle.Event, name, service, by string) ([]hooks.Outcome, error)
}

// HookList is the answer of GET /v1/hooks.
type HookList struct {
	Hooks []hooks.Status `json:"hooks"` // by event, in their order
}

// HookRun is the answer of POST /v1/hooks/{event}.
type HookRun struct {
	Event    lifecycle.Event `json:"event"`
	Outcomes []hooks.Outcome `json:"outcomes"`
}

// hooks lists them. What they have written is for administrators.
func (s *Server) hooks(w http.ResponseWriter, r *http.Request) {
	list := HookList{s.opts.Backend.Hooks.Statuses()}
	if list.Hooks == nil {
		list.Hooks = []hooks.Status{}
	}
	answer(w, http.StatusOK, list)
}

// runHooks runs those of ?service=NAME, or of the container, or ?name=NAME alone.
func (s *Server) runHooks(w http.ResponseWriter, r *http.Request) {
	event, ok := lifecycle.Parse(r.PathValue("event"))
	if !ok {
		fail(w, http.StatusNotFound, "no-such-event", fmt.Sprintf("there is no event %q", event), suggest.Hint(string(event), lifecycle.Names()))
		return
	}
	p, _ := peerOf(r.Context())
	done, err := s.opts.Backend.Hooks.RunHooks(r.Context(), event, r.URL.Query().Get("name"), r.URL.Query().Get("service"), fmt.Sprintf("uid %d by the API", p.uid))
	var none *NoServiceError
	switch {
	case errors.As(err, &none):
		fail(w, http.StatusNotFound, "no-such-service", err.Error(), "stoker status lists them")
	case errors.Is(err, hooks.ErrNoHook):
		fail(w, http.StatusNotFound, "no-such-hook", err.Error(), "stoker hook list lists them")
	case errors.Is(err, hooks.ErrTooMany):
		fail(w, http.StatusTooManyRequests, "too-many", err.Error(), "stoker hook list shows what runs")
	case err != nil:
		fail(w, http.StatusInternalServerError, "failed", err.Error(), "")
	default:
		answer(w, http.StatusOK, HookRun{event, done})
	}
}

// NoServiceError says that a service is not there, or has to be named.
type NoServiceError struct{ Message string }

func (e *NoServiceError) Error() string { return e.Message }

// Hooks are all of them.
func (c *Client) Hooks(ctx context.Context) (list HookList, err error) {
	err = c.get(ctx, "/v1/hooks", &list)
	return list, err
}

// RunHooks runs the hooks of an event, or the one of a name, as if it happened to a
// service; empty: to the only one, or to the container.
func (c *Client) RunHooks(ctx context.Context, event, name, service string) (done HookRun, err error) {
	body, err := c.do(ctx, http.MethodPost, "/v1/hooks/"+url.PathEscape(event)+"?"+url.Values{"name": {name}, "service": {service}}.Encode(), nil)
	if err != nil {
		return done, err
	}
	defer body.Close()
	return done, decode(body, &done)
}
