package hooks

import (
	"slices"
	"time"
)

// Event is a moment at which hooks run.
type Event string

// Events, in the order in which a life goes through them.
const (
	Init          Event = "init"           // of the container, before everything else
	NetworkReady  Event = "network-ready"  // the container's network is as it is to be
	PreStart      Event = "pre-start"      // before a service is started; may add to its environment and JVM options
	Started       Event = "started"        // its process runs; nothing is known of its readiness
	Ready         Event = "ready"          // its readiness is proven
	StartFailed   Event = "start-failed"   // it was not to be started, ended before it was ready, or was not ready in time
	Unhealthy     Event = "unhealthy"      // it is not alive any more, or ill
	Degraded      Event = "degraded"       // it runs, and a part of it does not work
	PreStop       Event = "pre-stop"       // its process lives and is to be stopped
	Exited        Event = "exited"         // its process has ended, however
	Fatal         Event = "fatal"          // it has failed too often
	Stopped       Event = "stopped"        // and so has everything else that belonged to it
	Exit          Event = "exit"           // of the container: all services are stopped
	JobStarted    Event = "job-started"    // a job's process runs
	JobFinished   Event = "job-finished"   // and has ended
	ConfigChanged Event = "config-changed" // another configuration is in force
)

// Events lists them all.
func Events() []Event {
	return []Event{Init, NetworkReady, PreStart, Started, Ready, StartFailed, Unhealthy, Degraded, PreStop, Exited, Fatal, Stopped, Exit,
		JobStarted, JobFinished, ConfigChanged}
}

// Blocking says whether what comes next waits for the event's hooks.
func (e Event) Blocking() bool {
	return slices.Contains([]Event{Init, NetworkReady, PreStart, PreStop, Exit}, e)
}

// OfService says whether it is an event of a service's life. The others are of the
// container or of a job.
func (e Event) OfService() bool {
	return slices.Contains([]Event{PreStart, Started, Ready, StartFailed, Unhealthy, Degraded, PreStop, Exited, Fatal, Stopped}, e)
}

// ends says whether an event is one that comes when things end, also while the
// container stops.
func (e Event) ends() bool {
	return slices.Contains([]Event{PreStop, Exited, Fatal, Stopped, StartFailed, Exit, JobFinished}, e)
}

// givesToStart says whether variables and options that hooks of an event give
// count for anything.
func (e Event) givesToStart() bool { return e == Init || e == NetworkReady || e == PreStart }

// CanFail says whether on_failure: fail of one of its hooks means anything.
func (e Event) CanFail() bool { return e.givesToStart() || e == Started || e == Ready }

// Occasion is an event as it happens.
type Occasion struct {
	Event   Event  `json:"event"`
	Service string `json:"service,omitempty"` // or the job's name; empty: of the container
	// Start numbers the service's starts. With Service and Event it says which
	// occasion it is: one that is told again is not gone through again.
	Start    uint64 `json:"start,omitempty"`
	Attempt  int    `json:"attempt,omitempty"` // starts in a row without a stable time, from 1
	Pid      int    `json:"pid,omitempty"`     // 0: there is or was no process
	Port     int    `json:"port,omitempty"`    // of the service's readiness; 0: not known
	ExitCode *int   `json:"exit_code,omitempty"`
	Signal   string `json:"signal,omitempty"` // that ended it: "KILL"; empty: it exited, or lives
	OOM      bool   `json:"oom,omitempty"`    // the kernel's OOM killer ended it
	Reason   string `json:"reason,omitempty"`
	// Expected says of exited and stopped whether that was to come; nil: not known.
	Expected *bool     `json:"expected,omitempty"`
	At       time.Time `json:"at"`
	// Until is when everything must be over; zero: each hook has its own timeout only.
	Until time.Time `json:"until,omitzero"`
	// Budget is that of the stop that it belongs to; 0: of none.
	Budget time.Duration `json:"budget,omitempty"`
}

