package daemon

import (
	"context"
	"fmt"
	"net"
	"net/url"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/hooks/plugin"
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

// processLauncher starts a service of kind process, and is the part that all
// kinds have in common.
type processLauncher struct {
	m       *proc.Manager
	name    string
	service config.Service
	user    *asuser.User
	base    proc.Spec // what a process of the service has whatever it executes
	cgroups *cgroup.Tree
	wish    cgroup.Wish
	inherit bool // the command of run: it gets our stdin, and our terminal
	traces  evidence
	hooks   *hookRunner         // nil: hooks give it nothing
	plugins *plugin.Set         // nil: there are none for it
	public  []string            // variables whose values become arguments, which everybody can read
	origins layeredyaml.Origins // of the configuration
}

// newProcessLauncher reads what a service's processes are to be started with.
func newProcessLauncher(m *proc.Manager, tree *cgroup.Tree, name string, cfg config.Service) (*processLauncher, error) {
	l := &processLauncher{m: m, name: name, service: cfg, cgroups: tree}
	if err := l.parse(cfg.Surroundings); err != nil {
		return nil, &exit.Error{Err: fmt.Errorf("cannot run service %q: %w", name, err), Code: exit.BadConfig}
	}
	return l, nil
}

func (l *processLauncher) parse(s supervisor.Surroundings) (err error) {
	l.base = proc.Spec{Dir: s.Dir, Attributes: execshim.Attributes{Nice: s.Nice, OOMScoreAdj: s.OOMScoreAdj, NoNewPrivileges: s.NoNewPrivileges}}
	if s.User != "" {
		if l.user, err = asuser.Lookup(s.User); err != nil {
			return err
		}
		l.base.User = l.user
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
	l.wish.CPUs = s.Cgroup.CPUs
	if s.Cgroup.Memory != "" {
		l.wish.Memory, err = jvm.ParseMemory(s.Cgroup.Memory)
	}
	return err
}

// readied is what a start begins with.
type readied struct {
	*environment
	own *cgroup.Own // nil: the service runs in the container's
	// options of the JVM that hooks have given.
	options []hooks.OutputOption
	// leave are plugins that the start goes without.
	leave []string
}

// ready reads the environment, makes the cgroup, and has prepare make a Launch of
// it. What that says is for people, so it is kept clear of secrets.
func (l *processLauncher) ready(prepare func(r *readied) (*supervisor.Launch, error)) (*supervisor.Launch, error) {
	if err := l.pluginsAllow(); err != nil {
		return nil, err
	}
	env, err := l.environ()
	if err != nil {
		return nil, err
	}
	given := l.given()
	r := &readied{environment: env, options: given.Options}
	note := l.makeCgroup(r)
	out, err := prepare(r)
	if err != nil {
		if r.own != nil {
			r.own.Remove()
		}
		return nil, r.hide.err(err)
	}
	if r.own != nil {
		out.Spec.Cgroups = r.own.Dirs()
	}
	if note != "" {
		out.Warnings = append(out.Warnings, note)
	}
	out.Notes = append(out.Notes, given.Withheld...)
	for _, texts := range [][]string{out.Notes, out.Warnings} {
		for k := range texts {
			texts[k] = r.hide.text(texts[k])
		}
	}
	return out, nil
}

// given is what hooks have given to the service.
func (l *processLauncher) given() hooks.Output {
	return l.hooks.given(l.name, l.user.ID())
}

// makeCgroup makes the service's own, where one is wanted. Without it the service
// still runs, and the note says why.
func (l *processLauncher) makeCgroup(r *readied) (note string) {
	if !l.service.Cgroup.Own && l.wish == (cgroup.Wish{}) || l.cgroups == nil {
		return ""
	}
	own, err := l.cgroups.Make(l.name, l.wish)
	if err != nil {
		return "no cgroup of its own: " + err.Error()
	}
	r.own = own
	return ""
}

// Prepare gives the configured command.
func (l *processLauncher) Prepare(ctx context.Context) (*supervisor.Launch, error) {
	return l.ready(func(r *readied) (*supervisor.Launch, error) {
		out, err := l.Attach(ctx, "")
		if err != nil {
			return nil, err
		}
		out.Spec = l.spec(r.vars)
		out.Spec.Argv = l.service.Command
		if l.inherit {
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
func (l *processLauncher) Attach(context.Context, string) (*supervisor.Launch, error) {
	out := &supervisor.Launch{Ready: l.service.Ready.New(l.runProbe), Live: l.service.Live.New(l.runProbe),
		StopCommand: l.stopCommand(), ReadOutput: outputReader(nil), Debugger: lookForDebugger,
		Evidence: l.traces.find, Port: readyPort(l.service.Ready.Config)}
	if pattern := l.service.Ready.Log; pattern != "" {
		matches, err := pattern.Matcher()
		if err != nil {
			return nil, fmt.Errorf("cannot use ready.log: %w", err)
		}
		out.OnStartupLine = func(line []byte) supervisor.StartupLine { return supervisor.StartupLine{Match: matches(line)} }
	}
	return out, nil
}

// readyPort is the port that readiness looks at; 0: at none.
func readyPort(c probe.Config) int {
	if u, err := url.Parse(c.HTTP.URL); err == nil && c.HTTP.IsSet() && c.HTTP.Socket == "" {
		return portOf(u)
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

// spec is what does not depend on the kind.
func (l *processLauncher) spec(env map[string]string) proc.Spec {
	spec := l.base
	spec.Env = environList(env)
	return spec
}

// runOnce runs a program of our own to its end, as the service's user and with
// what the service is started with; dir empty: in the service's. what names it.
func (l *processLauncher) runOnce(ctx context.Context, what string, argv, env []string, dir string) (code int, output string, err error) {
	spec := l.spec(nil)
	spec.ID, spec.Argv, spec.Env = uniqueID(what), argv, env
	if dir != "" {
		spec.Dir = dir
	}
	return proc.RunCommand(ctx, l.m, spec)
}

// beforeStart bounds what is run to prepare a start, which itself needs the rest of its
// time.
func (l *processLauncher) beforeStart(ctx context.Context) (context.Context, context.CancelFunc) {
	if l.service.Ready.Within <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, l.service.Ready.Within/2)
}

// beside is what a program is started with that runs beside the service's process, as
// the service's user. Options of a JVM are that JVM's.
func (l *processLauncher) beside() (proc.Spec, error) {
	env, err := l.environ()
	if err != nil {
		return proc.Spec{}, err
	}
	vars := env.vars
	if l.service.Kind != config.KindProcess {
		vars = jvm.WithoutOptions(vars)
	}
	return l.spec(vars), nil
}

// runProbe runs the command of an exec probe.
func (l *processLauncher) runProbe(ctx context.Context, argv []string) (int, string, error) {
	spec, err := l.beside()
	if err != nil {
		return 0, "", err
	}
	spec.ID, spec.Argv = uniqueID("probe"), argv
	return proc.RunProbe(ctx, l.m, spec)
}

// terminal says whether fd is one.
func terminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}
