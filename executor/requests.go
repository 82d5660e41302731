package executor

import (
	"context"
	"slices"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/executor/journal"
)

// Filter selects jobs of a list. The zero Filter selects all.
type Filter struct {
	States []State
	Labels map[string]string
	Key    string
	Engine string // those with this Origin.Engine
	// Unreported selects those whose final state Origin.Engine has not got.
	Unreported bool
	// Before is the ID below which the list begins; 0: with the newest.
	Before ID
	// Limit is the largest number of jobs; 0: 100.
	Limit int
}

// StopRequest asks for the end of a job. One that waits never starts.
type StopRequest struct {
	// Signal is sent first; 0: the job's stop signal.
	Signal syscall.Signal
	// Grace is the time until KILL; nil: the job's. A second request can only shorten it.
	Grace *time.Duration
	By    string // the requester, for the operator
}

// Verb is what an operator asks of the executor.
type Verb string

// Verbs.
const (
	Pause  Verb = "pause"  // accept jobs, start none
	Resume Verb = "resume" // accept and start jobs
	Drain  Verb = "drain"  // accept none, let those that run end; those that wait stay in the journal
)

// Status is the state of the executor.
type Status struct {
	Slots    int `json:"slots"`
	Running  int `json:"running"`
	Waiting  int `json:"waiting"`
	QueueMax int `json:"queue_max"`
	// Paused is why no job is started; empty: jobs are started.
	Paused string `json:"paused,omitempty"`
	// Draining is why no job is accepted; empty: jobs are accepted.
	Draining string `json:"draining,omitempty"`
	// Unavailable is why the journal cannot be used; empty: it can.
	Unavailable string `json:"unavailable,omitempty"`
	// Kept is the number of jobs in the journal, and Bytes its size.
	Kept  int   `json:"kept"`
	Bytes int64 `json:"bytes"`
	// Damage lists parts of the journal that cannot be read.
	Damage []string `json:"damage,omitempty"`
	// Memory is the memory for jobs that declare some; nil: it is unknown, or there is no limit.
	Memory *MemoryStatus `json:"memory,omitempty"`
	// Ended counts the jobs that have ended since the executor started, by state.
	Ended map[State]int64 `json:"ended"`
	// Engines has a line about each engine that brings jobs.
	Engines map[string]string `json:"engines,omitempty"`
}

// MemoryStatus is the memory for jobs, in bytes.
type MemoryStatus struct {
	// Room is what the services leave of the container's memory, as it was at most memoryCheck ago.
	Room int64 `json:"room"`
	// Running and Waiting are what the jobs that run and wait have declared.
	Running int64 `json:"running"`
	Waiting int64 `json:"waiting"`
}

func (e *Executor) snapshot(t *task) Job {
	e.mu.Lock()
	defer e.mu.Unlock()
	return t.view()
}

// view is the job with what is known of its output now. Executor.mu is held.
func (t *task) view() Job {
	job := t.job
	if t.streams != nil {
		job.Stdout, job.Stderr = t.streams.info()
	}
	return job
}

// Job returns a job by its ID, or by "key:KEY". For a job that is being accepted under the key it waits for the disk.
func (e *Executor) Job(name string) (Job, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.available(); err != nil {
		return Job{}, err
	}
	if key, ok := cutKey(name); ok {
		t := e.keys[key]
		if t != nil && !t.accepted { // whoever asks for a key wants to know whether it is free
			e.mu.Unlock()
			<-t.saved
			e.mu.Lock()
			if err := e.available(); err != nil { // the disk may have failed
				return Job{}, err
			}
		}
		if t != nil && t.accepted {
			return t.view(), nil
		}
		if id, job := e.endedWith(key); id != 0 {
			return job, nil
		}
		return Job{}, ErrNoJob
	}
	var id ID
	if id.UnmarshalText([]byte(name)) != nil {
		return Job{}, ErrNoJob
	}
	job, _, err := e.find(id)
	return job, err
}

