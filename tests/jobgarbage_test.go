//go:build container

package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/executor"
)

// post sends a body as it is to the route of submissions.
func (b *jobBox) post(body []byte) (status int, answer string) {
	b.t.Helper()
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", b.socket)
		}}}
	resp, err := client.Post("http://stoker/v1/jobs", "application/json", bytes.NewReader(body))
	if err != nil {
		b.t.Errorf("%.100q: no answer: %v", body, err)
		return 0, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Errorf("%.100q: half an answer: %v", body, err)
	}
	return resp.StatusCode, string(text)
}

// openDir is a folder of the test that other users can enter.
func openDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// flat checks that the processes of stoker live on and have not grown.
func (b *jobBox) flat(run func()) {
	b.t.Helper()
	b.awaitJob(b.submit(b.shell("warm", "")).ID)
	pid, before := b.supervisor(), b.memory()
	run()
	b.awaitJob(b.submit(b.shell("cold", "")).ID)
	after := b.memory()
	if !eventually(10*time.Second, 200*time.Millisecond, func() bool { after = b.memory(); return after-before < 16<<10 }) {
		b.t.Errorf("the memory was %d KiB and is %d KiB", before, after)
	}
	b.t.Logf("memory %d KiB, then %d KiB", before, after)
	if now := b.supervisor(); now != pid {
		b.t.Errorf("the supervisor was process %d and is %d", pid, now)
	}
	b.wantService()
}

// What is no job is refused with the reason, and nothing of it runs.
func TestJobsGarbage(t *testing.T) {
	t.Parallel()
	b := newJobBox(t, openDir(t), "slots: 4, queue: 2000")
	long := strings.Repeat("x", 1<<20)
	command := func(rest string) string { return `{"command": ["true"], ` + rest + `}` }
	b.flat(func() {
		for name, tc := range map[string]struct {
			body   string
			status int
			want   string
		}{
			"nothing":                   {"", 400, ""},
			"null":                      {"null", 422, "command"},
			"a list":                    {"[]", 400, ""},
			"empty":                     {"{}", 422, "command"},
			"two":                       {`{"command": ["true"]} {}`, 400, ""},
			"half":                      {`{"command": ["true"]`, 400, ""},
			"deep":                      {strings.Repeat("[", 1<<20), 400, ""},
			"deep field":                {command(`"env": ` + strings.Repeat(`{"a":`, 100000) + strings.Repeat("}", 100001)), 400, ""},
			"unknown":                   {command(`"comand": 1`), 422, "comand"},
			"command is text":           {`{"command": "true"}`, 422, "command"},
			"a zero byte":               {`{"command": ["a\u0000b"]}`, 422, "command[0]"},
			"2 MiB":                     {command(`"stdin": "` + strings.Repeat("A", 2<<20) + `"`), 413, ""},
			"2 MiB of spaces":           {`{"command": ["true"]` + strings.Repeat(" ", 2<<20) + "}", 413, ""},
			"newline in a key":          {command(`"key": "a\nb"`), 422, "key"},
			"key of 10 KB":              {command(`"key": "` + long[:10000] + `"`), 422, "key"},
			"no UTF-8 in a key":         {command("\"key\": \"a\xff\""), 422, "UTF-8"},
			"half a surrogate":          {command(`"key": "a\ud800"`), 422, "key"},
			"no UTF-8":                  {"{\"command\": [\"echo\", \"\xe4\"]}", 422, "UTF-8"},
			"label of 1 MB":             {command(`"labels": {"a": "` + long + `"}`), 422, "labels"},
			"1 MB of arguments":         {`{"command": ["true", "` + long + `"]}`, 422, "command"},
			"artifact outside":          {command(`"artifacts": [{"path": "../../etc/passwd"}]`), 422, "artifacts[0].path"},
			"absolute artifact":         {command(`"artifacts": [{"path": "/etc/passwd"}]`), 422, "artifacts[0].path"},
			"one name twice":            {command(`"artifacts": [{"path": "a"}, {"path": "b", "name": "a"}]`), 422, "artifacts[1].name"},
			"folder outside":            {command(`"cwd": "../x"`), 422, "cwd"},
			"negative":                  {command(`"timeout": "-1s", "priority": 101, "retry": {"max": -1}`), 422, "timeout"},
			"huge":                      {command(`"timeout": "999999999999h"`), 422, "timeout"},
			"a number":                  {command(`"timeout": 1e999`), 422, "timeout"},
			"huge size":                 {command(`"output_cap": "99999999999999999999GiB"`), 422, "output_cap"},
			"no size":                   {command(`"workspace_cap": "-1"`), 422, "workspace_cap"},
			"no user":                   {command(`"user": "nobody-at-all"`), 422, "user"},
			"no context":                {command(`"context": "../app"`), 422, "context"},
			"no class":                  {command(`"class": "x"`), 422, "class"},
			"cookie":                    {command(`"env": {"STOKER_PROCESS": "x"}`), 422, "env"},
			"name of a variable":        {command(`"env": {"A=B": "x"}`), 422, "env"},
			"1 MiB of stdin and a byte": {command(`"stdin": "` + strings.Repeat("AAAA", 1<<20/3) + `AAAA"`), 422, "stdin"},
		} {
			if status, answer := b.post([]byte(tc.body)); status != tc.status || !strings.Contains(answer, tc.want) || len(answer) > 4<<10 {
				t.Errorf("%s: %d, %.300s, want %d with %q", name, status, answer, tc.status, tc.want)
			}
		}
		b.postRandom()
	})
	if list, err := b.client.Jobs(t.Context(), executor.Filter{States: executor.States()[:5], Limit: 1000}); err != nil {
		t.Error(err)
	} else {
		for _, job := range list {
			b.client.Stop(t.Context(), job.ID.String(), executor.StopRequest{})
		}
	}
	b.wantNoProcess()
}

