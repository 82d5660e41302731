// Package mesos makes this container an executor of Apache Mesos and its forks: it speaks the v1 executor HTTP API, in JSON, with the agent
// that started it. A task becomes a job, and the states of the job become updates of the task.
//
// The journal of jobs is all that is kept: after the death of the supervisor the tasks come from there, and an update that is sent
// again has the UUID of the first time, as that follows from the job and the state.
package mesos

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/executor"
)

// engineName is the origin of the jobs that are tasks.
const engineName = "mesos"

// Executor runs the jobs; *executor.Executor is one.
type Executor interface {
	SubmitFrom(ctx context.Context, spec executor.Spec, by string, from executor.Origin) (executor.Job, bool, error)
	AwaitJob(ctx context.Context, id executor.ID, changed func(executor.Job)) (executor.Job, error)
	StopJob(ctx context.Context, id executor.ID, r executor.StopRequest) (executor.Job, error)
	Jobs(f executor.Filter) ([]executor.Job, error)
	Reported(id executor.ID) error
}

// Options configure an Adapter.
type Options struct {
	Config      Config
	Environment Environment
	Executor    Executor
	// State is what the framework gets for a message.
	State func() executor.Status
	// Exit asks for the end of the container. It does not wait.
	Exit func(why string)
	Log  hclog.Logger

	dial dialFunc // of a test; nil: the network's
}

// Adapter is an executor of Mesos.
type Adapter struct {
	o     Options
	agent *agent
	wake  chan struct{} // has an element when there is something to send

	leave    context.CancelFunc // ends all that Run has begun
	watchers sync.WaitGroup
	restored bool // restoreAll has begun

	mu        sync.Mutex // guards what follows
	line      string     // about the connection
	since     time.Time  // of line
	tasks     map[string]*task
	updates   []*pending                        // that are not acknowledged, in the order in which they arose
	can       []string                          // the capabilities of the framework
	answer    bool                              // a message is to be answered
	over      string                            // why there will be no more tasks; empty: there may be
	grace     *time.Duration                    // of over
	restoring bool                              // the journal may have tasks that are not known yet
	kills     map[string][]executor.StopRequest // of those
	settled   map[executor.ID]bool              // jobs that the journal may still list, and for which nothing is left to do
}

// task is a task whose final state the agent has not acknowledged. Adapter.mu guards it.
type task struct {
	head         taskHead    // never changes
	job          executor.ID // 0: it has none yet, or was refused
	rank         int         // of the latest update
	acknowledged bool        // one of its updates is
}

// pending is an update that is not acknowledged.
type pending struct {
	update
	sent bool
}

// New returns an Adapter, for Run.
func New(o Options) *Adapter {
	a := &Adapter{o: o, wake: make(chan struct{}, 1), tasks: map[string]*task{}, kills: map[string][]executor.StopRequest{},
		settled: map[executor.ID]bool{}}
	a.agent = newAgent(&a.o.Environment, o.dial)
	a.set("starts")
	return a
}

// Status is the state in one line.
func (a *Adapter) Status() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over != "" {
		return a.over
	}
	return fmt.Sprintf("%s, since %s; %d tasks, %d updates not acknowledged", a.line, a.since.Format(time.RFC3339), len(a.tasks),
		len(a.updates))
}

// isOver reports whether there will be no more tasks.
func (a *Adapter) isOver() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.over != ""
}

// set sets the line about the connection. It reports whether that is another one.
func (a *Adapter) set(line string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.line == line {
		return false
	}
	a.line, a.since = line, time.Now().UTC()
	return true
}

// origin is what the journal keeps of a task beside the Spec.
type origin struct {
	Run  string   `json:"run,omitempty"` // of the executor
	Task taskHead `json:"task"`
}

// restoreRecent continues with the newest tasks that the journal has: the agent drops those of which it has no update yet, and the
// subscription does not have. To find all takes seconds if there are many jobs, and the agent may not wait for that.
func (a *Adapter) restoreRecent(ctx context.Context) {
	const newest = 1000
	if !a.restored {
		_ = a.restore(ctx, executor.Filter{Limit: newest}) // restoreAll will say it
	}
}

// restoreAll continues with all tasks that the journal has, as soon as it can be read.
func (a *Adapter) restoreAll(ctx context.Context) {
	if a.restored {
		return
	}
	a.restored = true
	a.mu.Lock()
	a.restoring = true
	a.mu.Unlock()
	a.watchers.Go(func() { // ends when the journal was read, or with ctx
		all := executor.Filter{Engine: engineName, Unreported: true, Limit: 1 << 30}
		for logged := false; ; logged = true {
			err := a.restore(ctx, all)
			if err == nil {
				break
			}
			if !logged {
				a.o.Log.Error("the tasks of an earlier supervisor are not known yet", "error", err)
			}
			if !pause(ctx, time.Second) {
				return
			}
		}
		a.mu.Lock()
		a.restoring = false
		for id := range a.kills {
			a.o.Log.Warn("a kill of an unknown task is ignored", "task", id)
		}
		a.kills, a.settled = nil, nil
		a.mu.Unlock()
		a.leaveIfDone()
	})
}

