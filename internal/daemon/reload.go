package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm/launch"
	"github.com/stoker-init/stoker/supervisor"
)

// daemon holds the current configuration.
type daemon struct {
	m       *proc.Manager
	log     hclog.Logger
	opts    Options
	program Program
	sup     *supervisor.Supervisor
	jvms    *launch.Drift
	// journal records the events of the container.
	journal *journal
	// hooks runs the hooks of lifecycle events.
	hooks   *hookRunner
	plugins pluginManager

	mu      sync.Mutex // one reload at a time; guards the fields below
	loaded  *config.Loaded
	ctx     context.Context    // of the watch
	unwatch context.CancelFunc // nil: not watching
	current atomic.Pointer[plan]
	problem atomic.Pointer[string] // why the files were rejected; nil: they are in force
	api     *apiServer
	// socketPath is the path of the API socket; nil: the API is not served.
	socketPath atomic.Pointer[string]
}

// socket returns the path of the API socket; empty: none.
func (d *daemon) socket() string {
	if p := d.socketPath.Load(); p != nil {
		return *p
	}
	return ""
}

// currentPlan returns the plan in force.
func (d *daemon) currentPlan() *plan { return d.current.Load() }

// begin loads the configuration of an earlier supervisor of this container, or the files.
func (d *daemon) begin(rec *proc.Recovered) error {
	kept := new(config.Loaded)
	found, err := rec.TakeJSON(configItem, kept)
	switch {
	case err != nil:
		d.log.Error("cannot read the saved configuration; reading the files", "error", err)
	case found:
		kept.Config = config.WithDefaults(kept.Config) // another version may have saved it
		d.loaded = kept
	}
	if d.loaded == nil {
		var found string
		if d.loaded, found, err = d.read(); err != nil {
			return err
		}
		if err = d.rejectSecond(d.loaded.Config.API.Socket, d.m.InitPid()); err != nil {
			return err
		}
		if found != "" {
			d.log.Info("no service is configured; running the Tomcat of the image", "found", found)
		}
		d.logWarnings()
		if err = d.saveConfig(d.loaded); err != nil {
			d.log.Error("a new supervisor will have to read the files again", "error", err)
		}
	}
	if len(d.opts.Command) == 0 || d.opts.WithServices {
		d.plugins.set = newPlugins(d.m, rec, d.program.Version, d.log, d.journal, d.hooks)
		d.plugins.set.Configure(d.loaded.Config.Plugins, factsOf(d.loaded.Config))
	}
	plan, err := newPlan(d.m, d.log, d.opts, d.loaded, nil, d.plugins.set, d.hooks)
	if err != nil {
		return err
	}
	d.setPlan(plan)
	return nil
}

// saveConfig puts the configuration into the fd store, so that a new supervisor can continue even if the files are broken by then.
func (d *daemon) saveConfig(loaded *config.Loaded) error {
	if err := d.m.FDStore().PutJSON(configItem, loaded); err != nil {
		return fmt.Errorf("cannot keep the configuration: %w", err)
	}
	return nil
}

// setPlan makes a plan the current one.
func (d *daemon) setPlan(plan *plan) {
	plan.labels.Store(&plan.config.Labels)
	d.current.Store(plan)
}

// read reads and validates the files. If no service is configured, the Tomcat of the image is used and found describes it.
func (d *daemon) read() (loaded *config.Loaded, found string, err error) {
	if loaded, err = config.Load(d.sources()); err != nil {
		return nil, "", fmt.Errorf("cannot accept the configuration:\n%w", err)
	}
	if len(loaded.Config.Services) == 0 && len(d.opts.Command) == 0 {
		return assumeTomcat(d.opts)
	}
	return loaded, "", nil
}

// logWarnings logs the warnings of the current configuration.
func (d *daemon) logWarnings() {
	for _, w := range d.loaded.Warnings {
		d.log.Warn("configuration", "warning", w.String())
	}
}

func (d *daemon) sources() config.Options {
	return config.Options{File: d.opts.File, Set: d.opts.Set, Environ: os.Environ()}
}

// Reload reads the files and applies the changes. An error changes nothing, and is reported until the files are valid.
func (d *daemon) Reload(by string, dryRun bool) (api.ReloadResult, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	done, err := d.reloadLocked(by, dryRun)
	if !dryRun {
		d.journal.reloaded(by, done, err)
	}
	return done, err
}

