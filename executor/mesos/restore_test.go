package mesos

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/mesos/mesostest"
)

// After a supervisor that has left many jobs the agent hears of all tasks, and a kill of an old one is not lost.
func TestManyJobs(t *testing.T) {
	with(t, mesostest.Options{}, func(b *bench) {
		b.begin()
		b.subscribed()
		b.run("old")
		b.agent.Mute(true)
		b.run("unheard")
		b.ex.change(func() {
			for k := range 1500 {
				b.ex.jobs = append(b.ex.jobs, &executor.Job{ID: executor.ID(k + 10000), State: executor.Succeeded})
			}
		})
		b.run("new")
		b.die()
		b.ex.become("unheard", executor.Failed)
		b.begin()
		b.agent.Kill("old", -1)
		b.subscribed()
		if tasks, _, _ := b.unacknowledged(); !slices.Equal(tasks, []string{"new"}) {
			t.Errorf("the subscription had the tasks %v", tasks)
		}
		b.wantStates("old", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLED")
		b.wantStates("unheard", "TASK_STARTING", "TASK_RUNNING", "TASK_FAILED")
		b.wantStates("new", "TASK_STARTING", "TASK_RUNNING")
	})
}

// A journal that cannot be read yet costs nothing but what it has.
func TestUnreadableJournal(t *testing.T) {
	with(t, mesostest.Options{}, func(b *bench) {
		b.begin()
		b.subscribed()
		b.run("a")
		b.die()
		b.ex.listErr = &executor.UnavailableError{Why: "no disk"}
		b.begin()
		b.subscribed()
		b.ex.become("a", executor.Succeeded)
		b.wantStates("a", "TASK_STARTING", "TASK_RUNNING")
		b.ex.change(func() { b.ex.listErr = nil })
		time.Sleep(2 * time.Second)
		b.wantStates("a", "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
	})
}

// A kill that comes before its task is known, from the journal, is not lost.
func TestKillBeforeTheJournal(t *testing.T) {
	with(t, mesostest.Options{}, func(b *bench) {
		b.begin()
		b.subscribed()
		const tasks = 40
		for k := range tasks {
			b.run(fmt.Sprintf("t%d", k))
		}
		b.run("spared")
		b.die()
		b.ex.change(func() { b.ex.listErr, b.ex.deaf = &executor.UnavailableError{Why: "no disk"}, true })
		b.begin()
		b.subscribed()
		b.agent.Kill("t0", 3*time.Second)
		b.agent.Kill("t0", 30*time.Second)
		b.agent.Kill("unknown", -1)
		synctest.Wait()
		if n := len(b.ex.stops); n > 0 {
			t.Errorf("%d jobs that are not known were stopped", n)
		}
		b.ex.change(func() { b.ex.listErr = nil })
		time.Sleep(time.Second) // the journal is read while the other kills come
		for k := 1; k < tasks; k++ {
			b.kill(b.t.Context(), fmt.Sprintf("t%d", k), nil)
		}
		time.Sleep(time.Second)
		for k := range tasks {
			if got := b.ex.job(fmt.Sprintf("t%d", k)).State; got != executor.Stopping {
				t.Errorf("t%d is %s", k, got)
			}
		}
		var graces []time.Duration
		for _, s := range b.ex.stops {
			if s.Grace != nil {
				graces = append(graces, *s.Grace)
			}
		}
		if want := []time.Duration{3 * time.Second, 30 * time.Second}; len(b.ex.stops) != tasks+1 || !slices.Equal(graces, want) {
			t.Errorf("%d requests, with the graces %v", len(b.ex.stops), graces)
		}
		if got := b.ex.job("spared").State; got != executor.Running {
			t.Errorf("a task that was not killed is %s", got)
		}
	})
	with(t, mesostest.Options{}, func(b *bench) { // between the first and the last that is done for it
		b.begin()
		b.subscribed()
		b.ex.change(func() { b.ex.listErr = &executor.UnavailableError{Why: "no disk"} })
		b.die()
		b.begin()
		b.subscribed()
		for k := range 50 {
			head, job := taskHead{}, &executor.Job{ID: executor.ID(k + 1), State: executor.Running}
			head.ID.Value = fmt.Sprintf("t%d", k)
			job.Spec.Key = "mesos/" + head.ID.Value
			b.ex.change(func() { b.ex.jobs = append(b.ex.jobs, job) })
			task, seen := b.add(head, job.ID), *job
			go b.watch(b.t.Context(), task, &seen) // ends at once
			b.kill(b.t.Context(), head.ID.Value, nil)
			synctest.Wait()
			if got := b.ex.job(head.ID.Value).State; got != executor.Killed {
				t.Errorf("%s is %s", head.ID.Value, got)
			}
		}
	})
}

// While the journal is read, which takes time, tasks begin, end and are forgotten; none comes back from what was read.
func TestSlowJournal(t *testing.T) {
	with(t, mesostest.Options{}, func(b *bench) {
		b.begin()
		b.subscribed()
		b.run("a")
		b.run("b")
		b.die()
		b.ex.slow = 2 * time.Second
		b.begin()
		b.subscribed()
		b.ex.become("a", executor.Succeeded)
		b.run("c")
		b.ex.become("c", executor.Succeeded)
		b.wantStates("a", "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED") // at once
		updates := len(b.agent.Updates())
		time.Sleep(3 * time.Second)
		if n := len(b.agent.Updates()); n != updates {
			t.Errorf("%d updates of tasks in which nothing has changed", n-updates)
		}
		for _, name := range []string{"a", "c"} {
			b.wantStates(name, "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
		}
		if got := b.Status(); !strings.Contains(got, "1 tasks, 0 updates") {
			t.Errorf("the status is %q", got)
		}
		b.ex.become("b", executor.Succeeded)
		if n := len(b.agent.Updates()); n != updates+1 {
			t.Errorf("%d updates, not %d", n, updates+1)
		}
	})
	for _, mode := range []string{Exit, Detach} {
		with(t, mesostest.Options{}, func(b *bench) { // the end comes first
			b.mode = mode
			b.begin()
			b.subscribed()
			b.run("old")
			b.ex.change(func() {
				for k := range 1500 {
					b.ex.jobs = append(b.ex.jobs, &executor.Job{ID: executor.ID(k + 10000), State: executor.Succeeded})
				}
			})
			b.die()
			b.ex.slow = time.Second
			b.begin()
			b.subscribed()
			b.agent.Shutdown()
			<-b.done
			b.wantStates("old", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLED")
			if s := b.ex.stops; len(s) != 1 || *s[0].Grace != 2500*time.Millisecond {
				t.Errorf("%s: the requests are %+v", mode, s)
			}
		})
	}
}

// A job of an earlier executor is ended once, however often its list is read.
func TestDropOnce(t *testing.T) {
	with(t, mesostest.Options{}, func(b *bench) {
		b.ex.deaf = true
		b.ex.jobs = append(b.ex.jobs, &executor.Job{ID: 99, State: executor.Running, Spec: executor.Spec{Key: "mesos/old"},
			Origin: executor.Origin{Engine: "mesos", Data: `{"run":"/sandbox/runs/0","task":{"task_id":{"value":"old"}}}`}})
		b.agent.Refuse(503)
		b.begin()
		time.Sleep(10 * time.Second)
		b.agent.Refuse(0)
		b.subscribed()
		if n := len(b.ex.stops); n != 1 {
			t.Errorf("%d requests", n)
		}
		b.ex.become("old", executor.Killed)
		if !b.ex.job("old").Reported {
			t.Error("the end is not marked")
		}
	})
}
