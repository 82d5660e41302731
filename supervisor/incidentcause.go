package supervisor

import (
	"fmt"
	"slices"
	"syscall"
)

// OOMCount is a reading of a cgroup's counter of OOM kills.
type OOMCount struct {
	Count  uint64 `json:"count"`
	Source string `json:"source"` // the files; empty: it cannot be read
}

// rose says how many processes were killed between two readings of the same
// counter; 0 also where that cannot be known.
func (before OOMCount) rose(after OOMCount) uint64 {
	if before.Source == "" || before.Source != after.Source || after.Count < before.Count {
		return 0
	}
	return after.Count - before.Count
}

// Death is what the state machine knows of the end of a start or a run.
type Death struct {
	// State is the one in which the end came.
	State State
	// Exit is how the process ended; nil: nobody has seen it. NotStarted counts.
	Exit *Exit
	// GaveUp is why it was brought down by us, and Why in words; empty: it was not.
	GaveUp Cause // CauseStartTimeout, CauseFailedStart, CauseUnhealthy
	Why    string
	// Asked says that somebody had asked for the stop.
	Asked bool
	// Killed says that we had sent KILL to it.
	Killed bool
	// Signaled says that we had sent it the stop signal, whoever asked.
	Signaled bool
	// Expected says that an end with a success code is what the service is for: a
	// oneshot, or one whose policy does not start it again.
	Expected bool
	// Left are the processes that it left behind; empty: none.
	Left string
	// Before is the cgroup's counter when it was started, After when it had ended.
	Before, After OOMCount
	// Found is what the evidence says.
	Found Findings
}

// Verdict is why it happened.
type Verdict struct {
	// Incident is false for an end that needs no explanation: somebody wanted it,
	// and it went as it should.
	Incident bool
	Cause    Cause
	Reason   string
	Notes    []string
}

// Classify finds the cause of an end. What the kernel counted comes before what
// the process said, and what we did ourselves before both.
func Classify(d Death) Verdict {
	v := Verdict{Incident: true, Notes: slices.Clone(d.Found.Notes)}
	kills := d.Before.rose(d.After)
	switch {
	case d.Exit != nil && d.Exit.NotStarted:
		v.Cause, v.Reason = CauseNotStarted, orText(d.Why, "it could not be started")
	case d.GaveUp != "":
		v.Cause, v.Reason = d.GaveUp, orText(d.Why, string(d.GaveUp))
		v.addFound(d.Found)
	case d.Exit == nil:
		v.Cause, v.Reason = CauseUnseen, orText(d.Why, "ended while no supervisor worked; nobody knows how")
		v.addFound(d.Found)
	case (d.Asked || d.Expected) && d.Exit.Success:
		v.Incident, v.Cause, v.Reason = false, plainCause(d.Exit), d.Exit.String()
	case d.Killed && d.Exit.Signal == syscall.SIGKILL:
		v.Cause, v.Reason = CauseStopTimeout, "did not stop in time and was killed"
		v.addFound(d.Found)
	case d.Left != "" && (d.Exit.Success || d.State == Starting && d.Exit.Status() == 0) && !stopped(d):
		v.Cause, v.Reason = CauseLeft, d.howEnded()+", and it left processes behind, which are ended: "+d.Left+backgroundHint
	case killedFromOutside(d.Exit) && kills > 0:
		v.Cause = CauseOOMKill
		v.Reason = fmt.Sprintf("killed by the kernel's OOM killer: the memory limit of the cgroup was reached (%s: oom_kill %d -> %d)",
			d.After.Source, d.Before.Count, d.After.Count)
		kills--
		v.addFound(d.Found)
	case d.Found.Cause != "" && !stopped(d):
		v.Cause, v.Reason = d.Found.Cause, orText(d.Found.Reason, string(d.Found.Cause))
	default:
		v.Cause, v.Reason = plainCause(d.Exit), d.howEnded()
		if d.Found.Reason != "" {
			v.Reason += ": " + d.Found.Reason
		}
		if d.Exit.Signal == syscall.SIGKILL {
			v.Notes = append(v.Notes, whoKills(d))
		}
	}
	if d.Left != "" && v.Incident && v.Cause != CauseLeft {
		v.Notes = append(v.Notes, "it left processes behind, which are ended: "+d.Left)
	}
	if kills > 0 && v.Incident {
		v.Notes = append(v.Notes, fmt.Sprintf("a process of the cgroup was killed by the kernel's OOM killer meanwhile (%s: oom_kill %d -> %d)",
			d.After.Source, d.Before.Count, d.After.Count))
	}
	return v
}

// backgroundHint asks what usually leaves processes behind.
const backgroundHint = "\nhint: does the program put itself into the background? Its first process must stay: `catalina.sh run` instead of" +
	" `catalina.sh start`, `nginx -g 'daemon off;'`, no & at the end"

// howEnded is the exit, and whether it came too early.
func (d Death) howEnded() string {
	if d.State == Starting {
		return d.Exit.String() + " before it was ready"
	}
	return d.Exit.String()
}

// proven says whether nothing that a program writes can explain it better.
func (c Cause) proven() bool {
	return c == CauseOOMKill || c == CauseJVMMemory || c == CauseJVMCrash
}

// addFound keeps what the evidence says where another cause counts.
func (v *Verdict) addFound(f Findings) {
	if f.Reason != "" && f.Reason != v.Reason {
		v.Notes = append(v.Notes, f.Reason)
	}
}

// killedFromOutside says whether SIGKILL ended it, also if it is a shell's word
// for the end of its child.
func killedFromOutside(x *Exit) bool {
	return x.Signal == syscall.SIGKILL || x.Signal == 0 && x.Code == 128+int(syscall.SIGKILL)
}

// stopped says whether it ended by our signal, as it should.
func stopped(d Death) bool { return d.Signaled && d.Exit.Signal == 0 && d.Exit.Success }

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

// whoKills says what else sends SIGKILL.
func whoKills(d Death) string {
	const who = "stoker has not sent this signal: it came from outside of the container, or from another process in it"
	if d.Before.Source == "" || d.Before.Source != d.After.Source {
		return who + ", or from the kernel's OOM killer, whose counter cannot be read here"
	}
	return fmt.Sprintf("%s; it was not the OOM killer of this cgroup (%s: oom_kill is still %d)", who, d.After.Source, d.After.Count)
}

func orText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
