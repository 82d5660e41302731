package supervisor

import (
	"context"
	"time"

	"github.com/stoker-init/stoker/supervisor/incident"
)

// Stage is a point of the container's or a service's life at which others may act.
type Stage string

// Stages. The names are those of the events that users know.
const (
	StageInit         Stage = "init"          // of the container, before anything is started
	StageNetworkReady Stage = "network-ready" // of the container
	StagePreStart     Stage = "pre-start"     // before a start finds out what to start
	StageStarted      Stage = "started"       // the process runs
	StageReady        Stage = "ready"         // RUNNING
	StageStartFailed  Stage = "start-failed"  // a start that nobody stopped and that did not become RUNNING
	StageUnhealthy    Stage = "unhealthy"     // not alive any more, or ill
	StageDegraded     Stage = "degraded"      // it is RUNNING, and a part of it does not work
	StagePreStop      Stage = "pre-stop"      // the process lives and is to be stopped
	StageExited       Stage = "exited"        // the process has ended
	StageFatal        Stage = "fatal"         // it has failed too often; once until it is stable or started by hand
	StageStopped      Stage = "stopped"       // and everything else of it; once for each pre-start
	StageExit         Stage = "exit"          // of the container: all is stopped
)

// Moment tells that a stage was reached. Service, Round and Stage say which moment
// it is: a supervisor that takes over tells of it again.
type Moment struct {
	Stage   Stage  `json:"stage"`
	Service string `json:"service,omitempty"` // empty: of the container
	// Round numbers the starts of a service. One that a supervisor began and another
	// one made is one round.
	Round   uint64         `json:"round,omitempty"`
	Attempt int            `json:"attempt,omitempty"` // starts in a row without a stable time, from 1
	Pid     int            `json:"pid,omitempty"`
	Port    int            `json:"port,omitempty"` // Launch.Port
	Exit    *incident.Exit `json:"exit,omitempty"`
	OOM     bool           `json:"oom,omitempty"` // the kernel's OOM killer ended it
	// Expected says of exited and stopped whether that was to come: a stop was asked
	// for, or it ended well and is not started again. nil: of another stage.
	Expected *bool     `json:"expected,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"`
	// Until is when what belongs to it must be over; zero: it has its own limits.
	Until time.Time `json:"until,omitzero"`
	// Budget is that of the stop that it belongs to; 0: of none.
	Budget time.Duration `json:"budget,omitempty"`
}

// Companion does what belongs to the moments. The moments of one service come in
// their order, and so does what belongs to them.
type Companion interface {
	// Wants says whether anything belongs to a stage of a service. It is asked often
	// and does not wait.
	Wants(stage Stage, service string) bool
	// Tell hands a moment over and does not wait for what belongs to it. When it
	// returns the moment is kept, also for a later supervisor; one that is known is
	// not gone through again.
	Tell(m Moment)
	// Await is Tell, and waits until what belongs to the moment is through: also of a
	// moment that was told already, as a service's always is. When ctx is done, which
	// it may be at once, it is brought to an end. The error says why what was to come
	// must not.
	Await(ctx context.Context, m Moment) error
	// Settle waits until nothing is under way any more, and brings what is to an end
	// when ctx is done.
	Settle(ctx context.Context)
	// Reserve is what the end of the container needs of a stop's budget once the
	// services have stopped.
	Reserve(budget time.Duration) time.Duration
}
