package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/jvm/tomcat"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// preflightWanted says whether a configuration has the JVM asked before a start.
func preflightWanted(c jvm.Config) bool { return c.Check == nil || *c.Check }

// runner is how the JVM of a service is asked: as its user and in its environment.
type runner struct {
	who string
	run hotspot.Runner
}

func (l *Launcher) runner(env map[string]string, add []jvm.EnvVar, dir string) runner {
	who := os.Geteuid()
	if l.User != nil {
		who = int(l.User.UID)
	}
	return runner{strconv.Itoa(who), func(ctx context.Context, argv []string) (int, string, error) {
		ctx, cancel := l.WithinStart(ctx)
		defer cancel()
		return l.Run(ctx, "jvm", argv, service.EnvironList(jvmEnviron(env, add)), dir)
	}}
}

// flagsOf gives what asks a JVM for its flags; nil where it is not to be asked.
func (l *Launcher) flagsOf(a runner) func(context.Context, string) map[string]jvm.JVMFlag {
	if !preflightWanted(l.JVM) {
		return nil
	}
	return func(ctx context.Context, java string) map[string]jvm.JVMFlag {
		flags, err := l.shared.checker.Build(ctx, java, a.who, a.run)
		if err != nil {
			return nil // before says so
		}
		return ownFlags(flags)
	}
}

// ownFlags is what package jvm wants to know of them.
func ownFlags(flags hotspot.Flags) map[string]jvm.JVMFlag {
	out := make(map[string]jvm.JVMFlag, len(flags))
	for name, f := range flags {
		out[name] = jvm.JVMFlag{Type: f.Type, Kind: f.Kind}
	}
	return out
}

// preflight tries the options of a plan as the service's user and in its environment,
// and puts what came of it into the plan. The error is the JVM's refusal; where the JVM
// could not be asked a warning says so, and the service is started all the same.
func (l *Launcher) preflight(ctx context.Context, p *plan) error {
	if !preflightWanted(l.JVM) {
		return nil
	}
	a := l.runner(p.env.Vars, p.report.Result.Env, p.dir)
	flags, err := l.shared.checker.Check(ctx, p.report.JVM.Java, a.who, p.report.Result.Argv(), a.run)
	var refused *hotspot.StartError
	switch {
	case errors.As(err, &refused):
		return rejectedOptions(p.report.Result, refused.StartupError)
	case err != nil: // a JVM that cannot be asked is no refusal
		p.warnings = append(p.warnings, err.Error()+"; the service is started without that")
		return nil //nolint:nilerr // it became a warning
	}
	checked := *p.report // others may read that already
	checked.flags = flags
	checked.Result.Warnings = slices.DeleteFunc(slices.Clone(checked.Result.Warnings),
		func(p jvm.Problem) bool { return jvm.VersionDependent(p.Code) })
	for _, d := range differences(checked.Result.Options, flags, nil) {
		checked.Result.Warnings = append(checked.Result.Warnings, jvm.Problem{Code: jvm.Adjusted, Message: d})
		p.warnings = append(p.warnings, "JVM options: "+d)
	}
	p.report = &checked
	return nil
}

// differences compares flags with what the options ask for. What is in known too
// was told before.
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

// rejectedOptions is the error for a JVM that does not take its options. It names
// those that its words fit, and where they stand.
func rejectedOptions(made jvm.Result, r hotspot.StartupError) error {
	var names []string
	known := ""
	for _, o := range optionsMeant(made.Options, r) {
		names = append(names, o.Named())
		for _, p := range made.Warnings {
			_, why, found := strings.Cut(p.Message, o.Named()+": ")
			// The JVM knows a flag that it calls diagnostic, whatever our lists say.
			if found && (p.Code == jvm.RemovedOption || p.Code == jvm.UnknownOption && strings.HasPrefix(r.Message, "Unrecognized")) {
				known = "; " + why
			}
		}
	}
	what := strings.Join(names, " and ")
	if what == "" {
		what = "them"
	}
	return &OptionsError{fmt.Errorf("cannot use the JVM options: cannot use %s: the JVM says: %s%s\nhint: `stoker jvm explain` shows where each option comes from", what, r.Message, known)}
}

// optionsMeant are the options that a refusal speaks of: that which it quotes, else
// those whose flag or value it mentions, else those of its topic.
func optionsMeant(options []jvm.Option, r hotspot.StartupError) []jvm.Option {
	mentioned := strings.FieldsFunc(r.Message, func(c rune) bool { return strings.ContainsRune(" ()'\",;", c) })
	for _, fits := range []func(jvm.Option) bool{
		func(o jvm.Option) bool { return r.Option != "" && unsigned(o.String()) == r.Option },
		func(o jvm.Option) bool { return r.Option != "" && flagName(o.Args[0]) == flagName(r.Option) },
		func(o jvm.Option) bool {
			name := flagName(o.Args[0])
			return strings.HasPrefix(name, "--") && slices.Contains(mentioned, lastWord(o)) || slices.ContainsFunc(mentioned,
				func(word string) bool {
					return "-XX:"+word == name || len(word) > 2 && word[0] == '-' && strings.HasPrefix(name, word)
				})
		},
		func(o jvm.Option) bool { return aboutTopic(r.Message, flagName(o.Args[0])) },
	} {
		if found := slices.DeleteFunc(slices.Clone(options), func(o jvm.Option) bool { return !fits(o) }); len(found) > 0 {
			return found
		}
	}
	return nil
}

// unsigned is an option as the JVM quotes it: an -XX one without its sign.
func unsigned(option string) string {
	if name, ok := strings.CutPrefix(option, "-XX:"); ok {
		return "-XX:" + strings.TrimLeft(name, "+-")
	}
	return option
}

