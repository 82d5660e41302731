// Package pid1 is the loop of the init. It reaps every child, relays signals, keeps the fd
// store that a restarted supervisor gets back, restarts the supervisor, and ends the
// container. It knows nothing of services, configuration or the API, and understands no
// item of the fd store but the stop plan. It imports no more than the standard library,
// x/sys and small packages of the same kind: it must not be able to fail.
//
//	init.go        the loop, signals, reaping
//	messages.go    the connection with the supervisor
//	events.go      exits and signals until the supervisor acknowledges them
//	supervisor.go  start, restart and end of the supervisor; watchdog.go finds one that hangs
//	binaries.go    another binary for supervisors, on trial
//	command.go     a plain command when no supervisor can be started
//	stopplan.go    a stop without a supervisor; killall.go ends what is left
package pid1
