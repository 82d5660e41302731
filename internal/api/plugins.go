package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/stoker-init/stoker/hooks/plugin"
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

func (s *Server) plugins(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, PluginList{append([]plugin.Info{}, s.opts.Backend.Plugins(true)...)})
}

func (s *Server) plugin(w http.ResponseWriter, r *http.Request) {
	s.opts.Backend.Plugins(true)
	p, err := s.opts.Backend.Plugin(r.PathValue("name"))
	if err != nil {
		writeFailure(w, err)
		return
	}
	writeJSON(w, http.StatusOK, p)
}

func (s *Server) switchPlugin(w http.ResponseWriter, r *http.Request) {
	var want plugin.SwitchRequest
	if !body(w, r, &want) {
		return
	}
	limit, waits, err := readWait(r.URL.Query())
	if err != nil {
		badRequest(w, err)
		return
	}
	before := s.opts.Backend.Services()
	done, err := s.opts.Backend.SwitchPlugin(r.Context(), r.PathValue("name"), want, requester(r))
	if err != nil {
		writeFailure(w, err)
		return
	}
	if waits {
		s.awaitStarts(w, r, limit, StartsBetween(before, s.opts.Backend.Services()), func() any { return done })
		return
	}
	writeJSON(w, http.StatusOK, done)
}

func (s *Server) runAction(w http.ResponseWriter, r *http.Request) {
	var call ActionCall
	if !body(w, r, &call) {
		return
	}
	done, err := s.opts.Backend.RunAction(r.Context(), r.PathValue("name"), r.PathValue("action"), call.Args, requester(r))
	if err != nil {
		writeFailure(w, err)
		return
	}
	writeJSON(w, http.StatusOK, done)
}

// body reads a request's body; an empty one is {}. It answers a malformed one itself.
func body(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		writeError(w, http.StatusBadRequest, "bad-request", fmt.Sprintf("cannot read the request: %v", err), "docs/reference/api.md has its form")
		return false
	}
	return true
}

// Plugins returns all plugins by name.
func (c *Client) Plugins(ctx context.Context) (list PluginList, err error) {
	err = c.get(ctx, "/v1/plugins", &list)
	return list, err
}

// Plugin returns one plugin.
func (c *Client) Plugin(ctx context.Context, name string) (p plugin.Info, err error) {
	err = c.get(ctx, "/v1/plugins/"+url.PathEscape(name), &p)
	return p, err
}

// SwitchPlugin switches a plugin or sets its parameters.
func (c *Client) SwitchPlugin(ctx context.Context, name string, want plugin.SwitchRequest) (done SwitchResult, err error) {
	err = c.send(ctx, http.MethodPut, "/v1/plugins/"+url.PathEscape(name), want, &done)
	return done, err
}

// RunAction runs an action of a plugin until it is over.
func (c *Client) RunAction(ctx context.Context, plugin, action string, args []string) (done ActionResult, err error) {
	err = c.send(ctx, http.MethodPost, "/v1/plugins/"+url.PathEscape(plugin)+"/actions/"+url.PathEscape(action), ActionCall{args}, &done)
	return done, err
}

// send sends a body and reads the answer.
func (c *Client) send(ctx context.Context, method, path string, body, into any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	answer, err := c.request(ctx, method, path, http.Header{"Content-Type": {"application/json"}}, bytes.NewReader(data))
	if err != nil {
		return err
	}
	defer answer.Close()
	return decode(answer, into)
}
