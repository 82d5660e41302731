package incident

import (
	"fmt"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

// Exit is how a process ended.
type Exit struct {
	Code int `json:"code"` // -1 when a signal ended it
	// NotStarted is set if there was no process; Code is what a shell would report.
	NotStarted bool           `json:"not_started,omitempty"`
	Signal     syscall.Signal `json:"signal,omitempty"` // 0: it exited
	Core       bool           `json:"core,omitempty"`
	Asked      string         `json:"stop_requested,omitempty"` // who requested the stop; empty: it was not requested
	At         time.Time      `json:"at"`
	Success    bool           `json:"success"`
}

// String describes the exit.
func (e *Exit) String() string {
	switch {
	case e.NotStarted:
		return "not started"
	case e.Signal != 0 && e.Core:
		return fmt.Sprintf("killed by signal %d (%s), core dumped", int(e.Signal), proc.SignalName(e.Signal))
	case e.Signal != 0:
		return fmt.Sprintf("killed by signal %d (%s)", int(e.Signal), proc.SignalName(e.Signal))
	default:
		return fmt.Sprintf("exit code %d", e.Code)
	}
}

// Status is the exit code that a shell reports.
func (e *Exit) Status() int {
	if e.Signal != 0 {
		return 128 + int(e.Signal)
	}
	return e.Code
}

// Killed reports whether SIGKILL ended it, or the child of a shell that reports that.
func (e *Exit) Killed() bool { return e.Status() == 128+int(syscall.SIGKILL) }
