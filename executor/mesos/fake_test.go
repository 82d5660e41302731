package mesos

import (
	"context"
	"maps"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/mesos/mesostest"
)

// fakeExecutor has jobs that do what the test says. It outlives adapters, as the journal does.
type fakeExecutor struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced with each change
	jobs    []*executor.Job
	stops   []executor.StopRequest
	err     error         // of submissions
	listErr error         // of lists
	slow    time.Duration // of lists of an engine's jobs
	deaf    bool          // jobs do not end when they are asked to
	gone    bool          // nothing can be asked
}

func newFakeExecutor() *fakeExecutor { return &fakeExecutor{changed: make(chan struct{})} }

func (f *fakeExecutor) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeExecutor) find(id executor.ID) *executor.Job {
	for _, j := range f.jobs {
		if j.ID == id {
			return j
		}
	}
	return nil
}

func (f *fakeExecutor) SubmitFrom(_ context.Context, s executor.Spec, by string, from executor.Origin) (executor.Job, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fields := s.Validate(executor.Config{}); len(fields) > 0 {
		return executor.Job{}, false, &executor.SpecError{Fields: fields}
	}
	for _, j := range f.jobs {
		if j.Spec.Key == s.Key {
			if !reflect.DeepEqual(j.Spec, s) {
				return *j, false, &executor.ConflictError{Key: s.Key, ID: j.ID}
			}
			return *j, false, nil
		}
	}
	if f.err != nil {
		return executor.Job{}, false, f.err
	}
	j := &executor.Job{ID: executor.ID(len(f.jobs) + 1), Spec: s, State: executor.Queued, SubmittedBy: by, Origin: from}
	f.jobs = append(f.jobs, j)
	return *j, true, nil
}

func (f *fakeExecutor) AwaitJob(ctx context.Context, id executor.ID, changed func(executor.Job)) (executor.Job, error) {
	for {
		f.mu.Lock()
		j := f.find(id)
		if j == nil {
			f.mu.Unlock()
			return executor.Job{}, executor.ErrNoJob
		}
		now, next := *j, f.changed
		f.mu.Unlock()
		if changed != nil {
			changed(now)
		}
		if now.State.Final() {
			return now, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return now, ctx.Err()
		}
	}
}

func (f *fakeExecutor) StopJob(_ context.Context, id executor.ID, r executor.StopRequest) (job executor.Job, err error) {
	f.change(func() {
		j := f.find(id)
		switch {
		case f.gone:
			return
		case j.State.Final():
			err = executor.ErrFinal
		case f.deaf:
			j.State = executor.Stopping
		default:
			j.State, j.By = executor.Killed, r.By
		}
		f.stops = append(f.stops, r)
		job = *j
	})
	return job, err
}

func (f *fakeExecutor) Jobs(filter executor.Filter) (out []executor.Job, err error) {
	f.mu.Lock()
	defer func() {
		slow := f.slow
		f.mu.Unlock()
		if filter.Engine != "" {
			time.Sleep(slow)
		}
	}()
	for _, j := range slices.Backward(f.jobs) {
		if filter.Engine != "" && j.Origin.Engine != filter.Engine || filter.Unreported && j.Reported || len(out) == filter.Limit {
			continue
		}
		out = append(out, *j)
	}
	return out, f.listErr
}

func (f *fakeExecutor) Reported(id executor.ID) error {
	f.change(func() { f.find(id).Reported = true })
	return nil
}

// become puts the job of a task into a state.
func (f *fakeExecutor) become(task string, s executor.State, more ...func(*executor.Job)) {
	f.change(func() {
		for _, j := range f.jobs {
			if j.Spec.Key == "mesos/"+task {
				j.State = s
				for _, m := range more {
					m(j)
				}
			}
		}
	})
	synctest.Wait()
}

func (f *fakeExecutor) job(task string) executor.Job {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, j := range f.jobs {
		if j.Spec.Key == "mesos/"+task {
			return *j
		}
	}
	return executor.Job{}
}

// bench is an adapter between a fake executor and an agent in memory, with its own time.
type bench struct {
	t     *testing.T
	agent *mesostest.Agent
	ex    *fakeExecutor
	env   map[string]string
	mode  string
	cut   bool // the stream breaks off, and the agent may know of it first
	*Adapter
	stop func() // of the container
	done chan struct{}

	mu        sync.Mutex
	exits     []string
	dials     []time.Time
	addresses []string // of dials
}

