package supervisor

import (
	"fmt"
	"strings"
)

// rule is what an event does in a state, and in words where that leads.
type rule struct {
	do    func(*Service, happening)
	leads string
}

// nothing is the rule of an event that has no meaning in a state: it is of a
// start that is over, or there is no process that it could be about.
func nothing() rule { return rule{func(*Service, happening) {}, ""} }

// ruleOf is the state machine.
func ruleOf(st State, ev Event) rule {
	switch st {
	case Starting:
		return inStarting(ev)
	case Running:
		return inRunning(ev)
	case Stopping:
		return inStopping(ev)
	default:
		return atRest(st, ev)
	}
}

// atRest are the states without a process.
func atRest(st State, ev Event) rule {
	switch {
	case ev == EvStart:
		return rule{(*Service).start, "STARTING, counters 0"}
	case ev == EvRestart:
		return rule{(*Service).start, "STARTING, counters 0"}
	case ev == EvStop:
		return rule{(*Service).rest, "STOPPED"}
	case ev == EvChanged && (st == Delayed || st == Fatal):
		return rule{(*Service).changedFailed, "STARTING if the process would be another one"}
	case ev == EvChanged:
		return rule{(*Service).changed, string(st)}
	case ev == EvDeadline && (st == Delayed || st == Fatal):
		return rule{func(s *Service, _ happening) { s.restart() }, "STARTING"}
	}
	return nothing()
}

func inStarting(ev Event) rule {
	switch ev {
	case EvStart:
		return rule{func(*Service, happening) {}, "STARTING"}
	case EvStop:
		return rule{(*Service).stopAsked, "STOPPING, or STOPPED where there is no process yet"}
	case EvRestart:
		return rule{(*Service).restartAsked, "STOPPING, then STARTING"}
	case EvChanged:
		return rule{(*Service).changedUp, "STARTING; STOPPING, then STARTING if the process must be another one"}
	case EvReleased:
		return rule{(*Service).releasedStart, "STARTING: now its hooks run, then it is prepared"}
	case EvHooked:
		return rule{(*Service).startHooked, "STARTING: now it is prepared; BACKOFF, FATAL or EXITED if a hook forbids it"}
	case EvSpawned:
		return rule{(*Service).spawned, "STARTING: the process runs"}
	case EvNotBorn:
		return rule{(*Service).unborn, "BACKOFF; FATAL past the limit; EXITED by policy"}
	case EvAttached:
		return rule{(*Service).attached, "STARTING"}
	case EvReady:
		return rule{(*Service).proven, "RUNNING"}
	case EvUnready:
		return rule{(*Service).unready, "STARTING"}
	case EvDebugger:
		return rule{(*Service).debugged, "STARTING: its time stands still meanwhile"}
	case EvFailed:
		return rule{(*Service).saidFailed, "STOPPING, then BACKOFF"}
	case EvComplaint:
		return rule{(*Service).complainsEarly, "STOPPING, then BACKOFF if it is ill"}
	case EvExited:
		return rule{(*Service).exited, "BACKOFF; FATAL past the limit; EXITED by policy; STARTING if the start is to be another one; STOPPING first if it left processes behind"}
	case EvDeadline:
		return rule{(*Service).startTimeout, "STOPPING, then BACKOFF"}
	}
	return nothing()
}

func inRunning(ev Event) rule {
	switch ev {
	case EvStart:
		return rule{func(*Service, happening) {}, "RUNNING"}
	case EvStop:
		return rule{(*Service).stopAsked, "STOPPING"}
	case EvRestart:
		return rule{(*Service).restartAsked, "STOPPING, then STARTING"}
	case EvChanged:
		return rule{(*Service).changedUp, "RUNNING; STOPPING, then STARTING if the process must be another one"}
	case EvAttached:
		return rule{(*Service).attached, "RUNNING"}
	case EvSick:
		return rule{(*Service).sick, "RUNNING; after live.failures by live.then: STOPPING, then BACKOFF, or the container ends"}
	case EvWell:
		return rule{(*Service).well, "RUNNING"}
	case EvDebugger:
		return rule{(*Service).debugged, "RUNNING: failed liveness probes are only reported meanwhile"}
	case EvComplaint:
		return rule{(*Service).complains, "RUNNING; if it is ill by live.then: STOPPING, then BACKOFF, or the container ends"}
	case EvOutlived:
		return rule{(*Service).outlived, "RUNNING"}
	case EvExited:
		return rule{(*Service).exited, "BACKOFF; FATAL past the limit; EXITED by policy; STARTING if the start is to be another one; STOPPING first if it left processes behind"}
	case EvDeadline:
		return rule{(*Service).stable, "RUNNING: stable, counters 0"}
	}
	return nothing()
}

func inStopping(ev Event) rule {
	switch ev {
	case EvStart:
		return rule{(*Service).startAfterStop, "STOPPING, then STARTING"}
	case EvStop:
		return rule{(*Service).stopAsked, "STOPPING, then STOPPED"}
	case EvRestart:
		return rule{(*Service).restartAsked, "STOPPING, then STARTING"}
	case EvChanged:
		return rule{(*Service).changed, "STOPPING"}
	case EvReleased:
		return rule{(*Service).releasedStop, "STOPPING: now its hooks run, then it is asked to end"}
	case EvHooked:
		return rule{(*Service).stopHooked, "STOPPING: now it is asked to end"}
	case EvAttached:
		return rule{(*Service).attached, "STOPPING"}
	case EvAsked:
		return rule{(*Service).asked, "STOPPING; the signal is sent if the stop command failed"}
	case EvExited:
		return rule{(*Service).exited, "STOPPING: what else belongs to it must go too"}
	case EvGroupGone:
		return rule{(*Service).groupGone, "STOPPED, STARTING or BACKOFF: what was to follow"}
	case EvDeadline:
		return rule{(*Service).stopDeadline, "STOPPING: the next of hooks, drain, signal, thread dump, KILL"}
	}
	return nothing()
}

// Table is the state machine as a Markdown table: what each event leads to in
// each state. docs/reference/supervision.md holds it.
func Table() string {
	var b strings.Builder
	b.WriteString("| state | event | leads to |\n|---|---|---|\n")
	for _, st := range States() {
		var idle []string
		for _, ev := range Events() {
			r := ruleOf(st, ev)
			if r.leads == "" {
				idle = append(idle, string(ev))
				continue
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", st, ev, r.leads)
		}
		fmt.Fprintf(&b, "| %s | %s | nothing |\n", st, strings.Join(idle, ", "))
	}
	return b.String()
}
