package mesos

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/mesos/mesostest"
)

func TestTaskLife(t *testing.T) {
	with(t, mesostest.Options{Token: "geheim"}, func(b *bench) {
		b.begin()
		b.subscribed()
		b.run("a")
		if job := b.ex.job("a"); !slices.Equal(job.Spec.Command, []string{"/bin/sh", "-c", "true"}) || job.SubmittedBy != "the Mesos framework F1" {
			t.Errorf("the job is %+v", job)
		}
		b.ex.become("a", executor.Failed, func(j *executor.Job) { j.Reason, j.Exit = "exit code 3", &executor.Exit{Code: 3, MaxRSS: 5} })
		b.wantStates("a", "TASK_STARTING", "TASK_RUNNING", "TASK_FAILED")
		updates := b.agent.Updates()
		last := updates[len(updates)-1]
		var exit executor.Exit
		if err := json.Unmarshal(last.Data, &exit); err != nil || exit.Code != 3 || exit.MaxRSS != 5 {
			t.Errorf("the data are %q: %v", last.Data, err)
		}
		if want := "job 0000000000000001: exit code 3"; last.Message != want {
			t.Errorf("the message is %q, not %q", last.Message, want)
		}
		if !b.ex.job("a").Reported {
			t.Error("the job is not marked as reported")
		}
		if got := b.Status(); !strings.Contains(got, "subscribed at http://10.0.0.5:5051/slave(1)/api/v1/executor") ||
			!strings.Contains(got, "0 tasks, 0 updates") {
			t.Errorf("the status is %q", got)
		}
	})
}

func TestKill(t *testing.T) {
	for _, capable := range []bool{false, true} {
		o := mesostest.Options{}
		want := []string{"TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"}
		if capable {
			o.Capabilities = []string{"TASK_KILLING_STATE"}
			want = slices.Insert(want, 2, "TASK_KILLING")
		}
		with(t, o, func(b *bench) {
			b.ex.deaf = true
			b.begin()
			b.subscribed()
			b.agent.Kill("unknown", -1)
			b.run("a")
			b.agent.Kill("a", -1)
			b.agent.Kill("a", 30*time.Second)
			b.agent.Kill("a", time.Second)
			synctest.Wait()
			b.ex.become("a", executor.Killed)
			b.agent.Kill("a", 0)
			b.wantStates("a", want...)
			if s := b.ex.stops; len(s) != 3 || s[0].Grace != nil || *s[1].Grace != 30*time.Second || *s[2].Grace != time.Second {
				t.Errorf("%d requests: %+v", len(s), s)
			}
		})
	}
}

func TestShutdown(t *testing.T) {
	for _, mode := range []string{Exit, Detach} {
		with(t, mesostest.Options{}, func(b *bench) {
			b.mode = mode
			b.begin()
			b.subscribed()
			b.run("a")
			b.agent.Shutdown()
			b.agent.Shutdown()
			b.wantStates("a", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLED")
			<-b.done
			if got := len(b.exited()); (got == 1) != (mode == Exit) {
				t.Errorf("%s: the end was asked for %d times", mode, got)
			}
			if s := b.ex.stops; len(s) != 1 || *s[0].Grace != 2500*time.Millisecond {
				t.Errorf("the requests are %+v", s)
			}
		})
		with(t, mesostest.Options{}, func(b *bench) { // as the first event of all
			b.mode = mode
			b.agent.Terminating()
			b.begin()
			<-b.done
			if got := len(b.exited()); (got == 1) != (mode == Exit) {
				t.Errorf("%s: the end was asked for %d times", mode, got)
			}
			if n := len(b.agent.Calls("SUBSCRIBE")); n != 1 {
				t.Errorf("subscribed %d times", n)
			}
		})
	}
	with(t, mesostest.Options{}, func(b *bench) { // a task that does not end
		b.ex.deaf = true
		b.begin()
		b.subscribed()
		b.run("a")
		began := time.Now()
		b.agent.Shutdown()
		<-b.done
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("waited for %v", took)
		}
	})
}

// The tasks of a group live and end on their own.
func TestGroup(t *testing.T) {
	with(t, mesostest.Options{Capabilities: []string{"PARTITION_AWARE"}}, func(b *bench) {
		b.begin()
		b.subscribed()
		b.launch(mesostest.Shell("a", "true", nil), mesostest.TaskInfo("bad", nil), mesostest.Shell("c", "true", nil))
		b.ex.become("a", executor.Failed)
		b.ex.become("c", executor.Succeeded)
		b.wantStates("a", "TASK_STARTING", "TASK_FAILED")
		b.wantStates("bad", "TASK_ERROR")
		b.wantStates("c", "TASK_STARTING", "TASK_FINISHED")
	})
}

// A task that is not accepted gets a final state with the reason.
func TestRefusedTasks(t *testing.T) {
	with(t, mesostest.Options{}, func(b *bench) {
		b.begin()
		b.subscribed()
		check := func(name, state, message string) {
			t.Helper()
			synctest.Wait()
			got := b.agent.Task(name)
			if got.State != state || len(got.Messages) != 1 || !strings.Contains(got.Messages[0], message) {
				t.Errorf("%s: %+v, want %s %q", name, got, state, message)
			}
		}
		b.launch(mesostest.Shell("container", "true", map[string]any{"container": map[string]any{"type": "DOCKER"}}))
		check("container", "TASK_ERROR", "container: a task is a process in the container of stoker")
		b.launch(mesostest.TaskInfo("data", map[string]any{"data": []byte(`{"comand": ["true"]}`)}))
		check("data", "TASK_ERROR", "comand: there is no such field")
		b.launch(mesostest.TaskInfo("typed", map[string]any{"command": 7}))
		check("typed", "TASK_ERROR", "cannot read the task")
		b.ex.err = &executor.FullError{Length: 5}
		b.launch(mesostest.Shell("full", "true", nil))
		check("full", "TASK_LOST", "the queue is full")
		b.ex.err = fmt.Errorf("%w: drained by x", executor.ErrDraining)
		b.launch(mesostest.Shell("drained", "true", nil))
		check("drained", "TASK_LOST", "drained by x")
		b.ex.err = nil
		b.agent.Mute(true)
		b.launch(mesostest.Shell("twice", "true", nil))
		b.launch(mesostest.Shell("twice", "true", nil)) // while it is known
		if n := len(b.agent.Calls("UPDATE")); n != 6 {
			t.Errorf("%d updates of 6 tasks", n)
		}
		b.agent.Mute(false)
		b.ex.become("twice", executor.Succeeded)
		b.wantStates("twice", "TASK_STARTING", "TASK_FINISHED")
		b.launch(mesostest.Shell("twice", "true", nil)) // the ID is used again
		b.wantStates("twice", "TASK_STARTING", "TASK_FINISHED", "TASK_ERROR")
		b.launch(map[string]any{"name": "nameless", "task_id": map[string]any{"value": ""}, "agent_id": map[string]any{"value": "S1"}})
		if n := len(b.ex.jobs); n != 1 {
			t.Errorf("there are %d jobs", n)
		}
	})
	with(t, mesostest.Options{Capabilities: []string{"PARTITION_AWARE"}}, func(b *bench) {
		b.begin()
		b.subscribed()
		b.ex.err = &executor.UnavailableError{Why: "no disk"}
		b.launch(mesostest.Shell("a", "true", nil))
		b.wantStates("a", "TASK_DROPPED")
		b.ex.err = nil
		b.run("b")
		b.ex.become("b", executor.Lost)
		b.wantStates("b", "TASK_STARTING", "TASK_RUNNING", "TASK_GONE")
	})
}
