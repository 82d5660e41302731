package daemon

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/launch"
	"github.com/stoker-init/stoker/jvm/tomcat"
	"github.com/stoker-init/stoker/supervisor"
)

// plan is a configuration with the services made from it.
type plan struct {
	config      config.Config
	origins     layeredyaml.Origins
	definitions []supervisor.Definition
	hashes      map[string]string                  // fingerprints of the services
	jvms        *launch.Shared                     // shared by all plans
	labels      *atomic.Pointer[map[string]string] // current labels; shared by all plans
	runner      *hookRunner
	hooks       []hooks.ResolvedHook
	hookNotes   []hooks.Problem
	plugins     *plugin.Set // nil with the command of run alone
	users       []*asuser.User
	cgroups     *cgroup.Tree
}

// newPlan makes the services of a configuration. It reuses the state of the previous plan.
func newPlan(m *proc.Manager, log hclog.Logger, opts Options, loaded *config.Loaded, before *plan, plugins *plugin.Set,
	runner *hookRunner) (*plan, error) {
	s := &plan{config: loaded.Config, origins: loaded.Origins, hashes: config.Fingerprints(loaded.Config), plugins: plugins, runner: runner}
	if before != nil {
		s.jvms, s.cgroups, s.labels = before.jvms, before.cgroups, before.labels
	} else {
		s.jvms, s.cgroups, s.labels = launch.NewShared(stateFolder(os.Geteuid(), os.Getenv)), cgroup.NewTree("/"),
			new(atomic.Pointer[map[string]string])
		s.jvms.Labels, s.jvms.Plugins = func() map[string]string { return *s.labels.Load() }, plugins
	}
	if len(opts.Command) > 0 {
		s.addCommand(m, opts)
	}
	if len(opts.Command) == 0 || opts.WithServices {
		var err error
		if s.hooks, s.hookNotes, err = ReadHooks(s.config, s.origins); err != nil {
			return nil, err
		}
		for _, name := range slices.Sorted(maps.Keys(s.config.Services)) {
			if err := s.addService(m, log, name, s.config.Services[name]); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// supervisorSet returns the services for the supervisor.
func (s *plan) supervisorSet() supervisor.ServiceSet {
	return supervisor.ServiceSet{Definitions: s.definitions, Main: s.config.Main, StopTimeout: s.config.Stop.Timeout,
		OnFatal: s.config.OnFatal}
}

// addCommand adds the service of `run -- CMD`.
func (s *plan) addCommand(m *proc.Manager, opts Options) {
	name := commandName(opts.Command)
	if _, taken := s.config.Services[name]; taken && opts.WithServices {
		name = "command"
	}
	cfg := config.WithDefaults(config.Config{Services: map[string]config.Service{name: {Config: supervisor.Config{
		Command: opts.Command, Essential: true, Restart: supervisor.Restart{Policy: supervisor.Never},
		Stop: supervisor.Stop{Timeout: s.config.Stop.Timeout},
	}}}}).Services[name]
	l := &service.Launcher{Manager: m, Config: cfg, Deps: service.Deps{Inherit: true, Observe: launch.Observe}}
	s.config.Main = name
	s.definitions = append(s.definitions, supervisor.Definition{Name: name, Kind: config.KindProcess, Config: cfg.Config, Launcher: l})
}

// addService adds a configured service.
func (s *plan) addService(m *proc.Manager, log hclog.Logger, name string, cfg config.Service) error {
	base, err := service.New(m, s.cgroups, name, cfg)
	if err != nil {
		return err
	}
	if base.User != nil {
		s.users = append(s.users, base.User)
	}
	base.Deps = service.Deps{Origins: s.origins, HookOutput: s.runner.output, Allow: launch.AllowedByPlugins(s.plugins),
		Observe: launch.Observe}
	if cfg.Kind != config.KindProcess {
		base.Public = append(jvm.OptionVariables(), s.config.JVM.User.Env...)
	}
	logs, err := logOptions(cfg.Output)
	if err != nil {
		return fmt.Errorf("cannot run service %q: %w", name, err)
	}
	d := supervisor.Definition{Name: name, Kind: cfg.Kind, Log: logs, Config: cfg.Config, Launcher: base,
		ConfigHash: s.hashes[name]}
	if cfg.Kind != config.KindProcess {
		d.Launcher = launch.New(base, s.config.JVM, s.jvms, log.With("name", name))
	}
	s.definitions = append(s.definitions, d)
	return nil
}

// jvmLaunchers returns the launchers of the services with a JVM.
func (s *plan) jvmLaunchers() map[string]*launch.Launcher {
	out := map[string]*launch.Launcher{}
	for _, d := range s.definitions {
		if l, ok := d.Launcher.(*launch.Launcher); ok {
			out[d.Name] = l
		}
	}
	return out
}

// viewers returns the uids of the services, which have the grant view.
func (s *plan) viewers() []int {
	var out []int
	for _, u := range s.users {
		out = append(out, int(u.UID))
	}
	return out
}

// assumeTomcat returns the configuration of an image with a Tomcat and no configuration file; found describes the Tomcat.
func assumeTomcat(opts Options) (loaded *config.Loaded, found string, err error) {
	where, err := tomcat.Find(tomcat.Config{}, service.EnvironMap(os.Environ()))
	if err != nil {
		return nil, "", errNothingToRun(err)
	}
	loaded, err = config.Load(config.Options{File: opts.File, Set: opts.Set, Environ: os.Environ(),
		Assume: []string{"services.tomcat.kind=tomcat"}})
	if err != nil {
		return nil, "", fmt.Errorf("cannot accept the configuration:\n%w", err)
	}
	return loaded, where.String(), nil
}