// postRandom submits random values of random fields. STOKER_GARBAGE sets how many.
func (b *jobBox) postRandom() {
	seed := uint64(time.Now().UnixNano())
	r, statuses := rand.New(rand.NewPCG(seed, 1)), map[int]int{}
	sample, err := json.Marshal(executor.Spec{Key: "k", Command: []string{"true"}, Env: map[string]string{"A": "b"}, Context: "app", Dir: "x",
		User: "daemon", Stdin: []byte("in"), Timeout: 1e9, StartWithin: 1e10, NotBefore: time.Now(), StopSignal: "INT", StopGrace: 1e9,
		Retry: executor.Retry{Max: 1, Backoff: 1e6, MaxBackoff: 1e9, On: []string{"any"}}, RetryOnLost: true, Priority: 1, Serial: "s",
		Memory: "1MiB", OutputCap: "1KiB", WorkspaceCap: "1MiB", Artifacts: []executor.Artifact{{Path: "a", Name: "b", Max: "1KiB"}},
		Labels: map[string]string{"l": "v"}, Traceparent: "t"})
	if err != nil {
		b.t.Fatal(err)
	}
	values := []string{"null", "true", "-1", "0", "1e400", "1.5", `""`, `"x"`, `"\u0000"`, `"1h"`, `"-1h"`, `"../.."`, `"\ud800"`, "[]", "{}", "[[]]",
		`["true"]`, `{"a":"b"}`, `{"max":1e9}`, `"` + strings.Repeat("9", 300) + `"`, `["", null]`, `"9223372036854775807"`, "[1]", `"0000-00-00"`}
	for k := range number(b.t, "STOKER_GARBAGE", 500) {
		fields := map[string]json.RawMessage{}
		if err := json.Unmarshal(sample, &fields); err != nil {
			b.t.Fatal(err)
		}
		for name := range fields {
			switch r.IntN(12) {
			case 0:
				fields[name] = json.RawMessage(values[r.IntN(len(values))])
			case 1, 2, 3, 4:
				if name != "command" {
					delete(fields, name)
				}
			}
		}
		body, err := json.Marshal(fields)
		if k%4 == 0 { // and broken bytes
			body, err = bytes.Clone(sample), nil
			for range 1 + r.IntN(3) {
				body[r.IntN(len(body))] = byte(r.UintN(256))
			}
		}
		if err != nil {
			body = sample
		}
		status, answer := b.post(body)
		statuses[status]++
		switch status {
		case 200, 201, 400, 409, 422, 429:
		default:
			b.t.Errorf("seed %d: %d, %.300s for %.1000s", seed, status, answer, body)
		}
	}
	b.t.Logf("%v", statuses)
	if statuses[422] == 0 || statuses[201] == 0 {
		b.t.Error("it was no test")
	}
}

