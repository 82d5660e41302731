package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm/launch"
	"github.com/stoker-init/stoker/supervisor"
)

// reloader owns the configuration that is in force.
type reloader struct {
	m       *proc.Manager
	log     hclog.Logger
	opts    Options
	program Program
	sup     *supervisor.Supervisor
	jvms    *launch.Drift
	// journal of the container's events.
	journal *journal
	// hooks run what belongs to the stages.
	hooks *hookRunner
	// plugins are those of the services; nil: the command of run has none.
	plugins *plugin.Set

	mu      sync.Mutex // one reload at a time; guards what follows
	loaded  *config.Loaded
	ctx     context.Context    // of the watching
	unwatch context.CancelFunc // nil: nobody watches
	current atomic.Pointer[setup]
	problem atomic.Pointer[string] // why the files are not in force; nil: they are
	api     *apiServer
	// socketPath is that of the API; nil: it does not serve.
	socketPath atomic.Pointer[string]
}

// socket is the path of the API's socket; empty: there is none.
func (r *reloader) socket() string {
	if p := r.socketPath.Load(); p != nil {
		return *p
	}
	return ""
}

// plan is what is in force.
func (r *reloader) plan() *setup { return r.current.Load() }

// begin takes the configuration that an earlier supervisor of this container had
// in force, or that of the files.
func (r *reloader) begin(rec *proc.Recovered) error {
	var err error
	if fds := rec.Files[configItem]; len(fds) == 1 {
		if r.loaded, err = readConfig(fds[0]); err != nil {
			r.log.Error("cannot read the kept configuration; reading the files again", "error", err)
			r.loaded = nil
		}
	}
	if r.loaded == nil {
		var found string
		if r.loaded, found, err = r.read(); err != nil {
			return err
		}
		if err = r.rejectSecond(r.loaded.Config.API.Socket, r.m.InitPid()); err != nil {
			return err
		}
		if found != "" {
			r.log.Info("no service is configured; running the Tomcat of the image", "found", found)
		}
		r.warn()
		if err = keepConfig(r.m, r.loaded); err != nil {
			r.log.Error("a new supervisor will have to read the files again", "error", err)
		}
	}
	if len(r.opts.Command) == 0 || r.opts.WithServices {
		r.plugins = newPlugins(r.m, rec, r.program.Version, r.log, r.journal, r.hooks)
		r.plugins.Configure(r.loaded.Config.Plugins, factsOf(r.loaded.Config))
	}
	plan, err := prepare(r.m, r.log, r.opts, r.loaded, nil, r.plugins, r.hooks)
	if err != nil {
		return err
	}
	r.putInForce(plan)
	return nil
}

// putInForce makes a setup the present one.
func (r *reloader) putInForce(plan *setup) {
	plan.labels.Store(&plan.config.Labels)
	r.current.Store(plan)
}

// read reads and checks the files. Where no service is configured that is the
// Tomcat of the image, and found says which.
func (r *reloader) read() (loaded *config.Loaded, found string, err error) {
	if loaded, err = config.Load(r.sources()); err != nil {
		return nil, "", fmt.Errorf("cannot accept the configuration:\n%w", err)
	}
	if len(loaded.Config.Services) == 0 && len(r.opts.Command) == 0 {
		return assumeTomcat(r.opts)
	}
	return loaded, "", nil
}

// warn says what is strange about the configuration that is in force.
func (r *reloader) warn() {
	for _, w := range r.loaded.Warnings {
		r.log.Warn("configuration", "warning", w.String())
	}
}

func (r *reloader) sources() config.Options {
	return config.Options{File: r.opts.File, Set: r.opts.Set, Environ: os.Environ()}
}

// reload reads the files again and applies what has changed. What is wrong with
// them is an error, kept until they are repaired, and changes nothing.
func (r *reloader) reload(by string, dryRun bool) (api.Reloaded, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	done, err := r.reloadNow(by, dryRun)
	if !dryRun {
		r.journal.reloaded(by, done, err)
	}
	return done, err
}

