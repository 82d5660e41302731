package pid1

import (
	"fmt"
	"io"
	"syscall"
	"time"
)

// logger writes the init's few lines. A reader of our stderr that stalls must not stall
// the init: lines are queued, and those that find the queue full are counted.
type logger struct {
	lines chan string
	done  chan struct{}
	lost  int
}

// newLogger starts the writing goroutine, which ends with close.
func newLogger(w io.Writer) *logger {
	l := &logger{lines: make(chan string, 64), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for line := range l.lines {
			io.WriteString(w, line)
		}
	}()
	return l
}

func (l *logger) printf(format string, args ...any) {
	line := "stoker: init: " + fmt.Sprintf(format, args...)
	if l.lost > 0 {
		line += fmt.Sprintf(" (%d lines before this one were lost: stderr was not read)", l.lost)
	}
	select {
	case l.lines <- line + "\n":
		l.lost = 0
	default:
		l.lost++
	}
}

// close waits a moment for the last lines to be written.
func (l *logger) close() {
	close(l.lines)
	select {
	case <-l.done:
	case <-time.After(100 * time.Millisecond):
	}
}

// describe is a wait status as text.
func describe(s syscall.WaitStatus) string {
	switch {
	case s.Signaled() && s.CoreDump():
		return fmt.Sprintf("killed by signal %d (%s), core dumped", s.Signal(), s.Signal())
	case s.Signaled():
		return fmt.Sprintf("killed by signal %d (%s)", s.Signal(), s.Signal())
	default:
		return fmt.Sprintf("exit code %d", s.ExitStatus())
	}
}
