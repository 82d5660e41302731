package executor

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// brake holds back jobs after several failures in a row that any job would have had: a container that is short of disk or processes
// would take all work of a cluster, and fail it.
type brake struct {
	failures int
	why      string
	until    time.Time // no job is started before; zero: the brake is off
}

// brakeTime is the pause after which one job is tried.
const brakeTime = 10 * time.Second

// brakeOff notes that a job could be started. Its end, maybe hours later, says nothing of the next start.
func (e *Executor) brakeOff() {
	e.mu.Lock()
	was := e.brake
	e.brake = brake{}
	e.mu.Unlock()
	if !was.until.IsZero() {
		e.opts.Log.Info("jobs are started again")
		e.dispatch()
	}
}

// containerError is a failure before anything of the job's own matters, such as that of its workspace.
type containerError struct{ error }

// Unwrap returns the cause.
func (e containerError) Unwrap() error { return e.error }

// stopsAll reports whether a failed start says that other jobs cannot be started either. A program, interpreter, user or folder that
// is missing or forbidden says nothing of other jobs.
func stopsAll(err error) bool {
	if c := (containerError{}); errors.As(err, &c) {
		return true
	}
	var errno syscall.Errno
	shortages := []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.EROFS,
		syscall.EIO}
	return errors.As(err, &errno) && slices.Contains(shortages, errno)
}

// brakeOn counts an attempt that could not be started.
func (e *Executor) brakeOn(x *Exit) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.brake.failures++
	e.brake.why = x.Error
	if e.brake.failures >= e.config().Brake {
		if e.brake.until.IsZero() {
			e.opts.Log.Error("jobs are held back: none can be started here", "failures", e.brake.failures, "last", x.Error)
		}
		e.brake.until = time.Now().Add(brakeTime)
	}
}

// reason is why the brake holds jobs back; empty: it does not.
func (b *brake) reason(now time.Time) string {
	if !now.Before(b.until) {
		return ""
	}
	return fmt.Sprintf("%d jobs in a row could not be started, the last one because: %s", b.failures, b.why)
}
