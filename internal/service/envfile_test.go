package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/supervisor"
)

func TestParseEnvFile(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "[]",
		"\n \t\n# c\n  # d\n":           "[]",
		"A=1\nB=2":                      "[{A 1} {B 2}]",
		"\ufeffA=1\r\nB=2\r\n":          "[{A 1} {B 2}]",
		" A = x y # z \n":               "[{A x y # z}]",
		"A=":                            "[{A }]",
		"A=b=c":                         "[{A b=c}]",
		`A="x y"  `:                     "[{A x y}]",
		`A='x "y" \n $z'`:               `[{A x "y" \n $z}]`,
		`A="q\"b\\s\$d\n` + "\\`" + `"`: "[{A q\"b\\s$d\\n`}]",
		`A=x"y"`:                        `[{A x"y"}]`,
		`A=C:\temp\n`:                   `[{A C:\temp\n}]`,
		"a.b-c_1=ü":                     "[{a.b-c_1 ü}]",
		"export=1":                      "[{export 1}]",
	} {
		got, err := parseEnvFile(text)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"A=1\n\nexport B=2":                 "line 3: it begins with export\nhint:",
		"export B":                          "line 1: it begins with export\nhint:",
		"hunter2":                           "line 1: it has no =",
		"=hunter2":                          "line 1: there is no name",
		"hunter2 x=1":                       "line 1: what stands before the = is not the name",
		"1A=hunter2":                        "line 1: what stands before the = is not the name",
		`A="hunter2`:                        "line 1: the quote is not closed",
		`A='hunter2" `:                      "line 1: the quote is not closed",
		`A="hunter2\"`:                      "line 1: the quote is not closed",
		`A="hunter2" B`:                     "line 1: something follows the closing quote",
		"A=hunter2\x00":                     "line 1: it has a NUL byte",
		"A=\xff":                            "line 1: it is not UTF-8",
		"A=" + strings.Repeat("x", 128<<10): "line 1: the variable A is longer than the 128 KiB",
	} {
		_, err := parseEnvFile(text)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%.40q: error %v, want %s", text, err, want)
		}
	}
}

func FuzzParseEnvFile(f *testing.F) {
	for _, seed := range []string{"A=1\n", "A=\"\\\\\"", "export A=1", "A='", "\ufeff#\r\nB = x", "A=\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		vars, err := parseEnvFile(text)
		if err != nil {
			return
		}
		again := ""
		for _, v := range vars {
			if !namePattern().MatchString(v.name) || strings.ContainsAny(v.value, "\n\x00") || len(v.name)+1+len(v.value) > maxVariable {
				t.Fatalf("variable %q %q", v.name, v.value)
			}
			again += v.name + "=\"" + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(v.value) + "\"\n"
		}
		if back, err := parseEnvFile(again); err != nil || !slices.Equal(back, vars) {
			t.Fatalf("%q became %q: %v", vars, back, err)
		}
	})
}

