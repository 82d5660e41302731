// Package service defines how the processes of a configured service are started: command, environment, user, limits, probes and stop
// command.
package service

import (
	"context"
	"fmt"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/listen"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/supervisor"
	"golang.org/x/sys/unix"
)

// Launcher starts a service of kind process. The launchers of other kinds embed it.
type Launcher struct {
	Manager      *proc.Manager
	Name         string
	Config       config.Service
	User         *asuser.User
	base         proc.Spec // common to all processes of the service
	cgroups      *cgroup.Tree
	CgroupLimits cgroup.OwnLimits
	Deps
}

// Deps are the dependencies of a launcher beside the service's configuration.
type Deps struct {
	Inherit bool                // the command of run: it gets stoker's stdin and terminal
	Public  []string            // variables whose values become arguments, which every user can read
	Origins layeredyaml.Origins // of the configuration
	// HookOutput returns the output of hooks for a service; nil: none.
	HookOutput func(service string, uid int) hooks.Output
	// Allow returns an error if a service must not start; nil: every service may.
	Allow func(service string) error
	// Observe adds observers that apply to any program; nil: none.
	Observe func(*supervisor.Launch)
	// Listen opens the listening sockets of a service; nil: it has none.
	Listen func(service string) ([]listen.Socket, error)
}

// Base returns the launcher itself, also of a kind that embeds it.
func (l *Launcher) Base() *Launcher { return l }

// New returns the launcher of a configured service.
func New(m *proc.Manager, tree *cgroup.Tree, name string, cfg config.Service) (*Launcher, error) {
	l := &Launcher{Manager: m, Name: name, Config: cfg, cgroups: tree}
	if err := l.parse(cfg.ProcessConfig); err != nil {
		return nil, &exit.Error{Err: fmt.Errorf("cannot run service %q: %w", name, err), Code: exit.BadConfig}
	}
	return l, nil
}

func (l *Launcher) parse(s supervisor.ProcessConfig) (err error) {
	l.base = proc.Spec{Dir: s.Dir, Attributes: execshim.Attributes{Nice: s.Nice, OOMScoreAdj: s.OOMScoreAdj,
		NoNewPrivileges: s.NoNewPrivileges}}
	if s.User != "" {
		if l.User, err = asuser.Lookup(s.User); err != nil {
			return err
		}
		l.base.User = l.User
	}
	if s.Groups != nil {
		if l.base.User == nil {
			l.base.User = asuser.Current()
		}
		if err := l.base.User.SetGroups(s.Groups); err != nil {
			return err
		}
	}
	if s.Umask != "" {
		mask, err := execshim.ParseUmask(s.Umask)
		if err != nil {
			return err
		}
		l.base.Umask = &mask
	}
	if l.base.Rlimits, err = execshim.ParseRlimits(s.Rlimits); err != nil {
		return err
	}
	if s.IONice != "" {
		priority, err := execshim.ParseIONice(s.IONice)
		if err != nil {
			return err
		}
		l.base.IOPriority = &priority
	}
	if l.base.Drop, err = execshim.ParseCapabilities(s.DropCapabilities); err != nil {
		return err
	}
	l.CgroupLimits.CPUs = s.Cgroup.CPUs
	if s.Cgroup.Memory != "" {
		l.CgroupLimits.Memory, err = jvm.ParseMemory(s.Cgroup.Memory)
	}
	return err
}

// Start is the input of one start.
type Start struct {
	*Environment
	Cgroup *cgroup.Own // nil: the service runs in the container's cgroup
	// Options are JVM options from hooks.
	Options []hooks.OutputOption
}

// Begin reads the environment, creates the cgroup and calls prepare. It masks secrets in the notes and the error.
func (l *Launcher) Begin(prepare func(r *Start) (*supervisor.Launch, error)) (*supervisor.Launch, error) {
	if l.Allow != nil {
		if err := l.Allow(l.Name); err != nil {
			return nil, err
		}
	}
	env, err := l.Environ()
	if err != nil {
		return nil, err
	}
	given := l.FromHooks()
	r := &Start{Environment: env, Options: given.Options}
	note := l.makeCgroup(r)
	out, err := prepare(r)
	if err != nil {
		if r.Cgroup != nil {
			r.Cgroup.Remove()
		}
		return nil, r.Mask.Error(err)
	}
	if r.Cgroup != nil {
		out.Spec.Cgroups = r.Cgroup.Dirs()
	}
	if note != "" {
		out.Warnings = append(out.Warnings, note)
	}
	out.Notes = append(out.Notes, given.Withheld...)
	for _, texts := range [][]string{out.Notes, out.Warnings} {
		for k := range texts {
			texts[k] = r.Mask.Text(texts[k])
		}
	}
	return out, nil
}