// Jobs lists jobs, the newest first.
func (e *Executor) Jobs(f Filter) ([]Job, error) {
	const page = 100
	most := orElse(f.Limit, page)
	var out []Job
	for before := uint64(f.Before); ; {
		e.mu.Lock()
		if err := e.available(); err != nil {
			e.mu.Unlock()
			return nil, err
		}
		ids := e.journal.Before(before, page)
		for _, n := range ids {
			before = n
			t := e.tasks[ID(n)]
			job, err := Job{}, error(nil)
			switch {
			case t != nil && !t.accepted:
				continue
			case t != nil:
				job = t.view()
			default:
				job, err = e.read(ID(n))
			}
			if err == nil && f.selects(&job) {
				out = append(out, job)
			}
			if len(out) == most {
				break
			}
		}
		e.mu.Unlock()
		if len(ids) == 0 || len(out) == most {
			return out, nil
		}
	}
}

func (f *Filter) selects(j *Job) bool {
	for name, value := range f.Labels {
		if j.Spec.Labels[name] != value {
			return false
		}
	}
	return (len(f.States) == 0 || slices.Contains(f.States, j.State)) && (f.Key == "" || f.Key == j.Spec.Key) &&
		(f.Engine == "" || f.Engine == j.Origin.Engine) && (!f.Unreported || !j.Reported)
}

// StopJob asks for the end of a job and returns at once, for one that waits when its end is on disk. Of a job that has ended it
// returns the state and ErrFinal. With the error of ctx the request stands.
func (e *Executor) StopJob(ctx context.Context, id ID, r StopRequest) (Job, error) {
	e.mu.Lock()
	t := e.tasks[id]
	if t == nil || !t.accepted {
		defer e.mu.Unlock()
		if err := e.available(); err != nil {
			return Job{}, err
		}
		job, err := e.read(id)
		if err == nil {
			err = ErrFinal
		}
		return job, err
	}
	if !t.active {
		if err := e.available(); err != nil {
			e.mu.Unlock()
			return Job{}, err
		}
		t.active = true
		e.mu.Unlock()
		go e.end(t, func(j *Job) { j.State, j.By, j.Reason = Killed, r.By, "stopped before it began" }) // ends when the end is on disk
		select {
		case <-t.recorded:
			return e.snapshot(t), nil
		case <-ctx.Done():
			return e.snapshot(t), ctx.Err()
		}
	}
	commit := e.requestStop(t, r)
	e.mu.Unlock()
	if commit != nil {
		if err := commit.Wait(); err != nil {
			e.opts.Log.Warn("a supervisor that takes over will not know of a stop", "job", id, "error", err)
		}
	}
	return e.snapshot(t), nil
}

// requestStop notes a request for the attempt of a task; nil: an earlier one is as strict. mu is held.
func (e *Executor) requestStop(t *task, r StopRequest) *journal.Commit {
	if t.job.State.Final() {
		return nil
	}
	if r.Grace == nil {
		grace := time.Duration(t.job.Spec.withDefaults(e.config()).StopGrace)
		r.Grace = &grace
	}
	if earlier := t.stop; earlier != nil { // it may not have been carried out yet
		r.By = earlier.By
		r.Grace = new(min(*r.Grace, *earlier.Grace))
	}
	t.stop = &r
	select {
	case t.stopping <- struct{}{}:
	default:
	}
	if t.job.State != Starting && t.job.State != Running {
		return nil // it is stopping already, or its attempt is about to begin or to be repeated, and will see the request
	}
	e.set(t, func(j *Job) { j.State, j.By, j.Reason = Stopping, r.By, "asked to stop" })
	if e.journal == nil {
		return nil // a supervisor that takes over will not know of it
	}
	return e.append(journal.Begun, t.job)
}

// AwaitJob waits until a job has ended and its end is on disk, or until ctx is done. changed, unless nil, gets every state that is seen.
func (e *Executor) AwaitJob(ctx context.Context, id ID, changed func(Job)) (Job, error) {
	for {
		e.mu.Lock()
		t := e.tasks[id]
		if t == nil {
			job, err := Job{}, e.available()
			if err == nil {
				job, err = e.read(id)
			}
			e.mu.Unlock()
			if err == nil && changed != nil {
				changed(job)
			}
			return job, err
		}
		job, next, accepted := t.view(), t.changed, t.accepted
		e.mu.Unlock()
		switch {
		case changed == nil:
			next = nil // the end is all that matters
		case accepted && !job.State.Final():
			changed(job)
		}
		select {
		case <-next:
		case <-t.recorded: // what the journal has too
			if job = e.snapshot(t); changed != nil {
				changed(job)
			}
			return job, nil
		case <-ctx.Done():
			return job, ctx.Err()
		}
	}
}
