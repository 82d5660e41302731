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
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor"
)

// OptionsError means that the options are unusable: the merge, the sizing or the JVM rejected them.
type OptionsError struct{ error }

func (e *OptionsError) Unwrap() error { return e.error }

// Lasting implements supervisor.PermanentError.
func (e *OptionsError) Lasting() bool { return true }

// AllowedByPlugins returns a check that fails if the plugins forbid the start of a service. It begins the start in the plugin set.
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

// withPluginReady wraps a check and first reports to the plugins that the start became ready.
func (l *Launcher) withPluginReady(look func(context.Context, supervisor.Process) error) func(context.Context, supervisor.Process) error {
	return func(ctx context.Context, p supervisor.Process) error {
		if l.shared.Plugins != nil {
			l.shared.Plugins.OnReady(l.Name)
		}
		return look(ctx, p)
	}
}

// withoutBrokenPlugins calls prepare. If the options are unusable, it calls prepare again without the optional plugins that the error
// names, or without all of them. If that succeeds, these plugins are marked as failed.
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
		return nil, first // the plugins are not the cause
	}
	if len(without) > 0 {
		p.Disable(without, hide.Text(OptionsReason(first)))
	}
	return out, nil
}

// OptionsReason returns an options error as the failure reason of a plugin.
func OptionsReason(err error) string {
	why, _, _ := strings.Cut(err.Error(), "\nhint: ")
	return strings.TrimPrefix(why, "cannot use the JVM options: ")
}

// optionalPlugins returns the plugins that are not required and not in left.
func optionalPlugins(p *plugin.Set, left []string) []string {
	var out []string
	for _, c := range p.JVMOptions(left) {
		if !c.Required {
			out = append(out, c.Name)
		}
	}
	return out
}

// suspectsIn returns the plugins that a text names as an option source, or all of them if it names none.
func suspectsIn(names []string, text string) []string {
	named := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.Contains(text, pluginSource(name)) })
	if len(named) == 0 {
		return names
	}
	return named
}

// pluginSource is the prefix of the source of a plugin's options.
func pluginSource(name string) string { return "plugin " + name + " (" }

// onEarlyExit disables the plugins suspected of an early exit, so that the JVM is started again without them.
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
