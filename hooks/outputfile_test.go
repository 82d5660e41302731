package hooks

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

func TestParseOut(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		event      lifecycle.Event
		want       Output
		err        string
	}{
		{"nothing", "", lifecycle.Ready, Output{}, ""},
		{"all verbs", "env A=b c\njvm-option -Da=b c\nannotation n=v\n", lifecycle.PreStart, Output{Env: map[string]string{"A": "b c"},
			Options: []OutputOption{{"-Da=b c", "hook pre-start/h"}}, Annotations: map[string]string{"n": "v"}}, ""},
		{"byte for byte", "env A= $(x) `y` \"'\\\t=\xff\r\nenv B=", lifecycle.Init,
			Output{Env: map[string]string{"A": " $(x) `y` \"'\\\t=\xff\r", "B": ""}}, ""},
		{"the later wins", "env A=1\n\nenv A=2", lifecycle.NetworkReady, Output{Env: map[string]string{"A": "2"}}, ""},
		{"annotations of any event", "annotation a=", lifecycle.Exited, Output{Annotations: map[string]string{"a": ""}}, ""},
		{"unknown verb", "annotation a=b\nexport A=b\n", lifecycle.Ready, Output{}, `line 2: "export" is not env, jvm-option or annotation`},
		{"no verb", "A=b", lifecycle.PreStart, Output{}, `line 1: "A=b" is not env`},
		{"no =", "env A", lifecycle.PreStart, Output{}, `line 1: "A" is not NAME=VALUE`},
		{"nothing behind env", "env", lifecycle.PreStart, Output{}, `line 1: "" is not NAME=VALUE`},
		{"no name", "env =b", lifecycle.PreStart, Output{}, "line 1: there is no name"},
		{"blank name", "env A B=c", lifecycle.PreStart, Output{}, `line 1: the name "A B" has a blank in it`},
		{"ours", "env STOKER_SOCKET=/x", lifecycle.PreStart, Output{}, `line 1: "STOKER_SOCKET" is refused`},
		{"steers", "env A=b\nenv BASH_ENV=/x", lifecycle.PreStart, Output{},
			`line 2: "BASH_ENV" is refused, since it decides what programs load or execute: if that is wanted, set allow_env: [BASH_ENV] for the hook`},
		{"allowed", "env PATH=/x\nenv LD_PRELOAD=/y\nenv STOKER_X=z", lifecycle.PreStart,
			Output{Env: map[string]string{"PATH": "/x", "LD_PRELOAD": "/y", "STOKER_X": "z"}}, ""},
		{"NUL", "env A=b\nenv B=\x00\n", lifecycle.PreStart, Output{}, "line 2: it holds a NUL byte"},
		{"no option", "jvm-option ", lifecycle.PreStart, Output{}, "line 1: jvm-option has no option"},
		{"a class", "jvm-option Main", lifecycle.PreStart, Output{}, `line 1: "Main" does not begin with -`},
		{"an argument file", "jvm-option @/x", lifecycle.PreStart, Output{}, `line 1: "@/x" does not begin with -`},
		{"env at ready", "env A=b", lifecycle.Ready, Output{}, "line 1: env is for hooks of init, network-ready and pre-start"},
		{"option at exit", "jvm-option -Da", lifecycle.Exit, Output{}, "line 1: jvm-option is for hooks of init"},
		{"too many lines", strings.Repeat("annotation a=b\n", maxOutLines+1), lifecycle.Ready, Output{}, "201 lines"},
		{"many lines", strings.Repeat("annotation a=b\n", maxOutLines), lifecycle.Ready, Output{Annotations: map[string]string{"a": "b"}}, ""},
		{"too large", "annotation a=" + strings.Repeat("x", maxOut), lifecycle.Ready, Output{}, "more than 64 KiB"},
	} {
		got, err := ParseOut([]byte(tc.text), tc.event, "h", []string{"PATH", "LD_*", "STOKER_X"})
		if !reflect.DeepEqual(got, tc.want) || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %+v, %v", tc.name, got, err)
		}
	}
}

