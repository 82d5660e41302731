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

// ReadOutput reads kept bytes of "stdout" or "stderr" of an attempt from offset on; at is where they begin, behind a gap maybe. With
// follow it waits for more. io.EOF means that there is no more: the stream has ended, follow is not set, or a later attempt has
// begun, which replaces the output.
func (e *Executor) ReadOutput(ctx context.Context, id ID, stream string, attempt int, offset int64, follow bool, p []byte) (
	n int, at int64, err error) {
	which := map[string]int{"stdout": logs.Stdout, "stderr": logs.Stderr}[stream]
	if which == 0 {
		return 0, 0, fmt.Errorf("there is no stream %.40q: it is stdout or stderr", stream)
	}
	for {
		e.mu.Lock()
		if err := e.available(); err != nil {
			e.mu.Unlock()
			return 0, 0, err
		}
		job, t, err := e.find(id)
		if err != nil {
			e.mu.Unlock()
			return 0, 0, err
		}
		var live *output.Stream
		var changed <-chan struct{}
		if t != nil {
			if changed = t.changed; t.streams != nil {
				live = t.streams[which-1]
			}
		}
		e.mu.Unlock()
		info := job.Stdout
		if which == logs.Stderr {
			info = job.Stderr
		}
		if live != nil {
			info = live.Info()
		}
		n, err = 0, io.EOF
		if at = offset; job.Attempt == attempt {
			n, at, err = output.Read(e.outputPath(id, which), info, offset, p)
			if t != nil && e.snapshot(t).Attempt != attempt { // the file may have been that of the next one
				return 0, offset, io.EOF
			}
		}
		if err != io.EOF || !follow || job.attemptIsOver(attempt) {
			return n, at, err
		}
		if live != nil && job.Attempt == attempt {
			if err := live.Wait(ctx, at); err != nil {
				return 0, at, err
			}
			continue
		}
		select { // the attempt has not begun, or not got its streams
		case <-changed:
		case <-ctx.Done():
			return 0, offset, ctx.Err()
		}
	}
}

// attemptIsOver reports whether an attempt has ended and another one is waited for, has begun, or never will.
func (j *Job) attemptIsOver(attempt int) bool {
	return j.State.Final() || j.Attempt > attempt || j.Attempt == attempt && (j.State == Accepted || j.State == Queued)
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
