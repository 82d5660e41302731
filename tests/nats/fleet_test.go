package nats_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/natsjob"
)

// fleetVariable has the numbers of containers that TestFleet tries, such as "1 100 1000".
const fleetVariable = "NATS_TEST_FLEET"

// fleetSlots are those of each container of a fleet.
const fleetSlots = 4

// timedJobs is an Executor whose jobs last a fixed time, and which has no disk and no processes: what is measured is the engine.
type timedJobs struct {
	last    time.Duration
	started func(key string)

	mu      sync.Mutex
	newest  executor.ID
	jobs    map[executor.ID]*timedJob
	running int
	changed chan struct{}
}

type timedJob struct {
	job  executor.Job
	done chan struct{}
}

func (x *timedJobs) change(running int) {
	x.running += running
	close(x.changed)
	x.changed = make(chan struct{})
}

func (x *timedJobs) SubmitFrom(_ context.Context, spec executor.Spec, _ string, from executor.Origin) (executor.Job, bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.newest++
	t := &timedJob{executor.Job{ID: x.newest, Spec: spec, State: executor.Running, Origin: from, Attempt: 1}, make(chan struct{})}
	x.jobs[t.job.ID] = t
	x.change(1)
	x.started(spec.Key)
	time.AfterFunc(x.last, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		t.job.State = executor.Succeeded
		close(t.done)
		x.change(-1)
	})
	return t.job, true, nil
}

func (x *timedJobs) AwaitJob(ctx context.Context, id executor.ID, changed func(executor.Job)) (executor.Job, error) {
	x.mu.Lock()
	t := x.jobs[id]
	x.mu.Unlock()
	if t == nil {
		return executor.Job{}, executor.ErrNoJob
	}
	select {
	case <-t.done:
	case <-ctx.Done():
		return t.job, ctx.Err()
	}
	if changed != nil {
		changed(t.job)
	}
	return t.job, nil
}

func (x *timedJobs) Free() (int, <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return fleetSlots - x.running, x.changed
}

func (x *timedJobs) Reported(id executor.ID) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.jobs, id)
	return nil
}

func (x *timedJobs) Job(string) (executor.Job, error)             { return executor.Job{}, executor.ErrNoJob }
func (x *timedJobs) Jobs(executor.Filter) ([]executor.Job, error) { return nil, nil }
func (x *timedJobs) ExecutorStatus() executor.Status              { return executor.Status{Slots: fleetSlots} }
func (x *timedJobs) StopJob(context.Context, executor.ID, executor.StopRequest) (executor.Job, error) {
	return executor.Job{}, executor.ErrFinal
}

// TestFleet measures what one JetStream cluster of three does for many containers: its processor time for an idle container and for a
// job, and the rate of jobs that it sustains. Three servers and all containers share this machine.
func TestFleet(t *testing.T) {
	counts := strings.Fields(os.Getenv(fleetVariable))
	if len(counts) == 0 {
		t.Skip(fleetVariable + " is not set")
	}
	for _, text := range counts {
		count, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(text, func(t *testing.T) { measureFleet(t, count) })
	}
}

