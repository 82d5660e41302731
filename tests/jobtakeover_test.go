//go:build container

package tests

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/executor"
)

// killSupervisor kills the supervisor, and waits until another one answers.
func (b *jobBox) killSupervisor() {
	b.t.Helper()
	pid := 0
	await(b.t, 20*time.Second, "a supervisor", func() bool { pid = b.supervisor(); return pid != 0 })
	syscall.Kill(pid, syscall.SIGKILL)
	await(b.t, 20*time.Second, "another supervisor", func() bool { now := b.supervisor(); return now != 0 && now != pid })
	if _, err := b.patient.Status(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// What is promised of a job holds over the death of the supervisor: its limits, stops, retries and artifacts.
func TestJobsTakenOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := newJobBox(t, dir, "slots: 8, stop_grace: 300ms")
	wait := "while [ ! -e " + dir + "/go ]; do sleep 0.02; done; "
	spec := func(name, text string, change func(*executor.Spec)) executor.ID {
		s := b.shell(name, text)
		if change != nil {
			change(&s)
		}
		return b.submit(s).ID
	}
	short := executor.Duration(1500 * time.Millisecond)
	timeout := spec("timeout", "exec sleep 98435", func(s *executor.Spec) { s.Timeout = short })
	deaf := spec("deaf", "trap '' TERM; echo >"+dir+"/deaf; while :; do sleep 0.05; done", func(s *executor.Spec) { s.StopGrace = short })
	full := spec("full", wait+"head -c 20M /dev/zero >x; exec sleep 98435", func(s *executor.Spec) { s.WorkspaceCap = "4MiB" })
	artifact := spec("artifact", wait+"echo kept >a", func(s *executor.Spec) { s.Artifacts = []executor.Artifact{{Path: "a"}} })
	again := spec("again", wait+`[ "$STOKER_JOB_ATTEMPT" = 3 ] && exit 0; exit 7`, func(s *executor.Spec) {
		s.Retry = executor.Retry{Max: 5, Backoff: executor.Duration(200 * time.Millisecond), On: []string{"7"}}
	})
	stdin := spec("stdin", wait+"cksum", func(s *executor.Spec) { s.Stdin = make([]byte, 1<<20) })
	leaver := spec("leaver", "(setsid sleep 98437 &); "+wait+"exit 2", nil)
	await(t, 10*time.Second, "the start of all", func() bool { return len(b.ledger()) == 7 && b.file("deaf") != "" })
	later := spec("later", "", func(s *executor.Spec) { s.NotBefore = time.Now().Add(2 * time.Second) })
	if _, err := b.client.Stop(t.Context(), deaf.String(), executor.StopRequest{}); err != nil {
		t.Error(err)
	}
	stopped := time.Now()
	b.killSupervisor()
	write(t, dir+"/go", "", 0o644)
	b.killSupervisor()
	b.wantState(timeout, executor.TimedOut)
	job := b.wantState(deaf, executor.Killed)
	if took := time.Since(stopped); job.By == "" || job.Exit == nil || job.Exit.Signal != "KILL" || took > 8*time.Second {
		t.Errorf("the stopped job was ended by %q after %v: %+v", job.By, took, job.Exit)
	}
	if job := b.wantState(full, executor.Failed); !strings.Contains(job.Reason, "workspace exceeds") {
		t.Errorf("the job that fills its workspace: %q", job.Reason)
	}
	job = b.wantState(artifact, executor.Succeeded)
	if body, err := b.client.Artifact(t.Context(), artifact.String(), "a"); err != nil {
		t.Errorf("%v; %+v", err, job.Artifacts)
	} else if text, err := io.ReadAll(body); string(text) != "kept\n" || err != nil {
		t.Errorf("the artifact is %q, %v", text, err)
	}
	if job := b.wantState(again, executor.Succeeded); job.Attempt != 3 || b.ledger()["again"] != 3 {
		t.Errorf("the job that is repeated: attempt %d, %d starts", job.Attempt, b.ledger()["again"])
	}
	b.wantState(stdin, executor.Succeeded)
	if out, _ := b.output(stdin, "stdout"); !strings.HasSuffix(string(out), " 1048576\n") {
		t.Errorf("stdin was %q", out)
	}
	if job := b.wantState(leaver, executor.Failed); job.Exit == nil || job.Exit.Code != 2 || job.Exit.Leftovers == 0 {
		t.Errorf("the job that leaves a process: %+v", job.Exit)
	}
	if job := b.wantState(later, executor.Succeeded); job.Started.Before(job.Spec.NotBefore) {
		t.Errorf("it began at %v, not after %v", job.Started, job.Spec.NotBefore)
	}
	for name, n := range b.ledger() {
		if n != 1 && name != "again" {
			t.Errorf("%s ran %d times", name, n)
		}
	}
	b.wantNoProcess()
}

// What an operator has paused or drained stays so when the supervisor dies.
func TestJobsPausedTakenOver(t *testing.T) {
	t.Parallel()
	b := newJobBox(t, t.TempDir(), "slots: 2")
	if _, err := b.client.Control(t.Context(), executor.Pause); err != nil {
		t.Fatal(err)
	}
	id := b.submit(b.shell("waits", "")).ID
	b.killSupervisor()
	still := holds(300*time.Millisecond, func() bool { return len(b.ledger()) == 0 })
	if st, err := b.client.Status(t.Context()); err != nil || st.Paused == "" || !still {
		t.Errorf("%+v, %v; %v", st, err, b.ledger())
	}
	if _, err := b.client.Control(t.Context(), executor.Resume); err != nil {
		t.Fatal(err)
	}
	b.wantState(id, executor.Succeeded)
	if _, err := b.client.Control(t.Context(), executor.Drain); err != nil {
		t.Fatal(err)
	}
	b.killSupervisor()
	if _, _, err := b.client.Submit(t.Context(), b.shell("refused", "")); answered(err) != 503 {
		t.Errorf("drained, it answers %v", err)
	}
	if _, err := b.client.Control(t.Context(), executor.Resume); err != nil {
		t.Fatal(err)
	}
	b.killSupervisor()
	b.wantState(b.submit(b.shell("runs", "")).ID, executor.Succeeded)
}

// Jobs that are stopped, or fail and are repeated, while the supervisor is killed: one final state, one start for each attempt.
// STOKER_JOB_KILLS and STOKER_KILLED_JOBS make it a long test.
func TestJobsStoppedAndRepeatedTakenOver(t *testing.T) {
	t.Parallel()
	kills, count := number(t, "STOKER_JOB_KILLS", 12), number(t, "STOKER_KILLED_JOBS", 60)
	b := newJobBox(t, t.TempDir(), "slots: 8, queue: 5000, stop_grace: 200ms")
	ids, stopped, done := make([]executor.ID, count), make([]bool, count), make(chan struct{})
	go func() { // ends with the last answer
		defer close(done)
		for k := range ids {
			text := "sleep 0.05; exit 7"
			if k%2 == 1 {
				text = "trap '' TERM; echo x; sleep 98435"
			}
			spec := b.shell(fmt.Sprintf("job-%d", k), text)
			if k%2 == 0 {
				spec.Retry = executor.Retry{Max: 2, Backoff: executor.Duration(20 * time.Millisecond)}
			}
			job, _, err := b.patient.Submit(t.Context(), spec)
			if err != nil {
				t.Errorf("job %d: %v", k, err)
				return
			}
			ids[k] = job.ID
			if k%2 == 1 {
				pass(time.Duration(k*7%40) * time.Millisecond)
				_, err := b.patient.Stop(t.Context(), job.ID.String(), executor.StopRequest{})
				stopped[k] = err == nil || errors.Is(err, executor.ErrFinal) // by a request whose answer was lost
				if !stopped[k] {
					t.Errorf("job %d cannot be stopped: %v", k, err)
				}
			}
		}
	}()
	for k := range kills {
		pid := 0
		await(t, 20*time.Second, "a supervisor", func() bool { pid = b.supervisor(); return pid != 0 })
		pass(time.Duration(20+k*53%200) * time.Millisecond)
		syscall.Kill(pid, syscall.SIGKILL)
		await(t, 10*time.Second, "its end", func() bool { return b.supervisor() != pid })
	}
	<-done
	states := map[executor.State]int{}
	for k, id := range ids {
		if id == 0 {
			continue
		}
		job, starts := b.awaitJob(id), b.ledger()[fmt.Sprintf("job-%d", k)]
		states[job.State]++
		switch {
		case k%2 == 0 && (job.State != executor.Failed || job.Attempt != 3 || starts != 3 || job.Exit == nil || job.Exit.Code != 7):
			t.Errorf("job %d is %s (%s), attempt %d, %d starts, %+v", k, job.State, job.Reason, job.Attempt, starts, job.Exit)
		case k%2 == 1 && (job.State != executor.Killed || starts > 1 || !stopped[k]):
			t.Errorf("job %d is %s (%s), %d starts, stopped %t, %+v", k, job.State, job.Reason, starts, stopped[k], job.Exit)
		}
	}
	t.Logf("%v", states)
	b.wantNoProcess()
}
