package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/executor"
	jobs "github.com/stoker-init/stoker/executor/client"
	"github.com/stoker-init/stoker/executor/output"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/urfave/cli/v2"
)

// specFor reads the Spec of a command line of job submit.
func specFor(t *testing.T, stdin string, args ...string) (s executor.Spec, err error) {
	t.Helper()
	p := testProgram()
	p.App.Command("job").Command("submit").Action = func(c *cli.Context) (err error) {
		s, err = specOf(c, strings.NewReader(stdin), time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC))
		return err
	}
	err = p.Run(t.Context(), append([]string{"stoker", "job", "submit"}, args...))
	return s, err
}

func TestSpecOfFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(file, []byte("in"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ stdin, args, want string }{
		{"", "-- sh -c x", `{"command":["sh","-c","x"]}`},
		{"", "--key k -e A=b,c -e A2== --context web --cwd /d --user u:g --stdin " + file + " a", `{"key":"k","command":["a"],"env":{"A":"b,c","A2":"="},` +
			`"context":"web","cwd":"/d","user":"u:g","stdin":"aW4="}`},
		{"", "--timeout 90s --start-within 1m --not-before 10m --stop-signal INT --stop-grace 2s a", `{"command":["a"],"timeout":"1m30s",` +
			`"start_within":"1m0s","not_before":"2026-01-02T03:10:00Z","stop_signal":"INT","stop_grace":"2s"}`},
		{"", "--not-before 2027-01-02T03:04:05Z a", `{"command":["a"],"not_before":"2027-01-02T03:04:05Z"}`},
		{"", "--retries 3 --retry-backoff 1s --retry-max-backoff 1m --retry-on 7 --retry-on oom --retry-on-lost a", `{"command":["a"],"retry":` +
			`{"max":3,"backoff":"1s","max_backoff":"1m0s","on":["7","oom"]},"retry_on_lost":true}`},
		{"", "--priority -5 --class c --serial s --memory 1GiB --umask 027 --rlimit nofile=10:20 --nice 0 --ionice idle --oom-score-adj 500 a",
			`{"command":["a"],"priority":-5,"class":"c","serial":"s","memory":"1GiB","umask":"027","rlimits":{"nofile":"10:20"},"nice":0,"ionice":"idle",` +
				`"oom_score_adj":500}`},
		{"", "--cpus 0.5 --memory-limit 64MiB --output-cap 1KiB --workspace-cap 1MiB --artifact out/x --artifact r=report --artifact-max 1MiB a",
			`{"command":["a"],"cgroup":{"cpus":0.5,"memory":"64MiB"},"output_cap":"1KiB","workspace_cap":"1MiB",` +
				`"artifacts":[{"path":"out/x","max":"1MiB"},{"path":"report","name":"r","max":"1MiB"}]}`},
		{"", "-l a=b --traceparent p --tracestate s --baggage b a", `{"command":["a"],"labels":{"a":"b"},"traceparent":"p","tracestate":"s","baggage":"b"}`},
		{`{"command":["a"],"key":"k","env":{"A":"1"},"priority":5}`, "-f - --key other -e B=2", `{"key":"other","command":["a"],"env":{"A":"1","B":"2"},"priority":5}`},
		{`{"command":["a"]}`, "-f - b c", `{"command":["b","c"]}`},
		{"read", "--stdin - a", `{"command":["a"],"stdin":"cmVhZA=="}`},
	} {
		spec, err := specFor(t, tc.stdin, strings.Fields(tc.args)...)
		got, _ := json.Marshal(spec)
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: %v\n%s, want\n%s", tc.args, err, got, tc.want)
		}
	}
	for _, tc := range []struct{ stdin, args, want string }{
		{"", "", "it has no command"},
		{"", "-e A a", `cannot use "A" for --env`},
		{"", "--not-before soon a", `cannot use "soon" for --not-before`},
		{"{}", "-f - --stdin - a", "both the job and its stdin"},
		{`{"comand":[]}`, "-f -", "comand: there is no such field"},
		{"", "-f " + file + ".none", "no such file"},
		{"", "--stdin " + file + ".none a", "no such file"},
		{"", "--priority high a", "want a number"},
	} {
		_, err := specFor(t, tc.stdin, strings.Fields(tc.args)...)
		if err == nil || !strings.Contains(err.Error(), tc.want) || exitCode(err) != exit.Usage {
			t.Errorf("%s: %v (code %d), want %q", tc.args, err, exitCode(err), tc.want)
		}
	}
}

