package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// Backend are the parts of the daemon that the routes use, one for each role.
type Backend struct {
	ServiceReader
	Commander
	Reloader
	IncidentReader
	HookRunner
	PluginManager
	JVMTools
	Upgrader
	OutputReader
}

// ServiceReader has the states of the services.
type ServiceReader interface {
	Services() []supervisor.Snapshot
	Service(name string) (supervisor.Snapshot, bool)
	Ready() (ready bool, waitingFor []string)
	ReadyService(name string) (ready bool, waitingFor []string)
	// StopDeadline is the end of the budget of a stop. False: the container does not stop.
	StopDeadline() (time.Time, bool)
}

// Commander starts, stops and signals services.
type Commander interface {
	// Ask returns the number of the start that a start or restart leads to. It does nothing
	// if a start with a number above after has begun; nil: always.
	Ask(ctx context.Context, name string, event supervisor.Event, by string, after *uint64) (uint64, error)
	// AwaitStart waits until a start is over or ctx is done. False: there is no such service.
	AwaitStart(ctx context.Context, name string, number uint64) (supervisor.StartResult, bool)
	// Signal sends a signal to the main process of a service, or to all its processes.
	// proc.ErrGone: there is none.
	Signal(service string, sig syscall.Signal, group bool, by string) error
}

// Reloader has the configuration in force and the limits of the container.
type Reloader interface {
	// Reload reads the configuration again and applies the changes; dryRun only lists them.
	Reload(by string, dryRun bool) (ReloadResult, error)
	// ConfigProblem is why the configuration's files are not in force; empty: they are.
	ConfigProblem() string
	// Limits are the current limits of the cgroups.
	Limits() any
}

// IncidentReader has the kept failures.
type IncidentReader interface {
	// Incidents returns them, the newest first.
	Incidents() []incident.Summary
	Incident(number uint64) (incident.Incident, bool)
}

// HookRunner has the hooks.
type HookRunner interface {
	Hooks() []hooks.Status
	HookCounts() []hooks.Counter
	// RunHooks runs the hooks of an event, or the named one, as if it happened to the
	// service; empty: to the only one, or to the container.
	RunHooks(ctx context.Context, event lifecycle.Event, name, service, by string) ([]hooks.Outcome, error)
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

// JVMTools explains and examines the JVMs of the services.
type JVMTools interface {
	// JVM explains the options of a service's latest start; text lays them out within a
	// width; 0: unbounded. False: it has no JVM, or was not started.
	JVM(name string) (data any, text func(width int) string, ok bool)
	// JVMTool streams the answer of a service's JVM; the caller closes it. Errors are a
	// *StatusError.
	JVMTool(ctx context.Context, service string, tool JVMTool, by string) (io.ReadCloser, error)
}

// Upgrader swaps the supervisor's binary.
type Upgrader interface {
	Versions() Versions
	// Upgrade checks the binary at path (empty: the path of the running one) and, unless
	// check is set, has the init start the next supervisor from it. A bad binary is a
	// *BinaryError.
	Upgrade(ctx context.Context, path string, check bool, by string) (Versions, error)
	// Leave ends this supervisor for the next one.
	Leave()
}

// OutputReader has the output of the services, and a count of reaped orphans.
type OutputReader interface {
	// Log is the output of a service; nil: there is none.
	Log(name string) *logs.Log
	Orphans() uint64
}

// ErrNotNow is returned for what cannot be done at present.
var ErrNotNow = errors.New("it cannot be done now")

// ErrUpgrading is returned for an upgrade during another one.
var ErrUpgrading = errors.New("another upgrade is under way")

// ServiceNotFoundError is returned for an unknown service, or where one must be named.
type ServiceNotFoundError struct{ Message string }

func (e *ServiceNotFoundError) Error() string { return e.Message }

// BinaryError is why a binary is rejected.
type BinaryError struct {
	Err  error
	Hint string
}

func (e *BinaryError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *BinaryError) Unwrap() error { return e.Err }

// writeFailure answers with the error of a Backend. Every one that has a code of its own is
// here.
func writeFailure(w http.ResponseWriter, err error) {
	var service *ServiceNotFoundError
	var noPlugin *plugin.NotFoundError
	var param *plugin.ParamError
	var binary *BinaryError
	var status *StatusError
	switch {
	case errors.As(err, &status):
		writeError(w, status.Status, status.Code, status.Message, status.Hint)
	case errors.As(err, &service):
		writeError(w, http.StatusNotFound, "no-such-service", err.Error(), "stoker status lists them")
	case errors.As(err, &noPlugin):
		writeError(w, http.StatusNotFound, "no-such-plugin", err.Error(), noPlugin.Hint)
	case errors.As(err, &param):
		writeError(w, http.StatusUnprocessableEntity, "bad-parameter", err.Error(), param.Hint)
	case errors.As(err, &binary):
		writeError(w, http.StatusBadRequest, "bad-binary", err.Error(), binary.Hint)
	case errors.Is(err, hooks.ErrNoHook):
		writeError(w, http.StatusNotFound, "no-such-hook", err.Error(), "stoker hook list lists them")
	case errors.Is(err, hooks.ErrTooMany):
		writeError(w, http.StatusTooManyRequests, "too-many", err.Error(), "stoker hook list shows what runs")
	case errors.Is(err, ErrNotNow):
		writeError(w, http.StatusConflict, CodeNotNow, err.Error(), "stoker plugin list and stoker status tell more")
	case errors.Is(err, ErrUpgrading):
		writeError(w, http.StatusConflict, "upgrading", err.Error(), "")
	case errors.Is(err, proc.ErrStopping):
		writeError(w, http.StatusServiceUnavailable, "stopping", err.Error(), "")
	default:
		writeError(w, http.StatusInternalServerError, "failed", err.Error(), "")
	}
}

// badRequest answers that a request cannot be read.
func badRequest(w http.ResponseWriter, err error) {
	writeError(w, http.StatusBadRequest, "bad-request", err.Error(), "")
}

// requester names the peer of a request, for logs and reasons.
func requester(r *http.Request) string {
	p, _ := peerOf(r.Context())
	return fmt.Sprintf("uid %d by the API", p.uid)
}
