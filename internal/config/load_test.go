package config

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/redact"
)

var update = flag.Bool("update", false, "write the golden files")

// write makes files below a new folder and returns the path of stoker.yaml.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "stoker.yaml")
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", path, got, want)
	}
}

func TestReports(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, err := Load(Options{File: file})
			var ps layeredyaml.Problems
			if !errors.As(err, &ps) {
				t.Fatalf("got %v, want layeredyaml.Problems", err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", ps.Error()+"\n")
		})
	}
}

func TestNoConfigurationAtAll(t *testing.T) {
	l, err := Load(Options{Default: filepath.Join(t.TempDir(), "stoker.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	if l.Config.Stop.Timeout != 8*time.Second || l.Config.Log.Level != "info" || len(l.Files) != 0 {
		t.Errorf("got %+v", l)
	}
}

func TestLayers(t *testing.T) {
	file := write(t, map[string]string{
		"stoker.yaml": "services:\n  web:\n    command: [a, b]\n    user: one\n    dir: /one\n    env: {A: '1', B: '1'}\n    " +
			"umask: 0027\nstop:\n  timeout: 1s\nlabels: {v: 1.10}\n",
		"conf.d/10-a.yaml":       "services:\n  web: {command: [c], env: {B: '2'}, user: two}\nstop:\n",
		"conf.d/9-b.yaml":        "\xef\xbb\xbfservices: {web: {user: three}}\n",
		"conf.d/.hidden.yaml":    "broken: [",
		"conf.d/old.yml":         "broken: [",
		"conf.d/empty.yaml":      "",
		"conf.d/commented.yaml":  "# nothing\n",
		"conf.d/README":          "broken: [",
		"conf.d/80-service.yaml": "services: {my-app: {command: [x], success_codes: [1]}}\n",
	})
	dir := filepath.Dir(file)
	l, err := Load(Options{
		File: file,
		Environ: []string{"STOKER_SERVICES_WEB_DIR=/env", "STOKER_SERVICES_MY_APP_USER=app", "STOKER_SERVICES_MY_APP_SUCCESS_CODES=[3, 4]",
			"STOKER_STOP_TIMEOUT=28s", "STOKER_LOG_LEVEL=", "STOKER_LABELS_V=2.0", "STOKER_LABELS_APPID=7", "STOKER_SERVICES_WEB_ENV_New=x",
			"STOKER_MAIN=web", "STOKER_SOCKET=/x", "STOKER_CONFIG=/absent", "STOKER_PORT=tcp://1", "STOKER_SERVICE_HOST=1", "STOKER_STOP_TIMOUT=1s",
			"STOKER_SERVICES_NONE_USER=x", "OTHER=1"},
		Set: []string{"stop.timeout=9s", "services.web.restart.backoff.first=0s", `services."my-app".ready.status=[200, 204]`,
			"services.web.essential=true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	web, app := l.Config.Services["web"], l.Config.Services["my-app"]
	checks := []struct{ got, want any }{
		{web.Command, []string{"c"}}, {web.User, "three"}, {web.Dir, "/env"}, {web.Umask, "0027"}, {web.Essential, true},
		{web.Env, map[string]string{"A": "1", "B": "2", "New": "x"}}, {*web.Restart.Backoff.First, time.Duration(0)},
		{app.User, "app"}, {app.SuccessCodes, []int{3, 4}}, {app.Ready.HTTP.Status, []int{200, 204}},
		{l.Config.Stop.Timeout, 9 * time.Second}, {l.Config.Labels, map[string]string{"v": "2.0", "appid": "7"}}, {l.Config.Main, "web"},
		{l.Origins["services.web.user"].String(), dir + "/conf.d/9-b.yaml:1"}, {l.Origins["services.web.umask"].String(), file + ":7"},
		{l.Origins["services.web.dir"].String(), "env STOKER_SERVICES_WEB_DIR"}, {l.Origins["stop.timeout"].String(), "flag --set stop.timeout"},
		{l.Origins["services.web.command[0]"].String(), dir + "/conf.d/10-a.yaml:2"},
	}
	for i, c := range checks {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("check %d: got %#v, want %#v", i, c.got, c.want)
		}
	}
	var warned []string
	for _, w := range l.Warnings {
		warned = append(warned, strings.ReplaceAll(w.String(), dir, "DIR"))
	}
	golden(t, "testdata/layers.warnings.golden", strings.Join(warned, "\n")+"\n")
	var plain, origins bytes.Buffer
	if err := errors.Join(l.Show(&plain, false), l.Show(&origins, true)); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/layers.show.golden", strings.ReplaceAll(origins.String(), dir, "DIR"))
	again, err := Load(Options{File: write(t, map[string]string{"stoker.yaml": plain.String()})})
	if err != nil {
		t.Fatalf("what Show prints does not load: %v\n%s", err, plain.String())
	}
	if !reflect.DeepEqual(again.Config, l.Config) {
		t.Errorf("what Show prints loads as\n%+v, want\n%+v", again.Config, l.Config)
	}
}

func TestFiles(t *testing.T) {
	good := write(t, map[string]string{"stoker.yaml": "main: a\nservices: {a: {command: [x]}}\n"})
	dir := filepath.Dir(good)
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	huge := write(t, map[string]string{"stoker.yaml": strings.Repeat("# padding\n", 1<<20/10+1)})
	tests := []struct {
		name string
		o    Options
		want string // "" for success
	}{
		{"named", Options{File: good}, ""},
		{"by the environment", Options{Environ: []string{"STOKER_CONFIG=" + good}}, ""},
		{"named and absent", Options{File: dir + "/none"}, "does not exist"},
		{"absent by the environment", Options{Environ: []string{"STOKER_CONFIG=/none"}}, "/none: cannot read the file"},
		{"folder", Options{File: dir}, "not a regular file"},
		{"pipe", Options{File: dir + "/fifo"}, "not a regular file"},
		{"huge", Options{File: huge}, "more than 1048576 bytes"},
		{"slow syntax error", Options{File: write(t, map[string]string{"stoker.yaml": strings.Repeat("[", 9900) + strings.Repeat("\n[", 400)})},
			"cannot read YAML"},
		{"bad flag", Options{File: good, Set: []string{"stop.timeot=1s"}}, `did you mean "timeout"?`},
		{"no value", Options{File: good, Set: []string{"stop.timeout"}}, "write PATH=VALUE"},
		{"section", Options{File: good, Set: []string{"stop=1s"}}, "names a section"},
		{"below a value", Options{File: good, Set: []string{"main.x=1s"}}, "is a value"},
		{"bad duration", Options{File: good, Environ: []string{"STOKER_STOP_TIMEOUT=28"}},
			`env STOKER_STOP_TIMEOUT: stop.timeout: "28" needs a unit (write 28s)`},
		{"not UTF-8", Options{File: good, Environ: []string{"STOKER_MAIN=\xff"}}, "is not UTF-8"},
		{"list", Options{File: good, Set: []string{"services.a.command=x y"}}, `is text, not a list`},
		{"assumed", Options{Default: "/none", Assume: []string{"services.tomcat.kind=tomcat"},
			Environ: []string{"STOKER_SERVICES_TOMCAT_USER=app"}}, ""},
		{"ambiguous", Options{File: good, Set: []string{"stop.timeout=1s"}, Environ: []string{"STOKER_SERVICES_A_B_USER=x"},
			Assume: []string{"services.a-b.command=[x]", "services.a_b.command=[x]"}},
			"more than one setting: services.a-b.user, services.a_b.user"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(tt.o)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// A misspelt key is one problem: what it was meant to set is not reported as missing.
func TestMisspeltSettingIsReportedOnce(t *testing.T) {
	_, err := Load(Options{Default: "/none", Set: []string{"services.web.comand=[x]"}})
	var ps layeredyaml.Problems
	if !errors.As(err, &ps) || len(ps) != 1 || ps[0].Hint != `did you mean "command"?` || ps[0].File != "flag --set services.web.comand" {
		t.Errorf("got %v, want one problem with a hint", err)
	}
}

func TestUnreadableFileSilencesAbsence(t *testing.T) {
	file := write(t, map[string]string{"stoker.yaml": "main: web\nlog: {level: loud}\n", "conf.d/a.yaml": "services: [",
		"conf.d/b.yaml": "x: 1\n"})
	_, err := Load(Options{File: file})
	var ps layeredyaml.Problems
	if !errors.As(err, &ps) || len(ps) != 3 {
		t.Fatalf("got %v, want three problems", err)
	}
	if slices.ContainsFunc(ps, func(p layeredyaml.Problem) bool { return p.Path == "main" }) {
		t.Errorf("main is reported, but the file with the services was not read: %v", err)
	}
}

func TestShowHidesSecrets(t *testing.T) {
	file := write(t, map[string]string{"stoker.yaml": "services:\n  a:\n    command: [x, --password, hunter2, " +
		"-Djavax.net.ssl.keyStorePassword=hunter2]\n" +
		"    env: {DB_PASSWORD: hunter2, api_token: hunter2, PLAIN: seen}\n    ready: {http: 'http://me:hunter2@h/'}\n"})
	l, err := Load(Options{File: file})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := l.Show(&b, true); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hunter2") || !strings.Contains(b.String(), "seen") || strings.Count(b.String(), "***") != 5 {
		t.Errorf("got:\n%s", b.String())
	}
}

func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("services: {a: {command: [x], env: {A: \"\\n# x\"}}}\n"))
	for _, broken := range brokenFiles() {
		f.Add([]byte(broken.text))
	}
	for _, given := range foreignKeys() {
		f.Add([]byte(aroundService + "    " + given + "\n"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(t.TempDir(), "stoker.yaml")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Load(Options{File: file})
		if err != nil {
			var ps layeredyaml.Problems
			if !errors.As(err, &ps) || len(ps) == 0 {
				t.Fatalf("not layeredyaml.Problems: %q", err)
			}
			for _, p := range ps {
				if strings.Contains(p.String(), "\n") || strings.Contains(p.Source, "\n") || p.Line < 0 || p.Column < 0 {
					t.Fatalf("not one line a problem: %+v", p)
				}
			}
			return
		}
		var b bytes.Buffer
		if err := l.Show(&b, true); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), redact.Hidden) {
			return
		}
		again := write(t, map[string]string{"stoker.yaml": b.String()})
		if l2, err := Load(Options{File: again}); err != nil || !reflect.DeepEqual(l2.Config, l.Config) {
			t.Fatalf("what Show prints loads otherwise: %v\n%s", err, b.String())
		}
	})
}
