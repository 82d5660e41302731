package launch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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

// withoutBrokenPlugins prepares a start. If the options are unusable, it tries again without the optional plugins that the error names, or
// without all of them. If that succeeds, these plugins are marked as failed.
func (l *Launcher) withoutBrokenPlugins(ctx context.Context, r *service.Start) (*supervisor.Launch, error) {
	var without []string
	p := l.shared.Plugins
	out, first := l.prepare(ctx, r, nil)
	for err := first; err != nil; out, err = l.prepare(ctx, r, without) {
		bad := new(OptionsError)
		if p == nil || !errors.As(err, &bad) {
			return nil, first
		}
		suspects := optionSuspects(p.JVMOptions(without), err.Error())
		if len(suspects) == 0 {
			return nil, first // the plugins are not the cause
		}
		without = append(without, suspects...)
	}
	if len(without) > 0 {
		p.Disable(without, r.Mask.Text(OptionsReason(first)))
	}
	return out, nil
}

// OptionsReason returns an options error as the failure reason of a plugin.
func OptionsReason(err error) string {
	why, _, _ := strings.Cut(err.Error(), "\nhint: ")
	return strings.TrimPrefix(why, "cannot use the JVM options: ")
}

// optionSuspects returns the optional plugins that a text names as an option source, or all of them if it names none.
func optionSuspects(plugins []plugin.JVMOptions, text string) (names []string) {
	var named []string
	for _, c := range plugins {
		if c.Required {
			continue
		}
		names = append(names, c.Name)
		if strings.Contains(text, "plugin "+c.Name+" (") {
			named = append(named, c.Name)
		}
	}
	if len(named) > 0 {
		return named
	}
	return names
}

// onEarlyExit disables the plugins suspected of an early exit, so that the JVM is started again without them.
func (l *Launcher) onEarlyExit(d supervisor.EarlyExit) (why string) {
	if d.Exit.Success || d.Ready && killedFromOutside(d.Exit) {
		return ""
	}
	output := string(d.Output)
	return l.shared.Plugins.DisableSuspects(l.Name, plugin.Exit{Named: suspects(output, l.shared.Plugins.StartedWith(l.Name)),
		Explained: strings.Contains(output, outOfMemoryError), WasReady: d.Ready,
		Reason: redact.Line(cmp.Or(hotspot.FatalMessage(d.Output), d.Exit.String()))})
}
