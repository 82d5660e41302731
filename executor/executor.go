package executor

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/executor/journal"
	"github.com/stoker-init/stoker/executor/output"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/proc"
)

// Options configure an Executor.
type Options struct {
	Config Config
	Host   Host
	Store  Store
	Log    hclog.Logger
	// Items and Processes are what an earlier supervisor of this container has left; Processes are those of jobs, by ID.
	Items     fdstore.Items
	Processes map[string]Process
	// Check finds what is wrong with a Spec that only the host can know; nil: nothing.
	Check func(*Spec) []FieldError
}

// Executor accepts and runs jobs. It is safe for concurrent use.
type Executor struct {
	opts Options
	cfg  atomic.Pointer[Config]
	life string    // of the container
	born time.Time // when that began to have an executor
	wake *time.Timer

	mu          sync.Mutex // guards what follows; it is held over writes, and over the sync of a new segment, but no other
	journal     *journal.Journal
	unavailable error // why there is no journal; nil: there is one
	lastOpen    time.Time
	restored    bool // the jobs of the journal are known
	lastID      ID   // the highest ever used
	tasks       map[ID]*task
	keys        map[string]*task // of tasks
	paused      string           // by an operator, who; empty: it is not
	draining    string           // why nothing is accepted; empty: jobs are
	brake       brake
	ended       map[State]int64
	serving     int       // tasks that have a slot
	nextPass    time.Time // over the queue, while no job can be started
	metrics     Metrics   // the counts
	room        struct {  // what Host.Room said, for the status
		bytes   int64
		limited bool
		read    time.Time
	}
	toExpire    int           // jobs that have ended since the last expire
	freeChanged chan struct{} // closed when free differs from freeBefore; nil: there is no waiter
	freeBefore  int
	attempts    sync.WaitGroup
	stopped     bool // the container stops: no attempt begins
}

// task is a job that has not ended.
type task struct {
	saved    chan struct{} // closed when the acceptance is on disk, or was refused
	err      error         // why it was refused; valid after saved
	job      Job           // guarded by Executor.mu; its maps and slices are never changed
	accepted bool          // on disk
	active   bool          // an attempt has it, or it is being ended
	serving  bool          // it has a slot
	partial  bool          // its first record, which has its stdin, is missing: it cannot be repeated
	stop     *StopRequest  // the strictest one; nil: none
	stopping chan struct{} // has an element when stop has changed
	changed  chan struct{} // closed and replaced with each change of job
	streams  *streams      // of the running attempt; nil: there is none
	recorded chan struct{} // closed when the final state is on disk
	due      time.Time     // when the attempt could begin; zero: an earlier supervisor began it
}

func newTask(job Job) *task {
	return &task{job: job, saved: make(chan struct{}), stopping: make(chan struct{}, 1), changed: make(chan struct{}),
		recorded: make(chan struct{})}
}

// Prefixes of the names that belong to jobs.
const (
	IDPrefix   = "job/"         // of processes: job/ID/ATTEMPT
	pipePrefix = "job-output/"  // of items: the read ends of an attempt's output
	lifeItem   = "job-executor" // the life of the container
	holdItem   = "job-hold"     // a hold
)

func processID(id ID, attempt int) string { return fmt.Sprintf("%s%s/%d", IDPrefix, id, attempt) }

// New returns an Executor that continues with what is in the journal. A journal that cannot be used makes it unavailable.
func New(o Options) *Executor {
	e := &Executor{opts: o, tasks: map[ID]*task{}, keys: map[string]*task{}, ended: map[State]int64{}, metrics: newMetrics()}
	e.cfg.Store(&o.Config)
	e.wake = time.AfterFunc(time.Hour, e.dispatch)
	blob, _, ok := o.Items.Take(lifeItem)
	if life, born, _ := strings.Cut(string(blob), " "); ok {
		e.life = life
		e.born, _ = time.Parse(time.RFC3339, born)
	} else {
		e.life, e.born = newLife(), time.Now()
		if err := o.Store.Put(lifeItem, []byte(e.life+" "+e.born.Format(time.RFC3339))); err != nil {
			o.Log.Error("jobs that run when the supervisor dies will be lost", "error", err)
		}
	}
	var held hold
	if _, err := o.Items.TakeJSON(holdItem, &held); err != nil {
		o.Log.Warn("it is unknown whether jobs were paused or drained", "error", err)
	}
	e.mu.Lock()
	e.paused, e.draining = held.Paused, held.Draining
	e.open()
	e.expireLater()
	e.mu.Unlock()
	e.dispatch()
	go e.expire() // ends when the old jobs are dropped
	return e
}

