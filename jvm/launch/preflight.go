package launch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// preflightEnabled reports whether the JVM checks the options before a start.
func preflightEnabled(c jvm.Config) bool { return c.Check == nil || *c.Check }

// runner returns a function that runs the JVM of a service as its user and in its environment.
func (l *Launcher) runner(p *plan, add []jvm.EnvVar) hotspot.Runner {
	return func(ctx context.Context, argv []string) (int, string, error) {
		ctx, cancel := l.WithinStart(ctx)
		defer cancel()
		return l.Run(ctx, proc.Spec{ID: "jvm", Argv: argv, Env: service.EnvironList(jvmEnviron(p.env.Vars, add)), Dir: p.dir,
			OOMRaise: p.how.oomRaise()})
	}
}

// uid returns the user that runner uses.
func (l *Launcher) uid() string { return strconv.Itoa(l.User.ID()) }

// checked renders the options of a plan and has the JVM check its command line. One JVM process does both for a JVM that has not been
// asked before: it prints its flags and version too. The options are rendered again with these, and tried again only if that changes the
// command line.
func (l *Launcher) checked(ctx context.Context, p *plan) error {
	if !preflightEnabled(l.JVM) {
		return l.render(p, hotspot.Build{})
	}
	checker := &l.shared.checker
	build, known := checker.Known(p.java.Java)
	err := l.render(p, build)
	if p.how.quiet {
		return err
	}
	if err == nil {
		err = l.preflight(ctx, p)
	}
	if known {
		return err
	}
	if err != nil { // its flags are needed for suggestions, or make the options acceptable
		build, _ = checker.Ask(ctx, p.java.Java, l.uid(), l.runner(p, nil))
	} else {
		build, _ = checker.Known(p.java.Java)
	}
	if build.Flags == nil { // it cannot be run
		return err
	}
	tried, flags := p.options, p.report.flags
	if err := l.render(p, build); err != nil {
		return err
	}
	if flags != nil && slices.Equal(tried, p.options) {
		p.accept(flags)
		return nil
	}
	return l.preflight(ctx, p)
}

// render sets the report and the command line of a plan.
func (l *Launcher) render(p *plan, build hotspot.Build) (err error) {
	p.java = p.java.With(build.Version)
	p.report, err = p.sources.render(p.input, p.java, p.found, p.maxThreads, build)
	if err != nil {
		return err
	}
	return l.kind.command(p)
}

// note adds what the operator should know to a plan whose options have been rendered.
func (p *plan) note() {
	p.notes = append(p.notes, javaNote(p.java, p.found))
	if p.tomcat != nil {
		p.notes = append(p.notes, p.tomcat.notes...)
	}
	warnings := slices.Clone(p.sources.notes)
	for _, w := range p.report.Result.Warnings {
		if !jvm.VersionDependent(w.Code) { // those are left to the preflight check
			warnings = append(warnings, "JVM options: "+w.Message)
		}
	}
	p.warnings = append(warnings, p.warnings...)
}

// preflight has the JVM check the command line of a plan up to the main class, as the service's user and in its environment. The error is
// a rejection. If the JVM cannot be run, that is a warning and the service still starts.
func (l *Launcher) preflight(ctx context.Context, p *plan) error {
	flags, err := l.shared.checker.Check(ctx, p.java.Java, l.uid(), p.options, l.runner(p, p.report.Result.Env))
	var rejected *hotspot.StartError
	switch {
	case errors.As(err, &rejected):
		return rejectedOptions(p.report.Result, p.options, rejected.StartupError)
	case err != nil: // not a rejection
		p.warnings = append(p.warnings, err.Error()+"; the service is started without that")
		return nil //nolint:nilerr // it became a warning
	}
	p.accept(flags)
	return nil
}

// accept records the flags with which the JVM accepts the command line, and what it changes of the options.
func (p *plan) accept(flags hotspot.Flags) {
	p.report.flags = flags
	result := &p.report.Result
	result.Warnings = slices.DeleteFunc(result.Warnings, func(p jvm.Problem) bool { return jvm.VersionDependent(p.Code) })
	for _, d := range differences(result.Options, flags, nil) {
		result.Warnings = append(result.Warnings, jvm.Problem{Code: jvm.Adjusted, Message: d})
	}
}