// Jobs that do what they should not end in the right state, and the next job runs. STOKER_JOB_FILES and STOKER_JOB_CHILDREN set how
// many files are in a workspace and how many processes one job makes.
func TestJobsMisbehave(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	b := newJobBox(t, dir, "slots: 2")
	files, children := number(t, "STOKER_JOB_FILES", 20000), number(t, "STOKER_JOB_CHILDREN", 300)
	env := map[string]string{}
	for k := range 10000 {
		env[fmt.Sprintf("VARIABLE_%d", k)] = "12345678"
	}
	artifacts := func(paths ...string) (list []executor.Artifact) {
		for _, p := range paths {
			list = append(list, executor.Artifact{Path: p})
		}
		return list
	}
	megabyte := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	type result struct {
		state    executor.State
		code     int
		stdout   string
		reason   string
		artifact string // part of the error of the first; -: it is kept
	}
	succeeded := result{state: executor.Succeeded}
	b.flat(func() {
		for _, tc := range []struct {
			name, text string
			spec       executor.Spec
			want       result
		}{
			{"environment", `env | grep -c ^VARIABLE_`, executor.Spec{Env: env}, result{state: executor.Succeeded, stdout: "10000\n"}},
			{"stdin-unread", "exit 4", executor.Spec{Stdin: megabyte}, result{state: executor.Failed, code: 4}},
			{"stdin", "cksum", executor.Spec{Stdin: megabyte}, result{state: executor.Succeeded, stdout: " 1048576\n"}},
			{"closes", "exec >&- 2>&- </dev/null; sleep 0.3; exit 3", executor.Spec{}, result{state: executor.Failed, code: 3}},
			{"late", "(sleep 0.3; echo late; sleep 98437) & echo early", executor.Spec{}, result{state: executor.Succeeded, stdout: "early\n"}},
			{"removes", `cd /; rm -rf "$HOME"; echo x`, executor.Spec{}, result{state: executor.Succeeded, stdout: "x\n"}},
			{"removes-artifact", `cd /; rm -rf "$HOME"`, executor.Spec{Artifacts: artifacts("a")},
				result{state: executor.Succeeded, artifact: "no such file"}},
			{"replaces", `cd /; rm -rf "$HOME"; ln -s /etc "$HOME"`, executor.Spec{Artifacts: artifacts("passwd")},
				result{state: executor.Succeeded, artifact: "not a folder"}},
			{"link", "ln -s /etc/passwd a", executor.Spec{Artifacts: artifacts("a")}, result{state: executor.Succeeded, artifact: "escapes"}},
			{"fifo", "mkfifo a", executor.Spec{Artifacts: artifacts("a")}, result{state: executor.Succeeded, artifact: "neither"}},
			{"device", "mknod a c 1 5", executor.Spec{Artifacts: artifacts("a")}, result{state: executor.Succeeded, artifact: "neither"}},
			{"endless", "truncate -s 1T a", executor.Spec{Artifacts: artifacts("a")}, result{state: executor.Succeeded, artifact: "larger"}},
			{"folder", "mkdir a; ln -s /etc/passwd a/b; mkfifo a/c; echo 1 >a/d; ln -s . a/e", executor.Spec{Artifacts: artifacts("a")},
				result{state: executor.Succeeded, artifact: "-"}},
			{"fills", "yes | head -c 200M >big; sleep 98437", executor.Spec{WorkspaceCap: "8MiB"},
				result{state: executor.Failed, code: -1, reason: "its workspace exceeds 8MiB"}},
			{"many-files", fmt.Sprintf(`mkdir d; cd d; seq %d | xargs touch; ls | wc -l`, files), executor.Spec{},
				result{state: executor.Succeeded, stdout: fmt.Sprintf("%d\n", files)}},
			{"deep", `perl -e 'for (1..1000) { mkdir "0123456789"; chdir "0123456789" or exit 9 }'`, executor.Spec{}, succeeded},
			{"closed", `mkdir a; touch a/b; chmod 0 a`, executor.Spec{User: "daemon"}, succeeded},
			{"forks", fmt.Sprintf("for i in $(seq %d); do sleep 98437 & done; echo all", children), executor.Spec{},
				result{state: executor.Succeeded, stdout: "all\n"}},
			{"stops-itself", "kill -STOP $$", executor.Spec{Timeout: executor.Duration(time.Second), StopGrace: executor.Duration(time.Second)},
				result{state: executor.TimedOut, code: -1}},
			{"kills-all", "kill -9 -1", executor.Spec{User: "daemon"}, succeeded},
			{"no-program", "", executor.Spec{Command: []string{dir + "/nothing"}}, result{state: executor.Failed, code: 127}},
			{"a-folder", "", executor.Spec{Command: []string{dir}}, result{state: executor.Failed, code: 126}},
			{"binary", `head -c 65536 /dev/urandom; printf '\0\377'`, executor.Spec{}, succeeded},
		} {
			spec := tc.spec
			if spec.Command == nil {
				spec.Command = []string{"sh", "-c", tc.text}
			}
			spec.Key = tc.name
			began := time.Now()
			job := b.wantState(b.submit(spec).ID, tc.want.state)
			took := time.Since(began)
			if out, _ := b.output(job.ID, "stdout"); !strings.HasSuffix(string(out), tc.want.stdout) ||
				tc.want.stdout == "early\n" && string(out) != tc.want.stdout {
				t.Errorf("%s: it printed %.200q, not %q", tc.name, out, tc.want.stdout)
			}
			if job.Exit == nil || job.Exit.Code != tc.want.code && job.Exit.Signal == "" || !strings.Contains(job.Reason, tc.want.reason) {
				t.Errorf("%s: %+v, %q", tc.name, job.Exit, job.Reason)
			}
			if tc.want.artifact != "" && (len(job.Artifacts) != 1 || tc.want.artifact == "-" && job.Artifacts[0].Error != "" ||
				tc.want.artifact != "-" && !strings.Contains(job.Artifacts[0].Error, tc.want.artifact)) {
				t.Errorf("%s: the artifact is %+v", tc.name, job.Artifacts)
			}
			if took > time.Duration(30+files/1000)*time.Second {
				t.Errorf("%s: it took %v", tc.name, took)
			}
			t.Logf("%s: %s after %v, %d leftovers", tc.name, job.State, took.Round(time.Millisecond), job.Exit.Leftovers)
			b.wantNoProcess()
			if _, err := os.Lstat(dir + "/jobs/work/" + job.ID.String()); err == nil {
				t.Errorf("%s: the workspace is left", tc.name)
			}
		}
	})
	if left := b.run2("job", "list", "-n", "3"); !strings.Contains(left, "SUCCEEDED") {
		t.Errorf("the list is %s", left)
	}
}

