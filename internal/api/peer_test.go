package api

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/access"
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
		member access.Owner
		unsure error
		want   string // in the refusal; empty: there is none
	}{
		{"plain", nil, access.Owner{}, nil, ""},
		{"service", nil, access.Owner{Service: "cron"}, nil, `belongs to the service "cron"`},
		{"session", nil, access.Owner{Session: true}, nil, "belongs to a session of the console"},
		{"orphan", nil, access.Owner{}, errors.New("its parents have ended"), "it is not known where it comes from: its parents have ended"},
		{"bounding set", []string{"setpriv", "--bounding-set", "-net_raw"}, access.Owner{}, nil, "fewer rights than stoker: it lacks NET_RAW"},
		{"permitted", []string{"setpriv", "--securebits", "+noroot"}, access.Owner{}, nil, "fewer rights than stoker: it lacks "},
		{"no_new_privs", []string{"setpriv", "--no-new-privs"}, access.Owner{}, nil, "fewer rights than stoker: it has no_new_privs"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := serveOptions(t, Options{Backend: parts(newFake()), Log: hclog.NewNullLogger(),
				Member: func(int) (access.Owner, error) { return tc.member, tc.unsure }})
			out, err := client(t, path, "restart", tc.by...).CombinedOutput()
			if (err == nil) != (tc.want == "") || !strings.Contains(string(out), tc.want) {
				t.Errorf("%v: %s", err, out)
			}
			if err != nil && !strings.HasPrefix(string(out), "uid 0 (") {
				t.Errorf("%s", out)
			}
		})
	}
	for hint, owner := range map[string]access.Owner{"api.admins": {Service: "cron"}, "from outside of the session": {Session: true}} {
		path := serveOptions(t, Options{Backend: parts(newFake()), Log: hclog.NewNullLogger(),
			Member: func(int) (access.Owner, error) { return owner, nil }})
		if got := ask(t, path, -1, "GET", "/v1/services"); got.status != 200 {
			t.Errorf("status for root in %+v: %d %s", owner, got.status, got.body)
		}
		name := "uid 0 (" + owner.String() + ")"
		if got := ask(t, path, -1, "GET", "/v1/whoami"); !strings.Contains(got.body, `"name":"`+name+`"`) {
			t.Errorf("%s, want %s", got.body, name)
		}
		if got := ask(t, path, -1, "POST", "/v1/tickets"); got.status != 403 || !strings.Contains(got.body, name+" may not make tickets") {
			t.Errorf("a ticket for %s: %d %s", name, got.status, got.body)
		}
		if got := ask(t, path, -1, "POST", "/v1/reload"); got.status != 403 || !strings.Contains(got.body, hint) {
			t.Errorf("reload by root in %+v: %d %s", owner, got.status, got.body)
		}
	}
}
