package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

func TestRoutes(t *testing.T) {
	b := newFake()
	b.jvmText["app"] = "the explanation"
	b.waits = []string{"app is STARTING"}
	path := serve(t, b)
	by := fmt.Sprintf("uid %d by the API", os.Getuid())
	for _, tc := range []struct {
		method, target string
		status         int
		want           string // part of the body
	}{
		{"GET", "/v1/health", 200, `{"status":"ok"}`},
		{"GET", "/v1/ready", 503, `{"ready":false,"waiting_for":["app is STARTING"]}`},
		{"GET", "/v1/ready?service=app", 200, `{"ready":true,"waiting_for":null}`},
		{"GET", "/v1/ready?service=side+car", 503, `{"ready":false,"waiting_for":["side car is STOPPED"]}`},
		{"GET", "/v1/ready?service=none", 404, `"code":"no-such-service"`},
		{"GET", "/v1/services", 200, `{"version":"v1","ready":false,"services":[{"name":"app","kind":"java","state":"RUNNING","main":true,"pid":42,`},
		{"GET", "/v1/services/side%20car", 200, `{"name":"side car",`},
		{"GET", "/v1/services/none", 404, `{"error":{"code":"no-such-service","message":"there is no service \"none\"","hint":"there are: app, side car"}}`},
		{"POST", "/v1/services/app/restart", 200, `{"name":"app",`},
		{"POST", "/v1/services/none/stop", 404, `"code":"no-such-service"`},
		{"POST", "/v1/services/app/explode", 404, `{"error":{"code":"not-found","message":"there is no POST /v1/services/app/explode"}}`},
		{"GET", "/v1/services/app/stop", 404, `"code":"not-found"`},
		{"DELETE", "/v1/services/app", 404, `"code":"not-found"`},
		{"GET", "/v1/services/app/logs", 404, `"code":"no-output"`},
		{"GET", "/v1/services/none/logs", 404, `"code":"no-such-service"`},
		{"GET", "/v1/limits", 200, `{"effective_cpus":2}`},
		{"GET", "/v1/jvm", 200, `{"explained":"app"}`},
		{"GET", "/v1/jvm?format=text", 200, `the explanation`},
		{"GET", "/v1/jvm?format=text&width=80", 200, `the explanation in 80 columns`},
		{"GET", "/v1/jvm?format=text&width=wide", 200, `the explanation`},
		{"POST", "/v1/services/app/signal?signal=sighup", 200, `{"service":"app","signal":"HUP","group":false,"pid":42}`},
		{"POST", "/v1/services/app/signal?signal=40&group", 200, `{"service":"app","signal":"40","group":true,"pid":42}`},
		{"POST", "/v1/services/app/signal?signal=HUPP", 422, `"code":"bad-parameter"`},
		{"POST", "/v1/services/app/signal", 422, `"code":"bad-parameter"`},
		{"POST", "/v1/services/none/signal?signal=HUP", 404, `"code":"no-such-service"`},
		{"POST", "/v1/services/side%20car/signal?signal=HUP", 409,
			`{"error":{"code":"not-now","message":"service \"side car\" has no process: it is STOPPED"`},
		{"GET", "/v1/jvm?service=side+car", 404, `{"error":{"code":"no-jvm","message":"no JVM options were rendered for side car","hint":`},
		{"GET", "/v1/jvm?service=apq&format=text", 404, `{"error":{"code":"no-such-service","message":"there is no service \"apq\"","hint":"did you mean app? there are: app, side car"}}`},
		{"POST", "/v1/reload?dry_run", 200, `{"dry_run":true,"changes":["restart web"],"files":null}`},
		{"POST", "/v1/reload", 200, `{"changes":["restart web"],"files":null}`},
		{"GET", "/none", 404, `"code":"not-found"`},
		{"GET", "/v2/services", 404, `"code":"not-found"`},
	} {
		got := ask(t, path, -1, tc.method, tc.target)
		if got.status != tc.status || !strings.Contains(got.body, tc.want) {
			t.Errorf("%s %s: %d %s, want %d %s", tc.method, tc.target, got.status, got.body, tc.status, tc.want)
		}
		if text := strings.Contains(tc.target, "format=text"); !text && (got.kind != "application/json" || !json.Valid([]byte(got.body))) {
			t.Errorf("%s %s: %s is no JSON: %s", tc.method, tc.target, got.kind, got.body)
		}
	}
	if want := []string{"restart app, " + by}; fmt.Sprint(b.asked) != fmt.Sprint(want) {
		t.Errorf("received %q, want %q", b.asked, want)
	}
	if want := []string{"app 1 false", "app 40 true"}; fmt.Sprint(b.signals) != fmt.Sprint(want) {
		t.Errorf("signals %q, want %q", b.signals, want)
	}
	if want := []string{by + " true", by + " false"}; fmt.Sprint(b.reloads) != fmt.Sprint(want) {
		t.Errorf("reloads %q, want %q", b.reloads, want)
	}
}

func TestStatusWhileStopping(t *testing.T) {
	b := newFake()
	b.until = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b.refuse = fmt.Errorf("cannot start %q: %w", "app", proc.ErrStopping)
	path := serve(t, b)
	if got := ask(t, path, -1, "GET", "/v1/services"); !strings.Contains(got.body, `"stopping_until":"2026-01-02T03:04:05Z"`) {
		t.Errorf("%s", got.body)
	}
	if got := ask(t, path, -1, "POST", "/v1/services/app/start"); got.status != 503 || !strings.Contains(got.body, `"code":"stopping"`) {
		t.Errorf("%d %s", got.status, got.body)
	}
	b.refuse = errors.New("cannot start \"app\": no idea")
	if got := ask(t, path, -1, "POST", "/v1/services/app/start"); got.status != 500 || !strings.Contains(got.body, `no idea`) {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestClientSaysWhatWasRefused(t *testing.T) {
	c := NewClient(serve(t, newFake()))
	_, err := c.Command(context.Background(), "none", "stop", 0)
	var refused *StatusError
	if !errors.As(err, &refused) || refused.Status != 404 || refused.Code != "no-such-service" || refused.Hint != "there are: app, side car" {
		t.Errorf("%#v", err)
	}
	if snap, err := c.Command(context.Background(), "side car", "stop", 0); err != nil || snap.Name != "side car" {
		t.Errorf("%+v, %v", snap, err)
	}
	st, err := c.Status(context.Background())
	if err != nil || st.Version != "v1" || len(st.Services) != 2 || !st.Ready {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := NewClient(t.TempDir() + "/none").Status(context.Background()); !errors.Is(err, ErrNoSocket) {
		t.Errorf("no stoker: %v", err)
	}
}
