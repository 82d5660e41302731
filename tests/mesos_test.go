//go:build container

package tests

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/executor"
	jobs "github.com/stoker-init/stoker/executor/client"
	"github.com/stoker-init/stoker/executor/mesos/mesostest"
)

// tokenOfMesos is in the environment of the executor only.
const tokenOfMesos = "geheim-98435"

// mesosBox is a box that a Mesos agent has started as its executor.
type mesosBox struct {
	*jobBox
	agent *mesostest.Agent
}

// newMesosBox starts an agent and a box with a service, whose environment is in the file service.
func newMesosBox(t testing.TB, onLost string, env ...string) *mesosBox {
	t.Helper()
	agent, err := mesostest.New(mesostest.Options{Framework: "F1", Executor: "E1", Token: tokenOfMesos,
		Capabilities: []string{"PARTITION_AWARE"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(agent.Stop)
	dir := t.TempDir()
	env = slices.Concat([]string{"SECRET_OF_STOKER=1"}, agent.Environment(), env)
	b := newBox(t, boxOptions{dir: dir, env: env, config: fmt.Sprintf(`
main: app
services:
  app: {command: [sh, -c, "env >%[1]s/service; exec sleep 98434"]}
hooks:
  started: [{name: look, command: [sh, -c, "env >%[1]s/hook"]}]
executor: {journal: %[1]s/jobs, slots: 4, mesos: {on_agent_lost: %[2]s}}
`, dir, onLost)})
	m := &mesosBox{&jobBox{b, jobs.Dial(b.socket), jobs.Dial(b.socket)}, agent}
	m.awaitAgent("the subscription", agent.Subscribed)
	return m
}

// awaitAgent waits for what the agent sees.
func (b *mesosBox) awaitAgent(what string, condition func() bool) {
	b.t.Helper()
	if !b.agent.Await(20*time.Second, condition) {
		b.t.Fatalf("%s did not come; refused: %q", what, b.agent.Refused())
	}
}

// task is a task that notes itself in the ledger and then runs a script.
func (b *mesosBox) task(name, script string) map[string]any {
	return mesostest.Shell(name, fmt.Sprintf("echo \"$STOKER_JOB_ID %s $$\" >>%s/ledger\n%s", name, b.dir, script), nil)
}

// awaitTask waits for the end of a task, and checks its states.
func (b *mesosBox) awaitTask(name string, want ...string) mesostest.Task {
	b.t.Helper()
	b.awaitAgent("the end of task "+name, func() bool { return b.agent.Task(name).Terminal() })
	got := b.agent.Task(name)
	if len(got.States) > 0 && got.States[0] == "TASK_STARTING" { // a short moment, which may pass unseen
		got.States = got.States[1:]
	}
	if !slices.Equal(got.States, want) || got.Dropped {
		b.t.Errorf("task %s: %+v, want %v", name, got, want)
	}
	return got
}

// wantRunning waits until a task runs.
func (b *mesosBox) wantRunning(name string) {
	b.t.Helper()
	b.awaitAgent("the start of task "+name, func() bool { return b.agent.Task(name).State == "TASK_RUNNING" })
}

func TestMesosTasks(t *testing.T) {
	t.Parallel()
	b := newMesosBox(t, "exit")
	b.agent.Launch(b.task("fails", "sleep 0.2; exit 3"))
	b.agent.Launch(b.task("env", "sleep 0.2; env >"+b.dir+"/job"), b.task("long", "sleep 98436"))
	got := b.awaitTask("fails", "TASK_RUNNING", "TASK_FAILED")
	if last := got.Messages[len(got.Messages)-1]; !strings.HasSuffix(last, ": exit code 3") {
		t.Errorf("the message is %q", last)
	}
	updates := b.agent.Updates()
	k := slices.IndexFunc(updates, func(s mesostest.Status) bool { return s.State == "TASK_FAILED" })
	var exit executor.Exit
	if err := json.Unmarshal(updates[k].Data, &exit); err != nil || exit.Code != 3 || exit.MaxRSS == 0 {
		t.Errorf("the data are %q, %v", updates[k].Data, err)
	}
	b.awaitTask("env", "TASK_RUNNING", "TASK_FINISHED")
	for _, file := range []string{"service", "hook", "job"} {
		if text := b.file(file); text == "" || strings.Contains(text, tokenOfMesos) {
			t.Errorf("the environment of the %s is %q", file, text)
		}
	}
	if out, err := b.run("job", "status"); err != nil || !strings.Contains(out, "subscribed at http://127.0.0.1:") {
		t.Errorf("%v\n%s", err, out)
	}
	b.wantRunning("long")
	b.agent.Kill("long", 500*time.Millisecond)
	b.awaitTask("long", "TASK_RUNNING", "TASK_KILLED")
	b.agent.Launch(mesostest.TaskInfo("nobody", map[string]any{"command": 7}))
	b.awaitTask("nobody", "TASK_ERROR")
	job, err := b.client.Job(t.Context(), "key:mesos/env")
	if err != nil || job.State != executor.Succeeded {
		t.Errorf("%+v, %v", job.State, err)
	}
	if r := b.agent.Refused(); len(r) > 0 {
		t.Errorf("the agent refused %q", r)
	}
	b.wantNoProcess()
}

// kill -9 of the supervisor while tasks come, wait, run and end, and while the agent restarts: one start and one end each. Only what
// the supervisor has not read when it dies is dropped by the agent, and never runs.
func TestMesosSupervisorKilled(t *testing.T) {
	t.Parallel()
	b := newMesosBox(t, "exit", mesostest.Checkpointing("15mins", "2secs")...)
	rounds := number(t, "STOKER_MESOS_KILLS", 8)
	const tasks = 6
	dropped, longest := map[string]bool{}, time.Duration(0)
	for round := range rounds {
		for k := range tasks {
			b.agent.Launch(b.task(fmt.Sprintf("t%d-%d", round, k), fmt.Sprintf("sleep 0.%d; exit %d", 1+k, k%2)))
		}
		last := tasks - 1 // all are known to the executor
		if round%2 != 0 {
			last = round / 2 % (tasks - 1)
		}
		b.awaitAgent("a task", func() bool { return b.agent.Task(fmt.Sprintf("t%d-%d", round, last)).State != "TASK_STAGING" })
		if round%3 == 1 {
			b.agent.Stop()
		}
		before := b.supervisor()
		if before == 0 {
			t.Fatal("there is no supervisor")
		}
		calls, killed := len(b.agent.Calls("SUBSCRIBE")), time.Now()
		if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if round%3 == 1 {
			if err := b.agent.Start(); err != nil {
				t.Fatal(err)
			}
		}
		b.awaitAgent("the next subscription", func() bool { return len(b.agent.Calls("SUBSCRIBE")) > calls })
		took := time.Since(killed)
		longest = max(longest, took)
		if took > 2*time.Second {
			t.Errorf("subscribed %v after the kill, the agent waits 2s", took)
		}
		for k := range tasks {
			name := fmt.Sprintf("t%d-%d", round, k)
			b.awaitAgent("the end of "+name, func() bool { return b.agent.Task(name).Terminal() })
			task, want := b.agent.Task(name), []string{"TASK_FINISHED", "TASK_FAILED"}[k%2]
			if task.Dropped {
				dropped[name] = true
			}
			if task.Dropped && round%2 == 0 || !task.Dropped && (task.State != want || !endsOnce(task.States)) {
				t.Errorf("task %s: %+v", name, task)
			}
		}
	}
	starts := b.ledger()
	for name, n := range starts {
		if n != 1 || dropped[name] {
			t.Errorf("%s started %d times; dropped: %v", name, n, dropped[name])
		}
	}
	if len(starts)+len(dropped) != rounds*tasks {
		t.Errorf("%d tasks started and %d dropped, not %d", len(starts), len(dropped), rounds*tasks)
	}
	b.wantService()
	t.Logf("%d tasks and %d dropped over %d kills; subscribed again within %v", len(starts), len(dropped), rounds, longest)
}

// endsOnce reports whether the last state alone is final, and all others came once.
func endsOnce(states []string) bool {
	final := 0
	for _, s := range states {
		if (mesostest.Task{State: s}).Terminal() {
			final++
		}
	}
	return final == 1 && (mesostest.Task{State: states[len(states)-1]}).Terminal() && len(states) <= 3
}

// The agent does not come back: the container ends in its usual order, or the application runs on.
func TestMesosAgentLost(t *testing.T) {
	for _, mode := range []string{"exit", "detach"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := newMesosBox(t, mode, mesostest.Checkpointing("2secs", "500ms")...)
			b.agent.Launch(b.task("a", "sleep 98436"))
			b.wantRunning("a")
			b.agent.Stop()
			if mode == "exit" {
				if code := b.wait(15 * time.Second); code != 0 {
					t.Errorf("the exit code is %d", code)
				}
				if text := b.stderr.String(); !strings.Contains(text, "the agent is lost") {
					t.Errorf("the log does not say why:\n%s", lastOf(text, 2000))
				}
				return
			}
			await(t, 10*time.Second, "the end of the job", func() bool {
				job, err := b.client.Job(t.Context(), "key:mesos/a")
				return err == nil && job.State == executor.Killed
			})
			b.wantNoProcess()
			b.wantService()
			out, err := b.run("job", "status")
			if err != nil || !strings.Contains(out, "detached: the agent is lost") {
				t.Errorf("%v\n%s", err, out)
			}
			b.wantState(b.submit(b.shell("own", "")).ID, executor.Succeeded) // jobs of others run on
		})
	}
}

// SHUTDOWN by the agent, and TERM by others: every task is reported before the container ends.
func TestMesosStops(t *testing.T) {
	for name, stop := range map[string]func(*mesosBox){
		"shutdown": func(b *mesosBox) { b.agent.Shutdown() },
		"signal":   func(b *mesosBox) { b.signal(syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newMesosBox(t, "exit")
			var names []string
			for k := range 7 { // four run, three wait
				names = append(names, fmt.Sprintf("t%d", k))
				b.agent.Launch(b.task(names[k], "exec sleep 98436"))
			}
			for _, running := range names[:4] {
				b.wantRunning(running)
			}
			b.awaitAgent("the last task", func() bool { return b.agent.Task(names[6]).State == "TASK_STARTING" })
			began := time.Now()
			stop(b)
			if code := b.wait(15 * time.Second); code != 0 {
				t.Errorf("the exit code is %d", code)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the end took %v, the agent waits 5s", took)
			}
			for k, name := range names {
				if task := b.agent.Task(name); task.State != "TASK_KILLED" || k >= 4 && slices.Contains(task.States, "TASK_RUNNING") {
					t.Errorf("task %s: %+v", name, task)
				}
			}
		})
	}
}

// Without an agent the application runs, and the log and the status say what is missing.
func TestMesosEnvironmentMissing(t *testing.T) {
	t.Parallel()
	b := newJobBox(t, t.TempDir(), "slots: 1, mesos: {on_agent_lost: exit}")
	b.wantService()
	const want = "MESOS_FRAMEWORK_ID is not set: was stoker started by a Mesos agent?"
	if out, err := b.run("job", "status"); err != nil || !strings.Contains(out, "off: "+want) {
		t.Errorf("%v\n%s", err, out)
	}
	await(t, 5*time.Second, "the line of the log", func() bool { return strings.Contains(b.stderr.String(), want) })
}
