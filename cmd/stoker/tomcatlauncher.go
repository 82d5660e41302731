package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/hotspot"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/tomcat"
	"github.com/stoker-init/stoker/jvm"
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
	env     map[string]string
	vars    map[string]string
	dir     string
	server  tomcat.ServerXML
	options []jvm.Option // of the JVM; nil: it was started before our time
	notes   []string
	// warnings are shown with the notes.
	warnings []string
	readied  *readied // nil: it was started before our time
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
	facts, warnings, err := l.check.before(ctx, l.processLauncher, facts, s.env, s.dir)
	if err != nil {
		return nil, err
	}
	s.warnings = append(s.warnings, warnings...)
	l.keep(r.hide.facts(facts))
	l.carries(facts)
	out, err := l.attach(s)
	if err != nil {
		return nil, err
	}
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
	launch, err = s.install.Launch(tomcat.Options{Java: java.Java, JavaMajor: java.Major, Env: jvmEnviron(s.env, facts.Result.Env),
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
	facts, _, err = l.check.before(ctx, l.processLauncher, facts, s.env, s.dir)
	return facts, err
}

// Attach gives what is needed to look after a Tomcat that runs. setenv.sh is not
// run again for it.
func (l *tomcatLauncher) Attach(context.Context) (*supervisor.Launch, error) {
	env, _, _ := l.environ() // what cannot be read now was read when it was started
	install, err := tomcat.Find(l.service.Tomcat, env)
	if err != nil {
		return nil, err
	}
	s := &tomcatSetup{install: install, env: env}
	s.readServer(nil)
	return l.attach(s)
}

// find finds Tomcat and takes setenv.sh's changes.
func (l *tomcatLauncher) find(ctx context.Context, r *readied) (*tomcatSetup, error) {
	install, err := tomcat.Find(l.service.Tomcat, r.env)
	if err != nil {
		return nil, err
	}
	imp, err := install.ImportSetenv(ctx, l.service.Tomcat.Setenv, r.env, l.service.Dir, l.run)
	if err != nil {
		return nil, err
	}
	return &tomcatSetup{install: imp.Install, env: imp.Env, vars: imp.Vars, dir: imp.Dir, readied: r,
		notes: append([]string{imp.Install.String()}, imp.Notes...)}, nil
}

// run is the shell for setenv.sh, under the service's user.
func (l *tomcatLauncher) run(ctx context.Context, argv, env []string, dir string) ([]byte, error) {
	code, output, err := l.runOnce(ctx, "setenv", argv, env, dir)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d", code)
	}
	return []byte(output), err
}

// findJava finds the JVM: as configured, as the script would, or in the image.
func (l *tomcatLauncher) findJava(s *tomcatSetup) (hotspot.JVM, string, error) {
	configured, from := l.service.Tomcat.Java, ""
	if configured == "" {
		if hint, by, ok := tomcat.JavaHint(s.env, s.vars); ok {
			configured, from = hint, by
		}
	}
	java, found, err := hotspot.Find("/", configured, func(k string) string { return s.env[k] })
	if from != "" {
		found = from
	}
	return java, found, err
}

// render makes the JVM options, with the threads that server.xml allows.
func (l *tomcatLauncher) render(ctx context.Context, s *tomcatSetup, java hotspot.JVM, found string) (*jvmFacts, error) {
	sources, err := s.install.UserOptions(s.env, s.vars)
	if err != nil {
		return nil, &optionsError{err}
	}
	ls := &layers{cfg: l.jvm, world: l.world, outside: s.readied.env, env: s.env, own: s.readied.own, user: l.user, given: s.readied.options, leave: s.readied.leave,
		flags: l.check.flagsOf(l.asking(s.env, nil, s.dir))}
	for _, src := range sources {
		ls.words = append(ls.words, namedWords{src.Var, src.Words})
	}
	s.readServer(nil)
	facts, err := ls.render(ctx, java, found, s.threads())
	if err != nil {
		return facts, err
	}
	s.warnings, s.options = append(s.warnings, ls.notes...), facts.Result.Options
	s.readServer(facts.Result.Argv())
	return facts, nil
}

