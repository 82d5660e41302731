package executor

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/stoker-init/stoker/executor/output"
	"github.com/stoker-init/stoker/internal/logs"
)

// outputPath is the file of a stream, logs.Stdout or logs.Stderr.
func (e *Executor) outputPath(id ID, stream int) string {
	return filepath.Join(e.folder(outputFolder), id.String()+"."+strconv.Itoa(stream))
}

// ReadOutput reads kept bytes of "stdout" or "stderr" of an attempt, from offset on; at is where they begin, behind a gap maybe.
// attempt 0 is the latest one, or the first if none has begun. With follow it waits for more; otherwise no bytes and no error mean
// that there are no more yet. io.EOF: the attempt has ended. ErrOtherAttempt: a later one has begun.
func (e *Executor) ReadOutput(ctx context.Context, id ID, stream string, attempt int, offset int64, follow bool, p []byte) (n int, at int64,
	err error) {
	which := map[string]int{"stdout": logs.Stdout, "stderr": logs.Stderr}[stream]
	if which == 0 {
		return 0, 0, fmt.Errorf("there is no stream %.40q: it is stdout or stderr", stream)
	}
	for {
		job, live, changed, err := e.outputOf(id, which)
		if err != nil {
			return 0, 0, err
		}
		if attempt == 0 {
			attempt = max(job.Attempt, 1)
		}
		info := job.Stdout
		if which == logs.Stderr {
			info = job.Stderr
		}
		over := job.State.Final()
		switch {
		case job.Attempt > attempt:
			return 0, 0, fmt.Errorf("%w: %d", ErrOtherAttempt, job.Attempt)
		case job.Attempt < attempt: // it has not begun
			n, at, err, live = 0, offset, io.EOF, nil
		default:
			over = over || job.State == Accepted || job.State == Queued
			n, at, err = output.Read(e.outputPath(id, which), info, offset, p)
		}
		if now, _, _, findErr := e.outputOf(id, which); findErr == nil && now.Attempt != job.Attempt {
			continue // the file may be that of the later one
		}
		switch {
		case err != io.EOF || over:
			return n, at, err
		case !follow:
			return 0, offset, nil
		}
		if live != nil {
			if err := live.Wait(ctx, offset); err == nil {
				continue
			} else if err != io.EOF {
				return 0, offset, err
			}
		}
		select { // the attempt is about to begin or to end
		case <-changed:
		case <-ctx.Done():
			return 0, offset, ctx.Err()
		}
	}
}

// outputOf returns a job, and if it has not ended, a channel that is closed when it changes and the stream that is captured; nil: none
// is.
func (e *Executor) outputOf(id ID, which int) (job Job, live *output.Stream, changed <-chan struct{}, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.available(); err != nil {
		return job, nil, nil, err
	}
	job, t, err := e.find(id)
	if t != nil {
		if changed = t.changed; t.streams != nil {
			live = t.streams[which-1]
		}
	}
	return job, live, changed, err
}

// Artifact opens an artifact of a job that has ended.
func (e *Executor) Artifact(id ID, name string) (*os.File, error) {
	job, err := e.Job(id.String())
	if err != nil {
		return nil, err
	}
	for k, a := range job.Artifacts {
		if a.Name == name && a.Error == "" {
			return os.Open(filepath.Join(e.folder(artifactFolder), id.String(), strconv.Itoa(k)))
		}
	}
	return nil, fmt.Errorf("job %s has no artifact %.60q: %w", id, name, os.ErrNotExist)
}
