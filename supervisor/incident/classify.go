package incident

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

// OOMCount is a reading of a cgroup's counter of OOM kills.
type OOMCount struct {
	Count  uint64 `json:"count"`
	Source string `json:"source"` // the files; empty: it cannot be read
}

// Rose returns how many processes were killed between two readings of the same counter; 0 also if that is unknown.
func (before OOMCount) Rose(after OOMCount) uint64 {
	if before.Source == "" || before.Source != after.Source || after.Count < before.Count {
		return 0
	}
	return after.Count - before.Count
}

// Failure is what is known of the end of a start or a run when it is noticed. It is
// part of a service's saved state: if the supervisor dies, the next one makes the incident.
type Failure struct {
	Service  string        `json:"service"`
	GaveUp   Cause         `json:"gave_up"`  // why we stopped it; empty: we did not
	Reason   string        `json:"reason"`   // why we stopped it, in words
	Starting bool          `json:"starting"` // it was not ready yet
	At       time.Time     `json:"at"`
	Start    uint64        `json:"start"` // number of the start
	Pid      int           `json:"pid"`   // 0: there was no process
	Ran      time.Duration `json:"ran"`
	Exit     *Exit         `json:"exit"`     // nil: it lives, or its exit is unknown
	Asked    string        `json:"asked"`    // who requested the stop; empty: it was not requested
	Killed   bool          `json:"killed"`   // we had sent KILL
	Signaled bool          `json:"signaled"` // we had sent the stop signal, or the stop command had ended
	From     int64         `json:"from"`     // where its output begins
	To       int64         `json:"to"`       // and where it ended
	Before   OOMCount      `json:"before"`   // of its cgroup at the start
	After    OOMCount      `json:"after"`    // and at the end
	Left     string        `json:"left"`     // the processes that it left behind; empty: none
	Found    Findings      `json:"found"`    // in its output
	Argv     []string      `json:"-"`
	Dir      string        `json:"-"`
	Evidence Evidence      `json:"-"` // nil: ProcessEvidence
	// Explain finds a better reason; empty: it finds none. A proven cause keeps its own. nil: nothing does.
	Explain func(context.Context) string `json:"-"`
}

// Verdict is the result of Classify.
type Verdict struct {
	// Incident is false for a requested end that went well.
	Incident bool
	Cause    Cause
	Reason   string
	Notes    []string
}

// Classify finds the cause of an end. What we did ourselves takes precedence over what
// the kernel counted, and that over what the process said.
func Classify(f Failure) Verdict {
	v := Verdict{Incident: true, Notes: slices.Clone(f.Found.Notes)}
	kills := f.Before.Rose(f.After)
	switch {
	case f.Exit != nil && f.Exit.NotStarted:
		v.Cause, v.Reason = CauseNotStarted, cmp.Or(f.Reason, "it could not be started")
	case f.GaveUp != "":
		v.Cause, v.Reason = f.GaveUp, cmp.Or(f.Reason, string(f.GaveUp))
		v.addFound(f.Found)
	case f.Exit == nil:
		v.Cause, v.Reason = CauseUnseen, cmp.Or(f.Reason, "ended while no supervisor worked; how is unknown")
		v.addFound(f.Found)
	case f.Asked != "" && f.Exit.Success:
		v.Incident, v.Cause, v.Reason = false, plainCause(f.Exit), f.Exit.String()
	case f.Killed && f.Exit.Signal == syscall.SIGKILL:
		v.Cause, v.Reason = CauseStopTimeout, "did not stop in time and was killed"
		v.addFound(f.Found)
	case f.Left != "" && (f.Exit.Success || f.Starting && f.Exit.Status() == 0) && !stopped(f):
		v.Cause, v.Reason = CauseLeft, f.howEnded()+", and it left processes behind, which are ended: "+f.Left+backgroundHint
	case f.Exit.Killed() && kills > 0:
		v.Cause = CauseOOMKill
		v.Reason = fmt.Sprintf("killed by the kernel's OOM killer: the memory limit of the cgroup was reached (%s: oom_kill %d -> %d)",
			f.After.Source, f.Before.Count, f.After.Count)
		kills--
		v.addFound(f.Found)
	case f.Found.Cause != "" && !stopped(f):
		v.Cause, v.Reason = f.Found.Cause, cmp.Or(f.Found.Reason, string(f.Found.Cause))
	default:
		v.Cause, v.Reason = plainCause(f.Exit), f.howEnded()
		if f.Found.Reason != "" {
			v.Reason += ": " + f.Found.Reason
		}
		if f.Exit.Signal == syscall.SIGKILL {
			v.Notes = append(v.Notes, otherKillers(f))
		}
	}
	if f.Left != "" && v.Incident && v.Cause != CauseLeft {
		v.Notes = append(v.Notes, "it left processes behind, which are ended: "+f.Left)
	}
	if kills > 0 && v.Incident {
		v.Notes = append(v.Notes, fmt.Sprintf("a process of the cgroup was killed by the kernel's OOM killer meanwhile (%s: oom_kill %d -> %d)",
			f.After.Source, f.Before.Count, f.After.Count))
	}
	return v
}

// backgroundHint names the usual reason of left processes.
const backgroundHint = "\nhint: does the program put itself into the background? Its first process must stay: `catalina.sh run` " +
	"instead of" +
	" `catalina.sh start`, `nginx -g 'daemon off;'`, no & at the end"

func (f Failure) howEnded() string {
	if f.Starting {
		return f.Exit.String() + " before it was ready"
	}
	return f.Exit.String()
}

// proven reports whether output of the program cannot explain it better.
func (c Cause) proven() bool {
	return c == CauseOOMKill || c == CauseJVMMemory || c == CauseJVMCrash
}

// addFound notes the reason of the evidence where another cause has precedence.
func (v *Verdict) addFound(found Findings) {
	if found.Reason != "" && found.Reason != v.Reason {
		v.Notes = append(v.Notes, found.Reason)
	}
}

func stopped(f Failure) bool { return f.Signaled && f.Exit.Signal == 0 && f.Exit.Success }

func plainCause(x *Exit) Cause {
	switch {
	case x.Signal != 0 && x.Core:
		return CauseCore
	case x.Signal != 0:
		return CauseSignal
	default:
		return CauseExit
	}
}

// otherKillers names what else sends SIGKILL.
func otherKillers(f Failure) string {
	const who = "stoker has not sent this signal: it came from outside of the container, or from another process in it"
	if f.Before.Source == "" || f.Before.Source != f.After.Source {
		return who + ", or from the kernel's OOM killer, whose counter cannot be read here"
	}
	return fmt.Sprintf("%s; it was not the OOM killer of this cgroup (%s: oom_kill is still %d)", who, f.After.Source, f.After.Count)
}

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
