package supervisor

// State is where a service is in its life; the names are Supervisord's.
type State string

// States. Running means that readiness was proven, not that a process exists.
const (
	Stopped  State = "STOPPED"
	Starting State = "STARTING"
	Running  State = "RUNNING"
	Delayed  State = "BACKOFF"
	Stopping State = "STOPPING"
	Exited   State = "EXITED"
	Fatal    State = "FATAL"
)

// States lists them all.
func States() []State {
	return []State{Stopped, Starting, Running, Delayed, Stopping, Exited, Fatal}
}

// Event is what can happen to a service.
type Event string

// Events. A failed start is an event like any other: no state is left without
// a way out.
const (
	EvStart     Event = "start"      // somebody wants it up
	EvStop      Event = "stop"       // somebody wants it down
	EvRestart   Event = "restart"    // somebody wants it anew
	EvChanged   Event = "changed"    // its configuration is another one
	EvReleased  Event = "released"   // what it waited for is there, or gone
	EvHooked    Event = "hooked"     // the hooks that come first are through
	EvSpawned   Event = "spawned"    // what to start is known
	EvNotBorn   Event = "not born"   // it could not be started
	EvAttached  Event = "attached"   // what belongs to a process that runs already is known
	EvReady     Event = "ready"      // readiness is proven
	EvUnready   Event = "not ready"  // a look at readiness failed
	EvFailed    Event = "failed"     // it said itself that it will never be ready
	EvSick      Event = "sick"       // a look at liveness failed
	EvWell      Event = "well"       // a look at liveness went well after one that failed
	EvDebugger  Event = "debugger"   // a debugger is waited for, has come or has gone
	EvComplaint Event = "complaint"  // something is wrong with it, and it did not end of that
	EvOutlived  Event = "outlived"   // it runs, and for so long that its start is no reason to end any more
	EvAsked     Event = "asked"      // the stop command has ended
	EvExited    Event = "exited"     // its process has ended
	EvGroupGone Event = "group gone" // and every other process of it too
	EvDeadline  Event = "deadline"   // the state's own time is over
)

// Events lists them all.
func Events() []Event {
	return []Event{EvStart, EvStop, EvRestart, EvChanged, EvReleased, EvHooked, EvSpawned, EvNotBorn, EvAttached, EvReady, EvUnready,
		EvFailed, EvSick, EvWell, EvDebugger, EvComplaint, EvOutlived, EvAsked, EvExited, EvGroupGone, EvDeadline}
}
