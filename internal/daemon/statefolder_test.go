package daemon

import (
	"testing"

	"github.com/stoker-init/stoker/internal/service"
)

func TestStateFolder(t *testing.T) {
	home := t.TempDir()
	env := func(pairs ...string) func(string) string {
		m := service.EnvironMap(pairs)
		return func(name string) string { return m[name] }
	}
	for _, tc := range []struct {
		name string
		uid  int
		env  func(string) string
		want string
	}{
		{"root", 0, env("HOME=/root"), "/var/lib/stoker"},
		{"configured", 7, env("XDG_STATE_HOME=/x"), "/x/stoker"},
		{"home", 7, env("XDG_STATE_HOME=x", "HOME="+home), home + "/.local/state/stoker"},
		{"nothing", 7, env("HOME=/nowhere/at/all"), ""},
	} {
		got := stateFolder(tc.uid, tc.env)
		if got != tc.want && (tc.uid == 0 || tc.name == "configured" || got != "/var/lib/stoker") { // which may be there, and ours
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