func FuzzParseOut(f *testing.F) {
	for _, seed := range []string{"env A=b\n", "jvm-option -Xmx1g", "annotation a=b\nannotation a=c", "env =\n", "\x00", "env A=\xff\n\n"} {
		f.Add([]byte(seed), "pre-start")
		f.Add([]byte(seed), "ready")
	}
	f.Fuzz(func(t *testing.T, data []byte, event string) {
		g, err := ParseOut(data, lifecycle.Event(event), "h", nil)
		if err != nil {
			if !reflect.DeepEqual(g, Output{}) {
				t.Errorf("a refused file gives %+v", g)
			}
			return
		}
		for name, value := range g.Env {
			if !strings.Contains(string(data), "env "+name+"="+value) || strings.ContainsAny(name, "=\x00\n ") || strings.HasPrefix(name,
				"STOKER_") || strings.Contains(value, "\n") {
				t.Errorf("%q=%q of %q", name, value, data)
			}
		}
		for _, o := range g.Options {
			if !strings.HasPrefix(o.Option, "-") || strings.ContainsAny(o.Option, "\n\x00") || !strings.Contains(string(data), o.Option) {
				t.Errorf("%q of %q", o.Option, data)
			}
		}
		if !lifecycle.Event(event).Contributes() && len(g.Env)+len(g.Options) > 0 {
			t.Errorf("%s gives %+v", event, g)
		}
	})
}

func TestOutFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a/b")
	path, err := makeOut(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if data, err := readOut(path); err != nil || len(data) != 0 {
		t.Errorf("%q, %v", data, err)
	}
	put := func(by func() error) {
		t.Helper()
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := by(); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		make func() error
		want string
		err  string
	}{
		{func() error { return os.WriteFile(path, []byte("annotation a=b"), 0o644) }, "annotation a=b", ""},
		{func() error { return nil }, "", ""}, // removed
		{func() error { return os.Symlink("/dev/zero", path) }, "", "not a regular file"},
		{func() error { return syscall.Mkfifo(path, 0o600) }, "", "not a regular file"},
		{func() error { return os.Mkdir(path, 0o700) }, "", "not a regular file"},
		{func() error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 20<<30)) }, "", "too large"},
	} {
		put(tc.make)
		data, err := readOut(path)
		if string(data) != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%q, %v, want %q", data, err, tc.err)
		}
	}
}

func TestVariablesThatNeedAnAllowance(t *testing.T) {
	for _, name := range []string{"LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "BASH_ENV", "BASH_FUNC_ls%%", "ENV", "IFS", "PS4", "SHELLOPTS",
		"PERL5LIB", "PERL5OPT", "PYTHONPATH",
		"PYTHONSTARTUP", "NODE_OPTIONS", "RUBYOPT", "GCONV_PATH", "GLIBC_TUNABLES", "MALLOC_CHECK_", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS",
		"_JAVA_OPTIONS",
		"JAVA_OPTS", "JAVA_HOME", "JRE_HOME", "JPDA_OPTS", "JSSE_OPTS", "LOGGING_MANAGER", "CATALINA_OPTS", "CATALINA_BASE", "CLASSPATH",
		"STOKER_SOCKET"} {
		if maySet(name, nil) || maySet(name, []string{"X*"}) || !maySet(name, []string{"X", name}) || !maySet(name, []string{name[:2] + "*"}) {
			t.Errorf("%s", name)
		}
	}
	for _, name := range []string{"DB_PASSWORD", "REGION", "NODE_NAME", "NODE_ENV", "GIT_COMMIT", "HOME", "TZ", "LANG",
		"LOGGING_LEVEL_ROOT", "MY_PATH", "XLD_PRELOAD"} {
		if !maySet(name, nil) {
			t.Errorf("%s needs an allowance", name)
		}
	}
}
