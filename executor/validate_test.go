package executor

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	long := strings.Repeat("x", maxKey+1)
	n := func(v int) *int { return &v }
	many := map[string]string{}
	for k := range maxLabels + 1 {
		many[fmt.Sprint(k)] = "x"
	}
	for _, test := range []struct {
		fields string // in order
		change func(s *Spec)
	}{
		{"", func(s *Spec) {}},
		{"", func(s *Spec) {
			*s = Spec{Command: []string{"a"}, Dir: "b/c", StopSignal: "SIGINT", Class: "one", Memory: "1GiB", Retry: Retry{Max: 2, On: []string{"any", "255"}},
				Artifacts: []Artifact{{Path: "a"}, {Path: "a", Name: "b", Max: "1KiB"}}, Priority: -100, Attributes: Attributes{Umask: "022",
					Nice: n(19), Rlimits: map[string]string{"nofile": "10:20"}}}
		}},
		{"command", func(s *Spec) { s.Command = nil }},
		{"command", func(s *Spec) { s.Command = []string{"", "x"} }},
		{"command[1]", func(s *Spec) { s.Command = []string{"a", "\x00"} }},
		{"command", func(s *Spec) { s.Command = []string{"a", strings.Repeat("x", maxArguments)} }},
		{"command", func(s *Spec) { s.Env = map[string]string{"A": strings.Repeat("x", maxArguments)} }},
		{"env", func(s *Spec) { s.Env = map[string]string{"A=B": ""} }},
		{"env", func(s *Spec) { s.Env = map[string]string{"": ""} }},
		{"env", func(s *Spec) { s.Env = map[string]string{"STOKER_JOB_ID": "9"} }},
		{"env", func(s *Spec) { s.Env = map[string]string{"A": "\x00"} }},
		{"artifacts[0].path,command[1],cwd,env,key,serial", func(s *Spec) {
			s.Key, s.Serial, s.Dir, s.Command, s.Env = "\xff", "a\ufffd", "\xe4", []string{"a", "\xe4"}, map[string]string{"A": "\xe4"}
			s.Artifacts = []Artifact{{Path: "\xe4"}}
		}},
		{"stdin", func(s *Spec) { s.Stdin = make([]byte, maxStdin+1) }},
		{"cwd", func(s *Spec) { s.Dir = "../x" }},
		{"cwd", func(s *Spec) { s.Dir = "/x\x00" }},
		{"key", func(s *Spec) { s.Key = long }},
		{"key,serial,traceparent", func(s *Spec) { s.Key, s.Serial, s.Traceparent = "a\n", "\x7f", "\x00" }},
		{"baggage,tracestate", func(s *Spec) { s.Baggage, s.Tracestate = "\x00", strings.Repeat("x", maxBaggage+1) }},
		{"stop_signal", func(s *Spec) { s.StopSignal = "NONE" }},
		{"not_before", func(s *Spec) { s.NotBefore, s.StartWithin = time.Now().Add(time.Hour), Duration(time.Minute) }},
		{"retry.max", func(s *Spec) { s.Retry.Max = -1 }},
		{"retry.max", func(s *Spec) { s.Retry.Max = maxRetries + 1 }},
		{"retry.on,retry.on,retry.on", func(s *Spec) { s.Retry.On = []string{"0", "256", "never", "1"} }},
		{"priority", func(s *Spec) { s.Priority = 101 }},
		{"priority", func(s *Spec) { s.Priority = -101 }},
		{"class", func(s *Spec) { s.Class = "on" }},
		{"cgroup.memory,memory,output_cap,workspace_cap", func(s *Spec) {
			s.Cgroup.Memory, s.Memory, s.OutputCap, s.WorkspaceCap = "x", "x", "x", "x"
		}},
		{"cgroup.cpus,cgroup.pids", func(s *Spec) { s.Cgroup.CPUs, s.Cgroup.PIDs = -1, -1 }},
		{"ionice,umask", func(s *Spec) { s.IONice, s.Umask = "x", "9" }},
		{"rlimits", func(s *Spec) { s.Rlimits = map[string]string{"x": "1"} }},
		{"nice,oom_score_adj", func(s *Spec) { s.Nice, s.OOMScoreAdj = n(20), n(-1001) }},
		{"artifacts", func(s *Spec) {
			for k := range maxArtifacts + 1 {
				s.Artifacts = append(s.Artifacts, Artifact{Path: fmt.Sprint(k)})
			}
		}},
		{"artifacts[0].path", func(s *Spec) { s.Artifacts = []Artifact{{Path: "/etc/passwd"}} }},
		{"artifacts[0].path", func(s *Spec) { s.Artifacts = []Artifact{{Path: "../x"}} }},
		{"artifacts[0].name,artifacts[0].path", func(s *Spec) { s.Artifacts = []Artifact{{}} }},
		{"artifacts[1].name", func(s *Spec) { s.Artifacts = []Artifact{{Path: "a"}, {Path: "b", Name: "a"}} }},
		{"artifacts[0].max", func(s *Spec) { s.Artifacts = []Artifact{{Path: "a", Max: "-1"}} }},
		{"labels", func(s *Spec) { s.Labels = many }},
		{"labels", func(s *Spec) { s.Labels = map[string]string{"": "x"} }},
	} {
		s := Spec{Command: []string{"a"}}
		test.change(&s)
		var fields []string
		for _, f := range s.Validate(testConfig("/x")) {
			fields = append(fields, f.Field)
			if f.Why == "" || strings.Contains(f.Why, "\n") {
				t.Errorf("%s: %q", f.Field, f.Why)
			}
		}
		if got := strings.Join(fields, ","); got != test.fields {
			t.Errorf("%q, want %q", got, test.fields)
		}
	}
}

