package daemon

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm/tools"
	"github.com/stoker-init/stoker/supervisor"
)

// backend is what the API asks: the supervisor, and what only the wiring knows.
type backend struct {
	*supervisor.Supervisor
	*upgrades
	*tools.Tools
	daemon *daemon
}

// parts are the roles that the API asks.
func (b *backend) parts() api.Backend {
	return api.Backend{ServiceReader: b, Commander: b, Reloader: b, IncidentReader: b.Supervisor, HookRunner: b, PluginManager: b,
		JVMTools: b, Upgrader: b.upgrades, OutputReader: b.Supervisor}
}

// JVM explains the options of a service's latest start.
func (b *backend) JVM(name string) (data any, text func(width int) string, ok bool) {
	latest := b.daemon.inForce().jvms.Report(name)
	if latest == nil {
		return nil, nil, false
	}
	facts := *latest
	if s, ok := b.Supervisor.Service(name); ok {
		facts.Pending = b.daemon.jvms.Pending(name, s.Pid)
	}
	return &facts, facts.Text, true
}

// Services are snapshots of all, with what only a restart would change.
func (b *backend) Services() []supervisor.Snapshot {
	all := b.Supervisor.Services()
	for k := range all {
		all[k] = b.addTo(all[k])
	}
	return all
}

// Service is that of one.
func (b *backend) Service(name string) (supervisor.Snapshot, bool) {
	s, ok := b.Supervisor.Service(name)
	return b.addTo(s), ok
}

// addTo adds what only the wiring knows.
func (b *backend) addTo(s supervisor.Snapshot) supervisor.Snapshot {
	s = b.daemon.jvms.AddTo(s)
	s.Notes = slices.Concat(s.Notes, b.daemon.hooks.Failures(s.Name))
	return s
}

// confinedService gives the service that a process belongs to and that is not among
// api.admins; empty: there is none. The command of run may do what its uid may, as the
// whole of a container without services comes from it.
func (b *backend) confinedService(pid int) (string, error) {
	opts, plan := b.daemon.opts, b.daemon.inForce()
	if len(opts.Command) > 0 && !opts.WithServices {
		return "", nil
	}
	id, err := b.daemon.m.Origin(pid)
	if err != nil {
		return "", err
	}
	name, ok := supervisor.ServiceOf(id)
	if !ok || len(opts.Command) > 0 && name == commandName(opts.Command) || slices.Contains(plan.config.API.Admins, name) {
		return "", nil
	}
	return name, nil
}

// Plugins are all of them, by name.
func (b *backend) Plugins(fresh bool) []plugin.Info {
	plugins := b.daemon.plugins
	if plugins == nil {
		return nil
	}
	if fresh {
		plugins.Refresh()
	}
	return plugins.List()
}

// Plugin is one.
func (b *backend) Plugin(name string) (plugin.Info, error) {
	if b.daemon.plugins == nil {
		return plugin.Info{}, errNoPlugins()
	}
	return b.daemon.plugins.Get(name)
}

// SwitchPlugin switches one on or off, or sets its parameters.
func (b *backend) SwitchPlugin(ctx context.Context, name string, want plugin.SwitchRequest, by string) (api.SwitchResult, error) {
	return b.daemon.switchPlugin(ctx, name, want, by)
}

// RunAction runs an action of a plugin.
func (b *backend) RunAction(ctx context.Context, plugin, action string, args []string, by string) (api.ActionResult, error) {
	return b.daemon.runAction(ctx, plugin, action, args, by)
}

// Limits are what the cgroups say now.
func (b *backend) Limits() any { return cgroup.Read("/") }

// Reload reads the configuration again.
func (b *backend) Reload(by string, dryRun bool) (api.ReloadResult, error) {
	return b.daemon.reload(by, dryRun)
}

// ConfigProblem is what is wrong with the configuration's files now.
func (b *backend) ConfigProblem() string { return b.daemon.problemText() }

// Hooks are all of them.
func (b *backend) Hooks() []hooks.Status { return b.daemon.hooks.Statuses() }

// HookCounts are how the runs of hooks ended.
func (b *backend) HookCounts() []hooks.Counter { return b.daemon.hooks.Counters() }

// RunHooks runs hooks by hand.
func (b *backend) RunHooks(ctx context.Context, event lifecycle.Event, name, service, by string) ([]hooks.Outcome, error) {
	o := lifecycle.Occurrence{Event: event, Service: service, Attempt: 1, Reason: "run by hand by " + by, At: time.Now()}
	if event.OfService() {
		if o.Service == "" {
			all := b.Services()
			if len(all) != 1 {
				return nil, &api.ServiceNotFoundError{Message: fmt.Sprintf("%s is an event of a service, and there are %d: name one with --service", event, len(all))}
			}
			o.Service = all[0].Name
		}
		s, ok := b.Supervisor.Service(o.Service)
		if !ok {
			return nil, &api.ServiceNotFoundError{Message: fmt.Sprintf("there is no service %q", o.Service)}
		}
		o.Pid, o.Port = s.Pid, b.daemon.hooks.Port(o.Service)
	}
	b.daemon.log.Info("hooks are run by hand", "event", event, "hook", name, "name", o.Service, "asked_by", by)
	return b.daemon.hooks.RunManually(ctx, o, name)
}

// Signal sends a signal to a service's process, or to all its processes.
func (b *backend) Signal(service string, sig syscall.Signal, group bool, by string) error {
	p, ok := b.Process(service)
	if !ok {
		return proc.ErrGone
	}
	b.daemon.log.Info("signal sent", "name", service, "signal", proc.SignalName(sig),
		"pid", p.Pid(), "group", group, "asked_by", by)
	if group {
		return p.SignalGroup(sig)
	}
	return p.Signal(sig)
}
