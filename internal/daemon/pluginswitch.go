package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm/launch"
	"github.com/stoker-init/stoker/jvm/rollout"
	"github.com/stoker-init/stoker/supervisor"
)

func (d *daemon) Plugins(fresh bool) []plugin.Info {
	if d.plugins == nil {
		return nil
	}
	if fresh {
		d.plugins.Refresh()
	}
	return d.plugins.List()
}

func (d *daemon) Plugin(name string) (plugin.Info, error) {
	if d.plugins == nil {
		return plugin.Info{}, errNoPlugins()
	}
	return d.plugins.Get(name)
}

// switchTimeout bounds the comparison of the JVM options after a switch.
const switchTimeout = time.Minute

// SwitchPlugin switches a plugin or sets its parameters, and restarts the JVMs whose options change. It completes even if the client
// disconnects.
func (d *daemon) SwitchPlugin(ctx context.Context, name string, want plugin.SwitchRequest, by string) (done api.SwitchResult,
	err error) {
	if d.plugins == nil {
		return done, errNoPlugins()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), switchTimeout)
	defer cancel()
	d.mu.Lock() // one switch at a time, and no reload beside it
	defer d.mu.Unlock()
	if d.sup.Stopping() {
		return done, fmt.Errorf("cannot switch the plugin %q: %w", name, proc.ErrStopping)
	}
	d.finishRestarts()
	if done.Unsaved, err = d.plugins.Switch(name, want, by); err != nil {
		return done, err
	}
	d.log.Info("plugin switched", "plugin", name, "by", by)
	if done.Unsaved != "" {
		d.log.Warn("the plugin switch is not saved: it is lost with the container", "plugin", name, "error", done.Unsaved)
	}
	unsaved := done.Unsaved
	done = d.restartChanged(ctx, restartRequest{by: by + ", plugin " + name, plugin: name, deferred: want.NoRestart})
	done.Unsaved = unsaved
	d.plugins.RestartDone()
	d.followSources()
	done.Plugin, err = d.plugins.Get(name)
	return done, err
}

// errNoPlugins is returned where only the command of run is started.
func errNoPlugins() error {
	return &plugin.NotFoundError{What: "there are no plugins", Hint: "beside the command of run they do not count; --with-services has them"}
}

// restartRequest selects the JVMs to restart.
type restartRequest struct {
	by          string
	plugin      string // the switched plugin; empty: none
	deferred    bool   // only list the JVMs, restart none
	onlyRunning bool   // only JVMs in state RUNNING
	onlyLive    bool   // only JVMs with a process
}

// restartChanged restarts the JVMs whose options would differ after a restart. A JVM that would fail to start is left running.
func (d *daemon) restartChanged(ctx context.Context, how restartRequest) (out api.SwitchResult) {
	for _, j := range d.jvms.JVMs() {
		if j.State != supervisor.Running && (how.onlyRunning || j.State != supervisor.Starting) || how.onlyLive && j.Pid == 0 {
			continue // its next start reads everything
		}
		changed, err := d.optionsChanged(ctx, j, how.plugin)
		switch {
		case err != nil:
			out.Notes = append(out.Notes, fmt.Sprintf("%s is not restarted: %v", j.Name, err))
			continue
		case !changed:
			continue
		case how.deferred:
			d.plugins.DeferRestart(j.Name, j.Pid)
			out.Deferred = append(out.Deferred, j.Name)
			continue
		case j.State == supervisor.Running:
			err = d.sup.RestartProcess(ctx, j.Name, j.Pid, how.by)
		default:
			err = d.sup.Command(ctx, j.Name, supervisor.EvRestart, how.by)
		}
		if err != nil {
			out.Notes = append(out.Notes, err.Error())
			continue
		}
		out.Restarted = append(out.Restarted, j.Name)
	}
	return out
}

// finishRestarts performs the restarts that an earlier supervisor still had to do after a plugin change. A service without a process
// reads everything at its next start. daemon.mu is held.
func (d *daemon) finishRestarts() {
	if d.plugins == nil {
		return
	}
	if owed, ok := d.plugins.PendingRestart(); ok {
		by := owed.By
		if owed.Plugin != "" {
			by += ", plugin " + owed.Plugin
		}
		made := d.restartAndLog(restartRequest{by: by, plugin: owed.Plugin, deferred: owed.Later,
			onlyRunning: owed.Plugin == "", onlyLive: true})
		d.log.Info("restarts after a plugin change are done", "by", by, "restarted", made.Restarted, "left", made.Deferred)
	}
	d.plugins.RestartDone()
}

// restartAndLog is restartChanged without a client that sees the notes.
func (d *daemon) restartAndLog(how restartRequest) api.SwitchResult {
	ctx, cancel := context.WithTimeout(context.Background(), switchTimeout)
	defer cancel()
	made := d.restartChanged(ctx, how)
	for _, note := range made.Notes {
		d.log.Warn("the plugins' JVM options are not applied", "problem", note)
	}
	return made
}

// optionsChanged reports whether a restart would change the options of a JVM. If the new options are unusable, the switched plugin is
// disabled and the options are compared again.
func (d *daemon) optionsChanged(ctx context.Context, j rollout.JVM, plugin string) (bool, error) {
	for {
		digest, err := d.jvms.Digest(ctx, j.Name)
		if err != nil || digest == j.Sources {
			return false, err
		}
		if j.State == supervisor.Starting {
			return true, nil
		}
		found, err := d.jvms.Compare(ctx, j, digest)
		var bad *launch.OptionsError
		if err == nil || !errors.As(err, &bad) || !d.disableFor(plugin, bad) {
			return len(found.Changes) > 0, err
		}
	}
}

// disableFor disables a plugin because of unusable options, unless it is required.
func (d *daemon) disableFor(name string, bad *launch.OptionsError) bool {
	p, err := d.plugins.Get(name)
	if err != nil || p.State != plugin.Active || p.Required {
		return false
	}
	d.plugins.Disable([]string{name}, launch.OptionsReason(bad))
	return true
}
