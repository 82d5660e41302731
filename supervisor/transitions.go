package supervisor

import (
	"fmt"
	"strings"
)

// rule is what an event does in a state, and in words where that leads.
type rule struct {
	do    func(*Service, event)
	leads string
}

// nothing is the rule of an event that has no meaning in a state: it is of a
// start that is over, or there is no process that it could be about.
func nothing() rule { return rule{func(*Service, event) {}, ""} }

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
		return rule{(*Service).exited, "BACKOFF; FATAL past the limit; EXITED by policy; STARTING if the next start is another variant; STOPPING first if it left processes behind"}
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
		return rule{(*Service).exited, "BACKOFF; FATAL past the limit; EXITED by policy; STARTING if the next start is another variant; STOPPING first if it left processes behind"}
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
		return rule{(*Service).requestStop, "STOPPING, then STOPPED"}
	case EvRestart:
		return rule{(*Service).requestRestart, "STOPPING, then STARTING"}
	case EvReconfigured:
		return rule{(*Service).saveConfig, "STOPPING"}
	case EvUnblocked:
		return rule{(*Service).unblockStop, "STOPPING: the pre-stop hooks run"}
	case EvHooksDone:
		return rule{(*Service).stopHooksDone, "STOPPING: the stop goes on"}
	case EvAttached:
		return rule{(*Service).attached, "STOPPING"}
	case EvStopCommandDone:
		return rule{(*Service).stopCommandDone, "STOPPING; the signal is sent if the stop command failed"}
	case EvExited:
		return rule{(*Service).exited, "STOPPING: the rest of its processes must end too"}
	case EvGroupEmpty:
		return rule{(*Service).groupEmpty, "STOPPED, STARTING or BACKOFF: what was to follow"}
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
