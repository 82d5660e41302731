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