func (a *Adapter) restore(ctx context.Context, f executor.Filter) error {
	jobs, err := a.o.Executor.Jobs(f)
	if err != nil {
		return err
	}
	for _, j := range slices.Backward(jobs) { // the oldest first
		if j.Origin.Engine != engineName || j.Reported {
			continue
		}
		var from origin
		switch err := json.Unmarshal([]byte(j.Origin.Data), &from); {
		case err != nil || from.Run != a.o.Environment.Run:
			a.drop(ctx, &j)
		default:
			if t := a.add(from.Task, j.ID); t != nil {
				a.watch(ctx, t, &j)
			}
		}
	}
	return nil
}

// drop ends a job whose task the agent does not know any more, once.
func (a *Adapter) drop(ctx context.Context, j *executor.Job) {
	a.mu.Lock()
	again := a.settled[j.ID]
	a.settled[j.ID] = true
	a.mu.Unlock()
	if again {
		return
	}
	a.o.Log.Warn("a task of an earlier executor is dropped: the agent knows of its end", "job", j.ID, "state", j.State)
	_, _ = a.o.Executor.StopJob(ctx, j.ID, executor.StopRequest{By: "the end of its Mesos executor"}) // it may have ended
	a.watchers.Go(func() {                                                                            // ends with the job, or with ctx
		if _, err := a.o.Executor.AwaitJob(ctx, j.ID, nil); err == nil {
			a.reported(j.ID)
		}
	})
}

// reported notes that the agent has the final state of a job.
func (a *Adapter) reported(id executor.ID) {
	if err := a.o.Executor.Reported(id); err != nil {
		a.o.Log.Warn("a restarted supervisor will report the end of a task again", "job", id, "error", err)
	}
}

// add adds a task, or the one that the journal has of a job; nil: it is known.
func (a *Adapter) add(head taskHead, job executor.ID) *task {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.tasks[head.ID.Value] != nil || a.settled[job] {
		return nil
	}
	t := &task{head: head}
	a.tasks[head.ID.Value] = t
	return t
}

// launch makes a job of a task. Every task that has an ID gets an update.
func (a *Adapter) launch(ctx context.Context, text []byte) {
	head, err := parseHead(text)
	if err != nil {
		a.o.Log.Error("a task is ignored", "error", err)
		return
	}
	t := a.add(head, 0)
	if t == nil {
		a.o.Log.Warn("a task was sent twice", "task", head.ID.Value)
		return
	}
	job, err := a.submit(ctx, head, text)
	if err != nil {
		a.o.Log.Error("a task is refused", "task", head.ID.Value, "error", err)
		state, reason := refusal(err)
		uuid := make([]byte, uuidSize)
		_, _ = rand.Read(uuid) // it never fails
		a.mu.Lock()
		a.report(t, status{State: state, Reason: reason, Message: err.Error(), UUID: uuid})
		a.mu.Unlock()
		return
	}
	a.o.Log.Debug("a task is accepted", "task", head.ID.Value, "job", job.ID)
	a.watch(ctx, t, &job)
}

func (a *Adapter) submit(ctx context.Context, head taskHead, text []byte) (job executor.Job, err error) {
	a.mu.Lock()
	over := a.over
	a.mu.Unlock()
	if over != "" {
		return job, fmt.Errorf("%w: %s", executor.ErrDraining, over)
	}
	spec, err := specOf(text)
	if err != nil {
		return job, err
	}
	data, err := json.Marshal(origin{Run: a.o.Environment.Run, Task: head})
	if err != nil {
		return job, fmt.Errorf("cannot keep the task: %w", err)
	}
	from := executor.Origin{Engine: engineName, Data: string(data)}
	job, _, err = a.o.Executor.SubmitFrom(ctx, spec, "the Mesos framework "+a.o.Environment.Framework, from)
	if err == nil && (job.Reported || job.Origin.Engine != engineName) {
		err = fmt.Errorf("the task_id %q belongs to job %s, which is %s: one ID is one start", head.ID.Value, job.ID, job.State)
	}
	return job, err
}

// watch reports the states of a job, from the present one on.
func (a *Adapter) watch(ctx context.Context, t *task, j *executor.Job) {
	id := j.ID
	a.mu.Lock()
	t.job = id
	stops := a.kills[t.head.ID.Value] // that came before
	delete(a.kills, t.head.ID.Value)
	if a.over != "" {
		stops = append(stops, executor.StopRequest{By: a.over, Grace: a.grace})
	}
	a.mu.Unlock()
	a.observe(t, j)
	if j.State.Final() {
		return
	}
	for _, r := range stops {
		a.stop(ctx, t, r)
	}
	a.watchers.Go(func() { // ends with the job, or with ctx
		for {
			_, err := a.o.Executor.AwaitJob(ctx, id, func(now executor.Job) { a.observe(t, &now) })
			if errors.Is(err, executor.ErrNoJob) {
				a.observe(t, &executor.Job{ID: id, State: executor.Lost, Reason: "the executor does not know it any more"})
			}
			if err == nil || errors.Is(err, executor.ErrNoJob) || !pause(ctx, time.Second) { // else the journal cannot be read
				return
			}
		}
	})
}