// run2 is run for a command that must succeed.
func (b *jobBox) run2(args ...string) string {
	b.t.Helper()
	out, err := b.run(args...)
	if err != nil {
		b.t.Errorf("%q: %v: %s", args, err, out)
	}
	return out
}

// A job sees nothing of another user's job, while that runs and afterwards.
func TestJobsApart(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	b := newJobBox(t, dir, "slots: 3")
	first := b.submit(executor.Spec{User: "daemon", Env: map[string]string{"OF_FIRST": "secret-of-first"}, Stdin: []byte("secret-of-first"),
		Command: []string{"sh", "-c", `umask 0; echo secret-of-first >secret-file; echo secret-of-first; (setsid sleep 98437 &); exec sleep 98438`}})
	work := dir + "/jobs/work/" + first.ID.String()
	await(t, 15*time.Second, "what the first job writes", func() bool { _, err := os.Stat(work + "/secret-file"); return err == nil })
	job, err := b.client.Job(t.Context(), first.ID.String())
	if err != nil || job.Pid == 0 {
		t.Fatal(err, job)
	}
	const spy = `exec 2>&1
ls -R "$HOME/.." "$TMPDIR/.." . ; cat "$1/secret-file" "$HOME/../../output"/*; ls "$HOME/../.." "$HOME/../../journal"
tr '\0' '\n' </proc/$2/environ; cat /proc/$2/fd/0 /proc/$2/cwd/secret-file; kill -9 $2 && echo killed it
env; find "$HOME/../../.." -name 'secret-file*'`
	for _, user := range []string{"bin", "nobody"} {
		for range 2 {
			spied := b.awaitJob(b.submit(executor.Spec{User: user, Command: []string{"sh", "-c", spy, "spy", work, fmt.Sprint(job.Pid)}}).ID)
			out, _ := b.output(spied.ID, "stdout")
			for _, bad := range []string{"secret-of-first", "secret-file\n", "OF_FIRST", "killed it"} {
				if text := strings.ReplaceAll(string(out), work+"/secret-file", ""); strings.Contains(text, bad) {
					t.Errorf("a job of %s sees %q:\n%s", user, bad, out)
				}
			}
			if strings.Count(string(out), "ermission denied") < 4 {
				t.Errorf("the job of %s is no test:\n%s", user, out)
			}
		}
	}
	if err := syscall.Kill(b.init, 0); err != nil {
		t.Error(err)
	}
	if _, err := b.client.Stop(t.Context(), first.ID.String(), executor.StopRequest{}); err != nil {
		t.Error(err)
	}
	b.wantState(first.ID, executor.Killed)
	b.wantNoProcess()
	second := b.wantState(b.submit(executor.Spec{User: "daemon", Command: []string{"sh", "-c",
		`ls -A . "$HOME" "$TMPDIR"; env; id -un; ls "$HOME/.."; ps -ef 2>/dev/null | grep '[9]843[78]'; true`}}).ID, executor.Succeeded)
	out, _ := b.output(second.ID, "stdout")
	for _, bad := range []string{"secret", "OF_FIRST", "98437", "98438"} {
		if strings.Contains(string(out), bad) {
			t.Errorf("the next job of the same user sees %q:\n%s", bad, out)
		}
	}
}

