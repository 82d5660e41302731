package executor

import (
	"fmt"
	"time"

	"github.com/stoker-init/stoker/executor/journal"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/jvm"
)

// append writes a state of a job to the journal. mu is held.
func (e *Executor) append(kind journal.Kind, job Job) *journal.Commit {
	if kind != journal.Accepted || job.Attempt > 0 {
		job.Spec.Stdin = nil // the first record has it
	}
	return e.journal.Append(journal.Record{ID: uint64(job.ID), Key: job.Spec.Key, Kind: kind, Data: encode(job)})
}

// dispatch starts the jobs that may start, and ends those whose start deadline has passed.
func (e *Executor) dispatch() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dispatchWith(nil)
}

// dispatchWith is dispatch while mu is held. fresh, unless nil, is a task that is not on disk yet: if it may start it gets its slot, and
// the caller begins its attempt.
func (e *Executor) dispatchWith(fresh *task) {
	defer e.tellFree()
	if e.journal == nil {
		if e.open(); e.journal == nil {
			return
		}
	}
	now := time.Now()
	c, pause := e.capacity(), e.pauseReason(now)
	if pause != "" {
		c.slots = 0
	}
	if e.serving >= c.slots { // the others can only be told why they wait
		if now.Before(e.nextPass) {
			e.wakeAt(e.nextPass)
			return
		}
		e.nextPass = now.Add(passPause)
	}
	var jobs []waiting
	running := map[ID]waiting{}
	needsMemory := false
	for id, t := range e.tasks {
		switch w := e.waiting(t); {
		case t.serving:
			running[id] = w
		case (t.accepted || t == fresh) && !t.active:
			jobs = append(jobs, w)
			needsMemory = needsMemory || w.memory > 0
		}
	}
	if needsMemory {
		c.room, c.limited = e.opts.Host.Room()
	}
	if e.brake.failures >= e.config().Brake {
		c.slots = min(c.slots, len(running)+1) // one is tried
	}
	verdicts, next := decide(now, jobs, running, c)
	for id, v := range verdicts {
		t := e.tasks[id]
		switch {
		case v.skip && t != fresh:
			t.active = true
			go e.end(t, func(j *Job) { // ends when the end is on disk
				j.State, j.Reason = Skipped, fmt.Sprintf("did not begin within %v", time.Duration(j.Spec.StartWithin))
			})
		case v.start:
			t.active = true
			e.serve(t, true)
			e.attempts.Add(1)
			if !e.brake.until.IsZero() {
				e.brake.until = now.Add(brakeTime) // until it is known whether this one could be started
			}
			if t != fresh {
				go e.attempt(t) // ends with the attempt
			}
		case orElse(pause, v.waiting) != t.job.Waiting:
			e.set(t, func(j *Job) { j.Waiting = orElse(pause, v.waiting) })
		}
	}
	if e.brake.until.After(now) && (next.IsZero() || e.brake.until.Before(next)) {
		next = e.brake.until
	}
	if !next.IsZero() {
		e.wakeAt(next)
	}
}

// capacity is what the configuration allows.
func (e *Executor) capacity() capacity {
	c := capacity{slots: e.config().Slots, classes: map[string]int{}}
	for name, class := range e.config().Classes {
		if class.Slots > 0 {
			c.classes[name] = class.Slots
		}
	}
	return c
}

// passPause is the time between two passes over the queue while no job can be started.
const passPause = 50 * time.Millisecond

// wakeAt has dispatch called at a time. mu is held.
func (e *Executor) wakeAt(t time.Time) { e.wake.Reset(max(time.Until(t), 0)) }

// pauseReason is why no job is started; empty: jobs are. mu is held.
func (e *Executor) pauseReason(now time.Time) string {
	switch {
	case e.stopped:
		return "the container stops"
	case e.closed() != "":
		return e.closed()
	case e.paused != "":
		return "paused by " + e.paused
	}
	return e.brake.reason(now)
}

// closed is why no job is accepted; empty: jobs are. mu is held.
func (e *Executor) closed() string {
	if e.draining == "" && e.config().Slots == 0 {
		return "executor.slots is 0"
	}
	return e.draining
}

// waiting describes a task to the queue. mu is held.
func (e *Executor) waiting(t *task) waiting {
	s := t.job.Spec.withDefaults(e.config())
	w := waiting{id: t.job.ID, priority: s.Priority, class: s.Class, serial: s.Serial, notBefore: s.NotBefore}
	if s.Memory != "" {
		w.memory, _ = jvm.ParseMemory(s.Memory) // it was checked
	}
	if t.job.NextAttempt.After(w.notBefore) {
		w.notBefore = t.job.NextAttempt
	}
	if s.StartWithin > 0 && t.job.Attempt == 0 {
		w.startBy = t.job.Accepted.Add(time.Duration(s.StartWithin))
	}
	return w
}

// end puts a job into its final state. Only one goroutine may call it for a task.
func (e *Executor) end(t *task, change func(*Job)) {
	e.mu.Lock()
	e.set(t, func(j *Job) {
		j.Ended, j.Waiting, j.Pid, j.NextAttempt, j.Spec.Stdin = time.Now().UTC(), "", 0, time.Time{}, nil
		change(j)
	})
	begun := t.job.Attempt > 0
	e.mu.Unlock()
	job := e.record(journal.Ended, t)
	e.mu.Lock()
	e.ended[job.State]++
	t.streams = nil
	e.forget(t)
	if e.toExpire++; e.toExpire >= expireAfter {
		e.toExpire = 0
		go e.expire() // ends when the old jobs are dropped
	}
	e.mu.Unlock()
	close(t.recorded)
	if begun {
		e.publish(lifecycle.JobFinished, &job)
	}
	e.dispatch()
}

// recordPause is the time between two attempts to write a state that must not be lost.
const recordPause = time.Second

// record writes the state of a job and returns it. It does not give up: the disk may be full for a while.
func (e *Executor) record(kind journal.Kind, t *task) (job Job) {
	for warned := false; ; {
		e.mu.Lock()
		err := e.available()
		var commit *journal.Commit
		if err == nil {
			commit = e.append(kind, t.job)
		}
		job = t.job
		e.mu.Unlock()
		if commit != nil {
			if err = commit.Wait(); err == nil {
				return job
			}
			e.mu.Lock()
			e.closeBroken()
			e.mu.Unlock()
		}
		if !warned {
			e.opts.Log.Error("the state of a job is not on disk yet", "job", job.ID, "state", job.State, "error", err)
			warned = true
		}
		<-time.After(recordPause)
	}
}

func (e *Executor) publish(event lifecycle.Event, job *Job) {
	o := lifecycle.Occurrence{Event: event, Service: orElse(job.Spec.Key, job.ID.String()), Attempt: job.Attempt, Pid: job.Pid,
		Reason: job.Reason, At: time.Now()}
	if x := job.Exit; event == lifecycle.JobFinished && x != nil {
		o.Signal, o.OOM = x.Signal, x.OOMKilled
		if x.Signal == "" && x.Code >= 0 {
			o.ExitCode = &x.Code
		}
	}
	e.opts.Host.Publish(o)
}
