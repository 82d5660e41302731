package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor"
)

// optionsError says that options cannot be used: by the merge, the sizing, or the
// JVM's own word.
type optionsError struct{ error }

func (e *optionsError) Unwrap() error { return e.error }

// Lasting makes it a supervisor.LastingError.
func (e *optionsError) Lasting() bool { return true }

// addPlugins adds what the plugins have for the layers that fixed reads, and takes
// down what they have for all.
func (l *layers) addPlugins(in *jvm.Input) {
	if l.world.plugins == nil {
		return
	}
	l.carried = l.world.plugins.JVMOptions(l.leave)
	for _, c := range l.carried {
		in.Default = append(in.Default, c.Options[jvm.Default]...)
		in.Enforced = append(in.Enforced, c.Options[jvm.Enforced]...)
		for _, n := range l.named() {
			if options := c.Options[n.name]; len(options) > 0 {
				l.fact(n, "plugin "+c.Name, sourceRead, "", nil)
				fmt.Fprintf(l.sum, "plugin %q %s %q\n", c.Name, n.name, argsOf(options))
			}
		}
	}
}

// addUserPlugins adds what they have for the user layer, behind its variables.
func (l *layers) addUserPlugins(in *jvm.Input) {
	for _, c := range l.carried {
		in.User = append(in.User, c.Options[jvm.User]...)
	}
}

func argsOf(options []jvm.Option) (out [][]string) {
	for _, o := range options {
		out = append(out, o.Args)
	}
	return out
}

// carriedNames are the plugins that options were taken from.
func (l *layers) carriedNames() (out []string) {
	for _, c := range l.carried {
		out = append(out, c.Name)
	}
	return out
}

// pluginsAllow says whether a service may start for all that its plugins are, which begin
// with the start.
func (l *processLauncher) pluginsAllow() error {
	if l.plugins == nil {
		return nil
	}
	l.plugins.Refresh()
	if err := l.plugins.Blocked(); err != nil {
		return fmt.Errorf("cannot start: %w\nhint: stoker plugin list", err)
	}
	l.plugins.BeginStart(l.name)
	return nil
}

// carries notes whose options a start has.
func (l *processLauncher) carries(f *jvmFacts) {
	if l.plugins != nil {
		l.plugins.SetStartedWith(l.name, f.carried)
	}
}

// whenReady has the plugins know that a start was ready, before anybody looks at it.
func (l *processLauncher) whenReady(look func(context.Context, supervisor.Process) error) func(context.Context, supervisor.Process) error {
	return func(ctx context.Context, p supervisor.Process) error {
		if l.plugins != nil {
			l.plugins.OnReady(l.name)
		}
		return look(ctx, p)
	}
}

// sparing prepares something of the JVM options, and where those cannot be used, does
// it again without the plugins that are not required: those that the error names, else
// all. If it was them, they have failed with its words.
func sparing[T any](p *plugin.Set, r *readied, prepare func() (T, error)) (T, error) {
	out, first := prepare()
	err := first
	for err != nil && p != nil {
		var bad *optionsError
		if !errors.As(err, &bad) {
			break
		}
		suspects := namedIn(spareable(p, r.leave), err.Error())
		if len(suspects) == 0 {
			break
		}
		r.leave = append(r.leave, suspects...)
		out, err = prepare()
	}
	if len(r.leave) == 0 {
		return out, first
	}
	if err != nil { // it was not them
		r.leave = nil
		var none T
		return none, first
	}
	p.Disable(r.leave, r.hide.text(optionsReason(first)))
	return out, nil
}

// optionsReason is an options error as the reason why a plugin has failed.
func optionsReason(err error) string {
	why, _, _ := strings.Cut(err.Error(), "\nhint: ")
	return strings.TrimPrefix(why, "cannot use the JVM options: ")
}

// spareable are the plugins that may be left out, less those that are.
func spareable(p *plugin.Set, left []string) []string {
	var out []string
	for _, c := range p.JVMOptions(left) {
		if !c.Required {
			out = append(out, c.Name)
		}
	}
	return out
}

// namedIn are those whose options a text names as their source; none: all of them.
func namedIn(names []string, text string) []string {
	named := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.Contains(text, pluginSource(name)) })
	if len(named) == 0 {
		return names
	}
	return named
}

// pluginSource begins the source of each of a plugin's options.
func pluginSource(name string) string { return "plugin " + name + " (" }

// amend asks whether a plugin is the cause of the end of a JVM that has hardly begun:
// then it is started again without.
func (l *processLauncher) amend(d supervisor.EarlyExit) (why string) {
	if d.Exit.Success || d.Ready && fromOutside(d.Exit) {
		return ""
	}
	carried := l.plugins.StartedWith(l.name)
	named := accused(string(d.Output), carried)
	text := cmp.Or(hotspot.FatalMessage(d.Output), d.Exit.String())
	return l.plugins.DisableSuspects(l.name, plugin.Exit{Named: named, Explained: outOfMemory(string(d.Output)), Reason: redact.Line(text), WasReady: d.Ready})
}

// asJVM adds what a JVM can do and what it says, and what its plugins are asked for.
func (l *processLauncher) asJVM(a *attacher, out *supervisor.Launch, err error) (*supervisor.Launch, error) {
	if err != nil {
		return out, err
	}
	out.DumpSignal, out.ThreadDump, out.WatchOutput = syscall.SIGQUIT, a.threadDump, hearAilments
	if l.plugins != nil {
		out.OnEarlyExit, out.OnStable = l.amend, func() { l.plugins.OnStable(l.name) }
	}
	return out, nil
}