// Had reports whether an earlier supervisor of this container had an executor, which has to be continued even without slots.
func Had(items fdstore.Items) bool { return items.Has(lifeItem) }

// Life identifies the life of the container, and says when it began to have an executor.
func (e *Executor) Life() (id string, since time.Time) { return e.life, e.born }

// Configure applies another configuration. Folders stay what they are.
func (e *Executor) Configure(c Config) {
	now := e.config()
	c.Journal, c.Workspace = now.Journal, now.Workspace
	e.cfg.Store(&c)
	e.dispatch()
}

func (e *Executor) config() Config { return *e.cfg.Load() }

// folder is a folder of the executor's.
func (e *Executor) folder(name string) string { return filepath.Join(e.config().Journal, name) }

// reopenPause is the time between two attempts to open a journal that cannot be used.
const reopenPause = 5 * time.Second

// open opens the journal unless it is open, or was tried a moment ago. mu is held.
func (e *Executor) open() {
	if e.journal != nil || !e.lastOpen.IsZero() && time.Since(e.lastOpen) < reopenPause {
		return
	}
	e.lastOpen = time.Now()
	j, unfinished, err := e.openJournal()
	if err != nil {
		if e.unavailable == nil || e.unavailable.Error() != err.Error() {
			e.opts.Log.Error("no jobs can be accepted", "error", err, "hint", "repair it: it is tried again every few seconds")
		}
		e.unavailable = err
		e.wakeAt(time.Now().Add(reopenPause))
		return
	}
	e.journal, e.unavailable = j, nil
	for _, d := range j.Stats().Damage {
		e.opts.Log.Error("the journal of jobs is damaged", "file", d.File, "offset", d.Offset, "bytes", d.Bytes, "why", d.Why)
	}
	e.restore(unfinished)
	e.restored = true
	for name, p := range e.opts.Processes { // they belong to no attempt that is unfinished
		delete(e.opts.Processes, name)
		go func() { // ends when they are gone, or after dieTime
			killLeftovers(p)
			p.Ack()
			p.Done()
		}()
	}
}

// closeBroken closes a journal that takes no more records, so that it is opened again. mu is held.
func (e *Executor) closeBroken() {
	if e.journal == nil || e.journal.Stats().Broken == nil {
		return
	}
	e.unavailable = e.journal.Stats().Broken
	e.opts.Log.Error("the journal of jobs is closed", "error", e.unavailable)
	_ = e.journal.Close() // the reason is known
	e.journal, e.lastOpen = nil, time.Now()
	e.wakeAt(time.Now().Add(reopenPause))
}

// available returns the error of a request while there is no journal. mu is held.
func (e *Executor) available() error {
	e.open()
	if e.unavailable != nil {
		return unavailable(e.unavailable)
	}
	return nil
}

// set changes the job of a task, and wakes those that wait for it. mu is held.
func (e *Executor) set(t *task, change func(*Job)) {
	job := t.job
	change(&job)
	t.job = job
	close(t.changed)
	t.changed = make(chan struct{})
}

// serve gives a task a slot, or takes it away. mu is held.
func (e *Executor) serve(t *task, slot bool) {
	switch {
	case slot && !t.serving:
		e.serving++
	case !slot && t.serving:
		e.serving--
	}
	t.serving = slot
}

// forget removes a task. mu is held.
func (e *Executor) forget(t *task) {
	e.serve(t, false)
	delete(e.tasks, t.job.ID)
	if e.keys[t.job.Spec.Key] == t {
		delete(e.keys, t.job.Spec.Key)
	}
}

