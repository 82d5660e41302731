package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/supervisor"
	"golang.org/x/sys/unix"
)

// warned loads a file that is right and returns what it is warned about.
func warned(t *testing.T, yaml string) string {
	t.Helper()
	l, err := Load(Options{File: write(t, map[string]string{"stoker.yaml": yaml})})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, w := range l.Warnings {
		out = append(out, w.Path+": "+w.Message)
	}
	return strings.Join(out, "\n")
}

func TestWarnings(t *testing.T) {
	for _, tc := range []struct {
		name, services string
		want           string // "" for none
	}{
		{"nothing special", "{a: {command: [x], live: {tcp: 'h:1'}}}", ""},
		{"look longer than every", "{a: {command: [x], live: {tcp: 'h:1', every: 2s}}}", "services.a.live.timeout: 5s is more than every, 2s"},
		{"look as long as every", "{a: {command: [x], live: {tcp: 'h:1', every: 5s}}}", ""},
		{"live without a kind", "{a: {command: [x], live: {every: 2s}}}", "services.a.live: there is no liveness probe"},
		{"live with its defaults", "{a: {command: [x], live: {every: 10s, timeout: 5s, then: restart}}}", ""},
		{"live commented out", "{a: {command: [x], live: }}", ""},
		{"drain", "{a: {command: [x], stop: {drain: 3s}}}", "services.a.stop.drain: 3s of drain and 6s of timeout are more than"},
		{"drain that fits", "{a: {command: [x], stop: {drain: 3s, timeout: 5s}}}", ""},
		{"long stop", "{a: {command: [x], stop: {timeout: 9s}}}", "services.a.stop.timeout: 9s is more than"},
		{"requires what ends for good", "{a: {command: [x], requires: [b]}, b: {command: [x], restart: {policy: never}}}\nmain: a",
			"services.a.requires[0]: b is not started again"},
		{"requires a oneshot that is tried once",
			"{a: {command: [x], requires: [b]}, b: {command: [x], oneshot: true, restart: {policy: never}}}", ""},
		{"after what ends for good", "{a: {command: [x], after: [b]}, b: {command: [x], restart: {policy: never}}}\nmain: a", ""},
		{"readiness of a oneshot", "{a: {command: [x], oneshot: true, ready: {tcp: 'h:1'}}}", "services.a.ready: a oneshot has no readiness"},
		{"KILL is success", "{a: {command: [x], success_signals: [SIGKILL, INT]}}", "services.a.success_signals[0]: the kernel sends KILL"},
		{"the main service is no oneshot", "{a: {command: [x], oneshot: true}, b: {command: [x]}}", ""},
		{"no hook that is too long", "{a: {command: [x]}}\nhooks: {exit: [{name: x, command: [x]}], ready: [{name: x, command: [x], timeout: " +
			"1h, on_failure: fail}]}", ""},
		{"a hook that is too long", "{a: {command: [x]}}\nhooks: {exit: [{name: x, command: [x], timeout: 9s}]}",
			"hooks.exit[0].timeout: 9s is more than the whole shutdown may take, stop.timeout 8s"},
		{"hooks that are too long together", "{a: {command: [x]}}\nhooks: {pre-stop: [{name: x, command: [x]}, {name: y, command: [x]}, " +
			"{name: z, command: [x]}]}", "hooks.pre-stop: the hooks may take 12s one after the other during a stop"},
		{"a failure that fails nothing", "{a: {command: [x]}}\nhooks: {exited: [{name: x, command: [x], on_failure: 'retry 2, fail'}]}",
			"hooks.exited[0].on_failure: fail has no effect"},
		{"no main service", "{a: {command: [x]}, b: {command: [x]}}", "main: no main service among 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := warned(t, "services: "+tc.services+"\n")
			if tc.want == "" && got != "" || !strings.HasPrefix(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestSupervisionIsTakenOver sets every new field, partly by variables and flags,
// and reads back what Show prints.
func TestSupervisionIsTakenOver(t *testing.T) {
	file := write(t, map[string]string{"stoker.yaml": `
reload: {watch: false}
services:
  db: {command: [x], oneshot: true}
  web:
    command: [x]
    requires: [db]
    after: [db]
    success_signals: [USR1]
    groups: []
    env_files: [/a, -/b]
    secrets: {A: /run/a}
    rlimits: {nofile: "1024:4096"}
    nice: 0
    ionice: best-effort:7
    oom_score_adj: -500
    drop_capabilities: [ALL]
    no_new_privileges: true
    cgroup: {own: true, cpus: 1.5, memory: 512MiB}
    ready: {http: "http://localhost/", socket: /run/app.sock, file: /run/ready}
    live: {http: "https://h/", method: HEAD, headers: {Authorization: Bearer hunter2, Cookie: hunter2, X-Api-Key: hunter2, Accept: seen}}
    stop: {command: [/bin/stop, --now], drain: 1s, timeout: 2s}
    output: {keep: 1MiB, format: json, overflow: block, file: {path: /var/log/web.log, every: 24h, total: 1GiB}}
`})
	l, err := Load(Options{File: file, Environ: []string{
		"STOKER_SERVICES_WEB_ENV_FILES=[/c]", "STOKER_SERVICES_WEB_RLIMITS_CORE=unlimited", "STOKER_SERVICES_WEB_SECRETS_Db_Pass=/run/b",
		"STOKER_SERVICES_WEB_LIVE_HEADERS_X_REQUEST_ID=7", "STOKER_SERVICES_WEB_NICE=-5", "STOKER_SERVICES_WEB_OUTPUT_FILE_FILES=3",
		"STOKER_RELOAD_WATCH=true",
	}, Set: []string{"services.web.live.headers.X-Other=a.b", "services.web.oom_score_adj=0", "services.web.live.timeout=1s",
		"services.web.cgroup.cpus=2"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Warnings) > 0 {
		t.Errorf("warned: %v", l.Warnings)
	}
	web, db := l.Config.Services["web"], l.Config.Services["db"]
	for i, c := range []struct{ got, want any }{
		{web.EnvFiles, []string{"/c"}}, {len(web.Env), 0}, {web.Groups, []string{}}, {db.Groups, []string(nil)}, {*web.Nice, -5},
		{*web.OOMScoreAdj, 0},
		{web.Rlimits, map[string]string{"nofile": "1024:4096", "core": "unlimited"}}, {web.Secrets, map[string]string{"A": "/run/a",
			"Db_Pass": "/run/b"}},
		{web.Live.HTTP.Headers["X-Request-Id"], "7"}, {web.Live.HTTP.Headers["X-Other"], "a.b"}, {web.Live.Timeout, time.Second},
		{web.Live.Every, 10 * time.Second},
		{web.Live.Then, supervisor.LiveRestart}, {web.Live.Failures, 3}, {web.Live.Successes, 1}, {web.Ready.HTTP.Method, "GET"},
		{db.Ready.HTTP.Method, ""},
		{web.Restart.Policy, supervisor.Always}, {db.Restart.Policy, supervisor.OnFailure}, {db.Live, supervisor.Live{}}, {db.Output.Keep,
			"256KiB"},
		{web.Output.File, supervisor.OutputFile{Path: "/var/log/web.log", Size: "10MiB", Every: 24 * time.Hour, Files: 3, Total: "1GiB"}},
		{db.Output.File, supervisor.OutputFile{}}, {web.Cgroup.CPUs, 2.0}, {*l.Config.Reload.Watch, true}, {l.Config.Main, "web"},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("check %d: got %#v, want %#v", i, c.got, c.want)
		}
	}
	var b bytes.Buffer
	if err := l.Show(&b, false); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hunter2") || !strings.Contains(b.String(), "seen") || !strings.Contains(b.String(), "/run/a") {
		t.Errorf("shown:\n%s", b.String())
	}
	again, err := Load(Options{File: write(t, map[string]string{"stoker.yaml": b.String()})})
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	want := l.Config.Services["web"]
	for _, header := range []string{"Authorization", "Cookie", "X-Api-Key"} {
		want.Live.HTTP.Headers[header] = redact.Hidden
	}
	if !reflect.DeepEqual(again.Config.Services["web"], want) {
		t.Errorf("got\n%+v, want\n%+v", again.Config.Services["web"], want)
	}
}

func TestAVariableOfAKeyThatIsThereTwice(t *testing.T) {
	file := write(t, map[string]string{"stoker.yaml": "services: {web: {command: [x], env: {FILES: x}}}\n"})
	_, err := Load(Options{File: file, Environ: []string{"STOKER_SERVICES_WEB_ENV_FILES=[/c]"}})
	if err == nil || !strings.Contains(err.Error(), "services.web.env.FILES, services.web.env_files") {
		t.Errorf("got %v", err)
	}
}

func TestSecretsAreNotRepeated(t *testing.T) {
	for _, yaml := range []string{"secrets: {A: hunter2}", "live: {http: 'http://h/', headers: {Authorization: \"hunter2\\n\"}}",
		"secrets: {TOKEN: [hunter2]}"} {
		_, err := Load(Options{File: write(t, map[string]string{"stoker.yaml": "services: {web: {command: [x], " + yaml + "}}\n"})})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", yaml, err)
		}
	}
}

// What the process layer reads is what the configuration takes; its parsers have
// tests of their own.
func TestLimitForms(t *testing.T) {
	for yaml, want := range map[string]string{
		"rlimits: {nofile: 1024, core: unlimited}":   "",
		"rlimits: {nofile: \"1024:4096\"}":           "",
		"rlimits: {nofile: \"2:1\"}":                 "services.web.rlimits.nofile: the soft limit of nofile, 2, is above the hard one, 1",
		"rlimits: {nofile: \"\"}":                    "services.web.rlimits.nofile: \"\" is not a limit of nofile",
		"rlimits: {files: 1}":                        "services.web.rlimits.files: there is no limit \"files\"; the limits are as, core",
		"rlimits: {RLIMIT_NOFILE: 1}":                "services.web.rlimits.RLIMIT_NOFILE: \"RLIMIT_NOFILE\" is not how a limit is written here",
		"ionice: best-effort:7":                      "",
		"ionice: best-effort:8":                      "services.web.ionice: \"8\" is not a level of I/O priority",
		"ionice: Idle":                               "services.web.ionice: \"Idle\" is not an I/O priority",
		"drop_capabilities: [net_raw, CAP_BPF, ALL]": "",
		"drop_capabilities: [net_raw, \"NET_RAW \"]": "services.web.drop_capabilities[1]: there is no capability \"NET_RAW \"",
	} {
		_, err := Load(Options{File: write(t, map[string]string{"stoker.yaml": "services: {web: {command: [x], " + yaml + "}}\n"})})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", yaml, err, want)
		}
	}
}

func FuzzToken(f *testing.F) {
	for _, seed := range []string{"X-Id", "a b", ":", "\r"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if validToken(s) && strings.ContainsAny(s, " \r\n:") {
			t.Errorf("token %q is taken", s)
		}
	})
}

// FuzzOrder makes services that wait for each other as the bytes say: a bit each
// for a line from one to another. What is refused as a cycle is one, and without
// a refusal there is a first service.
func FuzzOrder(f *testing.F) {
	f.Add([]byte{0x01, 0x12, 0x20})
	f.Add([]byte{0x01, 0x02, 0x13, 0x23})
	f.Fuzz(func(t *testing.T, data []byte) {
		names := []string{"a", "b", "c", "d", "e", "f"}
		edges := map[string][]edge{}
		left := map[string]map[string]bool{}
		for i, b := range data[:min(len(data), 40)] {
			from, to := names[int(b>>4)%6], names[int(b&15)%6]
			if from != to {
				edges[from] = append(edges[from], edge{from, to, layeredyaml.Index("x", i), "requires"})
				if left[from] == nil {
					left[from] = map[string]bool{}
				}
				left[from][to] = true
			}
		}
		for _, cycle := range cycles(names, edges) {
			for i, e := range cycle {
				if next := cycle[(i+1)%len(cycle)]; e.to != next.from {
					t.Fatalf("not a cycle: %v", cycle)
				}
			}
		}
		// Services without dependencies are removed until none is left.
		free := func() string {
			for name := range left {
				if len(left[name]) == 0 {
					return name
				}
			}
			return ""
		}
		for _, name := range names {
			if left[name] == nil {
				left[name] = map[string]bool{}
			}
		}
		for name := free(); name != ""; name = free() {
			delete(left, name)
			for _, waits := range left {
				delete(waits, name)
			}
		}
		if acyclic := len(left) == 0; acyclic != (len(cycles(names, edges)) == 0) {
			t.Fatalf("acyclic is %v, and the cycles are %v", acyclic, cycles(names, edges))
		}
	})
}

// What no log can ever be written to is refused here, and not at the start for ever.
func TestOutputFileThatIsNone(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]uint32{"fifo": unix.S_IFIFO, "socket": unix.S_IFSOCK} {
		if err := unix.Mknod(filepath.Join(dir, name), mode|0o600, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/dev/stdout", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const streams = "the output goes to the container's own stdout and stderr anyway"
	for path, want := range map[string]string{
		"/dev/stdout": streams, "/dev/stderr": streams, "/proc/self/fd/1": streams, "/proc/1/fd/2": streams, "/dev/fd/1": streams,
		"/dev/null": "output.format: none",
		dir:         "is a directory", dir + "/fifo": "is a FIFO", dir + "/socket": "is a socket", dir + "/link": "is a symbolic link",
		dir + "/file": "", dir + "/new": "", "/no/folder/yet/x.log": "",
	} {
		_, err := Load(Options{File: write(t, map[string]string{"stoker.yaml": "services:\n  a: {command: [x], output: {file: {path: " +
			"" + path + "}}}\n"})})
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", path, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), "services.a.output.file.path: ") || !strings.Contains(err.Error(),
			want)):
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

func TestOutputFilesOfManyServices(t *testing.T) {
	_, err := Load(Options{File: write(t, map[string]string{"stoker.yaml": "main: a\nservices:\n" +
		"  a: {command: [x], output: {file: {path: /l/x, files: 3}}}\n" +
		"  b: {command: [x], output: {file: {path: /l/x.3}}}\n" +
		"  c: {command: [x], output: {file: {path: /l/x.4}}}\n" +
		"  d: {command: [x], output: {file: {path: /l/../l/x.4}}}\n"})})
	if err == nil || strings.Count(err.Error(), "\n") != 1 || !strings.Contains(err.Error(),
		"services.b.output.file.path: a full file of service a gets this name") ||
		!strings.Contains(err.Error(), "services.d.output.file.path: service c writes this file too") {
		t.Errorf("got %v", err)
	}
}