func TestWithDefaults(t *testing.T) {
	c := testConfig("/x")
	c.User = "nobody"
	s := Spec{Class: "high", Artifacts: []Artifact{{Path: "p"}}, Retry: Retry{Backoff: Duration(time.Hour)}}
	got := s.withDefaults(c)
	want := Spec{Class: "high", Priority: 50, Timeout: Duration(c.Timeout), StopGrace: Duration(c.StopGrace), StopSignal: "TERM", User: "nobody",
		OutputCap: c.OutputCap, WorkspaceCap: c.WorkspaceCap, Retry: Retry{Backoff: Duration(time.Hour), MaxBackoff: Duration(time.Hour)},
		Artifacts: []Artifact{{Path: "p", Name: "p", Max: "16MiB"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if s.Artifacts[0].Name != "" {
		t.Error("the artifacts of the caller were changed")
	}
	if again := got.withDefaults(c); !reflect.DeepEqual(again, got) {
		t.Errorf("not stable: %+v", again)
	}
	if u := (Spec{Context: "tomcat"}).withDefaults(c).User; u != "" {
		t.Errorf("the user of a job with a context is %q", u)
	}
}

func TestDiff(t *testing.T) {
	a := Spec{Command: []string{"a"}, Env: map[string]string{"P": "secret1"}, Stdin: []byte("secret2"), Serial: "s", Labels: map[string]string{"l": "1"}}
	b := Spec{Command: []string{"b"}, Env: map[string]string{"P": "secret3"}, Key: strings.Repeat("x", 10*maxKey), Labels: map[string]string{"l": "1"}}
	got := strings.Join(diff(&a, &b), "\n")
	for _, part := range []string{`command: ["a"] is not ["b"]`, "env differs", "stdin differs", `serial: "s" is not nothing`, "key: nothing is not"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is missing in\n%s", part, got)
		}
	}
	if strings.Contains(got, "secret") || strings.Contains(got, "c2VjcmV0") || strings.Contains(got, "labels") || len(got) > 4*maxKey {
		t.Errorf("too much:\n%s", got)
	}
	if lines := diff(&a, &a); lines != nil {
		t.Errorf("it differs from itself: %v", lines)
	}
}

func FuzzSpec(f *testing.F) {
	f.Add([]byte(`{"key":"k","command":["a","b"],"env":{"A":"b"},"stdin":"eA==","timeout":"1h","not_before":"2030-01-01T00:00:00Z","retry":{"max":3,` +
		`"on":["any"]},"nice":3,"cgroup":{"cpus":1.5},"artifacts":[{"path":"x"}],"labels":{"a":"b"},"rlimits":{"nofile":"1"}}`))
	f.Add([]byte(`{"command":[""],"class":"x","memory":"1Q","umask":"x","ionice":"x","stop_signal":"x"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s Spec
		if json.Unmarshal(text, &s) != nil {
			return
		}
		c := testConfig("/x")
		s.Validate(c)
		full := s.withDefaults(c)
		diff(&s, &full)
		job := Job{ID: 1, Spec: s, State: Queued, Exit: &Exit{Code: 3}}
		first := encode(job)
		var again Job
		if err := json.Unmarshal(first, &again); err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if second := encode(again); string(second) != string(first) {
			t.Errorf("%s became %s", first, second)
		}
		if lines := diff(&s, &again.Spec); lines != nil {
			t.Errorf("a job is not itself after a restart: %v", lines)
		}
	})
}