// launcherOf makes a launcher whose files are in a folder.
func launcherOf(t *testing.T, s supervisor.ProcessConfig) *Launcher {
	t.Helper()
	l, err := New(nil, nil, "web", config.Service{Config: supervisor.Config{Command: []string{"true"}, ProcessConfig: s}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func put(t *testing.T, name, text string) string {
	t.Helper()
	path := t.TempDir() + "/" + name
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestServiceEnvironment(t *testing.T) {
	t.Setenv("OURS", "kept")
	t.Setenv("A", "ours")
	l := launcherOf(t, supervisor.ProcessConfig{
		EnvFiles: []string{put(t, "one", "A=one\nB=one\nC=one\nS=one"), put(t, "two", "B=two\nC=two"), "-/no/such/file"},
		Env:      map[string]string{"C": "env", "S": "env"},
		Secrets:  map[string]string{"S": put(t, "secret", "hunter22\n"), "N": put(t, "lines", "a b\n\nc\n\n")},
	})
	out, err := l.Prepare(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	env := EnvironMap(out.Spec.Env)
	for name, want := range map[string]string{"OURS": "kept", "A": "one", "B": "two", "C": "env", "S": "hunter22", "N": "a b\n\nc\n"} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
	// It is read at each start.
	if err := os.WriteFile(l.Config.EnvFiles[1], []byte("B=new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err = l.Prepare(context.Background()); err != nil || EnvironMap(out.Spec.Env)["B"] != "new" {
		t.Errorf("after a change: %v", err)
	}
}

func TestUnreadableEnvironment(t *testing.T) {
	fifo := t.TempDir() + "/fifo"
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	bad := put(t, "bad", "A=1\nhunter22\n")
	for _, tc := range []struct {
		s    supervisor.ProcessConfig
		want string
	}{
		{supervisor.ProcessConfig{EnvFiles: []string{"/no/such/file"}}, `cannot read env file "/no/such/file": no such file or directory`},
		{supervisor.ProcessConfig{EnvFiles: []string{bad}}, `cannot use env file "` + bad + `", line 2: it has no =`},
		{supervisor.ProcessConfig{EnvFiles: []string{"-" + fifo}}, `cannot read env file "` + fifo + `": it is not a regular file`},
		{supervisor.ProcessConfig{EnvFiles: []string{"/tmp"}}, `cannot read env file "/tmp": it is not a regular file`},
		{supervisor.ProcessConfig{Secrets: map[string]string{"S": "/no/such/file"}},
			`cannot read the secret S from "/no/such/file": no such file or directory`},
		{supervisor.ProcessConfig{Secrets: map[string]string{"S": fifo}}, "it is not a regular file"},
		{supervisor.ProcessConfig{Secrets: map[string]string{"S": put(t, "nul", "hunter22\x00")}}, "cannot use the secret S: "},
		{supervisor.ProcessConfig{Secrets: map[string]string{"S": put(t, "long", strings.Repeat("hunter22", 1<<15))}},
			"it is too large: more than 131071 bytes"},
	} {
		_, err := launcherOf(t, tc.s).Prepare(context.Background())
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter22") {
			t.Errorf("error %v, want %s", err, tc.want)
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	l := launcherOf(t, supervisor.ProcessConfig{Secrets: map[string]string{"S": put(t, "s", "hunter22\n"),
		"LINES": put(t, "l", "first-line\nsecond-line\n"), "SHORT": put(t, "x", "1\n")}})
	out, err := l.Begin(func(r *Start) (*supervisor.Launch, error) {
		return &supervisor.Launch{Notes: []string{"1 says hunter22 and second-line"}}, nil
	})
	if err != nil || out.Notes[0] != "1 says *** and ***" {
		t.Errorf("notes %v, %v", out.Notes, err)
	}
	_, err = l.Begin(func(r *Start) (*supervisor.Launch, error) {
		return nil, errors.New("cannot use -Dp=hunter22")
	})
	if err == nil || err.Error() != "cannot use -Dp=***" {
		t.Errorf("error %v", err)
	}
	l.Public = []string{"S"}
	if _, err := l.Prepare(context.Background()); err == nil || !strings.Contains(err.Error(), "cannot use the secret S: it holds options") {
		t.Errorf("options as a secret: %v", err)
	}
	if env, err := l.Environ(); err == nil || env.Vars["LINES"] == "" {
		t.Error("an unreadable secret prevents the others from being read")
	}
}

func TestProcessAttributes(t *testing.T) {
	nice := 5
	l := launcherOf(t, supervisor.ProcessConfig{User: "0:0", Groups: []string{"7"}, Dir: "/tmp", Umask: "027",
		Rlimits: map[string]string{"nofile": "5:6", "core": "0"},
		Nice:    &nice, IONice: "idle", DropCapabilities: []string{"NET_RAW"}, NoNewPrivileges: true,
		Cgroup: supervisor.Cgroup{CPUs: 0.5, Memory: "64MiB"}})
	b := l.base
	if b.User.UID != 0 || fmt.Sprint(b.User.Groups) != "[7]" || *b.Umask != 0o27 || len(b.Rlimits) != 2 || *b.Nice != 5 ||
		*b.IOPriority != 3<<13 ||
		b.Drop != 1<<13 || !b.NoNewPrivileges || b.Dir != "/tmp" || l.CgroupLimits.CPUs != 0.5 || l.CgroupLimits.Memory != 64<<20 {
		t.Errorf("%+v, %+v", b, l.CgroupLimits)
	}
	if l := launcherOf(t, supervisor.ProcessConfig{Groups: []string{}}); l.base.User == nil || !l.base.User.Grouped || l.User != nil {
		t.Error("no groups for our own user")
	}
	for _, s := range []supervisor.ProcessConfig{{User: "no-such-user"}, {Groups: []string{"no-such-group"}}, {Umask: "9"},
		{Rlimits: map[string]string{"x": "1"}},
		{IONice: "x"}, {DropCapabilities: []string{"x"}}, {Cgroup: supervisor.Cgroup{Memory: "x"}}} {
		_, err := New(nil, nil, "web", config.Service{Config: supervisor.Config{ProcessConfig: s}})
		var coded *exit.Error
		if !errors.As(err, &coded) || coded.Code != exit.BadConfig || !strings.HasPrefix(err.Error(), `cannot run service "web": `) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// Warnings of a start have no secrets.
func TestWarningsAreMasked(t *testing.T) {
	out, err := new(Launcher).Begin(func(*Start) (*supervisor.Launch, error) {
		return &supervisor.Launch{Notes: []string{"token=geheim"}, Warnings: []string{"-Dpassword=geheim is given again by -Dpassword=geheim"}},
			nil
	})
	if err != nil || strings.Contains(fmt.Sprint(out.Notes, out.Warnings), "geheim") || !strings.Contains(out.Warnings[0], "is given again") {
		t.Errorf("%+v, %v", out, err)
	}
}
