package main

import (
	"context"
	"slices"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/supervisor"
)

// backend is what the API asks: the supervisor, and what only the wiring knows.
type backend struct {
	*supervisor.Supervisor
	*upgrades
	*jvmTools
	reloader *reloader
}

// JVM explains the options of a service's latest start.
func (b *backend) JVM(name string) (data any, text func(width int) string, ok bool) {
	v, ok := b.reloader.plan().jvms.Load(name)
	if !ok {
		return nil, nil, false
	}
	facts := *v.(*jvmFacts)
	if s, ok := b.Supervisor.Service(name); ok {
		facts.Pending = b.reloader.jvms.watch.pending(name, s.Pid)
	}
	return &facts, facts.text, true
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
	s = b.reloader.jvms.addTo(s)
	s.Notes = slices.Concat(s.Notes, b.reloader.hooks.Failures(s.Name))
	return s
}

// confinedService gives the service that a process belongs to and that is not among
// api.admins; empty: there is none. The command of run may do what its uid may, as the
// whole of a container without services comes from it.
func (b *backend) confinedService(pid int) (string, error) {
	opts, plan := b.reloader.opts, b.reloader.plan()
	if len(opts.command) > 0 && !opts.withServices {
		return "", nil
	}
	id, err := b.reloader.m.Origin(pid)
	if err != nil {
		return "", err
	}
	name, ok := supervisor.ServiceOf(id)
	if !ok || len(opts.command) > 0 && name == commandName(opts.command) || slices.Contains(plan.config.API.Admins, name) {
		return "", nil
	}
	return name, nil
}

// Plugins are all of them, by name.
func (b *backend) Plugins(fresh bool) []plugin.Info {
	plugins := b.reloader.plugins
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
	if b.reloader.plugins == nil {
		return plugin.Info{}, errNoPlugins()
	}
	return b.reloader.plugins.Get(name)
}

// SwitchPlugin switches one on or off, or sets its parameters.
func (b *backend) SwitchPlugin(ctx context.Context, name string, want plugin.SwitchRequest, by string) (api.PluginSwitched, error) {
	return b.reloader.switchPlugin(ctx, name, want, by)
}

// RunAction runs an action of a plugin.
func (b *backend) RunAction(ctx context.Context, plugin, action string, args []string, by string) (api.ActionDone, error) {
	return b.reloader.runAction(ctx, plugin, action, args, by)
}

// Limits are what the cgroups say now.
func (b *backend) Limits() any { return cgroup.Read("/") }

// Reload reads the configuration again.
func (b *backend) Reload(by string, dryRun bool) (api.Reloaded, error) {
	return b.reloader.reload(by, dryRun)
}

// ConfigProblem is what is wrong with the configuration's files now.
func (b *backend) ConfigProblem() string { return b.reloader.problemText() }
