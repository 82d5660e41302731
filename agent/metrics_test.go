package agent

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestMetrics(t *testing.T) {
	f, dir := newFleet(t)
	a, b, dead := startFake(t, dir, "a", 1), startFake(t, dir, "b", 1), startFake(t, dir, "dead", 1)
	a.labels = map[string]string{"appid": "1", "app.version": `1"2`, "": "x", "__name__": "x"}
	a.metrics = `# HELP jobs The jobs.
# TYPE jobs gauge
jobs 1
jobs{state="R",appid="own"} 2 1700000000000
# TYPE took_seconds histogram
took_seconds_bucket{le="+Inf"} 3
took_seconds_sum 1.5e-3
took_seconds_count 3
`
	b.metrics = `# HELP jobs Something else.
# TYPE jobs counter
jobs{container="a",text="x\"},\\\n"} +Inf
jobs{bad"} 1
jobs{a="\x"} 1
jobs 0x1p-2
jobs 1_0
jobs{__name__="other",a="1",a="2",} NaN
# EOF
jobs 1 2 3
1jobs 1
  jobs 1
`
	dead.set(func() {
		dead.before = func(w http.ResponseWriter, _ *http.Request) bool { refuse(w, 500, "failed"); return true }
	})
	resp, err := unixClient(serveFleet(t, f, dir)).Get("http://agent/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	const want = `# HELP stoker_agent_container_up 1 if the container has answered the agent.
# TYPE stoker_agent_container_up gauge
stoker_agent_container_up{container="a",app_version="1\"2",appid="1"} 1
stoker_agent_container_up{container="b",appid="1"} 1
stoker_agent_container_up{container="dead"} 0
# HELP stoker_agent_container_metrics_too_large 1 if the container's own metrics are left out because they are too large.
# TYPE stoker_agent_container_metrics_too_large gauge
stoker_agent_container_metrics_too_large{container="a",app_version="1\"2",appid="1"} 0
stoker_agent_container_metrics_too_large{container="b",appid="1"} 0
stoker_agent_container_metrics_too_large{container="dead"} 0
# HELP jobs The jobs.
# TYPE jobs gauge
jobs{container="a",app_version="1\"2",appid="1"} 1
jobs{container="a",state="R",appid="own",app_version="1\"2"} 2 1700000000000
jobs{container="b",exported_container="a",text="x\"},\\\n",appid="1"} +Inf
jobs{container="b",a="1",appid="1"} NaN
# TYPE took_seconds histogram
took_seconds_bucket{container="a",le="+Inf",app_version="1\"2",appid="1"} 3
took_seconds_sum{container="a",app_version="1\"2",appid="1"} 1.5e-3
took_seconds_count{container="a",app_version="1\"2",appid="1"} 3
`
	if err != nil || string(text) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, text, want)
	}
}

// TestLargeMetrics: the metrics of a container that would take much memory are left out, and those of the others are there.
func TestLargeMetrics(t *testing.T) {
	t.Parallel()
	long := map[string]string{"appid": "1", "long": strings.Repeat("x", 4000)}
	many := map[string]string{}
	for k := range maxLabels + 1 {
		many[fmt.Sprintf("l%d", k)] = "x"
	}
	for _, tc := range []struct {
		name   string
		labels map[string]string
		text   string
		want   string // of the container
		sample bool   // its own samples are there
	}{
		{name: "large", labels: long, text: strings.Repeat("a 1\n", 2000), want: "_up 1 _too_large 0", sample: true},
		{name: "many families", text: families(maxLines / 2), want: "_up 1 _too_large 0", sample: true},
		{name: "too many lines", text: strings.Repeat("a 1\n", maxLines+1), want: "_up 1 _too_large 1"},
		{name: "too many bytes", text: "a 1\n# " + strings.Repeat("x", maxMetrics), want: "_up 1 _too_large 1"},
		{name: "long labels on many lines", labels: long, text: strings.Repeat("a 1\n", 3000), want: "_up 1 _too_large 1"},
		{name: "labels with too many bytes", labels: map[string]string{"l": strings.Repeat("x", maxLabel)}, text: "a 1\n", want: "_up 0 _too_large 0"},
		{name: "too many labels", labels: many, text: "a 1\n", want: "_up 0 _too_large 0"},
	} {
		f, dir := newFleet(t)
		startFake(t, dir, "other", 1).metrics = "a 1\n"
		liar := startFake(t, dir, "x", 1)
		liar.labels, liar.metrics = tc.labels, tc.text
		w := httptest.NewRecorder()
		if _, err := f.metrics(w, httptest.NewRequest("GET", "/metrics", nil)); err != nil {
			t.Fatal(err)
		}
		got := ""
		for line := range strings.Lines(w.Body.String()) {
			if short, ok := strings.CutPrefix(line, "stoker_agent_container"); ok && strings.Contains(line, `container="x"`) {
				name, _, _ := strings.Cut(strings.TrimPrefix(short, "_metrics"), "{")
				got += name + line[strings.LastIndex(line, " "):]
			}
		}
		if got = strings.Join(strings.Fields(got), " "); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
		if has := strings.Contains(w.Body.String(), `a{container="x"`); has != tc.sample {
			t.Errorf("%s: its samples are there: %v", tc.name, has)
		}
		if !strings.Contains(w.Body.String(), `a{container="other",appid="1"} 1`) {
			t.Errorf("%s: the other one's sample is not there", tc.name)
		}
	}
}

// families is the metrics of n families.
func families(n int) string {
	var b strings.Builder
	for k := range n {
		fmt.Fprintf(&b, "# TYPE f%d gauge\n", k)
	}
	return strings.Replace(b.String(), "# TYPE f0 gauge", "a 1", 1)
}

// FuzzMetrics: whatever a container says, each line of the result is a sample with its name, or is about a family.
func FuzzMetrics(f *testing.F) {
	for _, text := range []string{"a 1\n", "# TYPE a gauge\na{b=\"c\\\"d\"} 1 2\n", "a{container=\"x\",exported_container=\"y\"} -Inf", "# HELP a \r\na 1\r\n",
		"a_sum{} 1\n# TYPE a summary\na_sum 1", "a{b=\"\xff\"} 1\n", "a{b=\"}\"} 1e5\n"} {
		f.Add(text, "appid", "1")
	}
	f.Fuzz(func(t *testing.T, text, label, value string) {
		var x exposition
		x.add("first", nil, "first 1\n")
		x.add(`me"`, map[string]string{label: value}, text)
		merged := x.String()
		if !strings.HasPrefix(merged, "first{container=\"first\"} 1\n") && !strings.Contains(text, "first") {
			t.Fatalf("another container's samples are %q", merged)
		}
		var again exposition
		mine := strings.TrimPrefix(merged, "first{container=\"first\"} 1\n")
		again.add("reader", nil, mine)
		if n := strings.Count(again.String(), "\n"); n != strings.Count(mine, "\n") {
			t.Fatalf("of %q only %q can be read", mine, again.String())
		}
		for line := range strings.Lines(mine) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			var names []string
			for _, l := range sampleLabel().FindAllStringSubmatch(sampleLine().FindStringSubmatch(strings.TrimSuffix(line, "\n"))[2], -1) {
				if l[1] == containerLabel {
					names = append(names, l[2])
				}
			}
			if len(names) != 1 || names[0] != `me\"` && !strings.Contains(text, "first") {
				t.Fatalf("%q is of %q", line, names)
			}
		}
	})
}