// differences compares flags with the options and skips what known already reported.
func differences(options []jvm.Option, flags, known hotspot.Flags) []string {
	var out []string
	for _, e := range jvm.Expect(options) {
		got, ok := flags[e.Flag]
		if !ok || !e.Differs(got.Value) || known != nil && known[e.Flag].Value == got.Value {
			continue
		}
		out = append(out, fmt.Sprintf("%s becomes %s=%s in the JVM instead of %s", e.Option.Named(), e.Flag, got.Value, e.Want))
	}
	return out
}

// verifyInterval is the time between two checks of a JVM that is starting.
const verifyInterval = 100 * time.Millisecond

// errDiffers means that the running JVM is not the one that was started.
var errDiffers = errors.New("the JVM is not the one that was started")

// verify returns the check of a JVM that was started: that it is that program with its arguments and the requested flags. Before, it
// reports to the plugins that the start became ready.
func (l *Launcher) verify(f *Report, mask service.Mask) func(context.Context, supervisor.Process) error {
	return func(ctx context.Context, p supervisor.Process) error {
		if l.shared.Plugins != nil {
			l.shared.Plugins.OnReady(l.Name)
		}
		for {
			err, again := checkProgram(p, f.JVM.Java, f.argv), true
			if err == nil {
				err = l.checkFlags(ctx, p, f)
				again = errors.Is(err, hotspot.ErrNotCaught)
			}
			if err == nil {
				err = checkArchive(p, f.Archive)
			}
			if again {
				select { // without a readiness probe the service is RUNNING before the script executes the JVM
				case <-time.After(verifyInterval):
					continue
				case <-p.Exited():
					return nil
				case <-ctx.Done():
				}
			}
			if errors.Is(err, errDiffers) {
				return &supervisor.HealthIssue{Cause: incident.CauseJVMDiffers, Text: mask.Text(err.Error())}
			}
			return err
		}
	}
}

// checkProgram compares the command line and the program of a process with those of the start.
func checkProgram(p supervisor.Process, java string, want []string) error {
	argv, err := procfs.Cmdline(p.Pid())
	if err != nil {
		return fmt.Errorf("cannot look at the running JVM: %w", err)
	}
	for at := range max(len(argv), len(want)) {
		if at >= len(argv) || at >= len(want) || argv[at] != want[at] {
			return fmt.Errorf("%w: argument %d is %s, and should be %s", errDiffers, at, argument(argv, at), argument(want, at))
		}
	}
	if target, err := filepath.EvalSymlinks(java); err == nil {
		java = target
	}
	var exe string // empty: unreadable
	_ = asuser.RetryAs(p.Pid(), func() (err error) {
		exe, err = procfs.Exe(p.Pid())
		return err
	})
	if exe != "" && exe != java && !strings.HasSuffix(exe, " (deleted)") { // the file has been replaced
		return fmt.Errorf("%w: the program is %s, and should be %s", errDiffers, exe, java)
	}
	return nil
}

// argument quotes one argument with its secrets masked.
func argument(argv []string, at int) string {
	if at >= len(argv) {
		return "missing"
	}
	return strconv.Quote(redact.Args(argv)[at])
}

// checkFlags compares the flags of a running JVM with its options.
func (l *Launcher) checkFlags(ctx context.Context, p supervisor.Process, f *Report) error {
	a, err := l.shared.Attacher.Attach(ctx, p)
	if err != nil {
		return err
	}
	text, err := a.Command(ctx, "jcmd", "VM.flags -all")
	if err != nil {
		return err
	}
	if d := differences(f.Result.Options, hotspot.ParseFlags(text), f.flags); len(d) > 0 {
		return fmt.Errorf("%w: %s", errDiffers, strings.Join(d, "; "))
	}
	return nil
}

// watchOutput reads the output of a running JVM for direct memory and code cache exhaustion, which degrade the service. Other kinds usually
// end the JVM; a JVM that lives on may only print an exception of another one.
func watchOutput() func(line []byte) *supervisor.HealthIssue {
	r := new(hotspot.HealthReader)
	return func(line []byte) *supervisor.HealthIssue {
		a, ok := r.Line(string(line))
		switch {
		case !ok:
			return nil
		case a.Kind == hotspot.CodeCacheFull:
			return &supervisor.HealthIssue{Kind: a.Kind, Cause: incident.CauseCodeCache, Unhealthy: true,
				Text: "the JVM compiles nothing any more: " + a.Line}
		}
		return &supervisor.HealthIssue{Kind: a.Kind, Cause: incident.CauseJVMStarved, Unhealthy: a.Kind == hotspot.DirectMemory,
			Text: "the JVM lives on without enough memory: " + a.Line}
	}
}
