package launch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/jvm/tomcat"
	"github.com/stoker-init/stoker/supervisor"
)

// tomcatKind is kind tomcat.
type tomcatKind struct {
	*Launcher
	patterns     sync.Map // home -> *tomcat.Patterns: reading the jars is slow
	ownerUnknown sync.Once
}

// tomcatStart is what one start has determined.
type tomcatStart struct {
	install tomcat.Install
	vars    map[string]string // shell variables that setenv.sh set without exporting them
	server  tomcat.ServerXML
	// serverData is the file that server was read from.
	serverData []byte
	// serverErr is why server.xml is unreadable; server is then incomplete.
	serverErr error
	proof     readyProof
	options   []jvm.Option // of the JVM; nil: an earlier supervisor started it
	notes     []string     // of the command line
	umask     int
}

// plan does what catalina.sh would do.
func (l *tomcatKind) plan(ctx context.Context, r *service.Start, how planning) (*plan, error) {
	p, err := l.find(ctx, r, how)
	if err != nil {
		return nil, err
	}
	s := p.tomcat
	java, found, err := l.findJava(p)
	if err != nil {
		return nil, err
	}
	p.java, p.found, p.sources = java, found, l.layers(r, how.without, p.env)
	p.sources.kind = kindVariables{names: []string{"JAVA_OPTS", "CATALINA_OPTS"}, vars: maps.Clone(p.env.Vars), split: s.install.SplitOptions}
	p.sources.java = java.Major
	maps.Copy(p.sources.kind.vars, s.vars)
	l.readServer(s, nil, p.env.Vars)
	p.maxThreads = s.server.Threads()
	p.input, err = p.sources.input(ctx)
	return p, err
}

func (l *tomcatKind) command(p *plan) error {
	s := p.tomcat
	s.options = p.report.Result.Options
	launch, err := s.install.Launch(tomcat.Options{Java: p.java.Java, JavaMajor: p.java.Major,
		Env: jvmEnviron(p.env.Vars, p.report.Result.Env), Vars: s.vars, CatalinaOpts: p.report.Result.Argv(),
		ServerXML: l.serverCopy()})
	if err != nil {
		return err
	}
	p.report.argv, p.options, p.environ = launch.Argv, launch.Argv[1:launch.Main], launch.Env
	s.notes, s.umask = launch.Notes, int(launch.Umask)
	return nil
}

// launch reads server.xml as that start does.
func (l *tomcatKind) launch(p *plan) (*supervisor.Launch, error) {
	s := p.tomcat
	l.readServer(s, p.report.argv, service.EnvironMap(p.environ))
	if err := l.checkDeployable(s); err != nil {
		return nil, err
	}
	if err := l.inherit(p); err != nil {
		return nil, err
	}
	s.proof = newProof(s.server, s.serverErr, time.Now())
	if s.proof.Unknown != "" {
		p.warnings = append(p.warnings,
			s.proof.Unknown+"; ready is when Tomcat says that it has started and a socket of it listens (or what ready.http asks)")
	}
	out, err := l.launchWithProof(s)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(s.proof)
	out.AttachData, out.Spec.Umask = string(data), &s.umask
	if len(p.sockets) > 0 {
		out.Spec.Stdio.Socket = p.sockets[0].File
	}
	return out, err
}

// attach does not run setenv.sh again.
func (l *tomcatKind) attach(learned string) (*supervisor.Launch, error) {
	env, _ := l.Environ() // the start has already reported unreadable values
	install, err := tomcat.Find(l.Config.Tomcat, env.Vars)
	if err != nil {
		return nil, err
	}
	s := &tomcatStart{install: install}
	l.readServer(s, nil, env.Vars)
	if json.Unmarshal([]byte(learned), &s.proof) != nil {
		s.proof = newProof(s.server, s.serverErr, time.Now())
	}
	return l.launchWithProof(s)
}

// find finds Tomcat and applies the changes of setenv.sh.
func (l *tomcatKind) find(ctx context.Context, r *service.Start, how planning) (*plan, error) {
	install, err := tomcat.Find(l.Config.Tomcat, r.Vars)
	if err != nil {
		return nil, err
	}
	imp, err := l.setenv(ctx, install, r, how)
	if err != nil {
		return nil, setenvError(err)
	}
	env := &service.Environment{Vars: imp.Env, From: maps.Clone(r.From), Mask: r.Mask}
	for _, name := range slices.Concat(imp.Set, imp.Unset) {
		env.From[name] = "bin/setenv.sh"
	}
	return &plan{env: env, dir: imp.Dir, notes: append([]string{imp.Install.String()}, imp.Notes...),
		tomcat: &tomcatStart{install: imp.Install, vars: imp.Vars}}, nil
}

