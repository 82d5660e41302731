package supervisor

// Phase is a part of STOPPING, or what STARTING waits for. Phases follow each other in
// this order; those that a stop does not need are left out.
type Phase int

// Phases.
const (
	PhaseBegin       Phase = iota // nothing has been done yet
	PhaseWaiting                  // other services must start, or stop, first
	PhaseHooks                    // pre-start or pre-stop hooks run
	PhaseDrain                    // stop.drain: the container is not ready any more
	PhaseHangDump                 // a JVM that hangs makes a thread dump before anything changes
	PhaseCommand                  // the stop command runs
	PhaseCommandDone              // it has succeeded, and its effect is awaited
	PhaseSignal                   // the stop signal was sent
	PhaseDump                     // a JVM that does not stop makes a thread dump
	PhaseKill                     // SIGKILL was sent
)

// String is the phase as the status shows it.
func (p Phase) String() string {
	return [...]string{"begins", "waits", "pre-stop hooks", "drains", "thread dump of a hang", "stop command", "stop command done",
		"signal sent", "thread dump", "killed"}[p]
}

// phaseRule is what an event does in a phase of STOPPING.
type phaseRule struct {
	phase Phase
	event Event
	rule
}

// stopPhases are the transitions between the phases of STOPPING. In any other phase the
// events that are listed here have no effect.
func stopPhases() []phaseRule {
	const terminates = "STOPPING (stop command), or (signal sent) without one"
	return []phaseRule{
		{PhaseBegin, EvAttached, rule{(*Service).attached, terminates}},
		{PhaseBegin, EvDeadline, rule{(*Service).beginDeadline, terminates}},
		{PhaseWaiting, EvUnblocked, rule{(*Service).unblockStop, "STOPPING (pre-stop hooks)"}},
		{PhaseWaiting, EvDeadline, rule{(*Service).waitingDeadline, "STOPPING (pre-stop hooks)"}},
		{PhaseHooks, EvHooksDone, rule{(*Service).stopHooksDone, "STOPPING (drains)"}},
		{PhaseHooks, EvDeadline, rule{(*Service).hooksDeadline, "STOPPING (drains)"}},
		{PhaseDrain, EvDeadline, rule{(*Service).drainDeadline, "STOPPING (thread dump of a hang), else (stop command) or (signal sent)"}},
		{PhaseHangDump, EvDeadline, rule{(*Service).beginDeadline, terminates}},
		{PhaseCommand, EvAttached, rule{(*Service).attached, "STOPPING (stop command), which is run again"}},
		{PhaseCommand, EvStopCommandDone, rule{(*Service).stopCommandDone, "STOPPING (stop command done); (signal sent) if it failed"}},
		{PhaseCommand, EvDeadline, rule{(*Service).commandDeadline, "STOPPING (signal sent)"}},
		{PhaseCommandDone, EvDeadline, rule{(*Service).commandDoneDeadline, "STOPPING (signal sent)"}},
		{PhaseSignal, EvDeadline, rule{(*Service).killDeadline, "STOPPING (thread dump), or (killed) where none can be made"}},
		{PhaseDump, EvDeadline, rule{(*Service).killDeadline, "STOPPING (killed)"}},
		{PhaseKill, EvDeadline, rule{(*Service).killDeadline, "STOPPING (killed), again"}},
	}
}

// inPhase returns the rule of an event in a phase of STOPPING.
func inPhase(phase Phase, ev Event) rule {
	for _, r := range stopPhases() {
		if r.phase == phase && r.event == ev {
			return r.rule
		}
	}
	if ev == EvAttached {
		return rule{(*Service).attached, ""}
	}
	return nothing()
}
