package mesos

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/mesos/mesostest"
)

// A second stream closes the first, and what the first one still has is not handled.
func TestStaleStream(t *testing.T) {
	with(t, mesostest.Options{}, func(b *bench) {
		b.begin()
		b.subscribed()
		b.agent.Send(map[string]any{"type": "ERROR", "error": map[string]any{"message": "broken"}})
		b.agent.Launch(mesostest.Shell("late", "true", nil))
		synctest.Wait()
		if !strings.Contains(b.Status(), `the agent reports an error: "broken"`) {
			t.Errorf("the status is %q", b.Status())
		}
		b.subscribed()
		if b.ex.job("late").ID != 0 || !b.agent.Task("late").Dropped {
			t.Errorf("an event of the stale stream was handled: %+v", b.agent.Task("late"))
		}
	})
}

// An outage with checkpoints: retries within the window of the agent, one recovery timer, then the end.
func TestAgentLost(t *testing.T) {
	for _, mode := range []string{Exit, Detach} {
		with(t, mesostest.Options{}, func(b *bench) {
			b.mode = mode
			b.begin()
			b.subscribed()
			b.run("a")
			b.agent.Stop()
			time.Sleep(14 * time.Minute)
			if err := b.agent.Start(); err != nil {
				t.Fatal(err)
			}
			b.subscribed() // the timer begins again
			b.agent.Stop()
			synctest.Wait()
			lost := time.Now()
			b.mu.Lock()
			b.dials = nil
			b.mu.Unlock()
			time.Sleep(14 * time.Minute)
			if len(b.exited()) > 0 || len(b.ex.stops) > 0 || b.ex.job("a").State != executor.Running {
				t.Errorf("given up early: %v, %v", b.exited(), b.ex.stops)
			}
			<-b.done
			if after := time.Since(lost); after < 15*time.Minute-time.Second || after > 15*time.Minute+time.Second {
				t.Errorf("given up after %v", after)
			}
			if got := b.exited(); mode == Exit && len(got) != 1 || mode == Detach && len(got) != 0 {
				t.Errorf("%s: the container was asked to end for %q", mode, got)
			}
			if b.ex.job("a").State != executor.Killed {
				t.Errorf("the task is %s", b.ex.job("a").State)
			}
			if got := b.Status(); strings.HasPrefix(got, "detached: the agent is lost: ") != (mode == Detach) {
				t.Errorf("the status is %q", got)
			}
			for k, at := range b.dials[1:] {
				if gap := at.Sub(b.dials[k]); gap > 2*time.Second {
					t.Errorf("%v between two attempts, the agent waits 2s", gap)
				}
			}
		})
	}
}

// Without checkpoints the end of the stream is the end; a new executor has a minute.
func TestNoCheckpoint(t *testing.T) {
	with(t, mesostest.Options{}, func(b *bench) {
		b.setenv("MESOS_CHECKPOINT=0", "MESOS_RECOVERY_TIMEOUT=15mins")
		b.agent.Stop()
		b.begin()
		time.Sleep(50 * time.Second)
		if err := b.agent.Start(); err != nil {
			t.Fatal(err)
		}
		b.subscribed()
		b.agent.Break()
		synctest.Wait()
		if len(b.exited()) != 1 || b.agent.Subscribed() {
			t.Errorf("the end was asked for %d times", len(b.exited()))
		}
	})
	with(t, mesostest.Options{}, func(b *bench) {
		b.setenv("MESOS_CHECKPOINT=0")
		b.agent.Stop()
		began := time.Now()
		b.begin()
		<-b.done
		if after := time.Since(began); after < 59*time.Second || after > 61*time.Second || len(b.exited()) != 1 {
			t.Errorf("given up after %v", after)
		}
	})
}

