package supervisor

import (
	"fmt"
	"slices"
	"strings"
)

// rule is what an event does in a state, and in words where that leads.
type rule struct {
	do    func(*Service, event)
	leads string
}

// nothing is the rule of an event that has no meaning in a state: it is of a
// start handles a requested start.
func nothing() rule { return rule{func(*Service, event) {}, ""} }

// ruleOf is the state machine.
func ruleOf(st State, phase Phase, ev Event) rule {
	switch st {
	case Starting:
		return inStarting(ev)
	case Running:
		return inRunning(ev)
	case Stopping:
		return inStopping(phase, ev)
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
		return rule{(*Service).enterStopped, "STOPPED"}
	case ev == EvReconfigured && (st == Backoff || st == Fatal):
		return rule{(*Service).retryWithConfig, "STARTING if the process would be started differently"}
	case ev == EvReconfigured:
		return rule{(*Service).saveConfig, string(st)}
	case ev == EvDeadline && (st == Backoff || st == Fatal):
		return rule{func(s *Service, _ event) { s.restart() }, "STARTING"}
	}
	return nothing()
}

// afterExit is what follows the end of a process that was not requested.
const afterExit = "BACKOFF; FATAL past the limit; EXITED by policy; STARTING if the next start is another variant; " +
	"STOPPING first if it left processes behind"

func inStarting(ev Event) rule {
	switch ev {
	case EvStart:
		return rule{func(*Service, event) {}, "STARTING"}
	case EvStop:
		return rule{(*Service).requestStop, "STOPPING, or STOPPED where there is no process yet"}
	case EvRestart:
		return rule{(*Service).requestRestart, "STOPPING, then STARTING"}
	case EvReconfigured:
		return rule{(*Service).applyConfig, "STARTING; STOPPING, then STARTING if the process must be started differently"}
	case EvUnblocked:
		return rule{(*Service).unblockStart, "STARTING: the pre-start hooks run"}
	case EvHooksDone:
		return rule{(*Service).startHooksDone, "STARTING: what to start is found out; BACKOFF, FATAL or EXITED if a hook forbids it"}
	case EvPrepared:
		return rule{(*Service).spawned, "STARTING: the process runs"}
	case EvSpawnFailed:
		return rule{(*Service).prepareFailed, "BACKOFF; FATAL past the limit; EXITED by policy"}
	case EvAttached:
		return rule{(*Service).attached, "STARTING"}
	case EvReady:
		return rule{(*Service).becameReady, "RUNNING"}
	case EvNotReady:
		return rule{(*Service).notReady, "STARTING"}
	case EvDebugger:
		return rule{(*Service).debuggerChanged, "STARTING: its deadline is suspended meanwhile"}
	case EvFailureFound:
		return rule{(*Service).failureFound, "STOPPING, then BACKOFF"}
	case EvHealthIssue:
		return rule{(*Service).healthIssueAtStart, "STOPPING, then BACKOFF if it makes the service unhealthy"}
	case EvExited:
		return rule{(*Service).exited, afterExit}
	case EvDeadline:
		return rule{(*Service).startTimedOut, "STOPPING, then BACKOFF"}
	}
	return nothing()
}

func inRunning(ev Event) rule {
	switch ev {
	case EvStart:
		return rule{func(*Service, event) {}, "RUNNING"}
	case EvStop:
		return rule{(*Service).requestStop, "STOPPING"}
	case EvRestart:
		return rule{(*Service).requestRestart, "STOPPING, then STARTING"}
	case EvReconfigured:
		return rule{(*Service).applyConfig, "RUNNING; STOPPING, then STARTING if the process must be started differently"}
	case EvAttached:
		return rule{(*Service).attached, "RUNNING"}
	case EvLiveFailed:
		return rule{(*Service).liveFailed, "RUNNING; after live.failures by live.then: STOPPING, then BACKOFF, or the container ends"}
	case EvLiveOK:
		return rule{(*Service).liveOK, "RUNNING"}
	case EvDebugger:
		return rule{(*Service).debuggerChanged, "RUNNING: failed liveness probes are only reported meanwhile"}
	case EvHealthIssue:
		return rule{(*Service).healthIssue, "RUNNING; if it makes the service unhealthy by live.then: STOPPING, then BACKOFF, or the container ends"}
	case EvConfirmed:
		return rule{(*Service).confirmed, "RUNNING"}
	case EvExited:
		return rule{(*Service).exited, afterExit}
	case EvDeadline:
		return rule{(*Service).stable, "RUNNING: stable, counters 0"}
	}
	return nothing()
}

// inStopping are the rules of STOPPING that do not depend on its phase.
func inStopping(phase Phase, ev Event) rule {
	switch ev {
	case EvStart:
		return rule{(*Service).startAfterStop, "STOPPING, then STARTING"}
	case EvStop:
		return rule{(*Service).requestStop, "STOPPING, then STOPPED"}
	case EvRestart:
		return rule{(*Service).requestRestart, "STOPPING, then STARTING"}
	case EvReconfigured:
		return rule{(*Service).saveConfig, "STOPPING"}
	case EvExited:
		return rule{(*Service).exited, "STOPPING: the rest of its processes must end too"}
	case EvGroupEmpty:
		return rule{(*Service).groupEmpty, "STOPPED, STARTING or BACKOFF: what was to follow"}
	}
	return inPhase(phase, ev)
}

// Table is the state machine as a Markdown table: what each event leads to in
// each state, and in each phase of STOPPING. docs/reference/supervision.md holds it.
func Table() string {
	var b strings.Builder
	b.WriteString("| state | event | leads to |\n|---|---|---|\n")
	for _, st := range States() {
		var idle []string
		for _, ev := range Events() {
			r := ruleOf(st, PhaseBegin, ev)
			switch inPhase := st == Stopping && slices.ContainsFunc(stopPhases(), func(p phaseRule) bool { return p.event == ev }); {
			case inPhase:
			case r.leads == "":
				idle = append(idle, string(ev))
			default:
				fmt.Fprintf(&b, "| %s | %s | %s |\n", st, ev, r.leads)
			}
		}
		if st == Stopping {
			for _, r := range stopPhases() {
				fmt.Fprintf(&b, "| %s (%s) | %s | %s |\n", st, r.phase, r.event, r.leads)
			}
		}
		fmt.Fprintf(&b, "| %s | %s | nothing |\n", st, strings.Join(idle, ", "))
	}
	return b.String()
}
