package daemon

import (
	"io"
	"time"

	"github.com/stoker-init/stoker/internal/redact"
)

// logQueue lets the supervisor log to a stderr that may stall: lines wait in a
// bounded queue, and where it is full the oldest is lost and its place says so.
type logQueue struct{ entries chan logEntry }

// logEntry is a line, or the question whether everything before it is written.
type logEntry struct {
	line []byte
	wait func() // what must have happened before the lines behind it are written
	done chan<- struct{}
}

// newLogQueue starts the writer, which ends with the process.
func newLogQueue(w io.Writer) *logQueue {
	q := &logQueue{entries: make(chan logEntry, 512)}
	go func() {
		for e := range q.entries {
			if e.wait != nil {
				e.wait()
				continue
			}
			if e.done != nil {
				close(e.done)
				continue
			}
			_, _ = w.Write(e.line) // a reader that is gone has nobody to tell
		}
	}()
	return q
}

// Write queues one line without its secrets; hclog calls it once for each.
func (q *logQueue) Write(p []byte) (int, error) {
	line := []byte(redact.Text(string(p)))
	select {
	case q.entries <- logEntry{line: line}:
		return len(p), nil
	default:
	}
	select { // full: the oldest goes
	case <-q.entries:
	default:
	}
	lost := append([]byte("(lines of stoker's own log were dropped before this one: stderr is not read) "), line...)
	select {
	case q.entries <- logEntry{line: lost}:
	default:
	}
	return len(p), nil
}

// flush waits until what is queued is written, within a time.
func (q *logQueue) flush(within time.Duration) {
	deadline := time.After(within)
	done := make(chan struct{})
	select {
	case q.entries <- logEntry{done: done}:
	case <-deadline:
		return
	}
	select {
	case <-done:
	case <-deadline:
	}
}

// waitBefore has f waited for before what is logged from now on is written.
func (q *logQueue) waitBefore(f func()) {
	select {
	case q.entries <- logEntry{wait: f}:
	default: // full: nobody reads, and order does not matter
	}
}
