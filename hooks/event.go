// Package hooks runs what others want done at the moments of a container's and
// its services' lives, and bundles such hooks into plugins. It does not know how a
// service is started or when one is ready: it is told.
package hooks

import "slices"

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
