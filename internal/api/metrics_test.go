package api

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/executor"
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
	f.network = &NetworkStatus{Differences: []string{"add address 192.0.2.10/24 of eth0"}, Repairs: 3, RepairFailures: 2}
	f.plugins = []plugin.Info{{Name: "jacoco", State: plugin.Failed}, {Name: "jmx", State: plugin.Active}}
	f.snaps = []supervisor.Snapshot{
		{Name: "app", State: supervisor.Running, Starts: 4, UpSince: &up, Output: &logs.Stats{DroppedLines: 5, LostLines: 6,
			DroppedBytes: 70, LostBytes: 8, File: &logs.FileStats{DroppedBytes: 9}}},
		{Name: "never", State: supervisor.Stopped},
		{Name: "web", State: supervisor.Backoff, Starts: 1, Listen: []supervisor.Socket{
			{Name: "http", Address: ":8080", Waiting: 65, Backlog: 64, FullSince: &up, Fills: 2}, {Name: "admin", Backlog: 1024}}},
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
	body := regexp.MustCompile(`(\nstoker_goroutines )\d+`).ReplaceAllString(got.body, "${1}9")
	golden(t, "testdata/metrics.golden", strings.ReplaceAll(body, runtime.Version(), "GOVERSION")+"\n")
}

// golden compares a text with a file.
func golden(t *testing.T, path, body string) {
	t.Helper()
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

// TestMetricsOfJobs compares those of an executor with a golden file.
func TestMetricsOfJobs(t *testing.T) {
	b := parts(newFake())
	b.JobMetrics = someJobs{}
	path := serveOptions(t, Options{Backend: b, Log: hclog.NewNullLogger(), Events: newJournal(t), Member: noMember})
	got := ask(t, path, -1, "GET", "/metrics")
	checkExposition(t, got.body)
	_, body, found := strings.Cut(got.body, "# HELP stoker_jobs_")
	if !found {
		t.Fatalf("there are none: %s", got.body)
	}
	golden(t, "testdata/jobmetrics.golden", "# HELP stoker_jobs_"+body+"\n")
}

type someJobs struct{}

func (someJobs) Metrics() executor.Metrics {
	return executor.Metrics{Status: executor.Status{Slots: 4, Running: 2, Waiting: 3, Draining: "drained by uid 0",
		Unavailable: "read-only", Kept: 9, Bytes: 1 << 20, Damage: []string{"1.log: 7 bytes at 5"},
		Ended: map[executor.State]int64{executor.Lost: 1, executor.Succeeded: 8}},
		Accepted: 14, Refused: map[string]int64{executor.CodeFull: 46, executor.CodeConflict: 0}, Retries: 2, Output: 1 << 40,
		Starts: executor.Histogram{Bounds: []time.Duration{5 * time.Millisecond, time.Minute}, Counts: []int64{10, 2, 1},
			Sum: 90500 * time.Millisecond},
		Oldest: 1500 * time.Millisecond, Held: true, Braked: true}
}

// TestMetricsPage holds the table of docs/reference/events.md to the metrics.
func TestMetricsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/events.md")
	if err != nil {
		t.Fatal(err)
	}
	have, documented := map[string]bool{}, map[string]bool{}
	for _, file := range []string{"testdata/metrics.golden", "testdata/jobmetrics.golden", "testdata/sessionmetrics.golden"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`# HELP (\w+)`).FindAllSubmatch(text, -1) {
			have[string(m[1])] = true
		}
	}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) > 3 {
			for _, m := range regexp.MustCompile("`(stoker_\\w+)`").FindAllStringSubmatch(cells[1], -1) {
				documented[m[1]] = true
			}
		}
	}
	if !maps.Equal(have, documented) {
		t.Errorf("the page has\n%v\nand the code\n%v", slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(have)))
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
		if m != nil && typed[present] == "histogram" {
			m[2] += m[1] // another series
			m[1] = regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(m[1], "")
		}
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
