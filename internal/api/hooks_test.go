package api

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lifecycle"
)

func TestHooks(t *testing.T) {
	b := newFake()
	path := serve(t, b)
	if got := ask(t, path, -1, "GET", "/v1/hooks"); got.status != 200 || got.body != `{"hooks":[]}` {
		t.Errorf("%d %s", got.status, got.body)
	}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	b.hooks = []hooks.Status{{Event: lifecycle.Ready, Order: 1, Name: "register", Source: "/etc/x:3", Does: "/bin/register",
		Last: &hooks.LastOutcome{Event: lifecycle.Ready, Hook: "register", Service: "app", At: at,
			Outcome: hooks.Outcome{Why: "exit code 3", Tries: 2, Code: 3}}}}
	for _, tc := range []struct {
		method, target string
		status         int
		want           string
	}{
		{"GET", "/v1/hooks", 200, `{"hooks":[{"event":"ready","order":1,"name":"register","source":"/etc/x:3","does":"/bin/register","last":{"event":"ready","hook":"register","service":"app","at":"2026-03-01T12:00:00Z","ok":false,"why":"exit code 3","tries":2,"code":3,"took_ns":0}}]}`},
		{"POST", "/v1/hooks/ready?name=a&service=app", 200, `{"event":"ready","outcomes":[{"hook":"a","ok":false,"why":"exit code 1","tries":1,"code":1,"took_ns":0}]}`},
		{"POST", "/v1/hooks/rady", 404, `"code":"no-such-event","message":"there is no event \"rady\""`},
		{"POST", "/v1/hooks/ready?name=none", 404, `"code":"no-such-hook"`},
		{"POST", "/v1/hooks/ready?service=none", 404, `"code":"no-such-service"`},
	} {
		if got := ask(t, path, -1, tc.method, tc.target); got.status != tc.status || !strings.Contains(got.body, tc.want) {
			t.Errorf("%s %s: %d %s, want %d %s", tc.method, tc.target, got.status, got.body, tc.status, tc.want)
		}
	}
	by := fmt.Sprintf("uid %d by the API", os.Getuid())
	want := []string{`hooks of ready "a" for "app", ` + by, `hooks of ready "none" for "", ` + by, `hooks of ready "" for "none", ` + by}
	if !slices.Equal(b.asked, want) {
		t.Errorf("asked for %q", b.asked)
	}
	c := NewClient(path)
	list, err := c.Hooks(context.Background())
	if err != nil || len(list.Hooks) != 1 || list.Hooks[0].Last.Why != "exit code 3" {
		t.Errorf("%+v, %v", list, err)
	}
	done, err := c.RunHooks(context.Background(), "ready", "a b", "app")
	if err != nil || len(done.Outcomes) != 1 || b.asked[3] != `hooks of ready "a b" for "app", `+by {
		t.Errorf("%+v, %v, %q", done, err, b.asked)
	}
	var refused *StatusError
	if _, err := c.RunHooks(context.Background(), "rea/dy", "", ""); !errors.As(err, &refused) || refused.Status != 404 {
		t.Errorf("%v", err)
	}
}