// TestEachFieldHasAFlag gives every flag: no field of the Spec may be left empty, and no flag may be missing here.
func TestEachFieldHasAFlag(t *testing.T) {
	args := strings.Fields("--key k -e A=b --context c --cwd d --user u --stdin - --timeout 1s --start-within 1s --not-before 1s --stop-signal INT " +
		"--stop-grace 1s --retries 1 --retry-backoff 1s --retry-max-backoff 1s --retry-on 1 --retry-on-lost --priority 1 --class c --serial s " +
		"--memory 1MiB --umask 022 --rlimit core=0 --nice 1 --ionice idle --oom-score-adj 1 --cpus 1 --memory-limit 1MiB --pids 1 --output-cap 1MiB " +
		"--workspace-cap 1MiB --artifact n=p --artifact-max 1MiB -l a=b --traceparent t --tracestate t --baggage b")
	spec, err := specFor(t, "x", append(args, "cmd")...)
	if err != nil {
		t.Fatal(err)
	}
	var empty func(path string, v reflect.Value)
	empty = func(path string, v reflect.Value) {
		switch {
		case v.IsZero():
			t.Errorf("no flag sets %s", path)
		case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
			empty(path, v.Index(0))
		case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]():
			for k := range v.NumField() {
				empty(path+"."+v.Type().Field(k).Name, v.Field(k))
			}
		}
	}
	empty("Spec", reflect.ValueOf(spec))
	for _, f := range specFlags() {
		given := slices.ContainsFunc(f.Names(), func(name string) bool {
			return slices.Contains(args, "--"+name) || slices.Contains(args, "-"+name)
		})
		if !given && f.Names()[0] != "file" {
			t.Errorf("--%s is not tried", f.Names()[0])
		}
	}
}

// TestJobsPage holds docs/reference/jobs.md to the fields, flags and states.
func TestJobsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/jobs.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range slices.Concat(reflect.VisibleFields(reflect.TypeFor[executor.Spec]()),
		reflect.VisibleFields(reflect.TypeFor[executor.Retry]()), reflect.VisibleFields(reflect.TypeFor[executor.CgroupLimits]())) {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag != "" {
			want = append(want, tag)
		}
	}
	for _, f := range specFlags() {
		name := f.Names()[0]
		if letter := f.Names()[len(f.Names())-1]; len(letter) == 1 {
			name = letter
		}
		want = append(want, "-"+name)
	}
	for _, s := range executor.States() {
		want = append(want, string(s))
	}
	for _, word := range want {
		if !regexp.MustCompile("[`.-]" + regexp.QuoteMeta(word) + "[`.[ ]").Match(page) {
			t.Errorf("the page has no %s", word)
		}
	}
}

