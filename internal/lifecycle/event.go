// Package lifecycle names the events in the life of the container, of its services and of its jobs. It is the one list
// of them: services publish these events, hooks run at them, the journal records them. It publishes nothing itself.
package lifecycle

import "slices"

// Event is the name of a lifecycle event, as users write it.
type Event string

// Events, in the order of a life. A new one is a constant here, with its documentation, and its row in the table.
const (
	Init          Event = "init"           // before anything else in the container
	NetworkReady  Event = "network-ready"  // the container's network is configured
	PreStart      Event = "pre-start"      // before a start decides what to execute
	Started       Event = "started"        // the process runs; its readiness is unknown
	Ready         Event = "ready"          // readiness was proven: the service is RUNNING
	StartFailed   Event = "start-failed"   // a start ended, timed out or was refused before it was ready
	Unhealthy     Event = "unhealthy"      // the liveness check failed, or the service is degraded beyond its limit
	Degraded      Event = "degraded"       // RUNNING, but a part of the service does not work
	PreStop       Event = "pre-stop"       // the process lives and is about to be stopped
	Exited        Event = "exited"         // the process has ended, for whatever reason
	Fatal         Event = "fatal"          // the service has failed too often; once until it is stable or started by hand
	Stopped       Event = "stopped"        // every process of the service has ended; once for each pre-start
	Exit          Event = "exit"           // all services are stopped
	JobStarted    Event = "job-started"    // a job's process runs
	JobFinished   Event = "job-finished"   // a job's process has ended
	ConfigChanged Event = "config-changed" // another configuration is in force
	NetworkDrift  Event = "network-drift"  // the network differs from what netinit has configured
	LimitsChanged Event = "limits-changed" // the container has other limits
)

// Scope is whose life an event belongs to.
type Scope uint8

// Scopes.
const (
	ScopeContainer Scope = iota
	ScopeService
	ScopeJob
)

// trait is a property of an event; a set of them is their sum.
type trait uint8

const (
	blocking    trait = 1 << iota // what follows waits for the event's hooks
	failing                       // a hook with on_failure: fail makes what follows fail
	contributes                   // variables and options that its hooks output are applied
	ending                        // it also happens while the container stops
)

// row describes one event.
type row struct {
	event  Event
	scope  Scope
	traits trait
}

// table has the properties of every event.
var table = [...]row{
	{Init, ScopeContainer, blocking + failing + contributes},
	{NetworkReady, ScopeContainer, blocking + failing + contributes},
	{PreStart, ScopeService, blocking + failing + contributes},
	{Started, ScopeService, failing},
	{Ready, ScopeService, failing},
	{StartFailed, ScopeService, ending},
	{Unhealthy, ScopeService, 0},
	{Degraded, ScopeService, 0},
	{PreStop, ScopeService, blocking + ending},
	{Exited, ScopeService, ending},
	{Fatal, ScopeService, ending},
	{Stopped, ScopeService, ending},
	{Exit, ScopeContainer, blocking + ending},
	{JobStarted, ScopeJob, 0},
	{JobFinished, ScopeJob, ending},
	{ConfigChanged, ScopeContainer, 0},
	{NetworkDrift, ScopeContainer, 0},
	{LimitsChanged, ScopeContainer, 0},
}

// Count is the number of events.
const Count = len(table)

// Events lists all events in the order of a life.
func Events() (out []Event) {
	for _, r := range table {
		out = append(out, r.event)
	}
	return out
}

// Names lists the names of all events in the order of a life.
func Names() (out []string) {
	for _, e := range Events() {
		out = append(out, string(e))
	}
	return out
}

// Parse returns the event of a name.
func Parse(name string) (e Event, ok bool) { return Event(name), Event(name).Index() >= 0 }

// Index is the place of the event in Events; -1 if there is no such event.
func (e Event) Index() int {
	return slices.IndexFunc(table[:], func(r row) bool { return r.event == e })
}

// row returns the properties of the event, or none.
func (e Event) row() (r row) {
	if k := e.Index(); k >= 0 {
		r = table[k]
	}
	return r
}

func (e Event) has(t trait) bool { return e.row().traits&t != 0 }

// Scope is whose life the event belongs to.
func (e Event) Scope() Scope { return e.row().scope }

// OfService reports whether the event belongs to the life of a service.
func (e Event) OfService() bool { return e.Scope() == ScopeService }

// Blocking reports whether what follows waits for the event's hooks.
func (e Event) Blocking() bool { return e.has(blocking) }

// CanFail reports whether on_failure: fail has an effect for the event's hooks.
func (e Event) CanFail() bool { return e.has(failing) }

// Contributes reports whether variables and options that the event's hooks output are applied.
func (e Event) Contributes() bool { return e.has(contributes) }

// Ending reports whether the event also happens while the container stops.
func (e Event) Ending() bool { return e.has(ending) }
