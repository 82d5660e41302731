package tomcat

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
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
			if _, kept := imp.Env["KEEP"]; kept || imp.Env["NEW"] != "with\nnewline=and equals" || imp.Env["OLD"] != "2" ||
				imp.Env["PATH"] != "/nowhere" {
				t.Errorf("env %q", imp.Env)
			}
			if imp.Dir != "/" {
				t.Errorf("dir %q", imp.Dir)
			}
			if got := imp.changes(); got != "set CATALINA_OPTS, JAVA_OPTS, NEW, OLD, PATH and unset KEEP" {
				t.Error(got)
			}
		})
	}
}

// TestSetenvKeepsOddVariables: variables keep their values through the shell, whatever their names, and only changes by setenv.sh are
// reported.
func TestSetenvKeepsOddVariables(t *testing.T) {
	env := map[string]string{
		"PATH": os.Getenv("PATH"), "spring.profiles.active": "prod", "my-app": "1", "9lives": "cat", "größe": "XL", "a b": "blank",
		"x%y":               "percent",
		"BASH_FUNC_greet%%": "() {  echo hello\n}", "EMPTY": "", "TRAILING": "two\n\n", "LINES": "a\nb=c\n\td", "BYTES": "\xff\xfe",
		"QUOTES":        `'"$x\`,
		"STOKER_SOCKET": "/run/s", "STOKER_LABEL_A": "1", "PWD": "/old", "GONE": "1",
	}
	for name, shell := range map[string][]string{"dash": {"dash"}, "bash": {"bash"}, "bash as sh": {"bash", "--posix"},
		"busybox": {"busybox", "sh"}} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(shell[0]); err != nil {
				skip(t, "no "+shell[0])
			}
			// The variable that marks a process is added on the way, as by internal/proc.
			run := func(ctx context.Context, argv, env []string, dir string) ([]byte, error) {
				return shellRunner(shell...)(ctx, argv, append(env, "STOKER_PROCESS="+rand.Text()), dir)
			}
			for _, c := range []struct{ script, note string }{
				{":", "set nothing"},
				{"cd /; unset GONE", "unset GONE"},
				{"set -a; NEW=1; unset GONE EMPTY; EMPTY=", "set NEW and unset GONE"},
				{"export NEW=1 TRAILING=\"$TRAILING\" 'LINES'", "set NEW"},
				{"unset STOKER_PROCESS; CATALINA_OPTS=-Da=1", "set CATALINA_OPTS"},
			} {
				in := fakeInstall(t, Version{Major: 10, Minor: 1})
				put(t, in.Base+"/bin/setenv.sh", c.script+"\n", 0o644)
				imp, err := in.ImportSetenv(context.Background(), "", env, "", run)
				if err != nil {
					t.Fatal(err)
				}
				if want := in.Base + "/bin/setenv.sh was run once and " + c.note; imp.Notes[0] != want {
					t.Errorf("%s: %q, want %q", c.script, imp.Notes[0], want)
				}
				want := maps.Clone(env)
				if strings.Contains(c.note, "GONE") {
					delete(want, "GONE")
				}
				if strings.Contains(c.note, "NEW") {
					want["NEW"] = "1"
				}
				if !maps.Equal(imp.Env, want) {
					t.Errorf("%s:\ngot  %q\nwant %q", c.script, imp.Env, want)
				}
			}
		})
	}
}

func TestSetenvFailures(t *testing.T) {
	env := map[string]string{"PATH": os.Getenv("PATH"), "PASSWORD": "hunter2"}
	for _, c := range []struct{ name, script, want, said string }{
		{"exit 0", "echo bye\nexit 0\n", "ended the shell (exit 0)", "bye\n"},
		{"exit 3", "exit 3\n", "exit status 3", ""},
		{"set -e", "set -e\necho checking >&2\nfalse\n", "exit status 1", "checking\n"},
		{"set -u", "set -u\nX=$NONE\n", "ended the shell", "NONE: parameter not set"},
		{"open if", "\nif true; then\n", "exit status 2", ": 3: "},
		{"open quote", "A=1\nB='2\n", "exit status 2", "Syntax error: Unterminated quoted string"},
		{"killed", "echo last; kill -9 $$\n", "signal: killed", "last\n"},
		{"hangs", "echo waiting; read x < /proc/self/fd/0; while :; do :; done\n", "did not end within 2s and was killed", "waiting\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			in := fakeInstall(t, Version{})
			put(t, in.Base+"/bin/setenv.sh", c.script, 0o644)
			limit := time.Minute
			if c.name == "hangs" {
				limit = 2 * time.Second
			}
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			_, err := in.ImportSetenv(ctx, "", env, "", execRunner)
			var failed *SetenvError
			if !errors.As(err, &failed) || !strings.Contains(err.Error(), c.want) || !strings.Contains(failed.Output, c.said) {
				t.Fatalf("got %v (%+v), want %q with %q", err, failed, c.want, c.said)
			}
			if strings.Contains(failed.Output, "hunter2") || c.said == "" && failed.Output != "" {
				t.Errorf("more than the script's output: %q", failed.Output)
			}
		})
	}
}

// The limit is what the error tells, not when a busy machine killed the shell.
func TestSetenvLimit(t *testing.T) {
	in := fakeInstall(t, Version{})
	put(t, in.Base+"/bin/setenv.sh", "", 0o644)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := in.ImportSetenv(ctx, "", nil, "", func(ctx context.Context, _, _ []string, _ string) ([]byte, error) {
			<-ctx.Done()
			time.Sleep(5 * time.Second)
			return nil, ctx.Err()
		})
		if err == nil || !strings.Contains(err.Error(), "did not end within 2s and was killed") {
			t.Error(err)
		}
	})
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
