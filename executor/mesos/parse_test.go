package mesos

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stoker-init/stoker/executor"
)

// agentEnvironment is that of slave.cpp.
func agentEnvironment() map[string]string {
	return map[string]string{"MESOS_FRAMEWORK_ID": "F", "MESOS_EXECUTOR_ID": "E", "MESOS_DIRECTORY": "/d", "MESOS_SLAVE_ID": "S",
		"MESOS_SLAVE_PID": "slave(1)@10.0.0.5:5051", "MESOS_AGENT_ENDPOINT": "10.0.0.5:5051", "MESOS_CHECKPOINT": "1",
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "5secs", "MESOS_RECOVERY_TIMEOUT": "15mins", "MESOS_SUBSCRIPTION_BACKOFF_MAX": "2secs",
		"MESOS_EXECUTOR_AUTHENTICATION_TOKEN": "T"}
}

func TestEnvironment(t *testing.T) {
	full := Environment{Framework: "F", Executor: "E", Run: "/d", URL: "http://10.0.0.5:5051/slave(1)/api/v1/executor", token: "T",
		Checkpoint: true, Recovery: 15 * time.Minute, Backoff: 2 * time.Second, ShutdownGrace: 5 * time.Second}
	with := func(change func(*Environment)) Environment { e := full; change(&e); return e }
	for name, test := range map[string]struct {
		changes map[string]string
		want    Environment
		err     string
	}{
		"all": {nil, full, ""},
		"without the address": {map[string]string{"MESOS_SLAVE_PID": ""},
			with(func(e *Environment) { e.URL = "http://10.0.0.5:5051/api/v1/executor" }), ""},
		"IPv6": {map[string]string{"MESOS_SLAVE_PID": "slave(1)@[fd00::5]:5051"},
			with(func(e *Environment) { e.URL = "http://[fd00::5]:5051/slave(1)/api/v1/executor" }), ""},
		"socket": {map[string]string{"MESOS_SLAVE_PID": "", "MESOS_AGENT_ENDPOINT": "", "MESOS_DOMAIN_SOCKET": "/s"},
			with(func(e *Environment) { e.URL, e.Socket = "http://localhost:80/api/v1/executor", "/s" }), ""},
		"no checkpoints": {map[string]string{"MESOS_CHECKPOINT": "0", "MESOS_RECOVERY_TIMEOUT": ""},
			with(func(e *Environment) { e.Checkpoint, e.Recovery = false, 0 }), ""},
		"defaults": {map[string]string{"MESOS_SUBSCRIPTION_BACKOFF_MAX": "", "MESOS_RECOVERY_TIMEOUT": "", "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": ""},
			full, ""},
		"no framework":    {map[string]string{"MESOS_FRAMEWORK_ID": ""}, full, "MESOS_FRAMEWORK_ID is not set: was stoker started by a Mesos agent?"},
		"no agent":        {map[string]string{"MESOS_SLAVE_PID": "", "MESOS_AGENT_ENDPOINT": ""}, full, "MESOS_AGENT_ENDPOINT is not set"},
		"broken address":  {map[string]string{"MESOS_SLAVE_PID": "10.0.0.5:5051"}, full, `MESOS_SLAVE_PID is "10.0.0.5:5051", no address such as`},
		"broken port":     {map[string]string{"MESOS_SLAVE_PID": "slave(1)@h:x"}, full, `MESOS_SLAVE_PID is "h:x", no host and port`},
		"broken duration": {map[string]string{"MESOS_RECOVERY_TIMEOUT": "15m"}, full, `MESOS_RECOVERY_TIMEOUT is broken: "15m" is not a duration`},
		"broken switch":   {map[string]string{"MESOS_CHECKPOINT": "yes"}, full, `MESOS_CHECKPOINT is "yes", neither 0 nor 1`},
	} {
		got, err := parseEnvironment(envOf(agentEnvironment(), test.changes))
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: the error is %v, not %s", name, err, test.err)
			}
		} else if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v\nnot %+v", name, got, err, test.want)
		}
	}
}

