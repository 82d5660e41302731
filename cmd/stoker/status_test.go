package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/display"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// golden compares with a file of testdata, or writes it with -update.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s has\n%s\ngot\n%s", path, want, got)
	}
}

// now is the time of the tests.
func now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// at returns a time relative to now.
func at(d time.Duration) *time.Time {
	t := now().Add(d)
	return &t
}

// snapshots are a service in each state, also with every detail.
func snapshots() map[string]api.Status {
	one := func(s supervisor.Snapshot) api.Status {
		s.Name = "tomcat"
		return api.Status{Version: "v1", Services: []supervisor.Snapshot{s}}
	}
	until := now().Add(5300 * time.Millisecond)
	return map[string]api.Status{
		"stopped": one(supervisor.Snapshot{State: supervisor.Stopped,
			Exit: &incident.Exit{Code: 143, At: *at(-3 * time.Minute), Asked: "uid 0 by the API", Success: true}}),
		"starting": one(supervisor.Snapshot{State: supervisor.Starting, Pid: 42, UpSince: at(-1200 * time.Millisecond),
			Deadline: at(118 * time.Second),
			Waiting:  "GET http://127.0.0.1:8080/app/health: connection refused (nothing listens there)",
			Notes:    []string{"JVM 17.0.21 in /opt/java/openjdk (JAVA_HOME)"}}),
		"running": one(supervisor.Snapshot{State: supervisor.Running, Pid: 42, UpSince: at(-26 * time.Hour), Restarts: 2,
			Reason: "not shown while it runs", Exit: &incident.Exit{Code: 1, At: *at(-27 * time.Hour)}}),
		"degraded": one(supervisor.Snapshot{State: supervisor.Running, Pid: 42, UpSince: at(-time.Hour),
			Degraded: "application /a failed to start: java.lang.IllegalStateException: no database (A.java:3); application /b failed to start"}),
		"backoff": one(supervisor.Snapshot{State: supervisor.Backoff, Restarts: 3, Next: at(900 * time.Millisecond),
			Reason: "exit code 1 before it was ready",
			Exit:   &incident.Exit{Code: 1, At: *at(-100 * time.Millisecond)}}),
		"stopping": one(supervisor.Snapshot{State: supervisor.Stopping, Phase: "asked to end", Pid: 42, UpSince: at(-time.Hour),
			Deadline: at(4 * time.Second)}),
		"stopping-left": one(supervisor.Snapshot{State: supervisor.Stopping, Phase: "asked to end", Left: []int{77, 78},
			Deadline: at(-time.Second),
			Exit:     &incident.Exit{Code: -1, Signal: 9, At: *at(-2 * time.Second)}}),
		"listens": one(supervisor.Snapshot{State: supervisor.Backoff, Restarts: 1, Next: at(900 * time.Millisecond),
			Exit: &incident.Exit{Code: -1, Signal: 9, At: *at(-3300 * time.Millisecond)},
			Listen: []supervisor.Socket{{Name: "http", Address: ":8080", Waiting: 65, Backlog: 64, FullSince: at(-2200 * time.Millisecond), Fills: 1},
				{Name: "admin", Address: "/run/app/admin.sock", Backlog: 1024}}}),
		"exited": one(supervisor.Snapshot{State: supervisor.Exited,
			Exit:   &incident.Exit{Code: -1, Signal: 11, Core: true, At: *at(-90 * time.Second)},
			Reason: "killed by signal 11 (SEGV), core dumped"}),
		"fatal": one(supervisor.Snapshot{State: supervisor.Fatal, Restarts: 5, Next: at(287 * time.Second),
			Reason: "cannot use the JVM options: cannot use \"-Xmx\" (user jvm.options:2): its value is missing\ncannot use \"-version\""}),
		"chinese": one(supervisor.Snapshot{State: supervisor.Fatal, Reason: "上下文 [/app] 启动失败: 子容器启动失败 (web.xml:12)"}),
		"control": one(supervisor.Snapshot{State: supervisor.Fatal,
			Reason: "\x1b[2J\x1b[1;1Hall is well\a\r\u009b31m\x7f, tab\tkept, \u202eno turning\u2066, 全角　空格"}),
		"output": one(supervisor.Snapshot{State: supervisor.Running, Pid: 42, UpSince: at(-time.Second),
			Output: &logs.Stats{Lines: 1e6, DroppedLines: 12, DroppedBytes: 960, LostLines: 3, LostBytes: 240}}),
		"network": {Version: "v1", Services: []supervisor.Snapshot{{Name: "tomcat", State: supervisor.Running, Pid: 42, UpSince: at(-time.Hour)}},
			Network: &api.NetworkStatus{From: "https://agent/net?token=***", Applied: at(-3 * time.Minute), Described: at(-50 * time.Hour),
				Stale: "connection refused", Error: "cannot repair the network: not permitted",
				Differences: []string{"add address 192.0.2.10/24 of eth0", "remove route default of eth0"}}},
		"network-waits": {Version: "v1", Services: []supervisor.Snapshot{{Name: "tomcat", State: supervisor.Starting,
			Waiting: "the container's network is not configured: its description is fetched from unix:/run/agent.sock"}},
			Network: &api.NetworkStatus{From: "unix:/run/agent.sock", Doing: "its description is fetched from unix:/run/agent.sock"}},
		"end": {Version: "v1", Stopping: &until, Services: []supervisor.Snapshot{
			{Name: "a", State: supervisor.Stopping, Phase: "asked to end", Pid: 7, UpSince: at(-time.Minute), Deadline: at(3 * time.Second)},
			{Name: "a-longer-name", State: supervisor.Stopped}}},
	}
}

func TestStatusOfEachState(t *testing.T) {
	seen := map[supervisor.State]bool{}
	for name, st := range snapshots() {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := printStatus(printable.NewWriter(&b), st, now(), false, 0); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("status", name+".golden"), b.Bytes())
			for _, r := range b.String() {
				if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
					t.Errorf("the control character %q reaches the terminal", r)
				}
			}
		})
		for _, s := range st.Services {
			seen[s.State] = true
		}
	}
	for _, st := range supervisor.States() {
		if !seen[st] {
			t.Errorf("no test shows %s", st)
		}
	}
}

func TestColourOnlyForTheState(t *testing.T) {
	st := snapshots()["running"]
	st.Services[0].Name = "RUNNING" // cannot be configured, and would be coloured in its place
	var plain, colour bytes.Buffer
	printStatus(&plain, st, now(), false, 0)
	printStatus(&colour, st, now(), true, 0)
	strip := strings.NewReplacer("\x1b[32m", "", "\x1b[0m", "")
	if got := strip.Replace(colour.String()); got != plain.String() {
		t.Errorf("without its colour it is %q, want %q", got, plain.String())
	}
	if n := strings.Count(colour.String(), "\x1b["); n != 2 {
		t.Errorf("%d colour changes, want 2:\n%q", n, colour.String())
	}
	if display.HasColour(&plain) {
		t.Error("a buffer counts as a terminal")
	}
}
