package supervisor

import (
	"context"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// Listener gets the lifecycle events of the container and of its services. The
// occurrences of one service come in their order, and so does what follows from them.
type Listener interface {
	// Wants reports whether an event of a service has any hooks. It is called often and
	// does not wait.
	Wants(event lifecycle.Event, service string) bool
	// Tell publishes an occurrence and does not wait for its hooks. When it returns the
	// occurrence is kept, also for a later supervisor; one that is known has no effect.
	Tell(o lifecycle.Occurrence)
	// Await is Tell, and waits for the hooks, also for those of an occurrence that is
	// known. When ctx is done, which it may be at once, they are ended. The error says why
	// what follows the event must not.
	Await(ctx context.Context, o lifecycle.Occurrence) error
	// Settle waits for all hooks, and ends those that run when ctx is done.
	Settle(ctx context.Context)
	// Reserve is the part of a stop's budget that is needed when the services have stopped.
	Reserve(budget time.Duration) time.Duration
}

// setExit fills in how the process of an occurrence ended.
func setExit(o *lifecycle.Occurrence, x *incident.Exit) {
	switch {
	case x == nil:
	case x.Signal != 0:
		o.Signal = proc.SignalName(x.Signal)
	default:
		o.ExitCode = &x.Code
	}
}