// reloadNow is reload; r.mu is held.
func (r *reloader) reloadNow(by string, dryRun bool) (api.Reloaded, error) {
	done := api.Reloaded{DryRun: dryRun, Changes: []string{}}
	loaded, plan, err := r.next()
	if err != nil {
		if !dryRun {
			text := err.Error()
			r.problem.Store(&text)
		}
		return done, err
	}
	done.Files = loaded.Files
	changes := config.Diff(r.loaded.Config, loaded.Config)
	var names []string
	for _, c := range changes {
		if c.Service != "" && len(r.opts.Command) > 0 && !r.opts.WithServices {
			continue // beside a command the services of the files do not run
		}
		done.Changes = append(done.Changes, c.String())
		if c.Service != "" {
			names = append(names, c.Service)
		}
	}
	if dryRun {
		return done, nil
	}
	r.problem.Store(nil)
	if len(done.Changes) == 0 {
		r.hooks.renew(plan) // their files may be others
		r.followSources()
		return done, nil
	}
	r.log.Info("the configuration has changed", "asked_by", by, "changes", done.Changes)
	settled := r.owePlugins(by)
	defer settled()
	// In the bag first: who takes over from here on comes to the same end.
	if err := keepConfig(r.m, loaded); err != nil {
		return done, fmt.Errorf("cannot apply the configuration: %w", err)
	}
	followPlugins := r.configurePlugins(loaded) // before a service starts anew
	r.hooks.renew(plan)                         // as well
	if err := r.sup.Apply(plan.set(), names, by); err != nil {
		r.configurePlugins(r.loaded)
		r.hooks.renew(r.plan())
		return done, errors.Join(err, keepConfig(r.m, r.loaded))
	}
	r.loaded = loaded
	r.putInForce(plan)
	r.level()
	r.warn()
	r.rewatch()
	r.hooks.changed(by)
	followPlugins(by)
	r.followSources()
	return done, nil
}

// followSources looks at the sources of JVM options that are in force now, once
// anything is watched at all. r.mu is held.
func (r *reloader) followSources() {
	if r.ctx != nil {
		r.jvms.Follow(r.ctx)
	}
}

// next is the configuration of the files and what it makes.
func (r *reloader) next() (*config.Loaded, *setup, error) {
	loaded, _, err := r.read()
	if err != nil {
		return nil, nil, err
	}
	plan, err := prepare(r.m, r.log, r.opts, loaded, r.plan(), r.plugins, r.hooks)
	return loaded, plan, err
}

// reloadFor is a reload whose result goes to the log.
func (r *reloader) reloadFor(by string) {
	done, err := r.reload(by, false)
	switch {
	case err != nil:
		r.log.Error("the configuration is refused; the one before stays in force", "asked_by", by, "error", err)
	case len(done.Changes) == 0:
		r.log.Info("the configuration has not changed", "asked_by", by)
	}
}

// problemText is why the files are not in force; empty: they are.
func (r *reloader) problemText() string {
	if p := r.problem.Load(); p != nil {
		return *p
	}
	return ""
}

// byWatch is who asks for a reload when the files have changed.
const byWatch = "a change of the files"

// watch begins to watch the files. They may have changed while nobody did, so they
// are read once at once.
func (r *reloader) watch(ctx context.Context) {
	r.mu.Lock()
	r.ctx = ctx
	r.payPlugins(ctx)
	r.rewatch()
	r.followSources()
	watched := r.unwatch != nil
	r.mu.Unlock()
	if !watched {
		return
	}
	if done, err := r.reload(byWatch, true); err != nil || len(done.Changes) > 0 {
		r.reloadFor(byWatch)
	}
}

// rewatch watches, or not, as the configuration says now. r.mu is held.
func (r *reloader) rewatch() {
	w := r.plan().config.Reload.Watch
	want := (w == nil || *w) && (len(r.opts.Command) == 0 || r.opts.WithServices)
	switch {
	case r.ctx == nil || want == (r.unwatch != nil):
	case !want:
		r.unwatch()
		r.unwatch = nil
	default:
		w, err := config.NewWatcher(r.sources())
		if err != nil {
			r.log.Warn("the configuration's files are not watched; stoker reload reads them again", "error", err)
			return
		}
		ctx, cancel := context.WithCancel(r.ctx)
		r.unwatch = cancel
		go func() { // ends with ctx
			if err := w.Run(ctx, func() { r.reloadFor(byWatch) }); err != nil {
				r.log.Warn("the configuration's files are not watched any more; stoker reload reads them again", "error", err)
			}
		}()
	}
}

// level sets the configured level of our log. An init for one command keeps quiet
// unless it is asked to speak: its stderr is the command's.
func (r *reloader) level() {
	plan := r.plan()
	level := hclog.LevelFromString(plan.config.Log.Level)
	if _, set := plan.origins["log.level"]; !set && len(r.opts.Command) > 0 {
		level = hclog.Warn
	}
	r.log.SetLevel(level)
}