// Sockets opens the listening sockets of the service, in the order of its configuration.
func (l *Launcher) Sockets() ([]listen.Socket, error) {
	if l.Listen == nil {
		return nil, nil
	}
	return l.Listen(l.Name)
}

// FromHooks returns the output of hooks for the service.
func (l *Launcher) FromHooks() hooks.Output {
	if l.HookOutput == nil {
		return hooks.Output{}
	}
	return l.HookOutput(l.Name, l.User.ID())
}

// makeCgroup creates the service's own cgroup if limits are configured. On failure the service still runs, and the note says why.
func (l *Launcher) makeCgroup(r *Start) (note string) {
	if !l.Config.Cgroup.Own && l.CgroupLimits == (cgroup.OwnLimits{}) || l.cgroups == nil {
		return ""
	}
	own, err := l.cgroups.Make(l.Name, l.CgroupLimits)
	if err != nil {
		return "no cgroup of its own: " + err.Error()
	}
	r.Cgroup = own
	return ""
}

// Prepare returns the Launch of the configured command.
func (l *Launcher) Prepare(ctx context.Context) (*supervisor.Launch, error) {
	return l.Begin(func(r *Start) (*supervisor.Launch, error) {
		out, err := l.Attach(ctx, "")
		if err != nil {
			return nil, err
		}
		out.Spec = l.Spec(r.Vars)
		out.Spec.Argv = l.Config.Command
		if out.Spec.Sockets, err = l.Sockets(); err != nil {
			return nil, err
		}
		if l.Inherit {
			out.Spec.Stdio.InheritStdin = true
			if isTerminal(0) {
				out.Spec.Foreground = true
			}
			if isTerminal(1) {
				out.Spec.Stdio.Mode = proc.Inherit
			}
		}
		return out, nil
	})
}

// Attach returns the Launch of a running process: its probes.
func (l *Launcher) Attach(context.Context, string) (*supervisor.Launch, error) {
	out := &supervisor.Launch{Port: l.Config.Ready.Port(),
		Ready: l.Config.Ready.New(l.runProbe), Live: l.Config.Live.New(l.runProbe),
		StopCommand: l.stopCommand()}
	if l.Observe != nil {
		l.Observe(out)
	}
	return out, nil
}

// Spec returns the process spec that all kinds share.
func (l *Launcher) Spec(env map[string]string) proc.Spec {
	spec := l.base
	spec.Env = EnvironList(env)
	return spec
}

// Run runs a helper program to its end as the service's user. Its ID (which names it in errors), Argv, Env, OOMRaise and Dir are those
// of spec; an empty Dir is the service's.
func (l *Launcher) Run(ctx context.Context, spec proc.Spec) (code int, output string, err error) {
	full := l.Spec(nil)
	full.ID, full.Argv, full.Env, full.OOMRaise = ProcessID(spec.ID), spec.Argv, spec.Env, spec.OOMRaise
	if spec.Dir != "" {
		full.Dir = spec.Dir
	}
	return proc.RunCommand(ctx, l.Manager, full)
}

// WithinStart bounds a helper program of a start, so that time remains for the start itself.
func (l *Launcher) WithinStart(ctx context.Context) (context.Context, context.CancelFunc) {
	if l.Config.Ready.Within <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, l.Config.Ready.Within/2)
}

// runBeside runs a program beside the service's process as the service's user, without JVM options.
func (l *Launcher) runBeside(ctx context.Context, spec proc.Spec, more ...string) (int, string, error) {
	env, err := l.Environ()
	if err != nil {
		return 0, "", err
	}
	vars := env.Vars
	if l.Config.Kind != config.KindProcess {
		vars = jvm.WithoutOptions(vars)
	}
	full := l.Spec(vars)
	full.ID, full.Argv, full.WhileStopping, full.Env = ProcessID(spec.ID), spec.Argv, spec.WhileStopping, append(full.Env, more...)
	return proc.RunProbe(ctx, l.Manager, full)
}

// runProbe runs the command of an exec probe.
func (l *Launcher) runProbe(ctx context.Context, argv []string) (int, string, error) {
	return l.runBeside(ctx, proc.Spec{ID: "probe", Argv: argv})
}

// stopCommand returns a function that runs the configured stop command; nil: none is configured. It may also start while the
// container stops.
func (l *Launcher) stopCommand() func(context.Context, supervisor.Process) error {
	argv := l.Config.Stop.Command
	if len(argv) == 0 {
		return nil
	}
	return func(ctx context.Context, p supervisor.Process) error {
		spec := proc.Spec{ID: "stop", Argv: argv, WhileStopping: true}
		if err := proc.CommandError(l.runBeside(ctx, spec, fmt.Sprintf("STOKER_PID=%d", p.Pid()))); err != nil {
			return fmt.Errorf("cannot stop by %s: %w", argv[0], err)
		}
		return nil
	}
}

// isTerminal reports whether fd is a terminal.
func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}
