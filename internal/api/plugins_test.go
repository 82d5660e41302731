package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/proc"
)

// fakePlugins has one plugin, "jacoco", with a parameter "port" and an action "dump".
type fakePlugins struct {
	plugins  []plugin.Info
	switched []plugin.SwitchRequest
	ran      []string
	mishap   error // what everything ends with
}

func (f *fakePlugins) Plugins(bool) []plugin.Info { return f.plugins }

func (f *fakePlugins) Plugin(name string) (plugin.Info, error) {
	for _, p := range f.plugins {
		if p.Name == name {
			return p, nil
		}
	}
	return plugin.Info{}, &plugin.NotFoundError{What: fmt.Sprintf("there is no plugin %q", name), Hint: "there are: jacoco"}
}

func (f *fakePlugins) SwitchPlugin(_ context.Context, name string, want plugin.SwitchRequest, by string) (SwitchResult, error) {
	p, err := f.Plugin(name)
	if f.mishap != nil || err != nil {
		return SwitchResult{}, errors.Join(f.mishap, err)
	}
	if want.Params["port"] != nil && *want.Params["port"] == "no" {
		return SwitchResult{}, &plugin.ParamError{Param: "port", Why: `"no" is not a whole number`}
	}
	f.switched = append(f.switched, want)
	return SwitchResult{Plugin: p, Restarted: []string{"app"}, Notes: []string{by}}, nil
}

func (f *fakePlugins) RunAction(_ context.Context, plugin, action string, args []string, by string) (ActionResult, error) {
	if f.mishap != nil {
		return ActionResult{}, f.mishap
	}
	f.ran = append(f.ran, fmt.Sprint(plugin, " ", action, " ", args, " ", by))
	return ActionResult{Code: 3, Output: "out\n"}, nil
}

// tell sends a body as the client does.
func tell(t *testing.T, path, method, target, text string) (string, error) {
	t.Helper()
	got, err := call[json.RawMessage](context.Background(), NewClient(path), method, target, json.RawMessage(text))
	return string(got), err
}

func TestPluginRoutes(t *testing.T) {
	b := newFake()
	b.fakePlugins = &fakePlugins{plugins: []plugin.Info{{Name: "jacoco", State: plugin.Failed, Why: "the port is taken"},
		{Name: "off", State: plugin.Inactive, Off: plugin.OffByManifest},
		{Name: "held", State: plugin.Inactive, Off: plugin.OffByOperator, Why: "switched off"}}}
	path := serve(t, b)
	for _, tc := range []struct {
		method, target, text string
		want                 string // part of the answer or of the error
		status               int    // of an error
	}{
		{"GET", "/v1/plugins", "{}", `{"plugins":[{"name":"jacoco","state":"failed","why":"the port is taken",`, 0},
		{"GET", "/v1/plugins/jacoco", "{}", `{"name":"jacoco",`, 0},
		{"GET", "/v1/plugins/none", "{}", `there is no plugin "none"`, 404},
		{"GET", "/v1/services", "{}", `"plugins":[{"name":"jacoco","state":"failed","why":"the port is taken"},{"name":"held","state":"inactive","why":"switched off"}]`, 0},
		{"PUT", "/v1/plugins/jacoco", `{"enabled":true,"params":{"port":"7","old":null},"no_restart":true}`, `"restarted":["app"]`, 0},
		{"PUT", "/v1/plugins/jacoco", `{"params":{"port":"no"}}`, `cannot set the parameter "port": "no" is not a whole number`, 422},
		{"PUT", "/v1/plugins/jacoco", `{"enable":true}`, `unknown field`, 400},
		{"PUT", "/v1/plugins/jacoco", `[`, ``, -1},
		{"PUT", "/v1/plugins/none", `{}`, `there is no plugin`, 404},
		{"POST", "/v1/plugins/jacoco/actions/dump", `{"args":["a b"]}`, `{"code":3,"output":"out\n","truncated":false}`, 0},
	} {
		got, err := tell(t, path, tc.method, tc.target, tc.text)
		var refused *StatusError
		switch {
		case tc.status < 0:
		case tc.status == 0 && (err != nil || !strings.Contains(got, tc.want)):
			t.Errorf("%s %s: %s %v, want %s", tc.method, tc.target, got, err, tc.want)
		case tc.status > 0 && (!errors.As(err, &refused) || refused.Status != tc.status || !strings.Contains(refused.Message, tc.want)):
			t.Errorf("%s %s: %v, want %d %s", tc.method, tc.target, err, tc.status, tc.want)
		}
	}
	if n := len(b.switched); n != 1 || *b.switched[0].Enabled != true || b.switched[0].Params["old"] != nil || !b.switched[0].NoRestart {
		t.Errorf("switched %+v", b.switched)
	}
	if want := fmt.Sprintf("[jacoco dump [a b] uid %d by the API]", os.Getuid()); fmt.Sprint(b.ran) != want {
		t.Errorf("ran %v, want %s", b.ran, want)
	}
	for _, tc := range []struct {
		err    error
		status int
		code   string
	}{
		{fmt.Errorf("it has ended: %w", ErrNotNow), http.StatusConflict, "not-now"},
		{proc.ErrStopping, http.StatusServiceUnavailable, "stopping"},
		{errors.New("no idea"), http.StatusInternalServerError, "failed"},
	} {
		b.mishap = tc.err
		_, err := NewClient(path).RunAction(context.Background(), "jacoco", "dump", nil)
		var refused *StatusError
		if !errors.As(err, &refused) || refused.Status != tc.status || refused.Code != tc.code {
			t.Errorf("%v: %v", tc.err, err)
		}
	}
}