// readServer reads server.xml, with the -D options that it may refer to. What is
// wrong with the file is Tomcat's to say: it is the one that must read it.
func (s *tomcatSetup) readServer(argv []string) {
	props := map[string]string{}
	for _, a := range argv {
		if kv, ok := strings.CutPrefix(a, "-D"); ok {
			k, v, _ := strings.Cut(kv, "=")
			props[k] = v
		}
	}
	server, err := s.install.ServerXML(props)
	if err == nil {
		s.server = server
	}
}

// threads are those of the connectors; 0: none are known, so Tomcat's default.
func (s *tomcatSetup) threads() int { return s.server.Threads() }

// attach gives readiness by its three parts: the listening socket is Tomcat's
// own, it answers as it should, and no wanted application has failed to deploy.
func (l *tomcatLauncher) attach(s *tomcatSetup) (*supervisor.Launch, error) {
	base, err := l.processLauncher.Attach(context.Background())
	out, err := l.asJVM(l.check.attacher, base, err)
	if err != nil {
		return nil, err
	}
	target, port := l.target(s)
	configured := out.Ready
	if port > 0 {
		out.Port = port
	}
	out.Ready = supervisor.ProbeFunc(func(ctx context.Context, p supervisor.Process) error {
		if port > 0 {
			if err := l.owns(p, port); err != nil {
				return err
			}
		}
		if configured != nil {
			return configured.Check(ctx, p)
		}
		if target == "" {
			return nil
		}
		return supervisor.HTTPProbe(target, answers()).Check(ctx, p)
	})
	w := &tomcatWatch{watch: tomcat.NewWatch(l.patternsOf(s.install.Home)), base: s.install.Base, wanted: l.service.Tomcat.Contexts, options: s.options,
		patterns: l.patternsOf(s.install.Home), since: time.Now(), next: out.Watch}
	out.Watch, out.Explain, out.Overhear = w.line, w.explain, overhearTomcat(s.install.Base)
	return out, nil
}

// answers are the statuses that count where no path is configured: the root of a
// Tomcat without a ROOT application answers 404, and that proves enough.
func answers() []int {
	var out []int
	for code := 200; code < 500; code++ {
		out = append(out, code)
	}
	return out
}

// target is what readiness asks, and the port whose owner it looks for.
func (l *tomcatLauncher) target(s *tomcatSetup) (string, int) {
	if configured := l.service.Ready.HTTP; configured != "" {
		u, err := url.Parse(configured)
		if err != nil {
			return "", 0
		}
		port := portOf(u)
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			port = 0 // not on this machine, for all we know
		}
		return configured, port
	}
	for _, c := range s.server.Connectors {
		if !c.HTTP() || !c.Port.Set || c.Port.Number <= 0 {
			continue
		}
		scheme, host := "http", "127.0.0.1"
		if c.TLS {
			scheme = "https"
		}
		if ip := net.ParseIP(c.Address); ip != nil && !ip.IsUnspecified() {
			host = c.Address
		}
		return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(c.Port.Number)) + "/", c.Port.Number
	}
	return "", 0
}

// portOf is the port that a URL is asked at.
func portOf(u *url.URL) int {
	if port, err := strconv.Atoi(u.Port()); err == nil {
		return port
	}
	return map[string]int{"http": 80, "https": 443}[u.Scheme]
}

// owns says whether the port is this Tomcat's.
func (l *tomcatLauncher) owns(p supervisor.Process, port int) error {
	own, ok := p.(*proc.Process)
	if !ok {
		return errors.New("cannot see whose port it is")
	}
	certain, err := own.OwnsListener(port)
	if err == nil && !certain {
		l.vague.Do(func() {
			l.log.Warn("cannot see whose socket listens; its user is the service's, which has to do", "port", port)
		})
	}
	return err
}

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