// flagName is what stands before the value.
func flagName(option string) string {
	name, _, _ := strings.Cut(unsigned(option), "=")
	return name
}

// lastWord is the value of an option such as "--add-modules X" or "--add-modules=X".
func lastWord(o jvm.Option) string {
	last := o.Args[len(o.Args)-1]
	return last[strings.LastIndexByte(last, '=')+1:]
}

// aboutTopic says whether an option is of what a message speaks of without naming
// it, such as "Initial heap size set to a larger value than the maximum heap size".
func aboutTopic(message, option string) bool {
	heap := []string{"-Xmx", "-Xms", "-Xmn", "-XX:MaxHeapSize", "-XX:InitialHeapSize", "-XX:MinHeapSize", "-XX:MaxRAM"}
	for _, topic := range []struct {
		words   string
		options []string // prefixes
	}{
		{"garbage collector", []string{"-XX:Use"}},
		{"Garbage collector", []string{"-XX:Use"}},
		{"heap", heap},
		{"NewSize", heap}, // "GC triggered before VM initialization completed": too small
		{"stack size", []string{"-Xss", "-XX:ThreadStackSize"}},
		{"shared archive", []string{"-Xshare", "-XX:SharedArchiveFile"}},
	} {
		if strings.Contains(message, topic.words) {
			return slices.ContainsFunc(topic.options, func(p string) bool {
				return strings.HasPrefix(option, p) && (p != "-XX:Use" || strings.HasSuffix(option, "GC"))
			})
		}
	}
	return false
}

// verifyPause is the time between two looks at a JVM that has hardly begun.
const verifyPause = 100 * time.Millisecond

// verify gives the look at the JVM that was started with argv: whether it is that
// program with these arguments, and has the flags that they ask for.
func (l *Launcher) verify(f *Report, argv []string, hide service.Mask) func(context.Context, supervisor.Process) error {
	return func(ctx context.Context, p supervisor.Process) error {
		for {
			r := runningJVM{f, argv, p, l.shared.Attacher}
			err := r.checkProgram()
			if err == nil {
				if err = r.checkFlags(ctx); !errors.Is(err, hotspot.ErrNotCaught) {
					return complaint(err, hide)
				}
			}
			select { // a service without a proof of readiness is RUNNING before it is a JVM
			case <-time.After(verifyPause):
			case <-p.Exited():
				return nil
			case <-ctx.Done():
				return complaint(err, hide)
			}
		}
	}
}

// errDiffers says that something else runs than what was started.
var errDiffers = errors.New("the JVM is not the one that was started")

// complaint makes a complaint of a difference, less what must not be seen.
func complaint(err error, hide service.Mask) error {
	if !errors.Is(err, errDiffers) {
		return err
	}
	return &supervisor.HealthIssue{Cause: incident.CauseJVMDiffers, Text: hide.Text(err.Error())}
}

// runningJVM is one that is looked at.
type runningJVM struct {
	report   *Report
	argv     []string
	p        supervisor.Process
	attacher *Attacher
}

// checkProgram compares its command line and its program with what was started.
func (r runningJVM) checkProgram() error {
	argv, err := procfs.Cmdline(r.p.Pid())
	if err != nil {
		return fmt.Errorf("cannot look at the running JVM: %w", err)
	}
	if at := firstDifference(argv, r.argv); at >= 0 {
		return fmt.Errorf("%w: argument %d is %s, and should be %s", errDiffers, at, argument(argv, at), argument(r.argv, at))
	}
	if exe, want := r.program(), resolved(r.report.JVM.Java); exe != "" && exe != want {
		return fmt.Errorf("%w: the program is %s, and should be %s", errDiffers, exe, want)
	}
	return nil
}

// checkFlags asks it for its flags, and compares them with what the options ask for.
func (r runningJVM) checkFlags(ctx context.Context) error {
	a, err := r.attacher.Attach(ctx, r.p)
	if err != nil {
		return err
	}
	text, err := a.Command(ctx, "jcmd", "VM.flags -all")
	if err != nil {
		return err
	}
	if d := differences(r.report.Result.Options, hotspot.ParseFlags(text), r.report.flags); len(d) > 0 {
		return fmt.Errorf("%w: %s", errDiffers, strings.Join(d, "; "))
	}
	return nil
}

// program is the path of what is executed; empty: it cannot be seen, or the file
// has been replaced meanwhile.
func (r runningJVM) program() string {
	var path string
	_ = AsUserOf(r.p)(func() (err error) {
		path, err = procfs.Exe(r.p.Pid())
		return err
	})
	if strings.HasSuffix(path, " (deleted)") {
		return ""
	}
	return path
}

// resolved follows links; what does not exist any more stays as it is.
func resolved(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}

// firstDifference is the first argument that is another one; -1: none.
func firstDifference(a, b []string) int {
	for k := range max(len(a), len(b)) {
		if k >= len(a) || k >= len(b) || a[k] != b[k] {
			return k
		}
	}
	return -1
}

// argument quotes one of a list, with what must not be seen masked.
func argument(argv []string, at int) string {
	if at >= len(argv) {
		return "missing"
	}
	return strconv.Quote(redact.Args(argv)[at])
}

// watchTomcatLogs listens to what a Tomcat's applications throw.
func watchTomcatLogs(base string) func(context.Context, func(*supervisor.HealthIssue)) {
	return func(ctx context.Context, complain func(*supervisor.HealthIssue)) {
		hear := watchOutput()
		tomcat.FollowLogs(ctx, base, func(line []byte) {
			if c := hear(line); c != nil {
				complain(c)
			}
		})
	}
}

// watchOutput listens to a JVM that runs. Direct memory and a full code cache are its
// own, and make it ill. Of the other kinds a JVM ends by itself as a rule, so who says
// so and lives on may speak of another one, whose exception came over the wire.
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