// Where the workspaces have no space or no inodes left, a job sees that as any program does, one that cannot get a workspace is a
// failure of the infrastructure, and afterwards jobs run again.
func TestJobsFullWorkspaces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ws := dir + "/ws"
	if err := os.Mkdir(ws, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", ws, "tmpfs", 0, "size=1m,nr_inodes=32"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(ws, syscall.MNT_DETACH) })
	b := newJobBox(t, dir, "slots: 2, workspace: "+ws)
	out := b.wantState(b.submit(b.shell("space", "head -c 2M /dev/zero >x || exit 5")).ID, executor.Failed)
	if out.Exit == nil || out.Exit.Code != 5 || out.Exit.Infrastructure {
		t.Errorf("a job that fills the disk: %+v", out.Exit)
	}
	holder := b.submit(b.shell("inodes", "i=0; while touch $i; do i=$((i+1)); done; touch "+dir+"/full; exec sleep 98435")).ID
	await(t, 10*time.Second, "the last inode", func() bool { _, err := os.Stat(dir + "/full"); return err == nil })
	job := b.wantState(b.submit(b.shell("none", "")).ID, executor.Failed)
	if job.Exit == nil || !job.Exit.Infrastructure || job.Exit.Errno != "ENOSPC" || b.ledger()["none"] != 0 {
		t.Errorf("a job without a workspace: %+v", job.Exit)
	}
	b.wantService()
	if _, err := b.client.Stop(t.Context(), holder.String(), executor.StopRequest{}); err != nil {
		t.Error(err)
	}
	b.wantState(holder, executor.Killed)
	b.wantState(b.submit(b.shell("again", "echo 1 >x")).ID, executor.Succeeded)
	if left, err := os.ReadDir(ws); err != nil || len(left) != 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}
