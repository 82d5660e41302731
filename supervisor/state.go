package supervisor

// State is where a service is in its life; the names are Supervisord's.
type State string

// States. Running means that readiness was proven, not that a process exists.
const (
	Stopped  State = "STOPPED"
	Starting State = "STARTING"
	Running  State = "RUNNING"
	Backoff  State = "BACKOFF"
	Stopping State = "STOPPING"
	Exited   State = "EXITED"
	Fatal    State = "FATAL"
)

// States lists them all.
func States() []State {
	return []State{Stopped, Starting, Running, Backoff, Stopping, Exited, Fatal}
}

// rests reports whether a service stays in a state until a start is asked for; retried says that the state has a deadline.
func (st State) rests(retried bool) bool {
	return st == Stopped || st == Exited || st == Fatal && !retried
}

// Event is what can happen to a service.
type Event string

// Events. A failed start is an event like any other: no state is left without a way out.
const (
	EvStart           Event = "start"             // requested
	EvStop            Event = "stop"              // requested
	EvRestart         Event = "restart"           // requested
	EvReconfigured    Event = "reconfigured"      // it has another configuration
	EvUnblocked       Event = "unblocked"         // the services that it waits for have changed
	EvHooksDone       Event = "hooks done"        // the hooks that it waits for have ended
	EvPrepared        Event = "prepared"          // what to start is known
	EvSpawnFailed     Event = "spawn failed"      // there is no process
	EvAttached        Event = "attached"          // the Launch of a process of an earlier supervisor is known
	EvReady           Event = "ready"             // readiness is proven
	EvNotReady        Event = "not ready"         // a readiness check failed
	EvFailureFound    Event = "failure found"     // its output says that it will never be ready
	EvLiveFailed      Event = "live failed"       // a liveness check failed
	EvLiveOK          Event = "live ok"           // a liveness check succeeded after one that failed
	EvDebugger        Event = "debugger"          // a debugger is waited for, has attached or has detached
	EvHealthIssue     Event = "health issue"      // something is wrong with it, and it still runs
	EvStopCommandDone Event = "stop command done" // the stop command has ended
	EvExited          Event = "exited"            // its process has ended
	EvGroupEmpty      Event = "group empty"       // and every other process of it
	EvDeadline        Event = "deadline"          // the time of the state, or of the phase of a stop, is over
)

// Phase is a part of STOPPING, or what STARTING waits for, in this order.
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