// pause waits; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// uuidSize is the size of a UUID in bytes.
const uuidSize = 16

// observe reports the state of a job unless that, or a later one, has been reported.
func (a *Adapter) observe(t *task, j *executor.Job) {
	a.mu.Lock()
	defer a.mu.Unlock()
	state, reason := stateOf(j)
	if rank(state) <= t.rank || state == taskKilling && !slices.Contains(a.can, canKilling) {
		return
	}
	uuid := sha256.Sum256([]byte(j.ID.String() + " " + state))
	s := status{State: state, Reason: reason, Message: describe(j), UUID: uuid[:uuidSize]}
	if j.Exit != nil && j.State.Final() {
		s.Data, _ = json.Marshal(j.Exit) // it has no member that could fail
	}
	a.report(t, s)
}

// report adds an update. mu is held.
func (a *Adapter) report(t *task, s status) {
	if (s.State == taskDropped || s.State == taskGone) && !slices.Contains(a.can, canPartition) {
		s.State = taskLost
	}
	const most = 2000
	if s.Message = strings.ToValidUTF8(strings.ReplaceAll(s.Message, "\n", "; "), "?"); len(s.Message) > most {
		s.Message = strings.ToValidUTF8(s.Message[:most], "")
	}
	s.Task, s.Source, s.Executor = t.head.ID, "SOURCE_EXECUTOR", value{a.o.Environment.Executor}
	s.Timestamp = float64(time.Now().UnixMilli()) / 1e3 //nolint:mnd // milliseconds in a second
	t.rank = rank(s.State)
	a.updates = append(a.updates, &pending{update: update{s}})
	a.awake()
}

// awake wakes the sender of updates.
func (a *Adapter) awake() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// acknowledged removes an update that the agent has.
func (a *Adapter) acknowledged(id string, uuid []byte) {
	a.mu.Lock()
	t := a.tasks[id]
	k := slices.IndexFunc(a.updates, func(p *pending) bool { return p.Status.Task.Value == id && bytes.Equal(p.Status.UUID, uuid) })
	if k < 0 || t == nil {
		a.mu.Unlock()
		a.o.Log.Debug("an acknowledgement that belongs to no update is ignored", "task", id)
		return
	}
	final := rank(a.updates[k].Status.State) == finalRank
	a.updates = slices.Delete(a.updates, k, k+1)
	t.acknowledged = true
	job := t.job
	if final {
		delete(a.tasks, id)
	}
	if final = final && job != 0; final && a.restoring {
		a.settled[job] = true
	}
	a.mu.Unlock()
	if final {
		a.reported(job)
	}
}

// kill ends a task. A later request can shorten the time that an earlier one gave.
func (a *Adapter) kill(ctx context.Context, id string, policy *killPolicy) {
	r := executor.StopRequest{By: "the Mesos framework"}
	if policy != nil && policy.Grace != nil {
		r.Grace = new(time.Duration(policy.Grace.Nanoseconds))
	}
	a.mu.Lock()
	t := a.tasks[id]
	begun := t != nil && t.job != 0
	early := !begun && a.restoring && (t == nil || t.rank < finalRank)
	if early {
		a.kills[id] = append(a.kills[id], r) // watch will see it
	}
	a.mu.Unlock()
	switch {
	case begun:
		a.stop(ctx, t, r)
	case !early:
		a.o.Log.Warn("a kill of an unknown or finished task is ignored", "task", id)
	}
}

// stop stops the job of a task that has one.
func (a *Adapter) stop(ctx context.Context, t *task, r executor.StopRequest) {
	a.mu.Lock()
	job := t.job
	a.mu.Unlock()
	if _, err := a.o.Executor.StopJob(ctx, job, r); err != nil && !errors.Is(err, executor.ErrFinal) {
		a.o.Log.Error("cannot stop a task", "task", t.head.ID.Value, "job", job, "error", err)
	}
}

// end ends all tasks, and lets no more begin. grace is the longest time until KILL; nil: each task's own.
func (a *Adapter) end(ctx context.Context, why string, grace *time.Duration) {
	a.mu.Lock()
	a.over, a.grace = why, grace
	var tasks []*task
	for _, t := range a.tasks {
		if t.job != 0 && t.rank < finalRank {
			tasks = append(tasks, t)
		}
	}
	a.mu.Unlock()
	for _, t := range tasks {
		a.stop(ctx, t, executor.StopRequest{By: why, Grace: grace})
	}
}
