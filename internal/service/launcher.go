// Package service says how the processes of a configured service are started: their
// command, environment, user and limits, and the probes and commands that run beside.
package service

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/probe"
	"golang.org/x/sys/unix"
)

// Launcher starts a service of kind process, and is the part that all
// kinds have in common.
type Launcher struct {
	Manager      *proc.Manager
	Name         string
	Config       config.Service
	User         *asuser.User
	base         proc.Spec // what a process of the service has whatever it executes
	cgroups      *cgroup.Tree
	CgroupLimits cgroup.Wish
	Deps
}

// Deps are what a launcher uses beside the configuration of its service.
type Deps struct {
	Inherit bool                // the command of run: it gets our stdin, and our terminal
	Public  []string            // variables whose values become arguments, which everybody can read
	Origins layeredyaml.Origins // of the configuration
	// given is what hooks have given to a service; nil: nothing.
	HookOutput func(service string, uid int) hooks.Output
	// allow is an error if a service must not start; nil: every one may.
	Allow func(service string) error
	// observe adds what can be seen of a process whatever it executes; nil: nothing.
	Observe func(*supervisor.Launch)
}

// New reads what a service's processes are to be started with.
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
		mask, err := config.ParseUmask(s.Umask)
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

// Start is what a start begins with.
type Start struct {
	*Environment
	Cgroup *cgroup.Own // nil: the service runs in the container's
	// options of the JVM that hooks have given.
	Options []hooks.OutputOption
}

// Begin reads the environment, makes the cgroup, and has prepare make a Launch of
// it. What that says is for people, so it is kept clear of secrets.
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

// FromHooks is what hooks have given to the service.
func (l *Launcher) FromHooks() hooks.Output {
	if l.HookOutput == nil {
		return hooks.Output{}
	}
	return l.HookOutput(l.Name, l.User.ID())
}

// makeCgroup makes the service's own, where one is wanted. Without it the service
// still runs, and the note says why.
func (l *Launcher) makeCgroup(r *Start) (note string) {
	if !l.Config.Cgroup.Own && l.CgroupLimits == (cgroup.Wish{}) || l.cgroups == nil {
		return ""
	}
	own, err := l.cgroups.Make(l.Name, l.CgroupLimits)
	if err != nil {
		return "no cgroup of its own: " + err.Error()
	}
	r.Cgroup = own
	return ""
}

// Prepare gives the configured command.
func (l *Launcher) Prepare(ctx context.Context) (*supervisor.Launch, error) {
	return l.Begin(func(r *Start) (*supervisor.Launch, error) {
		out, err := l.Attach(ctx, "")
		if err != nil {
			return nil, err
		}
		out.Spec = l.Spec(r.Vars)
		out.Spec.Argv = l.Config.Command
		if l.Inherit {
			out.Spec.Stdio.InheritStdin = true
			if terminal(0) {
				out.Spec.Foreground = true
			}
			if terminal(1) {
				out.Spec.Stdio.Mode = proc.Inherit
			}
		}
		return out, nil
	})
}

// Attach gives the probes.
func (l *Launcher) Attach(context.Context, string) (*supervisor.Launch, error) {
	out := &supervisor.Launch{Port: readyPort(l.Config.Ready.Config),
		Checks: supervisor.Checks{Ready: l.Config.Ready.New(l.runProbe), Live: l.Config.Live.New(l.runProbe)},
		Ending: supervisor.Ending{StopCommand: l.stopCommand()}}
	if l.Observe != nil {
		l.Observe(out)
	}
	return out, nil
}

// readyPort is the port that readiness looks at; 0: at none.
func readyPort(c probe.Config) int {
	if u, err := url.Parse(c.HTTP.URL); err == nil && c.HTTP.IsSet() && c.HTTP.Socket == "" {
		return PortOf(u)
	}
	_, port, err := net.SplitHostPort(string(c.TCP))
	if err != nil {
		return 0
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return 0
	}
	return n
}

// PortOf is the port that a URL is asked at.
func PortOf(u *url.URL) int {
	if port, err := strconv.Atoi(u.Port()); err == nil {
		return port
	}
	return map[string]int{"http": 80, "https": 443}[u.Scheme]
}

// Spec is what does not depend on the kind.
func (l *Launcher) Spec(env map[string]string) proc.Spec {
	spec := l.base
	spec.Env = EnvironList(env)
	return spec
}

// Run runs a program of our own to its end, as the service's user and with
// what the service is started with; dir empty: in the service's. what names it.
func (l *Launcher) Run(ctx context.Context, what string, argv, env []string, dir string) (code int, output string, err error) {
	spec := l.Spec(nil)
	spec.ID, spec.Argv, spec.Env = ProcessID(what), argv, env
	if dir != "" {
		spec.Dir = dir
	}
	return proc.RunCommand(ctx, l.Manager, spec)
}

// WithinStart bounds what is run to prepare a start, which itself needs the rest of its
// time.
func (l *Launcher) WithinStart(ctx context.Context) (context.Context, context.CancelFunc) {
	if l.Config.Ready.Within <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, l.Config.Ready.Within/2)
}

// specBeside is what a program is started with that runs beside the service's process, as
// the service's user. Options of a JVM are that JVM's.
func (l *Launcher) specBeside() (proc.Spec, error) {
	env, err := l.Environ()
	if err != nil {
		return proc.Spec{}, err
	}
	vars := env.Vars
	if l.Config.Kind != config.KindProcess {
		vars = jvm.WithoutOptions(vars)
	}
	return l.Spec(vars), nil
}

// runProbe runs the command of an exec probe.
func (l *Launcher) runProbe(ctx context.Context, argv []string) (int, string, error) {
	spec, err := l.specBeside()
	if err != nil {
		return 0, "", err
	}
	spec.ID, spec.Argv = ProcessID("probe"), argv
	return proc.RunProbe(ctx, l.Manager, spec)
}

// terminal says whether fd is one.
func terminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}