// reloadLocked is Reload; d.mu is held.
func (d *daemon) reloadLocked(by string, dryRun bool) (api.ReloadResult, error) {
	done := api.ReloadResult{DryRun: dryRun, Changes: []string{}}
	loaded, plan, err := d.next()
	if err != nil {
		if !dryRun {
			text := err.Error()
			d.problem.Store(&text)
		}
		return done, err
	}
	done.Files = loaded.Files
	changes := config.Diff(d.loaded.Config, loaded.Config)
	var names []string
	for _, c := range changes {
		if c.Service != "" && len(d.opts.Command) > 0 && !d.opts.WithServices {
			continue // with a command of run the services of the files do not run
		}
		done.Changes = append(done.Changes, c.String())
		if c.Service != "" {
			names = append(names, c.Service)
		}
	}
	if dryRun {
		return done, nil
	}
	d.problem.Store(nil)
	if len(done.Changes) == 0 {
		d.hooks.setPlan(plan) // the hook files may have changed
		d.followSources()
		return done, nil
	}
	d.log.Info("the configuration has changed", "asked_by", by, "changes", done.Changes)
	settled := d.plugins.expectRestarts(by)
	defer settled()
	// Saved first: a new supervisor continues with it.
	if err := d.saveConfig(loaded); err != nil {
		return done, fmt.Errorf("cannot apply the configuration: %w", err)
	}
	followPlugins := d.plugins.configurePlugins(loaded) // before a service restarts
	d.hooks.setPlan(plan)                               // also before a restart
	if err := d.sup.Apply(plan.supervisorSet(), names, by); err != nil {
		d.plugins.configurePlugins(d.loaded)
		d.hooks.setPlan(d.currentPlan())
		return done, errors.Join(err, d.saveConfig(d.loaded))
	}
	d.loaded = loaded
	d.setPlan(plan)
	d.setLogLevel()
	d.logWarnings()
	d.rewatch()
	d.hooks.configChanged(by)
	followPlugins(by)
	d.followSources()
	return done, nil
}

// followSources watches the JVM option sources of the current configuration, if the files are watched. d.mu is held.
func (d *daemon) followSources() {
	if d.ctx != nil {
		d.jvms.Follow(d.ctx)
	}
}

// next reads the files and makes their plan.
func (d *daemon) next() (*config.Loaded, *plan, error) {
	loaded, _, err := d.read()
	if err != nil {
		return nil, nil, err
	}
	plan, err := newPlan(d.m, d.log, d.opts, loaded, d.currentPlan(), d.plugins.set, d.hooks)
	return loaded, plan, err
}

// reloadAndLog reloads and logs the result.
func (d *daemon) reloadAndLog(by string) {
	done, err := d.Reload(by, false)
	switch {
	case err != nil:
		d.log.Error("the configuration is refused; the one before stays in force", "asked_by", by, "error", err)
	case len(done.Changes) == 0:
		d.log.Info("the configuration has not changed", "asked_by", by)
	}
}

// ConfigProblem returns why the files were rejected; empty: they are in force.
func (d *daemon) ConfigProblem() string {
	if p := d.problem.Load(); p != nil {
		return *p
	}
	return ""
}

// byWatch is the reason of a reload by the file watcher.
const byWatch = "a change of the files"

// watch starts the file watch and reloads once, since the files may have changed before.
func (d *daemon) watch(ctx context.Context) {
	d.mu.Lock()
	d.ctx = ctx
	d.plugins.finishRestarts(ctx)
	d.rewatch()
	d.followSources()
	watched := d.unwatch != nil
	d.mu.Unlock()
	if !watched {
		return
	}
	if done, err := d.Reload(byWatch, true); err != nil || len(done.Changes) > 0 {
		d.reloadAndLog(byWatch)
	}
}

// rewatch starts or stops the file watch as configured. d.mu is held.
func (d *daemon) rewatch() {
	w := d.currentPlan().config.Reload.Watch
	want := (w == nil || *w) && (len(d.opts.Command) == 0 || d.opts.WithServices)
	switch {
	case d.ctx == nil || want == (d.unwatch != nil):
	case !want:
		d.unwatch()
		d.unwatch = nil
	default:
		w, err := config.NewWatcher(d.sources())
		if err != nil {
			d.log.Warn("the configuration's files are not watched; stoker reload reads them again", "error", err)
			return
		}
		ctx, cancel := context.WithCancel(d.ctx)
		d.unwatch = cancel
		go func() { // ends with ctx
			if err := w.Run(ctx, func() { d.reloadAndLog(byWatch) }); err != nil {
				d.log.Warn("the configuration's files are not watched any more; stoker reload reads them again", "error", err)
			}
		}()
	}
}

// setLogLevel sets the log level. With a command of run the default is quiet, since stderr belongs to the command.
func (d *daemon) setLogLevel() {
	plan := d.currentPlan()
	level := hclog.LevelFromString(plan.config.Log.Level)
	if _, set := plan.origins["log.level"]; !set && len(d.opts.Command) > 0 {
		level = hclog.Warn
	}
	d.log.SetLevel(level)
}
