package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/suggest"
)

// PluginList is the answer of GET /v1/plugins.
type PluginList struct {
	Plugins []plugin.Info `json:"plugins"` // by name
}

// SwitchResult is the answer of PUT /v1/plugins/{name}.
type SwitchResult struct {
	Plugin plugin.Info `json:"plugin"`
	// Restarted are the services that are restarted for it, Deferred those that need a
	// restart and were left alone on request.
	Restarted []string `json:"restarted,omitempty"`
	Deferred  []string `json:"deferred,omitempty"`
	// Unsaved is why it holds until the container ends only; empty: it is saved.
	Unsaved string   `json:"unsaved,omitempty"`
	Notes   []string `json:"notes,omitempty"`
}

// ActionCall is the body of POST /v1/plugins/{name}/actions/{action}.
type ActionCall struct {
	Args []string `json:"args,omitempty"` // behind those of the command
}

// ActionResult is its answer, when the action is over.
type ActionResult struct {
	Code int `json:"code"` // exit code by shell convention
	// Why it was killed; empty: it ended by itself.
	Why       string `json:"why,omitempty"`
	Output    string `json:"output"`    // of stdout and stderr
	Truncated bool   `json:"truncated"` // Output is only its end
}

// maxBody bounds the body of a request, in bytes.
const maxBody = 1 << 20

func (s *Server) plugin(_ http.ResponseWriter, r *http.Request) (any, error) {
	s.opts.Backend.Plugins(true)
	return s.opts.Backend.Plugin(r.PathValue("name"))
}

func (s *Server) switchPlugin(w http.ResponseWriter, r *http.Request) (any, error) {
	var want plugin.SwitchRequest
	if err := readBody(w, r, &want); err != nil {
		return nil, err
	}
	return s.withStarts(r, func() (any, bool, error) {
		done, err := s.opts.Backend.SwitchPlugin(r.Context(), r.PathValue("name"), want, requester(r))
		return done, true, err
	})
}

func (s *Server) runAction(w http.ResponseWriter, r *http.Request) (any, error) {
	var call ActionCall
	if err := readBody(w, r, &call); err != nil {
		return nil, err
	}
	return s.opts.Backend.RunAction(r.Context(), r.PathValue("name"), r.PathValue("action"), call.Args, requester(r))
}

// readBody reads a request's body; an empty one is {}.
func readBody(w http.ResponseWriter, r *http.Request, into any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return Refuse(http.StatusBadRequest, "bad-request", "docs/reference/api.md has its form", "cannot read the request: %v", err)
	}
	return nil
}

// Plugins returns all plugins by name.
func (c *Client) Plugins(ctx context.Context) (PluginList, error) {
	return call[PluginList](ctx, c, http.MethodGet, "/v1/plugins", nil)
}

// Plugin returns one plugin.
func (c *Client) Plugin(ctx context.Context, name string) (plugin.Info, error) {
	return call[plugin.Info](ctx, c, http.MethodGet, "/v1/plugins/"+url.PathEscape(name), nil)
}

// SwitchPlugin switches a plugin or sets its parameters.
func (c *Client) SwitchPlugin(ctx context.Context, name string, want plugin.SwitchRequest) (SwitchResult, error) {
	return call[SwitchResult](ctx, c, http.MethodPut, "/v1/plugins/"+url.PathEscape(name), want)
}

// RunAction runs an action of a plugin until it is over.
func (c *Client) RunAction(ctx context.Context, plugin, action string, args []string) (ActionResult, error) {
	path := "/v1/plugins/" + url.PathEscape(plugin) + "/actions/" + url.PathEscape(action)
	return call[ActionResult](ctx, c, http.MethodPost, path, ActionCall{args})
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
