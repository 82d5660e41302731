package api

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/events"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func someHookCounts() []hooks.Counter {
	return []hooks.Counter{{Event: lifecycle.Ready, Hook: "register", Result: hooks.ResultOK, Runs: 3, Took: 1500 * time.Millisecond},
		{Event: lifecycle.Ready, Hook: "register", Result: hooks.ResultTimeout, Runs: 1, Took: 30 * time.Second},
		{Event: lifecycle.Ready, Hook: "register", Plugin: "jacoco", Result: hooks.ResultOK, Runs: 1, Took: time.Second}}
}

// TestMetrics compares everything with a golden file.
func TestMetrics(t *testing.T) {
	up := time.Unix(1767323045, 250e6)
	f := newFake()
	f.waits, f.counts = []string{"side car"}, someHookCounts()
	f.plugins = []plugin.Info{{Name: "jacoco", State: plugin.Failed}, {Name: "jmx", State: plugin.Active}}
	f.snaps = []supervisor.Snapshot{
		{Name: "app", State: supervisor.Running, Starts: 4, UpSince: &up, Output: &logs.Stats{DroppedLines: 5, LostLines: 6,
			DroppedBytes: 70, LostBytes: 8, File: &logs.FileStats{DroppedBytes: 9}}},
		{Name: "never", State: supervisor.Stopped},
		{Name: `odd "name" \` + "\nof \xff bytes", State: supervisor.Backoff, Starts: 1},
	}
	f.broken = []incident.Incident{{Summary: incident.Summary{Number: 12, Service: "app"}},
		{Summary: incident.Summary{Number: 11, Service: "app"}}}
	j := newJournal(t)
	j.Append(events.Event{Kind: "init"})
	got := ask(t, serveWith(t, f, j), -1, "GET", "/metrics")
	if got.status != 200 || got.kind != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("%d %s", got.status, got.kind)
	}
	checkExposition(t, got.body)
	body := strings.ReplaceAll(got.body, runtime.Version(), "GOVERSION") + "\n"
	const path = "testdata/metrics.golden"
	if *update {
		if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(want, []byte(body)) {
		t.Errorf("the metrics are not those of %s (%v; go test -update rewrites it):\n%s", path, err, body)
	}
}

// TestMetricsOfNothing: without a service, a hook and a plugin it is still what a
// collector reads.
func TestMetricsOfNothing(t *testing.T) {
	var x exposition
	s := &Server{opts: Options{Backend: parts(&fake{fakePlugins: &fakePlugins{}})}}
	s.serviceMetrics(&x, nil)
	s.hookMetrics(&x)
	if x.String() != "" {
		t.Errorf("families without a sample: %s", x.String())
	}
	got := ask(t, serve(t, &fake{fakePlugins: &fakePlugins{}}), -1, "GET", "/metrics")
	checkExposition(t, got.body)
}

// checkExposition checks what promtool would: each family is described once, before
// its samples and all in one piece; names and label values are well formed; no
// series is there twice; counters end with _total.
func checkExposition(t *testing.T, text string) {
	t.Helper()
	head := regexp.MustCompile(`^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$`)
	line := regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\["\\n])*"(?:,[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\["\\n])*")*\})? -?[0-9]+(\.[0-9]+)?$`)
	described, typed, series := map[string]bool{}, map[string]string{}, map[string]bool{}
	present := ""
	for _, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if m := head.FindStringSubmatch(l); m != nil {
			if m[1] == "HELP" {
				if described[m[2]] {
					t.Errorf("%s is described twice", m[2])
				}
				described[m[2]], present = true, m[2]
				continue
			}
			if m[2] != present || typed[present] != "" {
				t.Errorf("a TYPE out of its place: %s", l)
			}
			typed[present] = m[3]
			if (m[3] == "counter") != strings.HasSuffix(present, "_total") {
				t.Errorf("%s is a %s", present, m[3])
			}
			continue
		}
		m := line.FindStringSubmatch(l)
		switch {
		case m == nil:
			t.Errorf("no line of the format: %q", l)
		case m[1] != present || typed[present] == "":
			t.Errorf("a sample out of its place: %s", l)
		case series[m[1]+m[2]]:
			t.Errorf("a series that is there twice: %s", l)
		default:
			series[m[1]+m[2]] = true
		}
	}
	if len(series) == 0 {
		t.Error("there is no sample")
	}
}
