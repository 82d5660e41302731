package daemon

import (
	"context"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm/tools"
	"github.com/stoker-init/stoker/supervisor"
)

// apiBackend returns the implementation of the API.
func apiBackend(d *daemon) api.Backend {
	return api.Backend{ServiceReader: services{d.sup, d}, Commander: commander{d.sup, d.log}, Reloader: d, IncidentReader: d.sup,
		HookRunner: hookManager{d.hooks.Runner, d}, PluginManager: &d.plugins,
		JVMTools: jvms{tools.New(d.sup, d.currentPlan().jvms.Attacher, d.log, stateFolder(os.Geteuid(), os.Getenv)), d},
		Upgrader: newUpgrades(d.m, d.program.Version, d.log), OutputReader: d.sup}
}

// Limits returns the current cgroup limits.
func (d *daemon) Limits() any { return cgroup.Read("/") }

// jvms implements api.JVMTools.
type jvms struct {
	*tools.Tools
	daemon *daemon
}

// JVM returns the options report of the latest start of a service.
func (j jvms) JVM(name string) (data any, text func(width int) string, ok bool) {
	latest := j.daemon.currentPlan().jvms.Report(name)
	if latest == nil {
		return nil, nil, false
	}
	facts := *latest
	if s, ok := j.daemon.sup.Service(name); ok {
		facts.Pending = j.daemon.jvms.Pending(name, s.Pid)
	}
	return &facts, facts.Text, true
}

// services implements api.ServiceReader.
type services struct {
	*supervisor.Supervisor
	daemon *daemon
}

// Services returns the snapshots of all services with their pending restarts.
func (s services) Services() []supervisor.Snapshot {
	all := s.Supervisor.Services()
	for k := range all {
		all[k] = s.withPending(all[k])
	}
	return all
}

// Service returns the snapshot of one service.
func (s services) Service(name string) (supervisor.Snapshot, bool) {
	snap, ok := s.Supervisor.Service(name)
	return s.withPending(snap), ok
}

// withPending adds the pending restart.
func (s services) withPending(snap supervisor.Snapshot) supervisor.Snapshot {
	snap = s.daemon.jvms.AddTo(snap)
	snap.Notes = slices.Concat(snap.Notes, s.daemon.hooks.Failures(snap.Name))
	return snap
}

// commander implements api.Commander.
type commander struct {
	*supervisor.Supervisor
	log hclog.Logger
}

// Signal sends a signal to a service's process, or to all its processes.
func (c commander) Signal(service string, sig syscall.Signal, group bool, by string) error {
	p, ok := c.Process(service)
	if !ok {
		return proc.ErrGone
	}
	c.log.Info("signal sent", "name", service, "signal", proc.SignalName(sig),
		"pid", p.Pid(), "group", group, "asked_by", by)
	if group {
		return p.SignalGroup(sig)
	}
	return p.Signal(sig)
}

// hookManager implements api.HookRunner.
type hookManager struct {
	*hooks.Runner
	daemon *daemon
}

// Hooks returns all hooks.
func (h hookManager) Hooks() []hooks.Status { return h.Statuses() }

// HookCounts returns the results of hook runs.
func (h hookManager) HookCounts() []hooks.Counter { return h.Counters() }

// RunHooks runs hooks on request.
func (h hookManager) RunHooks(ctx context.Context, event lifecycle.Event, name, service, by string) ([]hooks.Outcome, error) {
	o := lifecycle.Occurrence{Event: event, Service: service, Attempt: 1, Reason: "run by hand by " + by, At: time.Now()}
	if event.OfService() {
		if o.Service == "" {
			all := h.daemon.sup.Services()
			if len(all) != 1 {
				return nil, &api.ServiceNotFoundError{Message: fmt.Sprintf("%s is an event of a service, and there are %d: name one with --service",
					event, len(all))}
			}
			o.Service = all[0].Name
		}
		s, ok := h.daemon.sup.Service(o.Service)
		if !ok {
			return nil, &api.ServiceNotFoundError{Message: fmt.Sprintf("there is no service %q", o.Service)}
		}
		o.Pid, o.Port = s.Pid, h.Port(o.Service)
	}
	h.daemon.log.Info("hooks run on request", "event", event, "hook", name, "name", o.Service, "asked_by", by)
	return h.RunManually(ctx, o, name)
}

// confinedService returns the service that a process belongs to unless api.admins lists it; empty: none. The command of run is
// unconfined, since it is the whole container.
func (d *daemon) confinedService(pid int) (string, error) {
	opts, plan := d.opts, d.currentPlan()
	if len(opts.Command) > 0 && !opts.WithServices {
		return "", nil
	}
	id, err := d.m.Origin(pid)
	if err != nil {
		return "", err
	}
	name, ok := supervisor.ServiceOf(id)
	if !ok || len(opts.Command) > 0 && name == commandName(opts.Command) || slices.Contains(plan.config.API.Admins, name) {
		return "", nil
	}
	return name, nil
}