// What the agent answers to SUBSCRIBE while it starts is tried again; what would not change is not.
func TestRefusedSubscriptions(t *testing.T) {
	for code, again := range map[int]bool{503: true, 404: true, 500: true, 400: false, 401: false, 403: false, 415: false} {
		with(t, mesostest.Options{}, func(b *bench) {
			b.agent.Refuse(code)
			b.begin()
			time.Sleep(10 * time.Second)
			b.agent.Refuse(0)
			time.Sleep(5 * time.Second)
			if b.agent.Subscribed() != again || (len(b.exited()) == 0) != again {
				t.Errorf("%d: subscribed %v, ended %q", code, b.agent.Subscribed(), b.exited())
			}
		})
	}
}

// Updates that are not acknowledged are repeated in their order, with their UUIDs, also by the next supervisor.
func TestUnacknowledged(t *testing.T) {
	with(t, mesostest.Options{}, func(b *bench) {
		b.begin()
		b.subscribed()
		b.agent.Mute(true)
		var order []string
		for k := range 20 {
			name := fmt.Sprintf("t%02d", k*7%20)
			b.run(name)
			order = append(order, name+" TASK_STARTING", name+" TASK_RUNNING")
		}
		b.agent.Break()
		b.subscribed()
		tasks, updates, first := b.unacknowledged()
		if !slices.Equal(updates, order) {
			t.Errorf("the order was %v, not %v", updates, order)
		}
		if len(tasks) != 20 {
			t.Errorf("%d tasks: %v", len(tasks), tasks)
		}
		b.agent.Mute(false)
		b.agent.Break()
		synctest.Wait()
		b.ex.become("t19", executor.Succeeded) // it goes with the subscription
		before := len(b.agent.Calls("UPDATE"))
		b.subscribed()
		_, _, second := b.unacknowledged()
		b.wantStates("t19", "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
		if n := len(b.agent.Calls("UPDATE")); n != before {
			t.Errorf("%d updates were sent beside the subscription that has them", n-before)
		}
		b.agent.Break()
		b.subscribed()
		if tasks, updates, _ = b.unacknowledged(); len(tasks)+len(updates) > 0 {
			t.Errorf("acknowledged, but repeated: %v, %v", tasks, updates)
		}
		b.ex.become("t00", executor.Succeeded)
		b.wantStates("t00", "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED") // no update counted twice
		b.die()
		b.begin()
		b.subscribed()
		tasks, _, third := b.unacknowledged()
		if len(tasks) != 18 || slices.Contains(tasks, "t00") {
			t.Errorf("the next supervisor knows of %v", tasks)
		}
		for _, name := range tasks {
			key := name + " TASK_RUNNING"
			if first[key] != second[key] || first[key] != third[key] || first[key] == "" {
				t.Errorf("%s had the UUIDs %x, %x, %x", key, first[key], second[key], third[key])
			}
		}
		b.wantStates("t01", "TASK_STARTING", "TASK_RUNNING")
	})
}

// A task that ends while no supervisor lives, or whose end the agent has not acknowledged, is reported by the next one.
func TestNextSupervisorReports(t *testing.T) {
	with(t, mesostest.Options{}, func(b *bench) {
		b.begin()
		b.subscribed()
		b.run("a")
		b.run("b")
		b.agent.Mute(true)
		b.ex.become("a", executor.Succeeded)
		b.die()
		b.ex.become("b", executor.Succeeded)
		b.ex.change(func() { // of another container
			b.ex.jobs = append(b.ex.jobs, &executor.Job{ID: 99, State: executor.Queued, Spec: executor.Spec{Key: "mesos/old"},
				Origin: executor.Origin{Engine: "mesos", Data: `{"run":"/sandbox/runs/0","task":{"task_id":{"value":"old"}}}`}})
		})
		b.begin()
		b.subscribed()
		for _, name := range []string{"a", "b"} {
			b.wantStates(name, "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
			if !b.ex.job(name).Reported {
				t.Errorf("%s is not marked as reported", name)
			}
		}
		if old := b.ex.job("old"); old.State != executor.Killed || !old.Reported || len(b.agent.Task("old").States) > 0 {
			t.Errorf("the task of an earlier executor is %s, reported %v", old.State, b.agent.Task("old").States)
		}
	})
}

// A task is known to the agent's next stream from the moment at which it is read, and it is started once whatever byte the stream
// breaks off at.
func TestBrokenAtAnyByte(t *testing.T) {
	const most = 1200
	for pieces := range 2 {
		dropped, finished := 0, 0
		for cut := 1; cut < most; cut += 11 {
			with(t, mesostest.Options{Pieces: pieces}, func(b *bench) {
				b.cut = true
				b.agent.CutAfter(cut)
				b.begin()
				b.agent.Launch(mesostest.Shell("a", "true", nil), mesostest.Shell("b", "true", nil))
				synctest.Wait()
				b.subscribed()
				time.Sleep(10 * time.Second)
				b.ex.become("a", executor.Succeeded)
				b.ex.become("b", executor.Succeeded)
				time.Sleep(10 * time.Second) // it may break off now only
				for _, name := range []string{"a", "b"} {
					switch task := b.agent.Task(name); {
					case task.Dropped && b.ex.job(name).ID == 0:
						dropped++
					case task.State == "TASK_FINISHED" && !task.Dropped:
						finished++
					default:
						t.Errorf("cut at %d: %s is %+v, its job %s", cut, name, task, b.ex.job(name).State)
					}
				}
				if len(b.ex.jobs)%2 != 0 {
					t.Errorf("cut at %d: %d jobs", cut, len(b.ex.jobs))
				}
			})
		}
		if dropped == 0 || finished == 0 {
			t.Errorf("%d dropped, %d finished: not tried", dropped, finished)
		}
	}
}

// An acknowledgement that never comes delays the end of the container by a moment only.
func TestNoAcknowledgement(t *testing.T) {
	with(t, mesostest.Options{}, func(b *bench) {
		b.begin()
		b.subscribed()
		b.agent.Mute(true)
		b.run("a")
		began := time.Now()
		b.end()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("waited for %v", took)
		}
		b.wantStates("a", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLED")
	})
	with(t, mesostest.Options{}, func(b *bench) { // and one that comes ends the wait
		b.begin()
		b.subscribed()
		b.run("a")
		began := time.Now()
		b.end()
		if took := time.Since(began); took > 0 {
			t.Errorf("waited for %v", took)
		}
		if !b.ex.job("a").Reported {
			t.Error("the end is not marked as reported")
		}
	})
}

// Events that are unknown, or come early, change nothing.
func TestOtherEvents(t *testing.T) {
	with(t, mesostest.Options{Pieces: 1}, func(b *bench) {
		b.begin()
		b.subscribed()
		b.agent.Send(map[string]any{"type": "HEARTBEAT"})
		b.agent.Send(map[string]any{"type": "TEA_TIME", "tea_time": 4})
		b.agent.Send(map[string]any{"type": "ACKNOWLEDGED", "acknowledged": map[string]any{"task_id": map[string]any{"value": "x"}, "uuid": "AAAA"}})
		b.agent.Send(map[string]any{"type": "MESSAGE", "message": map[string]any{"data": "aGVsbG8="}})
		b.run("a")
		b.wantStates("a", "TASK_STARTING", "TASK_RUNNING")
		calls := b.agent.Calls("MESSAGE")
		if len(calls) != 1 || !strings.Contains(string(calls[0].Message.Data), `"slots":7`) {
			t.Errorf("the answer is %+v", calls)
		}
		if n := len(b.agent.Calls("SUBSCRIBE")); n != 1 {
			t.Errorf("subscribed %d times", n)
		}
		b.agent.SendRaw([]byte("7\nno JSON"))
		time.Sleep(5 * time.Second)
		b.agent.SendRaw([]byte("x\n"))
		time.Sleep(5 * time.Second)
		b.agent.SendRaw([]byte("99999999\n"))
		time.Sleep(5 * time.Second)
		if n := len(b.agent.Calls("SUBSCRIBE")); n != 4 || !b.agent.Subscribed() {
			t.Errorf("subscribed %d times", n)
		}
	})
}

// An agent that stops in the middle of something does not hold the adapter up for ever.
func TestSilentAgent(t *testing.T) {
	with(t, mesostest.Options{}, func(b *bench) {
		b.begin()
		b.subscribed()
		time.Sleep(10 * time.Hour) // an old agent has no heartbeat
		b.run("a")
		time.Sleep(10 * time.Hour)
		wantSubscriptions := func(want int) {
			t.Helper()
			if n := len(b.agent.Calls("SUBSCRIBE")); n != want || !b.agent.Subscribed() {
				t.Errorf("subscribed %d times, not %d: %s", n, want, b.Status())
			}
		}
		wantSubscriptions(1)
		b.agent.SendRaw([]byte("50\n{"))
		time.Sleep(29 * time.Second)
		wantSubscriptions(1)
		time.Sleep(5 * time.Second)
		wantSubscriptions(2)
		b.agent.Send(map[string]any{"type": "HEARTBEAT"})
		time.Sleep(70 * time.Minute)
		b.agent.Send(map[string]any{"type": "HEARTBEAT"})
		time.Sleep(70 * time.Minute)
		wantSubscriptions(2)
		time.Sleep(10 * time.Minute)
		wantSubscriptions(3)
	})
}

// Updates that cannot be sent are sent with the next subscription, and the framework without checkpoints is not lost for that.
func TestUpdateRefused(t *testing.T) {
	with(t, mesostest.Options{}, func(b *bench) {
		b.setenv("MESOS_CHECKPOINT=0")
		b.begin()
		b.subscribed()
		for _, code := range []int{http.StatusServiceUnavailable, http.StatusForbidden} { // 403: the stream is broken
			name := fmt.Sprintf("t%d", code)
			b.agent.Refuse(code)
			b.launch(mesostest.Shell(name, "true", nil))
			if want := fmt.Sprintf("cannot send an update: the agent answers %d", code); !strings.Contains(b.Status(), want) {
				t.Errorf("the status is %q", b.Status())
			}
			b.agent.Refuse(0)
			b.subscribed()
			b.ex.become(name, executor.Succeeded)
			b.wantStates(name, "TASK_STARTING", "TASK_FINISHED")
		}
		b.agent.Refuse(http.StatusBadRequest) // an update that the agent never takes
		b.launch(mesostest.Shell("b", "true", nil))
		b.agent.Refuse(0)
		b.ex.become("b", executor.Running)
		b.wantStates("b", "TASK_RUNNING")
		if len(b.exited()) > 0 {
			t.Errorf("the end was asked for: %q", b.exited())
		}
	})
}

// The agent's Unix socket comes before its address.
func TestDomainSocket(t *testing.T) {
	with(t, mesostest.Options{}, func(b *bench) {
		b.setenv("MESOS_DOMAIN_SOCKET=/run/agent.sock")
		b.begin()
		b.subscribed()
		b.run("a")
		b.ex.become("a", executor.Succeeded)
		b.wantStates("a", "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
		if want := []string{"unix /run/agent.sock", "unix /run/agent.sock"}; !slices.Equal(b.addresses, want) {
			t.Errorf("dialed %q, not %q", b.addresses, want)
		}
	})
}

func TestBrokenEnvironment(t *testing.T) {
	with(t, mesostest.Options{}, func(b *bench) {
		delete(b.env, "MESOS_EXECUTOR_ID")
		b.begin()
		<-b.done
		if got, want := b.Status(), "off: MESOS_EXECUTOR_ID is not set: was stoker started by a Mesos agent?"; got != want {
			t.Errorf("the status is %q, not %q", got, want)
		}
		if len(b.exited()) > 0 || len(b.dials) > 0 {
			t.Errorf("%q, %v", b.exited(), b.dials)
		}
	})
}
