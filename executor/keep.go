package executor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/stoker-init/stoker/executor/journal"
	"github.com/stoker-init/stoker/executor/workspace"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/jvm"
)

// When old jobs are dropped: this often, and after so many have ended.
const (
	expireEvery = 10 * time.Minute
	expireAfter = 1000
)

// expireLater drops old jobs from time to time until the container stops. mu is held.
func (e *Executor) expireLater() {
	time.AfterFunc(expireEvery, func() {
		e.expire()
		e.mu.Lock()
		defer e.mu.Unlock()
		if !e.stopped {
			e.expireLater()
		}
	})
}

// expire drops what exceeds Config.Keep: jobs, and while their files are too large, the older half of the rest.
func (e *Executor) expire() {
	keep := e.config().Keep
	most, err := jvm.ParseMemory(keep.Size)
	limits := journal.Limits{Before: time.Now().Add(-keep.For), Entries: keep.Jobs, Bytes: most}
	for err == nil && limits.Entries > 0 {
		var gone []uint64
		e.mu.Lock()
		j := e.journal
		e.mu.Unlock()
		if j == nil {
			return
		}
		gone, err = j.Expire(limits)
		stats := j.Stats()
		for _, id := range gone {
			e.removeFiles(ID(id))
		}
		if e.fileSize() <= most {
			break
		}
		limits.Entries = (stats.Entries - stats.Unfinished) / 2
	}
	if err != nil && !errors.Is(err, journal.ErrClosed) { // the next one drops them
		e.opts.Log.Error("cannot drop old jobs", "error", err)
	}
}

// removeFiles removes the outputs and the artifacts of a job.
func (e *Executor) removeFiles(id ID) {
	err := os.RemoveAll(filepath.Join(e.folder(artifactFolder), id.String()))
	for _, stream := range []int{logs.Stdout, logs.Stderr} {
		if removeErr := os.Remove(e.outputPath(id, stream)); !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}
	if err != nil {
		e.opts.Log.Warn("cannot remove the files of an old job", "job", id, "error", err)
	}
}

// fileSize is the space that outputs and artifacts take, in bytes.
func (e *Executor) fileSize() (total int64) {
	for _, dir := range []string{outputFolder, artifactFolder} {
		total += workspace.DiskUsage(e.folder(dir), 1<<62)
	}
	return total
}
