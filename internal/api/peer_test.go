package api

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// TestRoomForTheOperator: root connects while eight users have all the connections that each may have.
func TestRoomForTheOperator(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can connect as another user")
	}
	path := serve(t, newFake())
	for uid := range 8 {
		for range 16 {
			conn, err := as(4700+uid, path)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
	}
	if got := ask(t, path, 0, "GET", "/v1/services"); got.status != 200 {
		t.Errorf("root gets %d %s", got.status, got.body)
	}
}

// TestConfinedPeer: a process of root that belongs to a service, or that is confined, has only the
// grant view.
func TestConfinedPeer(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be confined")
	}
	for _, tc := range []struct {
		name   string
		by     []string // runs the client
		member string
		unsure error
		want   string // in the refusal; empty: there is none
	}{
		{"plain", nil, "", nil, ""},
		{"service", nil, "cron", nil, `belongs to the service "cron"`},
		{"orphan", nil, "", errors.New("its parents have ended"), "it is not known where it comes from: its parents have ended"},
		{"bounding set", []string{"setpriv", "--bounding-set", "-net_raw"}, "", nil, "fewer rights than stoker: it lacks NET_RAW"},
		{"permitted", []string{"setpriv", "--securebits", "+noroot"}, "", nil, "fewer rights than stoker: it lacks "},
		{"no_new_privs", []string{"setpriv", "--no-new-privs"}, "", nil, "fewer rights than stoker: it has no_new_privs"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := serveOptions(t, Options{Backend: parts(newFake()), Log: hclog.NewNullLogger(),
				Member: func(int) (string, error) { return tc.member, tc.unsure }})
			out, err := client(t, path, "restart", tc.by...).CombinedOutput()
			if (err == nil) != (tc.want == "") || !strings.Contains(string(out), tc.want) {
				t.Errorf("%v: %s", err, out)
			}
			if err != nil && !strings.HasPrefix(string(out), "uid 0 (") {
				t.Errorf("%s", out)
			}
		})
	}
	path := serveOptions(t, Options{Backend: parts(newFake()), Log: hclog.NewNullLogger(),
		Member: func(int) (string, error) { return "cron", nil }})
	if got := ask(t, path, -1, "GET", "/v1/services"); got.status != 200 {
		t.Errorf("status for a service of root: %d %s", got.status, got.body)
	}
	if got := ask(t, path, -1, "GET", "/v1/whoami"); !strings.Contains(got.body, `"name":"uid 0 (service cron)"`) {
		t.Errorf("%s", got.body)
	}
	if got := ask(t, path, -1, "POST", "/v1/tickets"); got.status != 403 || !strings.Contains(got.body, "uid 0 (service cron) may not make tickets") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := ask(t, path, -1, "POST", "/v1/reload"); got.status != 403 || !strings.Contains(got.body, "api.admins") {
		t.Errorf("reload by a service of root: %d %s", got.status, got.body)
	}
}
