package executor

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A stop of a job that waits returns with its ctx while the journal cannot be written, and is carried out later.
func TestStopWhileJournalFails(t *testing.T) {
	e, _ := newExecutor(t, nil)
	job := submit(t, e, Spec{NotBefore: time.Now().Add(time.Hour)})
	e.mu.Lock()
	if err := e.journal.Close(); err != nil { // as if the disk had failed
		t.Error(err)
	}
	e.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := e.StopJob(ctx, job.ID, StopRequest{By: "me"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	want(t, await(t, e, job.ID), Killed)
}
