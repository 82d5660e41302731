package daemon

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/listen"
	"github.com/stoker-init/stoker/internal/logfile"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/network"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/launch"
	"github.com/stoker-init/stoker/supervisor"
)

// plan is a configuration with the services made from it.
type plan struct {
	*config.Loaded
	main        string // the main service
	definitions []supervisor.Definition
	hooks       []hooks.ResolvedHook
	hookNotes   []hooks.Problem
	viewers     []int // uids of the services, which have the grant view
}

func (d *daemon) newPlan(loaded *config.Loaded) (p *plan, err error) {
	p = &plan{Loaded: loaded, main: loaded.Config.Main}
	if len(d.opts.Command) > 0 {
		d.addCommand(p)
	}
	if d.opts.Alone() {
		return p, nil
	}
	if p.hooks, p.hookNotes, err = ReadHooks(p.Config, p.Origins); err != nil {
		return nil, err
	}
	hashes := config.Fingerprints(p.Config)
	for _, name := range slices.Sorted(maps.Keys(p.Config.Services)) {
		if err := d.addService(p, name, hashes[name]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *plan) supervisorSet() supervisor.ServiceSet {
	return supervisor.ServiceSet{Definitions: p.definitions, Main: p.main, StopTimeout: p.Config.Stop.Timeout, OnFatal: p.Config.OnFatal}
}

func (p *plan) network() network.Settings {
	return network.Settings{Config: p.Config.Netinit, Labels: p.Config.Labels}
}

func (d *daemon) addCommand(p *plan) {
	p.main = commandName(d.opts.Command)
	if _, taken := p.Config.Services[p.main]; taken && d.opts.WithServices {
		p.main = "command"
	}
	cfg := config.WithDefaults(config.Config{Services: map[string]config.Service{p.main: {Config: supervisor.Config{
		Command: d.opts.Command, Essential: true, Restart: supervisor.Restart{Policy: supervisor.Never},
		Stop: supervisor.Stop{Timeout: p.Config.Stop.Timeout},
	}}}}).Services[p.main]
	l := &service.Launcher{Manager: d.m, Config: cfg, Deps: service.Deps{Inherit: true, Observe: launch.Observe}}
	p.definitions = append(p.definitions, supervisor.Definition{Name: p.main, Kind: config.KindProcess, Config: cfg.Config, Launcher: l})
}

func (d *daemon) addService(p *plan, name, hash string) error {
	cfg := p.Config.Services[name]
	base, err := service.New(d.m, d.cgroups, name, cfg)
	if err != nil {
		return err
	}
	if base.User != nil {
		p.viewers = append(p.viewers, base.User.ID())
	}
	base.Deps = service.Deps{Origins: p.Origins, Allow: launch.AllowedByPlugins(d.plugins), Observe: launch.Observe,
		HookOutput: func(service string, uid int) hooks.Output { return d.hooks.Output(service, uid) },
		Listen: func(service string) ([]listen.Socket, error) {
			gid := os.Getgid()
			if base.User != nil {
				gid = int(base.User.GID)
			}
			return d.sockets.open(service, cfg.Listen, base.User.ID(), gid)
		}}
	if a := d.opts.Archive; a != nil && a.Service == name {
		base.Listen = func(string) ([]listen.Socket, error) { return d.private.Sockets(cfg) }
	}
	logs, err := logOptions(cfg.Output)
	if err != nil {
		return fmt.Errorf("cannot run service %q: %w", name, err)
	}
	definition := supervisor.Definition{Name: name, Kind: cfg.Kind, Log: logs, Config: cfg.Config, Launcher: base, ConfigHash: hash}
	if cfg.Kind != config.KindProcess {
		base.Public = append(jvm.OptionVariables(), p.Config.JVM.User.Env...)
		definition.Launcher = launch.New(base, p.Config.JVM, d.shared, d.log.With("name", name))
	}
	p.definitions = append(p.definitions, definition)
	return nil
}

func (p *plan) jvmLaunchers() map[string]*launch.Launcher {
	out := map[string]*launch.Launcher{}
	for _, d := range p.definitions {
		if l, ok := d.Launcher.(*launch.Launcher); ok {
			out[d.Name] = l
		}
	}
	return out
}

// launcher returns the launcher of a service; nil: there is none of that name.
func (p *plan) launcher(name string) *service.Launcher {
	for _, d := range p.definitions {
		if l, ok := d.Launcher.(interface{ Base() *service.Launcher }); ok && d.Name == name {
			return l.Base()
		}
	}
	return nil
}

// unknownService says that there is no service of a name, and which there are; empty: there is one.
func (p *plan) unknownService(name string) string {
	if p.launcher(name) != nil {
		return ""
	}
	return fmt.Sprintf("there is no service %.60q; %s", name, suggest.Hint(name, slices.Sorted(maps.Keys(p.Config.Services))))
}

func logOptions(o supervisor.Output) (logs.Options, error) {
	out := logs.Options{Format: logs.Format(o.Format), Block: o.Overflow == supervisor.OverflowBlock}
	file := logfile.Options{Path: o.File.Path, Every: o.File.Every, Files: o.File.Files}
	for _, size := range []struct {
		key, text string
		bytes     *int64
	}{{"output.keep", o.Keep, &out.Keep}, {"output.file.size", o.File.Size, &file.Size}, {"output.file.total", o.File.Total, &file.Total}} {
		if size.text == "" {
			continue
		}
		var err error
		if *size.bytes, err = jvm.ParseMemory(size.text); err != nil {
			return out, fmt.Errorf("%s: %w", size.key, err)
		}
	}
	if o.File != (supervisor.OutputFile{}) {
		out.File = &file
	}
	return out, nil
}
