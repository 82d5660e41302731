package tomcat

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestSetenvPolicies(t *testing.T) {
	in := fakeInstall(t, Version{Major: 10, Minor: 1})
	ctx := context.Background()
	none := func(context.Context, []string, []string, string) ([]byte, error) { panic("run") }
	if imp, err := in.ImportSetenv(ctx, SetenvRefuse, nil, "", none); err != nil || imp.File != "" {
		t.Fatalf("no setenv.sh: %+v, %v", imp, err)
	}
	put(t, in.Base+"/bin/setenv.sh", "CATALINA_OPTS=-Dx=1\n", 0o644)
	if imp, err := in.ImportSetenv(ctx, SetenvIgnore, nil, "", none); err != nil || len(imp.Notes) != 1 {
		t.Errorf("ignore: %+v, %v", imp, err)
	}
	if _, err := in.ImportSetenv(ctx, SetenvRefuse, nil, "", none); err == nil || !strings.Contains(err.Error(), "setenv.sh exists") {
		t.Errorf("refuse: %v", err)
	}
	if _, err := in.ImportSetenv(ctx, "maybe", nil, "", none); err == nil {
		t.Error("unknown policy accepted")
	}
}

func TestSetenvShells(t *testing.T) {
	shells := map[string][]string{"dash": {"dash"}, "busybox": {"busybox", "sh"}, "bash": {"bash", "--posix"}}
	env := map[string]string{"PATH": os.Getenv("PATH"), "OLD": "1", "KEEP": "multi\nline"}
	const hostile = `printf 'noise\000more\000'
echo "$0 $1 $CATALINA_BASE" >&2
set -u
JAVA_OPTS="-Da='x y' -Db=é"
CATALINA_OPTS="line1
line2"
export NEW="with
newline=and equals"
OLD=2
unset KEEP
IFS=,
PATH=/nowhere
cd /
ulimit -c 0
set -x
`
	for name, shell := range shells {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(shell[0]); err != nil {
				skip(t, "no "+shell[0])
			}
			in := fakeInstall(t, Version{Major: 10, Minor: 1})
			put(t, in.Base+"/bin/setenv.sh", hostile, 0o644)
			imp, err := in.ImportSetenv(context.Background(), "", env, t.TempDir(), shellRunner(shell...))
			if err != nil {
				t.Fatal(err)
			}
			if imp.Vars["JAVA_OPTS"] != "-Da='x y' -Db=é" || imp.Vars["CATALINA_OPTS"] != "line1\nline2" {
				t.Errorf("vars %q", imp.Vars)
			}
			if _, kept := imp.Env["KEEP"]; kept || imp.Env["NEW"] != "with\nnewline=and equals" || imp.Env["OLD"] != "2" || imp.Env["PATH"] != "/nowhere" {
				t.Errorf("env %q", imp.Env)
			}
			if imp.Dir != "/" {
				t.Errorf("dir %q", imp.Dir)
			}
			var names []string
			for _, c := range imp.Changes {
				names = append(names, c.Name)
			}
			if got := strings.Join(names, " "); got != "CATALINA_OPTS JAVA_OPTS KEEP NEW OLD PATH" {
				t.Errorf("changes %s", got)
			}
		})
	}
}

func TestSetenvFailures(t *testing.T) {
	env := map[string]string{"PATH": os.Getenv("PATH")}
	for _, c := range []struct{ name, script, want string }{
		{"exit 0", "exit 0\n", "ended the shell (exit 0)"},
		{"exit 3", "exit 3\n", "exit status 3"},
		{"set -e", "set -e\nfalse\n", "exit status 1"},
		{"syntax", "if true; then\n", "ended the shell"},
		{"hangs", "read x < /proc/self/fd/0; while :; do :; done\n", "did not end in time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			in := fakeInstall(t, Version{})
			put(t, in.Base+"/bin/setenv.sh", c.script, 0o644)
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			_, err := in.ImportSetenv(ctx, "", env, "", execRunner)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestSetenvMoves(t *testing.T) {
	in, other := fakeInstall(t, Version{}), fakeInstall(t, Version{})
	put(t, in.Base+"/bin/setenv.sh", "CATALINA_BASE="+other.Base+"\n", 0o644)
	env := map[string]string{"PATH": os.Getenv("PATH")}
	imp, err := in.ImportSetenv(context.Background(), "", env, "", execRunner)
	if err != nil || imp.Install.Base != other.Base || imp.Install.Home != in.Home {
		t.Fatalf("%+v, %v", imp.Install, err)
	}
	put(t, in.Base+"/bin/setenv.sh", "CATALINA_BASE=/nonexistent\n", 0o644)
	if _, err := in.ImportSetenv(context.Background(), "", env, "", execRunner); err == nil {
		t.Error("a base that does not exist was accepted")
	}
}
