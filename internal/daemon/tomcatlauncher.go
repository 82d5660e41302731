package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/jvm/tomcat"
	"github.com/stoker-init/stoker/supervisor"
)

// tomcatLauncher starts a service of kind tomcat.
type tomcatLauncher struct {
	*processLauncher
	jvm      jvm.Config
	world    sourceWorld
	keep     func(*jvmFacts)
	check    jvmCheck
	log      hclog.Logger
	patterns sync.Map // home -> *tomcat.Patterns: reading the jars takes a while
	vague    sync.Once
}

// tomcatSetup is what one start found out.
type tomcatSetup struct {
	install tomcat.Install
	env     *environment // with what setenv.sh changed
	vars    map[string]string
	dir     string
	server  tomcat.ServerXML
	// serverErr is why server.xml cannot be read, and server not be trusted.
	serverErr error
	proof     tomcatProof
	options   []jvm.Option // of the JVM; nil: it was started before our time
	notes     []string
	warnings  []string // shown with the notes
	readied   *readied // nil: it was started before our time
}

// Prepare does what catalina.sh would do.
func (l *tomcatLauncher) Prepare(ctx context.Context) (*supervisor.Launch, error) {
	return l.ready(func(r *readied) (*supervisor.Launch, error) {
		return sparing(l.plugins, r, func() (*supervisor.Launch, error) { return l.prepare(ctx, r) })
	})
}

func (l *tomcatLauncher) prepare(ctx context.Context, r *readied) (*supervisor.Launch, error) {
	s, launch, facts, err := l.setUp(ctx, r)
	if facts != nil {
		l.keep(r.hide.facts(facts))
	}
	if err != nil {
		return nil, err
	}
	facts, warnings, err := l.check.before(ctx, l.processLauncher, facts, s.env.vars, s.dir)
	if err != nil {
		return nil, err
	}
	s.warnings = append(s.warnings, warnings...)
	l.keep(r.hide.facts(facts))
	l.carries(facts)
	l.readServer(s, launch.Argv, EnvironMap(launch.Env))
	if err := l.missing(s); err != nil {
		return nil, err
	}
	s.proof = proofOf(s.server, s.serverErr, time.Now())
	s.warnings = append(s.warnings, s.proof.notes()...)
	out, err := l.attach(s)
	if err != nil {
		return nil, err
	}
	out.AttachData = s.proof.kept()
	out.Spec = l.spec(nil)
	out.Spec.Argv, out.Spec.Env = launch.Argv, launch.Env
	if out.Spec.Umask == nil {
		mask := int(launch.Umask)
		out.Spec.Umask = &mask
	}
	if s.dir != "" {
		out.Spec.Dir = s.dir
	}
	out.Notes, out.Warnings, out.Sources = append(s.notes, launch.Notes...), s.warnings, facts.digest
	out.ReadOutput = outputReader(facts.Result.Options)
	out.Verify = l.whenReady(l.check.after(facts, out.Spec.Argv, r.hide))
	return out, nil
}

// setUp finds out what a start would execute. Facts may come with an error.
func (l *tomcatLauncher) setUp(ctx context.Context, r *readied) (s *tomcatSetup, launch tomcat.Launch, facts *jvmFacts, err error) {
	if s, err = l.find(ctx, r); err != nil {
		return s, launch, nil, err
	}
	java, found, err := l.findJava(s)
	if err != nil {
		return s, launch, nil, err
	}
	s.notes = append(s.notes, javaNote(java, found))
	if facts, err = l.render(ctx, s, java, found); err != nil {
		return s, launch, facts, err
	}
	launch, err = s.install.Launch(tomcat.Options{Java: java.Java, JavaMajor: java.Major, Env: jvmEnviron(s.env.vars, facts.Result.Env),
		Vars: s.vars, CatalinaOpts: facts.Result.Argv(), OpensAsOptions: true})
	facts.argv = launch.Argv
	return s, launch, facts, err
}

// tried is what a start would execute, if the JVM takes it.
func (l *tomcatLauncher) tried(ctx context.Context, r *readied) (*jvmFacts, error) {
	s, _, facts, err := l.setUp(ctx, r)
	if err != nil {
		return nil, err
	}
	facts, _, err = l.check.before(ctx, l.processLauncher, facts, s.env.vars, s.dir)
	return facts, err
}

// Attach gives what is needed to look after a Tomcat that runs. setenv.sh is not
// run again for it.
func (l *tomcatLauncher) Attach(_ context.Context, learned string) (*supervisor.Launch, error) {
	env, _ := l.environ() // what cannot be read now was read when it was started
	install, err := tomcat.Find(l.service.Tomcat, env.vars)
	if err != nil {
		return nil, err
	}
	s := &tomcatSetup{install: install, env: env}
	l.readServer(s, nil, env.vars)
	if s.proof, err = learnedProof(learned); err != nil {
		s.proof = proofOf(s.server, s.serverErr, time.Now())
	}
	return l.attach(s)
}