func TestTakeEnvironment(t *testing.T) {
	for name, value := range agentEnvironment() {
		t.Setenv(name, value)
	}
	if e := TakeEnvironment(); e.err != nil || e.token != "T" {
		t.Errorf("%+v", e)
	}
	if _, set := os.LookupEnv(tokenVariable); set {
		t.Error("the token is still there")
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"15mins": 15 * time.Minute, "250ms": 250 * time.Millisecond,
		"1.5secs": 1500 * time.Millisecond,
		"0ns":     0, "2hrs": 2 * time.Hour, "1days": 24 * time.Hour, "1weeks": 7 * 24 * time.Hour, "3us": 3 * time.Microsecond, "": time.Hour} {
		if got, err := parseDuration(text, time.Hour); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"15", "15m", "mins", "-1secs", "1e300weeks", "NaNsecs", "5 secs", "infsecs", "1e"} {
		if got, err := parseDuration(text, time.Hour); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestReadRecord(t *testing.T) {
	for text, want := range map[string][]string{
		"5\nhello2\nab": {"hello", "ab", "EOF"},
		"0\n1\na":       {"", "a", "EOF"},
		"":              {"EOF"},
		"5\nhell":       {"unexpected EOF"},
		"5":             {"unexpected EOF"},
		"\n":            {"cannot read an event: '\\n' is not the size of a record"},
		"-1\na":         {"cannot read an event: '-' is not the size of a record"},
		"999999999\n":   {"cannot read an event: '9' is not the size of a record"},
		"16777217\n":    {"cannot read an event: it has 16777217 bytes, at most 16777216 are possible"},
		"5 \nhello":     {"cannot read an event: ' ' is not the size of a record"},
	} {
		for _, source := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
			r := bufio.NewReader(source)
			for k, want := range want {
				got, err := readRecord(r, func() {})
				if err != nil {
					got = []byte(err.Error())
				}
				if string(got) != want {
					t.Errorf("%q: record %d is %q, not %q", text, k, got, want)
				}
			}
		}
	}
}

func FuzzReadRecord(f *testing.F) {
	f.Add([]byte("5\nhello2\nab"))
	f.Add([]byte("00000001\na"))
	f.Add([]byte("16777216\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := bufio.NewReader(bytes.NewReader(text))
		read := 0
		for {
			record, err := readRecord(r, func() {})
			if err != nil {
				if errors.Is(err, io.EOF) && read != len(text) {
					t.Errorf("%d of %d bytes were read", read, len(text))
				}
				return
			}
			at := bytes.IndexByte(text[read:], '\n') + 1
			if !bytes.Equal(record, text[read+at:read+at+len(record)]) {
				t.Errorf("the record %q is not in the text", record)
			}
			read += at + len(record)
		}
	})
}

func TestSpecOf(t *testing.T) {
	base := func(more string) string {
		return `{"name":"n","task_id":{"value":"t"},"agent_id":{"value":"S"},"unknown":{"x":1}` + more + `}`
	}
	shell := `,"command":{"shell":true,"value":"echo 1","arguments":["ignored"],"uris":[]}`
	spec := func(change func(*executor.Spec)) executor.Spec {
		s := executor.Spec{Key: "mesos/t", Command: []string{"/bin/sh", "-c", "echo 1"}}
		change(&s)
		return s
	}
	for text, want := range map[string]executor.Spec{
		base(shell):                           spec(func(*executor.Spec) {}),
		base(`,"command":{"value":"echo 1"}`): spec(func(*executor.Spec) {}),
		base(`,"command":{"shell":false,"value":"/bin/app","arguments":["app","-x","a b"],"user":"web"}`): spec(func(s *executor.Spec) {
			s.Command, s.User = []string{"/bin/app", "-x", "a b"}, "web"
		}),
		base(`,"command":{"shell":false,"value":"/bin/app"}`): spec(func(s *executor.Spec) { s.Command = []string{"/bin/app"} }),
		base(`,"command":{"value":"echo 1","environment":{"variables":[{"name":"A","value":"1"},
			{"name":"B","type":"SECRET","secret":{"type":"VALUE","value":{"data":"c2VjcmV0"}}}]}}`): spec(func(s *executor.Spec) {
			s.Env = map[string]string{"A": "1", "B": "secret"}
		}),
		base(shell + `,"kill_policy":{"grace_period":{"nanoseconds":1500000000}},"max_completion_time":{"nanoseconds":60000000000}`): spec(
			func(s *executor.Spec) {
				s.StopGrace, s.Timeout = executor.Duration(1500*time.Millisecond), executor.Duration(time.Minute)
			}),
		base(shell + `,"kill_policy":{"grace_period":{"nanoseconds":0}}`): spec(func(s *executor.Spec) { s.StopGrace = 1 }),
		base(shell + `,"labels":{"labels":[{"key":"a","value":"1"},{"key":"b"}]}`): spec(func(s *executor.Spec) {
			s.Labels = map[string]string{"a": "1", "b": ""}
		}),
		base(shell + `,"resources":[{"name":"cpus","scalar":{"value":0.1}},{"name":"mem","scalar":{"value":128}},
			{"name":"mem","scalar":{"value":0.5},"role":"r"}]`): spec(func(s *executor.Spec) { s.Memory = "131584KiB" }),
		base(`,"data":"eyJjb21tYW5kIjpbIngiXSwibWVtb3J5IjoiMU1pQiIsImVudiI6eyJBIjoiMCIsIkIiOiIyIn19",
			"resources":[{"name":"mem","scalar":{"value":128}}],
			"command":{"value":"","user":"web","environment":{"variables":[{"name":"A","value":"1"}]}}`): spec(func(s *executor.Spec) {
			s.Command, s.Memory, s.User, s.Env = []string{"x"}, "1MiB", "web", map[string]string{"A": "1", "B": "2"}
		}),
	} {
		got, err := specOf([]byte(text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v, %v\nnot %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		base(`,"command":{"shell":true}`):                              "command.value: is missing",
		base(shell + `,"data":"bm8="`):                                 "data: it has to be a spec of stoker as JSON",
		base(shell + `,"data":"eyJrZXkiOiJrIn0="`):                     "data: the key is the task_id",
		base(shell + `,"data":"eyJyZXRyeV9vbl9sb3N0Ijp0cnVlfQ=="`):     "data: retry_on_lost is the framework's",
		base(shell + `,"health_check":{"type":"TCP"}`):                 "health_check, check: a task is not checked",
		base(`,"command":{"value":"x","uris":[{"value":"http://x"}]}`): "command.uris: nothing is fetched",
		base(`,"command":{"value":"x","environment":{"variables":[{"name":"B","type":"SECRET","secret":{"type":"REFERENCE"}}]}}`): "is a reference to a secret",
		`{"task_id":[]}`: "cannot read the task",
	} {
		if _, err := specOf([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v, not %q", text, err, want)
		}
	}
}

func FuzzSpecOf(f *testing.F) {
	f.Add([]byte(`{"name":"n","task_id":{"value":"t"},"command":{"shell":false,"value":"x","arguments":["y","z"]},"resources":[{"name":"mem","scalar":{"value":1e300}}]}`))
	f.Add([]byte(`{"task_id":{"value":"t"},"data":"eyJjb21tYW5kIjpbIngiXX0=","kill_policy":{"grace_period":{"nanoseconds":-1}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		head, err := parseHead(text)
		spec, specErr := specOf(text)
		if err != nil || specErr != nil {
			return
		}
		if spec.Key != keyPrefix+head.ID.Value || spec.RetryOnLost || spec.StopGrace < 0 || spec.Timeout < 0 {
			t.Errorf("%q: %+v", text, spec)
		}
		for _, problem := range spec.Validate(executor.Config{}) {
			if problem.Field == "memory" {
				if data := (&struct{ Data []byte }{}); json.Unmarshal(text, data) != nil || len(data.Data) == 0 {
					t.Errorf("%q: %s", text, problem.Why)
				}
			}
		}
	})
}

// Every state of a job is one of a task, and the final ones are final.
func TestStates(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range executor.States() {
		state, _ := stateOf(&executor.Job{State: s})
		seen[state] = true
		if (rank(state) == finalRank) != s.Final() {
			t.Errorf("%s is %s", s, state)
		}
	}
	if len(seen) != 9 {
		t.Errorf("the states are %v", maps.Keys(seen))
	}
	killed := &executor.Job{State: executor.Failed, Exit: &executor.Exit{OOMKilled: true}}
	if _, reason := stateOf(killed); reason != "REASON_CONTAINER_LIMITATION_MEMORY" {
		t.Errorf("the reason is %s", reason)
	}
}
