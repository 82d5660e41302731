package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/mesos"
	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/console/audit"
	"github.com/stoker-init/stoker/internal/console/recording"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/network"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm/launch"
	"github.com/stoker-init/stoker/jvm/tomcat"
	"github.com/stoker-init/stoker/jvm/training"
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
	shared  *launch.Shared // state of the JVM launchers
	cgroups *cgroup.Tree
	journal *journal
	sockets *sockets
	hooks   *hookRunner
	jobs    *executor.Executor // nil: there is none
	network *network.Network   // of the container
	gate    *access.Gate
	console *console.Manager
	audit   *audit.Log         // of the console, as recordings are
	engines *engines           // nil: there is no executor
	mesos   *mesos.Environment // nil: stoker is no executor of an agent
	plugins *plugin.Set        // nil: a command of run alone has none
	private training.Ports     // of the service whose archive is made

	recordings *recording.Recorder
	filesRead  bool // at the start: the fd store had no configuration

	mu         sync.Mutex         // one reload at a time; guards ctx and unwatch
	ctx        context.Context    // of the watch
	unwatch    context.CancelFunc // nil: not watching
	current    atomic.Pointer[plan]
	problem    atomic.Pointer[string] // why the files were rejected; nil: they are in force
	api        *apiServer
	socketPath atomic.Pointer[string] // of the API; nil: it is not served
}

// loadText returns the text that a pointer holds; empty: none.
func loadText(p *atomic.Pointer[string]) string {
	if s := p.Load(); s != nil {
		return *s
	}
	return ""
}

func (d *daemon) socket() string { return loadText(&d.socketPath) }

func (d *daemon) currentPlan() *plan { return d.current.Load() }

// begin loads the configuration of an earlier supervisor of this container, or the files.
func (d *daemon) begin(rec *proc.Recovered) error {
	loaded := new(config.Loaded)
	restored, err := rec.TakeJSON(configItem, loaded)
	if err != nil {
		d.log.Error("cannot read the saved configuration; reading the files", "error", err)
	}
	if restored && err == nil {
		loaded.Config = config.WithDefaults(loaded.Config) // another version may have saved it
	} else if loaded, err = d.firstConfig(); err != nil {
		return err
	} else {
		d.filesRead = true
	}
	if d.opts.Archive != nil {
		if err := d.configureTraining(&loaded.Config); err != nil {
			return err
		}
	}
	d.takeMesos(loaded.Config.Executor)
	d.shared, d.cgroups = launch.NewShared(stateFolder(os.Geteuid(), os.Getenv)), cgroup.NewTree("/")
	d.shared.Store, d.shared.Runtime = d.m.FDStore(), api.RuntimeFolder("tomcat", os.Getenv)
	d.shared.Owner = ownerOf(d.m.Init().Pid)
	d.shared.Restore(rec.Items)
	if !d.opts.Alone() {
		d.plugins = newPlugins(d.m, rec, d.program.Version, d.log, d.journal, d.hooks)
		d.plugins.Configure(loaded.Config.Plugins, factsOf(loaded.Config))
	}
	d.shared.Labels, d.shared.Plugins = func() map[string]string { return d.currentPlan().Config.Labels }, d.plugins
	plan, err := d.newPlan(loaded)
	d.current.Store(plan)
	return err
}

// firstConfig reads the files for the first supervisor of this container.
func (d *daemon) firstConfig() (*config.Loaded, error) {
	if d.opts.Archive != nil {
		d.log.SetLevel(hclog.Error) // the rest is in the error of the command
	}
	loaded, found, err := d.read()
	if err == nil && d.opts.Archive == nil {
		err = d.rejectSecond(loaded.Config.API.Socket, d.m.Init().Pid)
	}
	if err != nil {
		return nil, err
	}
	if found != "" {
		d.log.Info("no service is configured; running the Tomcat of the image", "found", found)
	}
	d.logWarnings(loaded)
	return loaded, nil
}

// saveFirstConfig puts a configuration that was read from the files at the start into the fd store, after the first starts: its encoding
// takes 1 ms. If the supervisor is killed before, the next one reads the files.
func (d *daemon) saveFirstConfig() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.filesRead {
		return
	}
	if err := d.saveConfig(d.currentPlan().Loaded); err != nil {
		d.log.Error("a new supervisor will have to read the files again", "error", err)
	}
}

// saveConfig puts the configuration into the fd store, so that a new supervisor can continue even if the files are broken by then.
func (d *daemon) saveConfig(loaded *config.Loaded) error {
	if err := d.m.FDStore().PutJSON(configItem, loaded); err != nil {
		return fmt.Errorf("cannot keep the configuration: %w", err)
	}
	return nil
}

