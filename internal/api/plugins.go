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
	"github.com/stoker-init/stoker/internal/proc"
)

// PluginList is the answer of GET /v1/plugins.
type PluginList struct {
	Plugins []plugin.Info `json:"plugins"` // by name
}

// PluginSwitched is the answer of PUT /v1/plugins/{name}.
type PluginSwitched struct {
	Plugin plugin.Info `json:"plugin"`
	// Restarted are the services that are started anew for it, Deferred those that
	// would be, and were to be left.
	Restarted []string `json:"restarted,omitempty"`
	Deferred  []string `json:"deferred,omitempty"`
	// Unsaved is why it counts until the container ends only.
	Unsaved string   `json:"unsaved,omitempty"`
	Notes   []string `json:"notes,omitempty"`
}

// ActionCall is the body of POST /v1/plugins/{name}/actions/{action}.
type ActionCall struct {
	Args []string `json:"args,omitempty"` // behind those of the command
}

// ActionDone is its answer, when the action is over.
type ActionDone struct {
	Code int `json:"code"` // exit code by shell convention
	// Why it was ended; empty: it ended by itself.
	Why       string `json:"why,omitempty"`
	Output    string `json:"output"`    // of stdout and stderr
	Truncated bool   `json:"truncated"` // Output is only its end
}

// Plugins lists the plugins, switches them and runs their actions. Errors: for an unknown
// name *plugin.NotFoundError, for a bad parameter *plugin.ParamError.
type Plugins interface {
	// Plugins reads them again where fresh is set, and else gives what is known.
	Plugins(fresh bool) []plugin.Info
	Plugin(name string) (plugin.Info, error)
	SwitchPlugin(ctx context.Context, name string, want plugin.SwitchRequest, by string) (PluginSwitched, error)
	// RunAction runs an action until it is over, or ctx is. ErrNotNow says that it
	// cannot be run at present.
	RunAction(ctx context.Context, plugin, action string, args []string, by string) (ActionDone, error)
}

// ErrNotNow refuses what cannot be done at present.
var ErrNotNow = errors.New("it cannot be done now")

// maxBody bounds the body of a request, in bytes.
const maxBody = 1 << 20

func (s *Server) plugins(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, PluginList{append([]plugin.Info{}, s.opts.Backend.Plugins.Plugins(true)...)})
}

func (s *Server) plugin(w http.ResponseWriter, r *http.Request) {
	s.opts.Backend.Plugins.Plugins(true)
	p, err := s.opts.Backend.Plugins.Plugin(r.PathValue("name"))
	if err != nil {
		failPlugin(w, err)
		return
	}
	answer(w, http.StatusOK, p)
}

func (s *Server) switchPlugin(w http.ResponseWriter, r *http.Request) {
	var want plugin.SwitchRequest
	if !body(w, r, &want) {
		return
	}
	limit, waits, err := readWait(r.URL.Query())
	if err != nil {
		fail(w, http.StatusBadRequest, "bad-request", err.Error(), "")
		return
	}
	p, _ := peerOf(r.Context())
	before := s.opts.Backend.Services.Services()
	done, err := s.opts.Backend.Plugins.SwitchPlugin(r.Context(), r.PathValue("name"), want, fmt.Sprintf("uid %d by the API", p.uid))
	if err != nil {
		failPlugin(w, err)
		return
	}
	if waits {
		s.awaitStarts(w, r, limit, Touched(before, s.opts.Backend.Services.Services()), func() any { return done })
		return
	}
	answer(w, http.StatusOK, done)
}

func (s *Server) runAction(w http.ResponseWriter, r *http.Request) {
	var call ActionCall
	if !body(w, r, &call) {
		return
	}
	p, _ := peerOf(r.Context())
	done, err := s.opts.Backend.Plugins.RunAction(r.Context(), r.PathValue("name"), r.PathValue("action"), call.Args, fmt.Sprintf("uid %d by the API", p.uid))
	if err != nil {
		failPlugin(w, err)
		return
	}
	answer(w, http.StatusOK, done)
}

// body reads a request's body; none is the same as {}. What is wrong is answered.
func body(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		fail(w, http.StatusBadRequest, "bad-request", fmt.Sprintf("cannot read the request: %v", err), "docs/reference/api.md has its form")
		return false
	}
	return true
}

// failPlugin answers what went wrong with a plugin.
func failPlugin(w http.ResponseWriter, err error) {
	var none *plugin.NotFoundError
	var param *plugin.ParamError
	switch {
	case errors.As(err, &none):
		fail(w, http.StatusNotFound, "no-such-plugin", err.Error(), none.Hint)
	case errors.As(err, &param):
		fail(w, http.StatusUnprocessableEntity, "bad-parameter", err.Error(), param.Hint)
	case errors.Is(err, ErrNotNow):
		fail(w, http.StatusConflict, "not-now", err.Error(), "stoker plugin list and stoker status tell more")
	case errors.Is(err, proc.ErrStopping):
		fail(w, http.StatusServiceUnavailable, "stopping", err.Error(), "")
	default:
		fail(w, http.StatusInternalServerError, "failed", err.Error(), "")
	}
}

// Plugins are all of them, by name.
func (c *Client) Plugins(ctx context.Context) (list PluginList, err error) {
	err = c.get(ctx, "/v1/plugins", &list)
	return list, err
}

// Plugin is one.
func (c *Client) Plugin(ctx context.Context, name string) (p plugin.Info, err error) {
	err = c.get(ctx, "/v1/plugins/"+url.PathEscape(name), &p)
	return p, err
}

// SwitchPlugin does what is wanted of a plugin.
func (c *Client) SwitchPlugin(ctx context.Context, name string, want plugin.SwitchRequest) (done PluginSwitched, err error) {
	err = c.send(ctx, http.MethodPut, "/v1/plugins/"+url.PathEscape(name), want, &done)
	return done, err
}

// RunAction runs an action of a plugin until it is over.
func (c *Client) RunAction(ctx context.Context, plugin, action string, args []string) (done ActionDone, err error) {
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