func measureFleet(t *testing.T, containers int) {
	urls, nodes := startCluster(t)
	c := dial(t, urls, nats.RetryOnFailedConnect(true))
	c.setUp(3, func(_ *jetstream.StreamConfig, k *jetstream.ConsumerConfig) {
		k.AckWait, k.MaxAckPending, k.MaxWaiting = time.Minute, -1, 2*containers+fleetSlots
	})
	var pids []int
	for _, p := range nodes {
		pids = append(pids, p.Pid)
	}
	f := newFleet(t, urls, containers)
	idleFrom, memory := cpuTime(t, pids), residentMiB(t, pids)
	const idle = 10 * time.Second
	<-time.After(idle) // it is what is measured
	idleShare := 100 * float64(cpuTime(t, pids)-idleFrom) / float64(idle)

	jobs := min(20000, 2000+200*containers)
	before, own, from := cpuTime(t, pids), cpuTime(t, []int{os.Getpid()}), time.Now()
	f.publish(c, jobs)
	f.await(c)
	took := time.Since(from)
	perJob, ownPerJob := (cpuTime(t, pids)-before)/time.Duration(jobs), (cpuTime(t, []int{os.Getpid()})-own)/time.Duration(jobs)

	f.late = nil // one at a time now: the latency without a queue
	for k := range 200 {
		key := "slow" + strconv.Itoa(k)
		f.note(key)
		c.submit(`{"command":["a"]}`, "Nats-Msg-Id", key)
		f.await(c)
	}
	slices.Sort(f.late)
	t.Logf("%d containers: %.0f jobs/s; servers: %v of CPU a job, %.1f %% of one idle, %d MiB; containers: %v a job; publish to start p50 %v, p99 %v",
		containers, float64(jobs)/took.Seconds(), perJob, idleShare, memory, ownPerJob, f.late[len(f.late)/2],
		f.late[len(f.late)*99/100])
}

// fleet are containers with one adapter each.
type fleet struct {
	mu        sync.Mutex
	published map[string]time.Time
	late      []time.Duration // from publish to start
}

func newFleet(t *testing.T, urls string, count int) *fleet {
	f := &fleet{published: map[string]time.Time{}}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	t.Cleanup(func() { cancel(); done.Wait() })
	adapters := make([]*natsjob.Adapter, count)
	for k := range adapters {
		x := &timedJobs{last: 10 * time.Millisecond, started: f.started, jobs: map[executor.ID]*timedJob{}, changed: make(chan struct{})}
		adapters[k] = natsjob.New(natsjob.Options{Config: natsjob.Config{URL: urls, Stream: "JOBS", Results: "jobs.results"}, Executor: x,
			Log: hclog.NewNullLogger(), Host: strconv.Itoa(k)})
		done.Go(func() { adapters[k].Run(ctx) }) // ends with ctx
	}
	for end := time.Now().Add(5 * time.Minute); slices.ContainsFunc(adapters, func(a *natsjob.Adapter) bool {
		return !strings.Contains(a.Status(), "attached")
	}); <-time.After(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the containers are not attached: ", adapters[0].Status())
		}
	}
	return f
}

// note notes that a job is published now.
func (f *fleet) note(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.published[key] = time.Now()
}

func (f *fleet) started(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.late = append(f.late, time.Since(f.published[key]))
}

// publish publishes jobs as fast as the cluster stores them.
func (f *fleet) publish(c *client, count int) {
	for k := range count {
		key := "job" + strconv.Itoa(k)
		f.note(key)
		_, err := c.js.PublishAsync("jobs.new", []byte(fmt.Sprintf(`{"command":["a"],"key":%q}`, key)), jetstream.WithStallWait(deadline))
		if err != nil {
			c.t.Fatal(err)
		}
	}
	<-c.js.PublishAsyncComplete()
}

// await waits until all jobs are acknowledged.
func (f *fleet) await(c *client) {
	for end := time.Now().Add(10 * time.Minute); ; <-time.After(time.Millisecond) {
		s, err := c.js.Stream(c.t.Context(), "JOBS")
		if err == nil && s.CachedInfo().State.Msgs == 0 {
			return
		}
		if time.Now().After(end) {
			c.t.Fatal("jobs are left over: ", err)
		}
	}
}

// cpuTime is the processor time that processes have used.
func cpuTime(t *testing.T, pids []int) (sum time.Duration) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')'):]))
		for _, k := range []int{12, 13} { // utime, stime in ticks of 10 ms
			ticks, err := strconv.Atoi(fields[k])
			if err != nil {
				t.Fatal(err)
			}
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return sum
}

// residentMiB is the memory of processes.
func residentMiB(t *testing.T, pids []int) (sum int) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			t.Fatal(err)
		}
		pages, err := strconv.Atoi(strings.Fields(string(text))[1])
		if err != nil {
			t.Fatal(err)
		}
		sum += pages * os.Getpagesize() >> 20
	}
	return sum
}
