// Package launch starts the services of kind java and tomcat: it reads the option sources, checks the options with the JVM before the
// start, and follows source changes while the JVM runs.
package launch

import (
	"context"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/listen"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor"
)

// Launcher starts a service of kind java or tomcat.
type Launcher struct {
	*service.Launcher
	kind   kind
	JVM    jvm.Config
	shared *Shared
	log    hclog.Logger
}

// kind is the part that differs between java and tomcat.
type kind interface {
	// plan finds the JVM and reads the sources of a start or a comparison.
	plan(ctx context.Context, r *service.Start, how planning) (*plan, error)
	// command sets the command line of a plan with a report.
	command(p *plan) error
	// classPaths returns the class paths with which an archive may be made, the best first, and the index of the value in the command
	// line that the best replaces; 0: none.
	classPaths(p *plan) (all [][]string, at int)
	// launch returns the kind's part of the start of a plan.
	launch(p *plan) (*supervisor.Launch, error)
	// attach is launch for a process that an earlier supervisor started.
	attach(learned string) (*supervisor.Launch, error)
}

// planning says for what a plan is made; the zero value is a start.
type planning struct {
	without []string // plugins left out of this start
	compare bool     // with the running JVM
	quiet   bool     // starts no process where the latest start's results are known
}

// firstVictim is the OOM score adjustment that the kernel kills first.
const firstVictim = 1000

// oomRaise returns the OOMRaise of the helper programs: those beside a running JVM are killed before it.
func (h planning) oomRaise() int {
	if h.compare {
		return firstVictim
	}
	return 0
}

// plan is what a start executes.
type plan struct {
	how        planning
	java       hotspot.JVM
	found      string // why this JVM
	sources    *sources
	input      jvm.Input // what they gave
	maxThreads int       // of Tomcat's connectors; 0: unknown

	report   *Report              // nil: the options could not be read
	options  []string             // the arguments of the JVM before the main class
	env      *service.Environment // with the changes of setenv.sh
	environ  []string             // of the process
	dir      string               // empty: the directory of the service
	notes    []string
	warnings []string
	tomcat   *tomcatStart // nil for kind java
	sockets  []listen.Socket
}

// New returns the Launcher of a service of kind java or tomcat.
func New(base *service.Launcher, options jvm.Config, shared *Shared, log hclog.Logger) *Launcher {
	l := &Launcher{Launcher: base, JVM: options, shared: shared, log: log}
	if l.Config.Kind == config.KindTomcat {
		l.kind = &tomcatKind{Launcher: l}
	} else {
		l.kind = javaKind{l}
	}
	return l
}

// Prepare finds the JVM and builds its command line.
func (l *Launcher) Prepare(ctx context.Context) (*supervisor.Launch, error) {
	return l.Begin(func(r *service.Start) (*supervisor.Launch, error) { return l.withoutBrokenPlugins(ctx, r) })
}

func (l *Launcher) prepare(ctx context.Context, r *service.Start, without []string) (*supervisor.Launch, error) {
	p, err := l.checkedPlan(ctx, r, planning{without: without})
	if err == nil {
		err = l.applyArchive(p)
	}
	if p != nil && p.report != nil {
		l.shared.keep(l.Name, maskedReport(r.Mask, p.report))
	}
	if err != nil {
		return nil, err
	}
	if l.shared.Plugins != nil {
		l.shared.Plugins.SetStartedWith(l.Name, p.report.plugins)
	}
	if p.sockets, err = l.Sockets(); err != nil {
		return nil, err
	}
	out, err := l.kind.launch(p)
	if err != nil {
		return nil, err
	}
	spec := l.Spec(nil)
	spec.Sockets, spec.Stdio.Socket = out.Spec.Sockets, out.Spec.Stdio.Socket
	spec.Argv, spec.Env = p.report.argv, p.environ
	if p.dir != "" {
		spec.Dir = p.dir
	}
	if spec.Umask == nil {
		spec.Umask = out.Spec.Umask
	}
	out.Spec, out.Sources, out.Notes, out.Warnings = spec, p.report.sourceDigest, p.notes, p.warnings
	out.ReadOutput = outputReader(p.report.Result.Options)
	out.Verify = l.verify(p.report, r.Mask)
	return out, nil
}

// checkedPlan returns the plan of a start whose options the JVM accepts; a quiet one does not ask it. A plan returned with an error may
// hold a report.
func (l *Launcher) checkedPlan(ctx context.Context, r *service.Start, how planning) (*plan, error) {
	p, err := l.kind.plan(ctx, r, how)
	if err == nil {
		p.how = how
		err = l.checked(ctx, p)
	}
	if p != nil && p.report != nil {
		p.note()
	}
	return p, err
}

// Attach returns the Launch of a JVM that is already running.
func (l *Launcher) Attach(_ context.Context, learned string) (*supervisor.Launch, error) {
	return l.kind.attach(learned)
}

// base returns what every JVM has: the probes, output readers and plugin callbacks.
func (l *Launcher) base() (*supervisor.Launch, error) {
	out, err := l.Launcher.Attach(context.Background(), "")
	if err != nil {
		return out, err
	}
	out.DumpSignal, out.ThreadDump, out.WatchOutput = syscall.SIGQUIT, l.shared.Attacher.ThreadDump, watchOutput
	if l.shared.Plugins != nil {
		out.OnEarlyExit, out.OnStable = l.onEarlyExit, func() { l.shared.Plugins.OnStable(l.Name) }
	}
	return out, nil
}

// layers returns the option sources of a start whose JVM runs with env.
func (l *Launcher) layers(r *service.Start, without []string, env *service.Environment) *sources {
	return &sources{cfg: l.JVM, shared: l.shared, serviceEnv: *r.Environment, env: *env, own: r.Cgroup, user: l.User,
		hookOptions: r.Options, withoutPlugins: without}
}

// javaKind is kind java.
type javaKind struct{ *Launcher }

func (l javaKind) plan(ctx context.Context, r *service.Start, how planning) (*plan, error) {
	settings := append([]hotspot.Setting{l.setting("java.home", l.Config.Java.Home)}, javaSettings(r.Environment)...)
	java, found, err := hotspot.Find("/", r.Vars["PATH"], settings...)
	if err != nil {
		return nil, err
	}
	p := &plan{java: java, found: found, sources: l.layers(r, how.without, r.Environment), env: r.Environment}
	p.sources.kind.names, p.sources.java = []string{"JAVA_OPTS"}, java.Major
	p.input, err = p.sources.input(ctx)
	return p, err
}

func (l javaKind) command(p *plan) error {
	argv, main := javaCommand(p.java.Java, p.report.Result.Argv(), l.Config.Java)
	p.report.argv, p.options = argv, argv[1:main]
	p.environ = service.EnvironList(jvmEnviron(p.env.Vars, p.report.Result.Env))
	return nil
}

// launch passes the sockets by systemd's protocol, and the first one as System.inheritedChannel() too.
func (l javaKind) launch(p *plan) (*supervisor.Launch, error) {
	out, err := l.base()
	if err == nil && len(p.sockets) > 0 {
		out.Spec.Sockets, out.Spec.Stdio.Socket = p.sockets, p.sockets[0].File
	}
	return out, err
}

func (l javaKind) attach(string) (*supervisor.Launch, error) { return l.base() }
