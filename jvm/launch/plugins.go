package launch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor"
)

// OptionsError says that options cannot be used: by the merge, the sizing, or the
// JVM's own word.
type OptionsError struct{ error }

func (e *OptionsError) Unwrap() error { return e.error }

// Lasting makes it a supervisor.PermanentError.
func (e *OptionsError) Lasting() bool { return true }

// addPlugins adds what the plugins have for the layers that fixed reads, and takes
// down what they have for all.
func (l *sources) addPlugins(in *jvm.Input) {
	if l.shared.Plugins == nil {
		return
	}
	l.pluginOptions = l.shared.Plugins.JVMOptions(l.withoutPlugins)
	for _, c := range l.pluginOptions {
		in.Default = append(in.Default, c.Options[jvm.Default]...)
		in.Enforced = append(in.Enforced, c.Options[jvm.Enforced]...)
		for _, n := range l.layers() {
			if options := c.Options[n.name]; len(options) > 0 {
				l.record(n, "plugin "+c.Name, sourceRead, "", nil)
				fmt.Fprintf(l.hash, "plugin %q %s %q\n", c.Name, n.name, argsOf(options))
			}
		}
	}
}

// addUserPlugins adds what they have for the user layer, behind its variables.
func (l *sources) addUserPlugins(in *jvm.Input) {
	for _, c := range l.pluginOptions {
		in.User = append(in.User, c.Options[jvm.User]...)
	}
}

func argsOf(options []jvm.Option) (out [][]string) {
	for _, o := range options {
		out = append(out, o.Args)
	}
	return out
}

// pluginNames are the plugins that options were taken from.
func (l *sources) pluginNames() (out []string) {
	for _, c := range l.pluginOptions {
		out = append(out, c.Name)
	}
	return out
}

// AllowedByPlugins gives what says whether a service may start for all that its plugins are,
// which begin with the start.
func AllowedByPlugins(p *plugin.Set) func(service string) error {
	if p == nil {
		return nil
	}
	return func(service string) error {
		p.Refresh()
		if err := p.Blocked(); err != nil {
			return fmt.Errorf("cannot start: %w\nhint: stoker plugin list", err)
		}
		p.BeginStart(service)
		return nil
	}
}

// whenReady has the plugins know that a start was ready, before anybody looks at it.
func (l *Launcher) whenReady(look func(context.Context, supervisor.Process) error) func(context.Context, supervisor.Process) error {
	return func(ctx context.Context, p supervisor.Process) error {
		if l.shared.Plugins != nil {
			l.shared.Plugins.OnReady(l.Name)
		}
		return look(ctx, p)
	}
}

// withoutBrokenPlugins prepares something of the JVM options, and where those cannot be used, does
// it again without the plugins that are not required: those that the error names, else
// all. If it was them, they have failed with its words.
func withoutBrokenPlugins(p *plugin.Set, hide service.Mask, prepare func(without []string) (*supervisor.Launch,
	error)) (*supervisor.Launch, error) {
	out, first := prepare(nil)
	var without []string
	err := first
	for err != nil && p != nil {
		var bad *OptionsError
		if !errors.As(err, &bad) {
			break
		}
		suspects := suspectsIn(optionalPlugins(p, without), err.Error())
		if len(suspects) == 0 {
			break
		}
		without = append(without, suspects...)
		out, err = prepare(without)
	}
	if err != nil {
		return nil, first // it was not them
	}
	if len(without) > 0 {
		p.Disable(without, hide.Text(OptionsReason(first)))
	}
	return out, nil
}

// OptionsReason is an options error as the reason why a plugin has failed.
func OptionsReason(err error) string {
	why, _, _ := strings.Cut(err.Error(), "\nhint: ")
	return strings.TrimPrefix(why, "cannot use the JVM options: ")
}

// optionalPlugins are the plugins that may be left out, less those that are.
func optionalPlugins(p *plugin.Set, left []string) []string {
	var out []string
	for _, c := range p.JVMOptions(left) {
		if !c.Required {
			out = append(out, c.Name)
		}
	}
	return out
}

// suspectsIn are those whose options a text names as their source; none: all of them.
func suspectsIn(names []string, text string) []string {
	named := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.Contains(text, pluginSource(name)) })
	if len(named) == 0 {
		return names
	}
	return named
}

// pluginSource begins the source of each of a plugin's options.
func pluginSource(name string) string { return "plugin " + name + " (" }

// onEarlyExit asks whether a plugin is the cause of the end of a JVM that has hardly begun:
// then it is started again without.
func (l *Launcher) onEarlyExit(d supervisor.EarlyExit) (why string) {
	if d.Exit.Success || d.Ready && killedFromOutside(d.Exit) {
		return ""
	}
	carried := l.shared.Plugins.StartedWith(l.Name)
	named := suspects(string(d.Output), carried)
	text := cmp.Or(hotspot.FatalMessage(d.Output), d.Exit.String())
	return l.shared.Plugins.DisableSuspects(l.Name, plugin.Exit{Named: named, Explained: outOfMemory(string(d.Output)),
		Reason: redact.Line(text), WasReady: d.Ready})
}