// setenv runs setenv.sh. A quiet comparison takes what the latest start has found, which only an earlier supervisor can have lost.
func (l *tomcatKind) setenv(ctx context.Context, install tomcat.Install, r *service.Start, how planning) (tomcat.SetenvResult, error) {
	found, known := l.shared.setenvs.Load(l.Name)
	if how.quiet && known {
		return found.(tomcat.SetenvResult), nil
	}
	ctx, cancel := l.WithinStart(ctx)
	defer cancel()
	imp, err := install.ImportSetenv(ctx, l.Config.Tomcat.Setenv, r.Vars, l.Config.Dir,
		func(ctx context.Context, argv, env []string, dir string) ([]byte, error) {
			code, output, err := l.Run(ctx, proc.Spec{ID: "setenv", Argv: argv, Env: env, Dir: dir, OOMRaise: how.oomRaise()})
			return []byte(output), proc.CommandError(code, "", err)
		})
	if err == nil && (!how.compare || !known && how.quiet) {
		l.shared.setenvs.Store(l.Name, imp)
	}
	return imp, err
}

// setenvError adds the end of the output of setenv.sh, in which the shell names the faulty line.
func setenvError(err error) error {
	var failed *tomcat.SetenvError
	if !errors.As(err, &failed) {
		return err
	}
	wrote := "it wrote nothing"
	if last := printable.LastLines(failed.Output, 3); last != "" {
		wrote = "its output ends: " + last
	}
	return fmt.Errorf("%w; %s\nhint: correct it, or set tomcat.setenv to ignore if it is not needed", err, wrote)
}

// findJava finds the JVM: as configured, as the script would, or in the image.
func (l *tomcatKind) findJava(p *plan) (hotspot.JVM, string, error) {
	settings := []hotspot.Setting{l.setting("tomcat.java", l.Config.Tomcat.Java)}
	if value, name, ok := tomcat.JavaSetting(p.env.Vars, p.tomcat.vars); ok {
		settings = append(settings, hotspot.Setting{Name: name, Value: value, From: p.env.Origin(name)})
	}
	return hotspot.Find("/", p.env.Vars["PATH"], settings...)
}

// readServer reads server.xml with the command line, environment and user of this Tomcat. An error in the file is left to Tomcat to report;
// until then readiness is unknown.
func (l *tomcatKind) readServer(s *tomcatStart, argv []string, env map[string]string) {
	read := func(path string) ([]byte, error) {
		data, err := readOptionFile(l.User, jvm.User, path)
		if path == s.install.ServerFile() {
			s.serverData = data
		}
		return data, err
	}
	s.server, s.serverErr = s.install.ServerXML(tomcat.Inputs{Argv: argv, Env: env, Read: read})
}

// checkDeployable returns an error for wanted applications with nothing to deploy, which Tomcat would not report.
func (l *tomcatKind) checkDeployable(s *tomcatStart) error {
	apps, all := s.install.Applications(s.server)
	if s.serverErr != nil || !all {
		return nil //nolint:nilerr // see readServer
	}
	for _, wanted := range l.Config.Tomcat.Contexts {
		if !slices.Contains(apps, tomcat.ContextOf(wanted)) {
			return fmt.Errorf("cannot deploy %s, which tomcat.contexts wants: "+
				"neither a folder or war of a host, nor a descriptor, nor server.xml has it\nhint: there are: %s",
				tomcat.ContextOf(wanted), cmp.Or(strings.Join(apps, ", "), "none"))
		}
	}
	return nil
}

// patternsOf returns the patterns of the Tomcat at home.
func (l *tomcatKind) patternsOf(home string) *tomcat.Patterns {
	if p, ok := l.patterns.Load(home); ok {
		return p.(*tomcat.Patterns)
	}
	p, err := tomcat.LoadPatterns(home)
	if err != nil {
		l.log.Warn("cannot read the messages of this Tomcat; using the built-in ones", "home", home, "error", err)
	}
	l.patterns.Store(home, p)
	return p
}