// with runs a test with an agent whose executor has not begun.
func with(t *testing.T, o mesostest.Options, test func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.InMemory, o.Framework, o.Executor = true, "F1", "E1"
		agent, err := mesostest.New(o)
		if err != nil {
			t.Fatal(err)
		}
		b := &bench{t: t, agent: agent, ex: newFakeExecutor(), mode: Exit, env: map[string]string{}}
		b.setenv(agent.Environment()...)
		b.setenv(mesostest.Checkpointing("15mins", "2secs")...)
		defer agent.Stop()
		defer func() { // also of a test that has failed
			if b.Adapter != nil {
				b.end()
			}
		}()
		test(b)
		for _, r := range agent.Refused() {
			if !strings.Contains(r, ": Agent has not finished recovery") && (!b.cut || r != "UPDATE 403: Executor is not subscribed") {
				t.Errorf("the agent has refused %s", r)
			}
		}
	})
}

func (b *bench) setenv(lines ...string) {
	for _, line := range lines {
		name, value, _ := strings.Cut(line, "=")
		b.env[name] = value
	}
}

// begin starts an adapter, as each supervisor does.
func (b *bench) begin() {
	b.t.Helper()
	env, err := parseEnvironment(func(name string) string { return b.env[name] })
	env.err = err
	b.Adapter = New(Options{Config: Config{b.mode}, Environment: env, Executor: b.ex, Log: hclog.NewNullLogger(),
		State: func() executor.Status { return executor.Status{Slots: 7} },
		Exit:  func(why string) { b.mu.Lock(); b.exits = append(b.exits, why); b.mu.Unlock() },
		dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			b.mu.Lock()
			b.dials, b.addresses = append(b.dials, time.Now()), append(b.addresses, network+" "+address)
			b.mu.Unlock()
			return b.agent.Dial(ctx, network, address)
		}})
	ctx, stop := context.WithCancel(context.Background())
	b.stop, b.done = stop, make(chan struct{})
	go func() { b.Run(ctx); close(b.done) }() // ends with stop
	synctest.Wait()
}

// die ends the adapter as kill -9 does: nothing more is sent.
func (b *bench) die() {
	b.agent.Refuse(503)
	b.agent.Break()
	b.agent.Mute(true)
	b.ex.change(func() { b.ex.gone = true })
	b.end()
	b.ex.change(func() { b.ex.gone = false })
	b.agent.Refuse(0)
	b.agent.Mute(false)
}

func (b *bench) end() {
	b.stop()
	<-b.done
}

// subscribed waits for the subscription.
func (b *bench) subscribed() {
	b.t.Helper()
	if !b.agent.Await(time.Minute, b.agent.Subscribed) {
		b.t.Fatalf("not subscribed: %s", b.Status())
	}
	synctest.Wait()
}

// launch sends tasks and waits until they are handled.
func (b *bench) launch(tasks ...map[string]any) {
	b.agent.Launch(tasks...)
	synctest.Wait()
}

// run makes a task that is running.
func (b *bench) run(name string) {
	b.launch(mesostest.Shell(name, "true", nil))
	b.ex.become(name, executor.Running)
}

// wantStates checks the updates of a task.
func (b *bench) wantStates(task string, want ...string) {
	b.t.Helper()
	synctest.Wait()
	if got := b.agent.Task(task).States; !slices.Equal(got, want) {
		b.t.Errorf("task %s had the states %v, not %v", task, got, want)
	}
}

// exited returns why the end of the container was asked for.
func (b *bench) exited() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.exits)
}

// unacknowledged returns what the latest subscription had.
func (b *bench) unacknowledged() (tasks, updates []string, uuids map[string]string) {
	calls := b.agent.Calls("SUBSCRIBE")
	uuids = map[string]string{}
	last := calls[len(calls)-1].Subscribe
	for _, t := range last.Tasks {
		tasks = append(tasks, t.ID.Value)
	}
	for _, u := range last.Updates {
		updates = append(updates, u.Status.Task.Value+" "+u.Status.State)
		uuids[u.Status.Task.Value+" "+u.Status.State] = string(u.Status.UUID)
	}
	slices.Sort(tasks)
	return tasks, updates, uuids
}

// envOf is an environment with changes.
func envOf(base map[string]string, changes map[string]string) func(string) string {
	env := maps.Clone(base)
	maps.Copy(env, changes)
	return func(name string) string { return env[name] }
}
