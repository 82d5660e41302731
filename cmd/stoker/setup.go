package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/tomcat"
	"github.com/stoker-init/stoker/supervisor"
	"golang.org/x/sys/unix"
)

// setup is what a supervisor runs: the configuration and the services made of it.
type setup struct {
	config      config.Config
	origins     config.Origins
	definitions []supervisor.Definition
	jvms        *sync.Map // service name -> *jvmFacts, of its latest start; shared with the setups before
	users       []*proc.User
}

// prepare makes the services of a configuration. jvms is what is known of those
// that run.
func prepare(m *proc.Manager, log hclog.Logger, opts runOptions, loaded *config.Loaded, jvms *sync.Map) (*setup, error) {
	s := &setup{config: loaded.Config, origins: loaded.Origins, jvms: jvms}
	if len(opts.command) > 0 {
		s.addCommand(m, opts)
	}
	if len(opts.command) == 0 || opts.withServices {
		for _, name := range slices.Sorted(maps.Keys(s.config.Services)) {
			if err := s.addService(m, log, name, s.config.Services[name]); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// set is what the supervisor runs.
func (s *setup) set() supervisor.Set {
	return supervisor.Set{Definitions: s.definitions, Main: s.config.Main, StopTimeout: s.config.Stop.Timeout}
}

// addCommand makes the service of `run -- CMD`.
func (s *setup) addCommand(m *proc.Manager, opts runOptions) {
	name := commandName(opts.command)
	if _, taken := s.config.Services[name]; taken && opts.withServices {
		name = "command"
	}
	cfg := config.WithDefaults(config.Config{Services: map[string]config.Service{name: {Config: supervisor.Config{
		Command: opts.command, Essential: true, Restart: supervisor.Restart{Policy: supervisor.Never},
		Stop: supervisor.Stop{Timeout: s.config.Stop.Timeout},
	}}}}).Services[name]
	l := &processLauncher{m: m, service: cfg, inherit: true}
	s.config.Main = name
	s.definitions = append(s.definitions, supervisor.Definition{Name: name, Kind: config.KindProcess, Config: cfg.Config, Launcher: l})
}

// addService makes a service of the configuration.
func (s *setup) addService(m *proc.Manager, log hclog.Logger, name string, cfg config.Service) error {
	base := &processLauncher{m: m, service: cfg}
	if cfg.User != "" {
		u, err := proc.LookupUser(cfg.User)
		if err != nil {
			return &hintError{fmt.Errorf("cannot run service %q: %w", name, err), "", codeConfig}
		}
		base.user = u
		s.users = append(s.users, u)
	}
	if cfg.Umask != "" {
		mask, err := config.ParseUmask(cfg.Umask)
		if err != nil {
			return err
		}
		base.umask = &mask
	}
	logs, err := logOptions(cfg.Output)
	if err != nil {
		return fmt.Errorf("cannot run service %q: %w", name, err)
	}
	d := supervisor.Definition{Name: name, Kind: cfg.Kind, Log: logs, Config: cfg.Config, Launcher: base,
		Made: config.Fingerprint(s.config, name)}
	keep := func(f *jvmFacts) { s.jvms.Store(name, f) }
	switch cfg.Kind {
	case config.KindJava:
		d.Launcher = &javaLauncher{processLauncher: base, jvm: s.config.JVM, keep: keep}
	case config.KindTomcat:
		d.Launcher = &tomcatLauncher{processLauncher: base, jvm: s.config.JVM, keep: keep, log: log.With("name", name)}
	}
	s.definitions = append(s.definitions, d)
	return nil
}

// viewers are the users of the services: they may look at them.
func (s *setup) viewers() []int {
	var out []int
	for _, u := range s.users {
		out = append(out, int(u.UID))
	}
	return out
}

// assumeTomcat is the configuration of an image that has a Tomcat and no file.
func assumeTomcat(log hclog.Logger, opts runOptions) (*config.Loaded, error) {
	found, err := tomcat.Find(tomcat.Config{}, environMap(os.Environ()))
	if err != nil {
		return nil, nothingToRun(err)
	}
	log.Info("no service is configured; running the Tomcat of the image", "found", found.String())
	loaded, err := config.Load(config.Options{File: opts.file, Set: opts.set, Environ: os.Environ(),
		Assume: []string{"services.tomcat.kind=tomcat"}})
	if err != nil {
		return nil, fmt.Errorf("cannot accept the configuration:\n%w", err)
	}
	return loaded, nil
}

// processLauncher starts a service of kind process, and is the part that all
// kinds have in common.
type processLauncher struct {
	m       *proc.Manager
	service config.Service
	user    *proc.User
	umask   *int
	inherit bool // the command of run: it gets our stdin, and our terminal
	traces  evidence
}

// Prepare gives the configured command.
func (l *processLauncher) Prepare(ctx context.Context) (*supervisor.Launch, error) {
	out, err := l.Attach(ctx)
	if err != nil {
		return nil, err
	}
	out.Spec = l.spec(l.environ())
	out.Spec.Argv = l.service.Command
	if l.inherit {
		out.Spec.Stdin = os.Stdin
		if terminal(0) {
			out.Spec.Foreground = true
		}
		if terminal(1) {
			out.Spec.Stdout, out.Spec.Stderr = os.Stdout, os.Stderr
		}
	}
	return out, nil
}

// Attach gives the probes.
func (l *processLauncher) Attach(context.Context) (*supervisor.Launch, error) {
	out := &supervisor.Launch{Ready: l.service.Ready.Probes(l.runProbe), Live: l.service.Live.Probes(l.runProbe),
		StopCommand: l.stopCommand(), Evidence: l.traces.find}
	if pattern := l.service.Ready.Log; pattern != "" {
		watch, err := supervisor.LogWatch(pattern)
		if err != nil {
			return nil, fmt.Errorf("cannot use ready.log: %w", err)
		}
		out.Watch = watch
	}
	return out, nil
}

// spec is what does not depend on the kind.
func (l *processLauncher) spec(env map[string]string) proc.Spec {
	return proc.Spec{Env: environList(env), Dir: l.service.Dir, User: l.user, Umask: l.umask}
}

// runProbe runs the command of an exec probe as the service's user.
func (l *processLauncher) runProbe(ctx context.Context, argv []string) (int, string, error) {
	spec := l.spec(l.environ())
	spec.ID, spec.Argv = uniqueID("probe"), argv
	return supervisor.RunProbe(ctx, l.m, spec)
}

// environ is ours, with what the service's user and configuration say. A login
// would set HOME and USER, so their absence surprises programs.
func (l *processLauncher) environ() map[string]string {
	env := environMap(os.Environ())
	if l.user != nil && l.user.Home != "" {
		name := l.user.Login
		env["HOME"], env["USER"], env["LOGNAME"] = l.user.Home, name, name
	}
	for k, v := range l.service.Env {
		env[k] = v
	}
	return env
}

// terminal says whether fd is one.
func terminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}
