package api

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/proc"
)

// Versions, Upgrade and Leave make the fake an Upgrader; refuse is the result of an
// upgrade.
func (f *fake) Versions() Versions {
	return Versions{Supervisor: Program{Version: "v1", Protocol: 2, Pid: 7}, Init: Program{Version: "v0", Protocol: 2, Pid: 1}}
}

func (f *fake) Upgrade(_ context.Context, path string, check bool, by string) (Versions, error) {
	f.asked = append(f.asked, fmt.Sprintf("upgrade %s %v, %s", path, check, by))
	v := f.Versions()
	v.Candidate = &Program{Version: "v2", Protocol: 2, Path: path}
	return v, f.refuse
}

func (f *fake) Leave() {}

// leaver closes left at Leave.
type leaver struct {
	*fake
	left chan struct{}
}

func (l leaver) Leave() { close(l.left) }

func TestUpgrade(t *testing.T) {
	b := leaver{newFake(), make(chan struct{})}
	c := NewClient(serve(t, b))
	if v, err := c.Versions(context.Background()); err != nil || v.Supervisor.Pid != 7 || v.Candidate != nil {
		t.Errorf("%+v, %v", v, err)
	}
	for _, check := range []bool{true, false} {
		v, err := c.Upgrade(context.Background(), "/new stoker", check)
		if err != nil || v.Candidate == nil || v.Candidate.Version != "v2" {
			t.Errorf("check %v: %+v, %v", check, v, err)
		}
	}
	<-b.left // a second Leave would panic: the check causes none
	by := fmt.Sprintf(", uid %d by the API", os.Getuid())
	if want := []string{"upgrade /new stoker true" + by, "upgrade /new stoker false" + by}; strings.Join(b.asked, "|") != strings.Join(want,
		"|") {
		t.Errorf("received %q, want %q", b.asked, want)
	}
}

func TestUpgradeRefused(t *testing.T) {
	for _, tc := range []struct {
		err    error
		status int
		code   string
	}{
		{Refuse(400, "bad-binary", "try", "no"), 400, "bad-binary"},
		{Refuse(409, "upgrading", "", "no"), 409, "upgrading"},
		{fmt.Errorf("no: %w", proc.ErrStopping), 503, "stopping"},
		{errors.New("no"), 500, "failed"},
	} {
		b := newFake()
		b.refuse = tc.err
		if got := ask(t, serve(t, b), -1, "POST", "/v1/upgrade"); got.status != tc.status || !strings.Contains(got.body, `"code":"`+tc.code+`"`) {
			t.Errorf("%v: %d %s", tc.err, got.status, got.body)
		}
		if len(b.asked) != 1 {
			t.Errorf("%v: the supervisor leaves: %q", tc.err, b.asked)
		}
	}
}
