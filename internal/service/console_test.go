package service

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/supervisor"
)

// launcher is a service that runs as a user.
func launcher(t *testing.T, user string) *Launcher {
	t.Helper()
	l, err := New(nil, nil, "app", config.Service{Kind: config.KindJava, Config: supervisor.Config{ProcessConfig: supervisor.ProcessConfig{User: user,
		Env: map[string]string{"APP": "1", "JAVA_TOOL_OPTIONS": "-Xint", "HOME": "/srv"}}}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestPrepareConsole(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	for _, name := range []string{"SECRET_OF_STOKER", "LC_TIME", "TZ", "LANG"} {
		t.Setenv(name, "x")
	}
	t.Setenv("PATH", "/bin")
	app, other := launcher(t, "4711"), launcher(t, "4712:0")
	asRoot := launcher(t, "")
	for name, c := range map[string]struct {
		spec    console.Spec
		context ConsoleContext
		uid     int
		admin   bool
		has     string // variables
		lacks   string // names
	}{
		"the main service's user": {console.Spec{Command: []string{"a"}}, ConsoleContext{Main: app}, 4711, false,
			"PATH=/bin LC_TIME=x TZ=x LANG=x HOME=/ SHELL=" + findShell(), "SECRET_OF_STOKER TERM APP USER"},
		"a context": {console.Spec{TTY: true, Env: []string{"TZ=y"}}, ConsoleContext{Main: app, Service: &JobContext{other, "/jdk"}}, 4712, false,
			"SECRET_OF_STOKER=x APP=1 HOME=/srv JAVA_HOME=/jdk PATH=/jdk/bin:/bin TERM=xterm-256color TZ=y", "JAVA_TOOL_OPTIONS"},
		"console.user": {console.Spec{TTY: true}, ConsoleContext{Main: app, User: "4713"}, 4713, false, "HOME=/", "APP"},
		"console.user in a context": {console.Spec{TTY: true}, ConsoleContext{Service: &JobContext{app, ""}, User: "4713"}, 4713, false,
			"APP=1 HOME=/", "JAVA_HOME"},
		"root by configuration":        {console.Spec{TTY: true}, ConsoleContext{Main: app, User: "0"}, 0, false, "USER=root", ""},
		"root by default":              {console.Spec{TTY: true}, ConsoleContext{Main: asRoot}, 0, true, "USER=root LOGNAME=root", ""},
		"no service":                   {console.Spec{TTY: true}, ConsoleContext{}, 0, true, "USER=root", ""},
		"the default by its name":      {console.Spec{TTY: true, User: "4711"}, ConsoleContext{Main: app}, 4711, false, "", ""},
		"another user":                 {console.Spec{TTY: true, User: "4712"}, ConsoleContext{Main: app}, 4712, true, "", ""},
		"another group":                {console.Spec{TTY: true, User: "4711:0"}, ConsoleContext{Main: app}, 4711, true, "", ""},
		"root":                         {console.Spec{TTY: true, User: "root"}, ConsoleContext{Main: app}, 0, true, "USER=root", ""},
		"root, where another is meant": {console.Spec{TTY: true, User: "4711"}, ConsoleContext{User: "0"}, 4711, true, "", ""},
	} {
		out, err := PrepareConsole(c.spec, c.context)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if out.Spec.User.ID() != c.uid || (out.Admin != "") != c.admin || out.Spec.OOMRaise != jobOOMRaise {
			t.Errorf("%s: uid %d, admin %q, %+v", name, out.Spec.User.ID(), out.Admin, out)
		}
		if len(c.spec.Command) == 0 && out.Spec.Argv[0] != findShell() {
			t.Errorf("%s: runs %q", name, out.Spec.Argv)
		}
		vars := EnvironMap(out.Spec.Env)
		for _, kv := range strings.Fields(c.has) {
			if !slices.Contains(out.Spec.Env, kv) {
				t.Errorf("%s: no %s in %q", name, kv, out.Spec.Env)
			}
		}
		for _, key := range strings.Fields(c.lacks) {
			if value, set := vars[key]; set {
				t.Errorf("%s: %s=%s", name, key, value)
			}
		}
	}
	out, err := PrepareConsole(console.Spec{User: "0"}, ConsoleContext{Main: app})
	if want := "a session as root, who is not the default user 4711,"; err != nil || out.Admin != want {
		t.Errorf("%q, want %q, %v", out.Admin, want, err)
	}
	bad := (*console.SpecError)(nil)
	if _, err := PrepareConsole(console.Spec{User: "no-such-user"}, ConsoleContext{}); !errors.As(err, &bad) || bad.Field != "user" {
		t.Error(err)
	}
}

func TestWorkingDir(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can act as another user")
	}
	dir := t.TempDir()
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	user := &asuser.User{Name: "4711", UID: 4711, GID: 4711}
	for _, c := range []struct {
		home string
		user *asuser.User
		want string
	}{{dir, user, dir}, {closed, user, "/"}, {closed, nil, closed}, {dir + "/no", user, "/"}, {dir + "/no", nil, "/"}} {
		if got := workingDir(c.home, c.user); got != c.want {
			t.Errorf("%s as %v: %s", c.home, c.user, got)
		}
	}
}