// read reads and validates the files. If no service is configured, the Tomcat of the image is used and found describes it.
func (d *daemon) read() (loaded *config.Loaded, found string, err error) {
	sources := d.sources()
	loaded, err = config.Load(sources)
	if err == nil && len(loaded.Config.Services) == 0 && len(d.opts.Command) == 0 {
		where, notFound := tomcat.Find(tomcat.Config{}, service.EnvironMap(os.Environ()))
		if notFound != nil {
			return nil, "", errNothingToRun(notFound)
		}
		found, sources.Assume = where.String(), []string{"services.tomcat.kind=tomcat"}
		loaded, err = config.Load(sources)
	}
	if err != nil {
		return nil, "", fmt.Errorf("cannot accept the configuration:\n%w", err)
	}
	return loaded, found, nil
}

func (d *daemon) logWarnings(loaded *config.Loaded) {
	for _, w := range loaded.Warnings {
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
	before := d.currentPlan()
	done, err := d.reloadLocked(by, dryRun)
	if !dryRun {
		d.journal.reloaded(by, done, err)
	}
	if !dryRun && err == nil && d.network.Reload(before.network(), d.currentPlan().network(), by != byWatch) {
		done.Changes = append(done.Changes, "configure the network again, in the background")
	}
	return done, err
}

// diff returns the changes of a reload. Without an executor those of its section wait for another container.
func (d *daemon) diff(old, next config.Config) []config.Change {
	changes := config.Diff(old, next)
	if d.jobs == nil {
		changes = config.Postpone(changes, "executor")
	}
	return changes
}

// reloadLocked is Reload; d.mu is held.
func (d *daemon) reloadLocked(by string, dryRun bool) (api.ReloadResult, error) {
	done := api.ReloadResult{DryRun: dryRun, Changes: []string{}}
	before := d.currentPlan()
	loaded, _, err := d.read()
	var plan *plan
	if err == nil {
		plan, err = d.newPlan(loaded)
	}
	if err != nil {
		if !dryRun {
			text := err.Error()
			d.problem.Store(&text)
		}
		return done, err
	}
	done.Files = loaded.Files
	var names []string
	for _, c := range d.diff(before.Config, loaded.Config) {
		if c.Service != "" && d.opts.Alone() {
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
	if d.finishRestarts(); d.plugins != nil {
		d.plugins.RequireRestart(by)
		defer d.plugins.RestartDone()
	}
	// Saved first: a new supervisor continues with it.
	if err := d.saveConfig(loaded); err != nil {
		return done, fmt.Errorf("cannot apply the configuration: %w", err)
	}
	optionsChanged := d.configurePlugins(loaded) // before a service restarts
	d.hooks.setPlan(plan)                        // also before a restart
	if err := d.sup.Apply(plan.supervisorSet(), names, by); err != nil {
		d.configurePlugins(before.Loaded)
		d.hooks.setPlan(before)
		return done, errors.Join(err, d.saveConfig(before.Loaded))
	}
	d.current.Store(plan)
	d.setLogLevel()
	d.configureConsole()
	switch wanted := d.currentPlan().Config.Executor; {
	case d.jobs != nil:
		d.jobs.Configure(wanted.Config)
		d.engines.configure(wanted, d.currentPlan().Config.Labels)
	case wanted.Slots > 0:
		d.log.Warn("the executor begins with a new container: it was not configured when this one started")
	}
	d.logWarnings(loaded)
	d.rewatch()
	d.hooks.tellNumbered(lifecycle.ConfigChanged, by)
	if optionsChanged {
		d.restartAndLog(restartRequest{by: by, onlyRunning: true})
	}
	d.followSources()
	return done, nil
}

// followSources watches the JVM option sources of the current configuration, if the files are watched. d.mu is held.
func (d *daemon) followSources() {
	if d.ctx != nil {
		d.jvms.Follow(d.ctx)
	}
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

func (d *daemon) ConfigProblem() string { return loadText(&d.problem) }

// byWatch is the reason of a reload by the file watcher.
const byWatch = "a change of the files"

// watch starts the file watch and reloads once, since the files may have changed before.
func (d *daemon) watch(ctx context.Context) {
	d.mu.Lock()
	d.ctx = ctx
	d.finishRestarts()
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
	w := d.currentPlan().Config.Reload.Watch
	want := (w == nil || *w) && !d.opts.Alone()
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

func (d *daemon) setLogLevel() {
	plan := d.currentPlan()
	level := hclog.LevelFromString(plan.Config.Log.Level)
	if _, set := plan.Origins["log.level"]; !set && len(d.opts.Command) > 0 {
		level = hclog.Warn
	}
	d.log.SetLevel(level)
}