// notAccepted is the reason of a job whose submitter was told of a failure. Its key is free.
const notAccepted = "its acceptance failed"

// find returns a job, and its task if it has not ended. mu is held.
func (e *Executor) find(id ID) (Job, *task, error) {
	if t := e.tasks[id]; t != nil && t.accepted {
		return t.view(), t, nil
	}
	job, err := e.read(id)
	return job, nil, err
}

// ControlExecutor pauses, resumes or drains.
func (e *Executor) ControlExecutor(verb Verb, by string) error {
	e.mu.Lock()
	switch verb {
	case Pause:
		e.paused = orElse(by, "an operator")
	case Resume:
		e.paused, e.brake = "", brake{}
		if !e.stopped {
			e.draining = ""
		}
	case Drain:
		e.draining = "drained by " + orElse(by, "an operator")
	}
	blob := encode(hold{e.paused, e.draining})
	stopped := e.stopped
	e.mu.Unlock()
	if !stopped {
		if err := e.opts.Store.Put(holdItem, blob); err != nil {
			e.opts.Log.Warn("the next supervisor will not know that jobs were paused, drained or resumed", "error", err)
		}
	}
	e.dispatch()
	return nil
}

// hold is what an operator has asked for, for the next supervisor.
type hold struct{ Paused, Draining string }

// ExecutorStatus returns the state of the executor.
func (e *Executor) ExecutorStatus() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.config()
	s := Status{Slots: c.Slots, QueueMax: c.Queue, Paused: e.pauseReason(time.Now()), Draining: e.closed(), Ended: maps.Clone(e.ended)}
	var memory MemoryStatus
	for _, t := range e.tasks {
		count, declared := &s.Waiting, &memory.Waiting
		if t.serving {
			count, declared = &s.Running, &memory.Running
		}
		if *count++; t.job.Spec.Memory != "" {
			*declared += e.waiting(t).memory
		}
	}
	if e.room.read.IsZero() || time.Since(e.room.read) > memoryCheck {
		e.room.bytes, e.room.limited = e.opts.Host.Room()
		e.room.read = time.Now()
	}
	if memory.Room = e.room.bytes; e.room.limited {
		s.Memory = &memory
	}
	if err := e.available(); err != nil {
		s.Unavailable = e.unavailable.Error()
		return s
	}
	j := e.journal.Stats()
	s.Kept, s.Bytes = j.Entries, j.Bytes
	for _, d := range j.Damage {
		s.Damage = append(s.Damage, fmt.Sprintf("%s: %d bytes at %d: %s", d.File, d.Bytes, d.Offset, d.Why))
	}
	return s
}

// Stop ends all jobs because the container stops, within a time. Waiting jobs stay in the journal.
func (e *Executor) Stop(ctx context.Context, within time.Duration) {
	e.mu.Lock()
	e.stopped, e.draining = true, "the container stops"
	for _, t := range e.tasks {
		if t.serving {
			grace := min(time.Duration(t.job.Spec.withDefaults(e.config()).StopGrace), within*3/4)
			e.requestStop(t, StopRequest{Grace: &grace, By: containerStop})
		}
	}
	e.mu.Unlock()
	done := make(chan struct{})
	go func() { e.attempts.Wait(); close(done) }() // ends with the attempts
	select {
	case <-done:
	case <-ctx.Done():
	case <-time.After(within):
		e.opts.Log.Error("jobs have not ended in time and are killed with the container")
	}
}

// containerStop is the requester of the stop of all jobs.
const containerStop = "the end of the container"

// streams are the two outputs of an attempt.
type streams [2]*output.Stream

func (s *streams) info() (stdout, stderr output.Info) { return s[0].Info(), s[1].Info() }

// ManagerHost starts the processes of a Host.
type ManagerHost struct{ M *proc.Manager }

// Start starts a process.
func (h ManagerHost) Start(ctx context.Context, spec proc.Spec) (Process, error) {
	p, err := h.M.Start(ctx, spec)
	if err != nil {
		return nil, err // no typed nil
	}
	return p, nil
}
