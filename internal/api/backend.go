package api

import (
	"context"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/schedule"
	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// Backend are the parts of the daemon that the routes use.
type Backend struct {
	Supervisor
	ServiceManager
	Reloader
	Evidence
	Hooks
	PluginManager
	JVMTools
	Upgrader

	// These are nil where no executor is configured.
	JobManager
	JobFiles
	ExecutorControl
	JobMetrics
}

// Supervisor starts and stops services and knows whether they are ready.
type Supervisor interface {
	// Ask returns the number of the start that a start or restart leads to. It does nothing
	// if a start with a number above after has begun; nil: always.
	Ask(ctx context.Context, name string, event supervisor.Event, by string, after *uint64) (uint64, error)
	// AwaitStart waits until a start is over or ctx is done. False: there is no such service.
	AwaitStart(ctx context.Context, name string, number uint64) (supervisor.StartResult, bool)
	Ready() (ready bool, waitingFor []string)
	ReadyService(name string) (ready bool, waitingFor []string)
	// StopDeadline is the end of the budget of a stop. False: the container does not stop.
	StopDeadline() (time.Time, bool)
}

// ServiceManager has the states of the services, and does what an operator asks of one.
type ServiceManager interface {
	Services() []supervisor.Snapshot
	Service(name string) (supervisor.Snapshot, bool)
	// JVM explains the options of a service's latest start; text lays them out within a
	// width; 0: unbounded. False: it has no JVM, or was not started.
	JVM(name string) (data any, text func(width int) string, ok bool)
	// Signal sends a signal to the main process of a service, or to all its processes.
	// proc.ErrGone: there is none.
	Signal(service string, sig syscall.Signal, group bool, by string) error
	// RunHooks runs the hooks of an event, or the named one, as if it happened to the
	// service; empty: to the only one, or to the container.
	RunHooks(ctx context.Context, event lifecycle.Event, name, service, by string) ([]hooks.Outcome, error)
}

// Reloader has the configuration in force, the network and the limits of the container.
type Reloader interface {
	// Reload reads the configuration again and applies the changes; dryRun only lists them.
	Reload(by string, dryRun bool) (ReloadResult, error)
	// ConfigProblem is why the configuration's files are not in force; empty: they are.
	ConfigProblem() string
	// Network is the state of the network; nil: netinit is not configured.
	Network() *NetworkStatus
	// Limits are the current limits of the cgroups.
	Limits() any
}

// Evidence is what is kept of services: failures, output, and a count of reaped orphans.
type Evidence interface {
	// Incidents returns them, the newest first.
	Incidents() []incident.Summary
	Incident(number uint64) (incident.Incident, bool)
	// Log is the output of a service; nil: there is none.
	Log(name string) *logs.Log
	Orphans() uint64
}

// Hooks has the hooks and the counts of their results.
type Hooks interface {
	Statuses() []hooks.Status
	Counters() []hooks.Counter
}

// PluginManager has the plugins. Errors are a *plugin.NotFoundError or a *plugin.ParamError.
type PluginManager interface {
	// Plugins reads them again if fresh is set.
	Plugins(fresh bool) []plugin.Info
	Plugin(name string) (plugin.Info, error)
	SwitchPlugin(ctx context.Context, name string, want plugin.SwitchRequest, by string) (SwitchResult, error)
	// RunAction runs an action to its end or until ctx is done. ErrNotNow: it cannot run now.
	RunAction(ctx context.Context, plugin, action string, args []string, by string) (ActionResult, error)
}

// JVMTools examines the JVMs of the services.
type JVMTools interface {
	// JVMTool streams the answer of a service's JVM; the caller closes it. Errors are a
	// *StatusError.
	JVMTool(ctx context.Context, service string, tool JVMTool, by string) (io.ReadCloser, error)
}

// Upgrader swaps the supervisor's binary.
type Upgrader interface {
	Versions() Versions
	// Upgrade checks the binary at path (empty: the path of the running one) and, unless
	// check is set, has the init start the next supervisor from it.
	Upgrade(ctx context.Context, path string, check bool, by string) (Versions, error)
	// Leave ends this supervisor for the next one.
	Leave()
}

// JobManager accepts jobs, and knows and stops them. Errors are those of package executor.
type JobManager interface {
	// Submit accepts a job. Not created: a job has the key already, and is the same.
	Submit(ctx context.Context, spec executor.Spec, by string) (job executor.Job, created bool, err error)
	// Job finds one by its ID, or by "key:KEY".
	Job(name string) (executor.Job, error)
	Jobs(executor.Filter) ([]executor.Job, error) // the newest first
	// StopJob returns at once.
	StopJob(ctx context.Context, id executor.ID, r executor.StopRequest) (executor.Job, error)
	// AwaitJob returns the job when it is final. Until then it calls changed, which may be nil, with each state, and
	// waits for its return; a state may be left out if others follow it.
	AwaitJob(ctx context.Context, id executor.ID, changed func(executor.Job)) (executor.Job, error)
}

// JobFiles has what jobs have written.
type JobFiles interface {
	// ReadOutput reads kept bytes of a stream, "stdout" or "stderr", of an attempt, at an offset or behind it: they begin at at.
	// With follow it waits for more. io.EOF: the stream has ended, or without follow, there are no more yet.
	ReadOutput(ctx context.Context, id executor.ID, stream string, attempt int, offset int64, follow bool, p []byte) (
		n int, at int64, err error)
	// Artifact opens one. fs.ErrNotExist: it is not kept.
	Artifact(id executor.ID, name string) (*os.File, error)
}

// JobMetrics counts what the executor does.
type JobMetrics interface {
	Metrics() executor.Metrics
}

// ExecutorControl is the executor as a whole.
type ExecutorControl interface {
	ExecutorStatus() executor.Status
	ControlExecutor(verb executor.Verb, by string) error
	Schedules() []schedule.Status
}
