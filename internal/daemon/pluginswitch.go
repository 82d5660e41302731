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
	"github.com/stoker-init/stoker/supervisor"
)

// renewTime bounds what is found out about the JVMs after a switch.
const renewTime = time.Minute

// switchPlugin does what an operator wants of a plugin, and has the JVMs whose options
// change by that started anew, once. Whoever asked may go away meanwhile: it is done
// as a whole.
func (r *reloader) switchPlugin(ctx context.Context, name string, want plugin.SwitchRequest, by string) (done api.SwitchResult, err error) {
	if r.plugins == nil {
		return done, errNoPlugins()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTime)
	defer cancel()
	r.mu.Lock() // one switch at a time, and none beside a reload
	defer r.mu.Unlock()
	if r.sup.Stopping() {
		return done, fmt.Errorf("cannot switch the plugin %q: %w", name, proc.ErrStopping)
	}
	r.payPlugins(ctx)
	if done.Unsaved, err = r.plugins.Switch(name, want, by); err != nil {
		return done, err
	}
	r.log.Info("plugin switched", "plugin", name, "by", by)
	if done.Unsaved != "" {
		r.log.Warn("what was switched counts until the container ends only", "plugin", name, "error", done.Unsaved)
	}
	made := r.renewJVMs(ctx, renewal{by: by + ", plugin " + name, plugin: name, later: want.NoRestart})
	r.plugins.RestartDone()
	done.Restarted, done.Deferred, done.Notes = made.restarted, made.deferred, made.notes
	r.followSources()
	done.Plugin, err = r.plugins.Get(name)
	return done, err
}

// errNoPlugins is for an init of one command.
func errNoPlugins() error {
	return &plugin.NotFoundError{What: "there are no plugins", Hint: "beside the command of run they do not count; --with-services has them"}
}

// renewal says which JVMs are to be started anew.
type renewal struct {
	by      string
	plugin  string // whose doing it is; empty: of none alone
	later   bool   // none; those that would be are left as they are
	running bool   // only those that are RUNNING
	born    bool   // only those that have a process
}

// renewed is what became of it.
type renewed struct{ restarted, deferred, notes []string }

// renewJVMs starts the JVMs anew that run with other options than they would be
// started with. What would not start is left alone.
func (r *reloader) renewJVMs(ctx context.Context, how renewal) (out renewed) {
	for _, j := range r.jvms.JVMs() {
		if j.State != supervisor.Running && (how.running || j.State != supervisor.Starting) || how.born && j.Pid == 0 {
			continue // the next start reads everything anew
		}
		changed, err := r.changes(ctx, j, how.plugin)
		switch {
		case err != nil:
			out.notes = append(out.notes, fmt.Sprintf("%s is left as it is: %v", j.Name, err))
			continue
		case !changed:
			continue
		case how.later:
			r.plugins.DeferRestart(j.Name, j.Pid)
			out.deferred = append(out.deferred, j.Name)
			continue
		case j.State == supervisor.Running:
			err = r.sup.Renew(ctx, j.Name, j.Pid, how.by)
		default:
			err = r.sup.Command(ctx, j.Name, supervisor.EvRestart, how.by)
		}
		if err != nil {
			out.notes = append(out.notes, err.Error())
			continue
		}
		out.restarted = append(out.restarted, j.Name)
	}
	return out
}

// payPlugins does what an earlier supervisor had to do after a change of the plugins,
// and died before it was done. What has no process now has read everything anew.
// r.mu is held.
func (r *reloader) payPlugins(ctx context.Context) {
	if r.plugins == nil {
		return
	}
	if owed, ok := r.plugins.PendingRestart(); ok {
		by := owed.By
		if owed.Plugin != "" {
			by += ", plugin " + owed.Plugin
		}
		made := r.renewJVMs(ctx, renewal{by: by, plugin: owed.Plugin, later: owed.Later, running: owed.Plugin == "", born: true})
		r.log.Info("a change of the plugins was made up for", "by", by, "restarted", made.restarted, "left", made.deferred)
		for _, note := range made.notes {
			r.log.Warn("the plugins' JVM options are not applied", "problem", note)
		}
	}
	r.plugins.RestartDone()
}

// changes says whether a start would give a JVM other options than it has. Where they
// cannot be used it is the switched plugin's failure, and it is asked again.
func (r *reloader) changes(ctx context.Context, j launch.JVM, plugin string) (bool, error) {
	for {
		digest, err := r.jvms.Digest(ctx, j.Name)
		if err != nil || digest == j.Sources {
			return false, err
		}
		if j.State == supervisor.Starting {
			return true, nil
		}
		changes, err := r.jvms.Compare(ctx, j.Name, j.Pid)
		var bad *launch.OptionsError
		if err == nil || !errors.As(err, &bad) || !r.dropped(plugin, bad) {
			return len(changes) > 0, err
		}
	}
}

// dropped says whether a plugin has failed now for options that cannot be used.
func (r *reloader) dropped(name string, bad *launch.OptionsError) bool {
	p, err := r.plugins.Get(name)
	if err != nil || p.State != plugin.Active || p.Required {
		return false
	}
	r.plugins.Disable([]string{name}, launch.OptionsReason(bad))
	return true
}
