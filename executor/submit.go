package executor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/executor/journal"
)

func unavailable(err error) error {
	return &UnavailableError{Why: err.Error(), NoSpace: errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)}
}

// Submit accepts a job. The answer comes when the job is on disk. created is false if it is a job that was submitted before.
func (e *Executor) Submit(ctx context.Context, spec Spec, by string) (job Job, created bool, err error) {
	return e.SubmitFrom(ctx, spec, by, Origin{})
}

// SubmitFrom is Submit for the adapter of an engine. The origin of a job that was submitted before stays what it was.
func (e *Executor) SubmitFrom(ctx context.Context, spec Spec, by string, from Origin) (job Job, created bool, err error) {
	defer func() { e.countSubmission(created, err) }()
	fields := spec.Validate(e.config())
	if e.opts.Check != nil {
		for _, f := range e.opts.Check(&spec) {
			if !slices.ContainsFunc(fields, func(g FieldError) bool { return g.Field == f.Field }) {
				fields = append(fields, f)
			}
		}
	}
	if len(from.Data) > maxOrigin {
		fields = append(fields, FieldError{Field: "origin", Why: fmt.Sprintf("its data have more than %d bytes", maxOrigin)})
	}
	var invalid error
	if len(fields) > 0 {
		invalid = &SpecError{fields}
	}
	t, ended, created, err := e.accept(spec, by, from, invalid)
	if err != nil {
		return Job{}, false, err
	}
	if t == nil {
		return ended, false, conflict(&ended, &spec)
	}
	if !created {
		select {
		case <-t.saved:
		case <-ctx.Done():
			return Job{}, false, ctx.Err()
		}
		if t.err != nil {
			return Job{}, false, t.err
		}
		job = e.snapshot(t)
		return job, false, conflict(&job, &spec)
	}
	<-t.saved
	return e.snapshot(t), true, t.err
}

// accept begins the acceptance of a job, or returns the one with its key: the task of an unfinished one, or the ended one. A repetition
// is answered also if such a job would be refused now: invalid is why, or nil.
func (e *Executor) accept(spec Spec, by string, from Origin, invalid error) (t *task, ended Job, created bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.available(); err != nil {
		return nil, Job{}, false, err
	}
	if spec.Key != "" {
		if t := e.keys[spec.Key]; t != nil {
			return t, Job{}, false, nil
		}
		if id, job := e.endedWith(spec.Key); id != 0 {
			return nil, job, false, nil
		}
	}
	if invalid != nil {
		return nil, Job{}, false, invalid
	}
	if why := e.closed(); why != "" {
		return nil, Job{}, false, fmt.Errorf("%w: %s", ErrDraining, why)
	}
	if err := e.full(spec.Class); err != nil {
		return nil, Job{}, false, err
	}
	now := time.Now()
	// The executors of many containers seldom give two jobs one ID, also in one millisecond.
	e.lastID = max(e.lastID+1, ID(now.UnixMilli())<<idBits+rand.N[ID](1<<(idBits-1)))
	t = newTask(Job{ID: e.lastID, Spec: spec, State: Accepted, Accepted: now.UTC(), SubmittedBy: by, Origin: from, Life: e.life})
	e.tasks[t.job.ID] = t
	if spec.Key != "" {
		e.keys[spec.Key] = t
	}
	accepted, begun := e.append(journal.Accepted, t.job), (*journal.Commit)(nil)
	if e.dispatchWith(t); t.serving { // one sync serves both records
		e.begin(t)
		begun = e.append(journal.Begun, t.job)
	}
	go e.save(t, accepted, begun) // ends when the disk has answered, or with the attempt
	return t, Job{}, true, nil
}

// save waits until the disk has a new task, and runs its first attempt if that has begun.
func (e *Executor) save(t *task, accepted, begun *journal.Commit) {
	err := accepted.Wait()
	e.mu.Lock()
	if err != nil {
		t.err = unavailable(fmt.Errorf("cannot write the journal: %w", err))
		e.forget(t)
		e.closeBroken()
	} else {
		t.accepted = true
		if begun == nil {
			e.set(t, func(j *Job) { j.State = Queued })
		}
	}
	job := t.job
	e.mu.Unlock()
	close(t.saved)
	if begun == nil {
		e.dispatch()
		return
	}
	defer e.attempts.Done()
	if err != nil {
		e.dispatch() // its slot is free
		return
	}
	if begun.Wait() != nil {
		job = e.record(journal.Begun, t)
	}
	e.run(t, job)
}

// idBits is how many IDs there may be in a millisecond, as a power of two.
const idBits = 20

// full returns an error if the queue, or that of a class, has no place. mu is held.
func (e *Executor) full(class string) error {
	c := e.config()
	if length := len(e.tasks); length >= c.Slots+c.Queue {
		return &FullError{Length: length - c.Slots, RetryAfter: retryAfter}
	}
	limit := c.Classes[class]
	if class == "" || limit.Queue == 0 {
		return nil
	}
	ofClass := 0
	for _, t := range e.tasks {
		if t.job.Spec.Class == class {
			ofClass++
		}
	}
	if ofClass >= limit.Queue+orElse(limit.Slots, c.Slots) {
		return &FullError{Class: class, Length: limit.Queue, RetryAfter: retryAfter}
	}
	return nil
}

// retryAfter is when a submitter that was refused for a full queue may try again.
const retryAfter = time.Second

// endedWith returns the ended job with a key; 0: there is none. mu is held.
func (e *Executor) endedWith(key string) (ID, Job) {
	for _, id := range e.journal.Find(key) {
		job, err := e.read(ID(id))
		if err == nil && (job.Spec.Key == key || job.damaged()) && job.Reason != notAccepted {
			return ID(id), job
		}
	}
	return 0, Job{}
}

// conflict returns an error if a job is not what spec asks for.
func conflict(job *Job, spec *Spec) error {
	if job.damaged() {
		return nil // what it was is unknown; it must not run twice
	}
	have, want := job.Spec, *spec
	if job.State.Final() {
		have.Stdin, want.Stdin = nil, nil
	}
	if lines := diff(&have, &want); len(lines) > 0 {
		return &ConflictError{Key: spec.Key, ID: job.ID, Diff: lines}
	}
	return nil
}