func TestExitCodesOfJobs(t *testing.T) {
	for _, tc := range []struct {
		job  executor.Job
		want int
	}{
		{executor.Job{State: executor.Succeeded, Exit: &executor.Exit{}}, 0},
		{executor.Job{State: executor.Failed, Exit: &executor.Exit{Code: 3}}, 3},
		{executor.Job{State: executor.Failed, Exit: &executor.Exit{Code: -1, Signal: "SEGV"}}, 139},
		{executor.Job{State: executor.Failed, Exit: &executor.Exit{Code: -1, Errno: "ENOSPC", Infrastructure: true}}, 69},
		{executor.Job{State: executor.Killed}, 1},
		{executor.Job{State: executor.Killed, Exit: &executor.Exit{Code: 0}}, 1},
		{executor.Job{State: executor.TimedOut, Exit: &executor.Exit{Code: -1, Signal: "TERM"}}, 143},
		{executor.Job{State: executor.Rejected}, 69},
		{executor.Job{State: executor.Lost}, 69},
		{executor.Job{State: executor.Skipped}, 75},
	} {
		err := jobResult(tc.job)
		if got := 0; err != nil {
			if got = exitCode(err); got != tc.want {
				t.Errorf("%s %+v: %d, want %d", tc.job.State, tc.job.Exit, got, tc.want)
			}
		} else if tc.want != 0 {
			t.Errorf("%s %+v: no error", tc.job.State, tc.job.Exit)
		}
	}
	for code, want := range map[string][2]int{executor.CodeFull: {75, 75}, executor.CodeDraining: {75, 75}, executor.CodeStopping: {75, 75},
		executor.CodeUnavailable: {69, 69}, executor.CodeNoSpace: {69, 69}, executor.CodeNoExecutor: {69, 69}, executor.CodeBadSpec: {2, 69},
		executor.CodeConflict: {1, 69}, executor.CodeNoJob: {4, 69}, "forbidden": {3, 69}} {
		err := jobError("x", fmt.Errorf("y: %w", &jobs.Error{Code: code, Hint: "try"}))
		if got := exitCode(err); got != want[0] {
			t.Errorf("%s: %d, want %d", code, got, want[0])
		}
		if got := exitCode(notTheJob(err)); got != want[1] {
			t.Errorf("run, %s: %d, want %d", code, got, want[1])
		}
	}
}

// sampleJob has most of what can be shown.
func sampleJob() executor.Job {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return executor.Job{ID: 0x1234, State: executor.Failed, Reason: "exit code 3\nx", Attempt: 2, Accepted: at, Started: at.Add(time.Second),
		Ended: at.Add(time.Minute), By: "uid 0",
		Spec:   executor.Spec{Key: "night-42", Command: []string{"/app/report.sh", "yesterday", "--with", "many", "--more", "arguments"}, Labels: map[string]string{"a": "b"}},
		Exit:   &executor.Exit{Code: 3, Leftovers: 2, CPU: 1234567890, MaxRSS: 3 << 20},
		Stdout: output.Info{Bytes: 5000, Head: 512, Tail: 4488}, Stderr: output.Info{Bytes: 7}, Notes: []string{"no cgroup could be made"},
		Artifacts: []executor.KeptArtifact{{Name: "report", Bytes: 12, SHA256: "abc"}, {Name: "big", Error: "larger than 1MiB"}}}
}

func withKey(id executor.ID, key string) executor.Job {
	return executor.Job{ID: id, State: executor.Failed, Attempt: 1, Accepted: sampleJob().Accepted,
		Exit: &executor.Exit{Code: -1, Signal: "KILL"}, Spec: executor.Spec{Key: key, Command: []string{"run", "夜", key}}}
}