// find finds Tomcat and takes setenv.sh's changes.
func (l *tomcatLauncher) find(ctx context.Context, r *readied) (*tomcatSetup, error) {
	install, err := tomcat.Find(l.service.Tomcat, r.vars)
	if err != nil {
		return nil, err
	}
	ctx, cancel := l.beforeStart(ctx)
	defer cancel()
	imp, err := install.ImportSetenv(ctx, l.service.Tomcat.Setenv, r.vars, l.service.Dir, l.run)
	if err != nil {
		return nil, setenvError(err)
	}
	s := &tomcatSetup{install: imp.Install, vars: imp.Vars, dir: imp.Dir, readied: r,
		notes: append([]string{imp.Install.String()}, imp.Notes...)}
	s.env = &environment{vars: imp.Env, from: maps.Clone(r.from), hide: r.hide}
	for _, c := range imp.Changes {
		s.env.from[c.Name] = "bin/setenv.sh"
	}
	return s, nil
}

// setenvError adds the end of what setenv.sh wrote: the shell says there what is wrong
// with it, and in which line.
func setenvError(err error) error {
	var failed *tomcat.SetenvError
	if !errors.As(err, &failed) {
		return err
	}
	wrote := "it wrote nothing"
	if last := proc.LastLines(failed.Output, 3); last != "" {
		wrote = "its output ends: " + last
	}
	return fmt.Errorf("%w; %s\nhint: correct it, or set tomcat.setenv to ignore if it is not needed", err, wrote)
}

// run is the shell for setenv.sh, under the service's user.
func (l *tomcatLauncher) run(ctx context.Context, argv, env []string, dir string) ([]byte, error) {
	code, output, err := l.runOnce(ctx, "setenv", argv, env, dir)
	return []byte(output), proc.CommandError(code, "", err)
}

// findJava finds the JVM: as configured, as the script would, or in the image.
func (l *tomcatLauncher) findJava(s *tomcatSetup) (hotspot.JVM, string, error) {
	settings := []hotspot.Setting{l.setting("tomcat.java", l.service.Tomcat.Java)}
	if value, name, ok := tomcat.JavaSetting(s.env.vars, s.vars); ok {
		settings = append(settings, hotspot.Setting{Name: name, Value: value, From: s.env.origin(name)})
	}
	return hotspot.Find("/", s.env.vars["PATH"], settings...)
}

// render makes the JVM options, with the threads that server.xml allows.
func (l *tomcatLauncher) render(ctx context.Context, s *tomcatSetup, java hotspot.JVM, found string) (*jvmFacts, error) {
	sources, err := s.install.UserOptions(s.env.vars, s.vars)
	if err != nil {
		return nil, &optionsError{err}
	}
	ls := &layers{cfg: l.jvm, world: l.world, outside: *s.readied.environment, env: *s.env, own: s.readied.own, user: l.user,
		given: s.readied.options, leave: s.readied.leave,
		flags: l.check.flagsOf(l.asking(s.env.vars, nil, s.dir))}
	before, _ := s.install.UserOptions(s.readied.vars, nil) // only to compare
	for _, src := range sources {
		w := namedWords{name: src.Var, words: src.Options}
		for _, b := range before {
			if b.Var == src.Var {
				w.given = b.Options
			}
		}
		ls.words = append(ls.words, w)
	}
	l.readServer(s, nil, s.env.vars)
	facts, err := ls.render(ctx, java, found, s.threads())
	if err != nil {
		return facts, err
	}
	s.warnings, s.options = append(s.warnings, ls.notes...), facts.Result.Options
	return facts, nil
}

// readServer reads server.xml as a Tomcat with this command line and environment
// would, and as its user. What is wrong with the file is Tomcat's to say: it is the
// one that must read it, but until it has done that nothing is proven.
func (l *tomcatLauncher) readServer(s *tomcatSetup, argv []string, env map[string]string) {
	read := func(path string) ([]byte, error) { return readOptionFile(l.user, jvm.User, path) }
	s.server, s.serverErr = s.install.ServerXML(tomcat.Inputs{Argv: argv, Env: env, Read: read})
}

// missing is the error for wanted applications of which there is nothing to deploy:
// Tomcat says no word of what is not there.
func (l *tomcatLauncher) missing(s *tomcatSetup) error {
	apps, all := s.install.Applications(s.server)
	if s.serverErr != nil || !all {
		return nil //nolint:nilerr // see readServer
	}
	for _, wanted := range l.service.Tomcat.Contexts {
		if !slices.Contains(apps, tomcat.ContextOf(wanted)) {
			return fmt.Errorf("cannot deploy %s, which tomcat.contexts wants: "+
				"neither a folder or war of a host, nor a descriptor, nor server.xml has it\nhint: there are: %s",
				tomcat.ContextOf(wanted), cmp.Or(strings.Join(apps, ", "), "none"))
		}
	}
	return nil
}

// threads are those of the connectors; 0: none are known, so Tomcat's default.
func (s *tomcatSetup) threads() int { return s.server.Threads() }

// patternsOf gives the patterns of the Tomcat at home.
func (l *tomcatLauncher) patternsOf(home string) *tomcat.Patterns {
	if p, ok := l.patterns.Load(home); ok {
		return p.(*tomcat.Patterns)
	}
	p, err := tomcat.LoadPatterns(home)
	if err != nil {
		l.log.Warn("cannot read the messages of this Tomcat; going by those that are known", "home", home, "error", err)
	}
	l.patterns.Store(home, p)
	return p
}
