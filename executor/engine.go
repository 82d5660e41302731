package executor

import (
	"time"

	"github.com/stoker-init/stoker/executor/journal"
)

// Origin is where a job comes from, for the adapters of engines. It is no part of the Spec: a second delivery of the same job may
// differ in it.
type Origin struct {
	// Engine is the name of the engine, such as "nats"; empty: the job came through the API, or from a schedule.
	Engine string `json:"engine,omitempty"`
	// Data are the adapter's own, at most 64 KiB. The journal keeps them with the job; the API does not show them.
	Data string `json:"data,omitempty"`
}

// maxOrigin is the largest size of Origin.Data, in bytes.
const maxOrigin = 64 << 10

// Reported notes that Job.Origin.Engine has the final state of a job. It does not wait for the disk: after a crash the engine may be
// told again.
func (e *Executor) Reported(id ID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.available(); err != nil {
		return err
	}
	job, task, err := e.find(id)
	switch {
	case err != nil:
		return err
	case task != nil:
		return ErrNotFinal
	case job.Reported || job.damaged():
		return nil
	}
	job.Reported = true
	e.append(journal.Ended, job)
	return nil
}

// Free returns how many more jobs would start at once. changed is closed when that may differ.
func (e *Executor) Free() (slots int, changed <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tellFree(); e.freeChanged == nil {
		e.freeChanged = make(chan struct{})
	}
	e.freeBefore = e.free(time.Now())
	return e.freeBefore, e.freeChanged
}

// free counts the slots that no job has or is about to get. mu is held.
func (e *Executor) free(now time.Time) int {
	if e.journal == nil || e.pauseReason(now) != "" {
		return 0
	}
	slots, ready := e.config().Slots, 0
	if e.serving >= slots {
		return 0
	}
	for _, t := range e.tasks {
		switch {
		case t.serving:
			slots--
		case !e.waiting(t).notBefore.After(now):
			ready++
		}
	}
	if e.brake.failures >= e.config().Brake {
		slots = min(slots, 1) // one is tried
	}
	return max(slots-ready, 0)
}

// tellFree wakes those that wait for a slot. mu is held.
func (e *Executor) tellFree() {
	if e.freeChanged != nil && e.free(time.Now()) != e.freeBefore {
		close(e.freeChanged)
		e.freeChanged = nil
	}
}
