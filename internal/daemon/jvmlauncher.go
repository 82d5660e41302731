package daemon

import (
	"context"
	"fmt"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor"
)

// jvmLauncher starts a service that is a JVM.
type jvmLauncher struct {
	*processLauncher
	kind  jvmKind
	jvm   jvm.Config
	world sourceWorld
	keep  func(*jvmFacts)
	check jvmCheck
	log   hclog.Logger
}

// jvmKind is what a kind of service has of its own.
type jvmKind interface {
	// plan finds out what a start without some of the plugins would execute. A plan may
	// come with an error, for its facts.
	plan(ctx context.Context, r *readied, without []string) (*jvmPlan, error)
	// launch has all of the plan's start but what every JVM has.
	launch(p *jvmPlan) (*supervisor.Launch, error)
	// attach is launch for a process that an earlier supervisor started.
	attach(learned string) (*supervisor.Launch, error)
}

// jvmPlan is what a start would execute.
type jvmPlan struct {
	facts    *jvmFacts    // nil: the options could not be read
	env      *environment // with what setenv.sh changed
	environ  []string     // of the process
	dir      string       // empty: that of the service
	notes    []string
	warnings []string
	tomcat   *tomcatStart // nil: it is no Tomcat
}

// newJVMLauncher makes that of a service of kind java or tomcat.
func newJVMLauncher(l jvmLauncher) *jvmLauncher {
	if l.service.Kind == config.KindTomcat {
		l.kind = &tomcatKind{jvmLauncher: &l}
	} else {
		l.kind = javaKind{&l}
	}
	return &l
}

// Prepare finds the JVM and builds its command line.
func (l *jvmLauncher) Prepare(ctx context.Context) (*supervisor.Launch, error) {
	return l.ready(func(r *readied) (*supervisor.Launch, error) {
		return sparing(l.world.plugins, r.hide, func(without []string) (*supervisor.Launch, error) { return l.prepare(ctx, r, without) })
	})
}

func (l *jvmLauncher) prepare(ctx context.Context, r *readied, without []string) (*supervisor.Launch, error) {
	p, err := l.kind.plan(ctx, r, without)
	if p != nil && p.facts != nil {
		l.keep(r.hide.facts(p.facts))
	}
	if err != nil {
		return nil, err
	}
	if err := l.preflight(ctx, p); err != nil {
		return nil, err
	}
	l.keep(r.hide.facts(p.facts))
	if l.world.plugins != nil {
		l.world.plugins.Starts(l.name, p.facts.carried)
	}
	out, err := l.kind.launch(p)
	if err != nil {
		return nil, err
	}
	spec := l.spec(nil)
	spec.Argv, spec.Env = p.facts.argv, p.environ
	if p.dir != "" {
		spec.Dir = p.dir
	}
	if spec.Umask == nil {
		spec.Umask = out.Spec.Umask
	}
	out.Spec, out.Sources, out.Notes, out.Warnings = spec, p.facts.digest, p.notes, p.warnings
	out.ReadOutput = outputReader(p.facts.Result.Options)
	out.Verify = l.whenReady(l.check.after(p.facts, spec.Argv, r.hide))
	return out, nil
}

// tried is what a start would execute, if the JVM takes it: the error may be its refusal.
func (l *jvmLauncher) tried(ctx context.Context, r *readied) (*jvmFacts, error) {
	p, err := l.kind.plan(ctx, r, nil)
	if err != nil {
		return nil, err
	}
	err = l.preflight(ctx, p)
	return p.facts, err
}

// Attach gives what is needed to look after a JVM that runs.
func (l *jvmLauncher) Attach(_ context.Context, learned string) (*supervisor.Launch, error) {
	return l.kind.attach(learned)
}

// base is what every JVM has: the probes, what it can do and says, and what its plugins
// are asked for.
func (l *jvmLauncher) base() (*supervisor.Launch, error) {
	out, err := l.processLauncher.Attach(context.Background(), "")
	if err != nil {
		return out, err
	}
	out.DumpSignal, out.ThreadDump, out.Listen = syscall.SIGQUIT, l.check.attacher.threadDump, hearAilments
	if l.world.plugins != nil {
		out.Amend, out.Confirm = l.amend, func() { l.world.plugins.Confirm(l.name) }
	}
	return out, nil
}

// layers are the sources of the options of a start, with the options of variables that
// the kind knows.
func (l *jvmLauncher) layers(r *readied, without []string, env *environment, dir string, words []namedWords) *layers {
	return &layers{cfg: l.jvm, world: l.world, outside: *r.environment, env: *env, words: words, own: r.own, user: l.user,
		given: r.options, leave: without, flags: l.check.flagsOf(l.asking(env.vars, nil, dir))}
}

// javaKind is a service of kind java.
type javaKind struct{ *jvmLauncher }

func (l javaKind) plan(ctx context.Context, r *readied, without []string) (*jvmPlan, error) {
	settings := append([]hotspot.Setting{l.setting("java.home", l.service.Java.Home)}, javaSettings(r.environment)...)
	java, found, err := hotspot.Find("/", r.vars["PATH"], settings...)
	if err != nil {
		return nil, err
	}
	words, err := jvm.SplitOptions(r.vars["JAVA_OPTS"])
	if err != nil {
		return nil, &optionsError{fmt.Errorf("cannot take JVM options from JAVA_OPTS: %w", err)}
	}
	layers := l.layers(r, without, r.environment, "", []namedWords{{name: "JAVA_OPTS", words: words}})
	p := &jvmPlan{env: r.environment, notes: []string{javaNote(java, found)}}
	if p.facts, err = layers.render(ctx, java, found, 0); err != nil {
		return p, err
	}
	p.warnings = layers.notes
	p.facts.argv = javaCommand(java.Java, p.facts.Result.Argv(), l.service.Java)
	p.environ = environList(jvmEnviron(r.vars, p.facts.Result.Env))
	return p, nil
}

func (l javaKind) launch(*jvmPlan) (*supervisor.Launch, error) { return l.base() }
func (l javaKind) attach(string) (*supervisor.Launch, error)   { return l.base() }
