// Package logqueue writes stoker's own log without waiting for its reader.
package logqueue

import (
	"io"
	"time"
)

// Queue writes lines to a stderr that may stall: they wait in a bounded queue. If it is full
// the oldest line is dropped, and the next one written says so.
type Queue struct{ entries chan entry }

// entry is a line, or a step between two lines.
type entry struct {
	line []byte
	wait func() // is called before the next line is written
	done chan<- struct{}
}

// New starts the writer of a queue of size lines. It ends with the process.
func New(w io.Writer, size int) *Queue {
	q := &Queue{entries: make(chan entry, size)}
	go func() {
		for e := range q.entries {
			switch {
			case e.wait != nil:
				e.wait()
			case e.done != nil:
				close(e.done)
			default:
				_, _ = w.Write(e.line) // an error cannot be reported anywhere
			}
		}
	}()
	return q
}

// Write queues one line. It never fails.
func (q *Queue) Write(line []byte) (int, error) {
	line = append([]byte(nil), line...)
	select {
	case q.entries <- entry{line: line}:
		return len(line), nil
	default:
	}
	select { // full: drop the oldest
	case <-q.entries:
	default:
	}
	marked := append([]byte("(lines of stoker's own log were dropped before this one: stderr is not read) "), line...)
	select {
	case q.entries <- entry{line: marked}:
	default:
	}
	return len(line), nil
}

// Flush waits, for a limited time, until the queue is written.
func (q *Queue) Flush(limit time.Duration) {
	deadline := time.After(limit)
	done := make(chan struct{})
	select {
	case q.entries <- entry{done: done}:
	case <-deadline:
		return
	}
	select {
	case <-done:
	case <-deadline:
	}
}

// After delays the following lines until f returns.
func (q *Queue) After(f func()) {
	select {
	case q.entries <- entry{wait: f}:
	default: // full: the log is not read, so the order does not matter
	}
}
