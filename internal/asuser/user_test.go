package asuser

import (
	"fmt"
	"maps"
	"os"
	"testing"
)

func TestAdaptEnv(t *testing.T) {
	roots := map[string]string{"HOME": "/root", "USER": "root", "LOGNAME": "root", "MAIL": "/var/mail/root", "PATH": "/bin",
		"SHELL":           "/bin/bash",
		"XDG_RUNTIME_DIR": "/run/user/0", "XDG_CACHE_HOME": "/root/.cache", "XDG_STATE_HOME": "/root", "XDG_CONFIG_HOME": "/rootless/conf",
		"XDG_DATA_HOME": "/data", "XDG_DATA_DIRS": "/usr/share"}
	stays := map[string]string{"PATH": "/bin", "SHELL": "/bin/bash", "XDG_CONFIG_HOME": "/rootless/conf", "XDG_DATA_HOME": "/data",
		"XDG_DATA_DIRS": "/usr/share"}
	other := uint32(os.Getuid()) + 4711
	for name, tc := range map[string]struct {
		user  *User
		env   map[string]string
		want  map[string]string // beside stays
		whole bool              // want is all
	}{
		"our own":               {user: nil, env: roots, want: roots, whole: true},
		"our own, other groups": {user: Current(), env: roots, want: roots, whole: true},
		"an entry": {user: &User{UID: other, Login: "app", Home: "/home/app"}, env: roots,
			want: map[string]string{"HOME": "/home/app", "USER": "app", "LOGNAME": "app"}},
		"no entry": {user: &User{UID: other}, env: roots, want: map[string]string{"HOME": "/"}},
		"an entry without home": {user: &User{UID: other, Login: "app"}, env: roots,
			want: map[string]string{"HOME": "/", "USER": "app", "LOGNAME": "app"}},
		"nothing to adapt": {user: &User{UID: other}, env: map[string]string{}, want: map[string]string{"HOME": "/"}, whole: true},
		"our home is the root": {user: &User{UID: other}, env: map[string]string{"HOME": "/", "XDG_CACHE_HOME": "/cache"},
			want: map[string]string{"HOME": "/", "XDG_CACHE_HOME": "/cache"}, whole: true},
	} {
		t.Run(name, func(t *testing.T) {
			env, want := maps.Clone(tc.env), maps.Clone(tc.want)
			if !tc.whole {
				maps.Copy(want, stays)
			}
			tc.user.AdaptEnv(env)
			if !maps.Equal(env, want) {
				t.Errorf("got  %v\nwant %v", env, want)
			}
		})
	}
}

func TestGroups(t *testing.T) {
	u := Current()
	if err := u.SetGroups([]string{"root", "4242"}); err != nil || fmt.Sprint(u.Groups) != "[0 4242]" || !u.Grouped {
		t.Errorf("groups %v, %v", u.Groups, err)
	}
	if err := u.SetGroups([]string{}); err != nil || u.Groups == nil || len(u.Groups) > 0 {
		t.Errorf("groups %v, %v", u.Groups, err)
	}
	if err := u.SetGroups([]string{"no-such-group"}); err == nil || err.Error() != `cannot find group "no-such-group" in /etc/group` {
		t.Errorf("error %v", err)
	}
}

func TestLookup(t *testing.T) {
	for spec, want := range map[string][2]uint32{"root": {0, 0}, "0": {0, 0}, "root:4242": {0, 4242}, "4711": {4711, 4711},
		"4711:0": {4711, 0}} {
		u, err := Lookup(spec)
		if err != nil || [2]uint32{u.UID, u.GID} != want || u.Name != spec {
			t.Errorf("%s: %+v, %v", spec, u, err)
		}
	}
	// The highest number means no change to the kernel: the process would keep stoker's user.
	for _, spec := range []string{"no-such-user", "", "4294967295", "4294967296", "-1", "root:4294967295", "root:no-such-group"} {
		if u, err := Lookup(spec); err == nil {
			t.Errorf("%q is %+v", spec, u)
		}
	}
}