func TestJobsInWords(t *testing.T) {
	j := sampleJob()
	list := []executor.Job{j, {ID: 2, State: executor.Queued, Accepted: j.Accepted, Spec: executor.Spec{Command: []string{"true"}}}}
	for _, tc := range []struct{ got, want string }{
		{jobsText(list, j.Accepted.Add(90*time.Second), 0), `ID                KEY       STATE   AGE    ATTEMPT  CODE  COMMAND
0000000000001234  night-42  FAILED  1m30s  2        3     /app/report.sh yesterday --with many --more arguments
0000000000000002  -         QUEUED  1m30s  0        -     true
`},
		{artifactsText([]executor.KeptArtifact{{Name: "夜間/report", Bytes: 12, SHA256: "abc"},
			{Name: "big\nx", Error: "it is larger than its limit"}}, 0),
			`ARTIFACT     BYTES  SHA256  NOT KEPT
夜間/report  12     abc     -
big x        0      -       it is larger than its limit
`},
		{artifactsText(nil, 80), "There are no artifacts.\n"},
		{jobsText(nil, j.Accepted, 80), "There are no such jobs.\n"},
		{jobText(j, 0), `job        0000000000001234
key        night-42
state      FAILED: exit code 3 x
command    /app/report.sh yesterday --with many --more arguments
stopped by uid 0
label      a=b
accepted   2026-01-02T03:04:05Z
started    2026-01-02T03:04:06Z
ended      2026-01-02T03:05:05Z
attempt    2
exit       exit code 3, 2 processes were left behind and ended
used       1.235s of CPU time, 3.0 MiB of memory
stdout     5000 bytes, 3976 of them not kept
stderr     7 bytes
artifact   report, 12 bytes, sha256 abc
artifact   big, 0 bytes, not kept: larger than 1MiB
note       no cgroup could be made
`},
		{executorText(executor.Status{Slots: 4, Running: 2, Waiting: 7, QueueMax: 100, Paused: "by uid 0", Kept: 9, Bytes: 1 << 20,
			Ended: map[executor.State]int64{executor.Failed: 1, executor.Lost: 0, executor.Succeeded: 8}}, 0), `running    2 of 4 slots
waiting    7, at most 100
paused     by uid 0
kept       9 jobs, 1.0 MiB
failed     1
succeeded  8
`},
		{executorText(executor.Status{Slots: 1, QueueMax: 100, Paused: "drained by uid 0", Draining: "drained by uid 0", Unavailable: "no space",
			Ended: map[executor.State]int64{executor.Failed: 1}}, 0), `running    0 of 1 slots
waiting    0, at most 100
draining   drained by uid 0
unavailable no space
kept       0 jobs, 0.0 MiB
failed     1
`},
	} {
		if tc.got != tc.want {
			t.Errorf("got\n%s\nwant\n%s", tc.got, tc.want)
		}
	}
	golden(t, "jobs/list.golden", []byte(jobsText([]executor.Job{list[1], withKey(1, strings.Repeat("k/", 100)), withKey(3, "夜間バッチ"),
		withKey(4, "o\u0308de\x1b[2J\n\u202e")}, j.Accepted.Add(time.Second), 0)))
	for line := range strings.Lines(jobsText(list, j.Accepted, 80)) {
		if len(line) > 81 {
			t.Errorf("longer than 80 columns: %s", line)
		}
	}
}

// executorOf is a client of a server that is played by a handler.
func executorOf(t *testing.T, handle http.HandlerFunc) *jobs.Client {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return jobs.New(s.Client().Transport, s.URL)
}

// TestPrinter tells a closed stdout from a lost server.
func TestPrinter(t *testing.T) {
	c := executorOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(executor.OffsetHeader, "0")
		fmt.Fprint(w, "x")
	})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	if err := c.Output(t.Context(), "5", "stdout", 0, true).Copy(printer{w}, nil); !errors.Is(err, errPrint) || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a closed pipe: %v", err)
	}
}

// TestSignalsOfRun: the first one stops the job, the second leaves it alone.
func TestSignalsOfRun(t *testing.T) {
	stopped := make(chan string, 2)
	c := executorOf(t, func(w http.ResponseWriter, r *http.Request) {
		stopped <- r.Method + " " + r.URL.Path
		fmt.Fprint(w, `{"id":"5"}`)
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	go stopBySignals(ctx, c, "5", signals, func() {}, cancel) // ends with ctx
	signals <- syscall.SIGINT
	if got := receive(t, stopped, "the request"); got != "POST /v1/jobs/5/stop" {
		t.Errorf("%s", got)
	}
	if ctx.Err() != nil {
		t.Error("the first signal ends the command")
	}
	signals <- syscall.SIGINT
	receive(t, ctx.Done(), "the end by the second signal")
	if code := exitCode(context.Cause(ctx)); code != 130 || len(stopped) > 0 {
		t.Errorf("code %d, %d more requests", code, len(stopped))
	}
}
