package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/layout"
)

// pluginList prints the table of plugins.
func pluginList(ctx context.Context, w io.Writer, format string) error {
	c, err := connect()
	if err != nil {
		return err
	}
	list, err := c.Plugins(ctx)
	if err != nil {
		return fmt.Errorf("cannot list the plugins: %w", err)
	}
	if format == "json" {
		return printJSON(w, list)
	}
	if len(list.Plugins) == 0 {
		_, err := fmt.Fprintln(w, "There are no plugins.")
		return err
	}
	t := layout.Table{{"NAME", "VERSION", "STATE", "WHY"}}
	for _, p := range list.Plugins {
		why, more, _ := strings.Cut(p.Why, "\n")
		if more != "" {
			why += " (and more: stoker plugin show " + p.Name + ")"
		}
		t.Add(oneLine(p.Name), dash(oneLine(p.Version)), string(p.State), oneLine(why))
	}
	return t.Write(w, widthOf(w))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// pluginShow prints everything about one.
func pluginShow(ctx context.Context, w io.Writer, args []string, format string) error {
	if len(args) != 1 {
		return &hintError{errors.New("cannot show: name one plugin"), "stoker plugin list has the names", codeUsage}
	}
	c, err := connect()
	if err != nil {
		return err
	}
	p, err := c.Plugin(ctx, args[0])
	if err != nil {
		return fmt.Errorf("cannot show the plugin %s: %w", args[0], err)
	}
	if format == "json" {
		return printJSON(w, p)
	}
	return printPlugin(w, p, widthOf(w))
}

// printPlugin is everything for people.
func printPlugin(w io.Writer, p plugin.Info, width int) error {
	var b strings.Builder
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-10s %s\n", name, indented(layout.Wrap(text, within(width, incidentIndent), "")))
		}
	}
	line("plugin", strings.TrimSpace(p.Name+" "+p.Version))
	line("about", p.Description)
	line("state", string(p.State))
	line("why", p.Why)
	if p.Required {
		line("required", "services do not start when it has failed")
	}
	line("folder", p.Dir)
	for _, n := range p.Notes {
		line("note", n)
	}
	tables := []layout.Table{{{"PARAMETER", "VALUE", "ORIGIN", "TYPE", "ABOUT"}},
		{{"JVM OPTION", "LAYER", "FROM"}}, {{"HOOK", "EVENT", "FROM"}}, {{"ACTION", "ABOUT"}}}
	for _, v := range p.Params {
		tables[0].Add(v.Name, dash(oneLine(v.Value)), v.Origin, v.Type, oneLine(v.Description))
	}
	for _, o := range p.Options {
		tables[1].Add(oneLine(o.Option), string(o.Layer), o.Source)
	}
	for _, h := range p.Hooks {
		tables[2].Add(h.Name, string(h.Event), oneLine(h.Source))
	}
	for _, name := range slices.Sorted(maps.Keys(p.Actions)) {
		tables[3].Add(name, oneLine(p.Actions[name].Description))
	}
	for _, t := range tables {
		if len(t) > 1 {
			b.WriteString("\n" + layout.Rows(t, width))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// switchFlags are the flags of a switch.
type switchFlags struct {
	set       []string
	noRestart bool
	format    string
	waitFlags
}

// pluginSwitch is enable and disable.
func pluginSwitch(ctx context.Context, w io.Writer, on bool, args []string, f switchFlags) error {
	verb := map[bool]string{true: "enable", false: "disable"}[on]
	if len(args) != 1 {
		return &hintError{fmt.Errorf("cannot %s: name one plugin", verb), "stoker plugin list has the names", codeUsage}
	}
	want := plugin.SwitchRequest{Enabled: &on, NoRestart: f.noRestart, Params: map[string]*string{}}
	for _, pair := range f.set {
		name, value, given := strings.Cut(pair, "=")
		if want.Params[name] = &value; !given {
			want.Params[name] = nil
		}
	}
	c, err := connect()
	if err != nil {
		return err
	}
	return waitAround(ctx, c, waitLines(w, f.format), f.waitFlags, func() error {
		done, err := persistIf(ctx, f.wait, func() (api.PluginSwitched, error) { return c.SwitchPlugin(ctx, args[0], want) })
		if err != nil {
			return fmt.Errorf("cannot %s the plugin %s: %w", verb, args[0], err)
		}
		if f.format == "json" {
			err = printJSON(w, done)
		} else {
			err = printSwitched(w, done)
		}
		if err == nil && on && done.Plugin.State == plugin.Failed {
			err = &hintError{fmt.Errorf("cannot enable the plugin %s: it has failed", args[0]),
				"stoker plugin show " + args[0] + " tells more", codeFailed}
		}
		return err
	})
}

// printSwitched says what has become of a switch.
func printSwitched(w io.Writer, done api.PluginSwitched) error {
	lines := []string{fmt.Sprintf("%s is %s", done.Plugin.Name, done.Plugin.State)}
	if done.Plugin.Why != "" {
		lines[0] += ": " + done.Plugin.Why
	}
	if len(done.Restarted) > 0 {
		lines = append(lines, "restarted for its JVM options: "+strings.Join(done.Restarted, ", "))
	}
	if len(done.Deferred) > 0 {
		lines = append(lines, "to be restarted to apply its JVM options: "+strings.Join(done.Deferred, ", "))
	}
	if len(done.Restarted)+len(done.Deferred)+len(done.Notes) == 0 {
		lines = append(lines, "no running service has to be restarted")
	}
	lines = append(lines, done.Notes...)
	if done.Unsaved != "" {
		lines = append(lines, "this counts until the container ends only: "+done.Unsaved)
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// pluginRun runs an action, and ends with its exit code.
func pluginRun(ctx context.Context, w io.Writer, args []string, format string) error {
	if len(args) < 2 {
		return &hintError{errors.New("cannot run: name a plugin and one of its actions"), "stoker plugin show NAME has the actions", codeUsage}
	}
	c, err := connect()
	if err != nil {
		return err
	}
	done, err := c.RunAction(ctx, args[0], args[1], args[2:])
	if err != nil {
		return fmt.Errorf("cannot run %s of the plugin %s: %w", args[1], args[0], err)
	}
	if format == "json" {
		return printJSON(w, done)
	}
	if done.Truncated {
		fmt.Fprintln(os.Stderr, "stoker: only the end of what it wrote was kept")
	}
	if _, err := io.WriteString(forPrograms(w), done.Output); err != nil {
		return err
	}
	switch {
	case done.Why != "":
		return &hintError{fmt.Errorf("the action %s of the plugin %s failed: %s", args[1], args[0], done.Why), "actions.NAME.timeout of its plugin.yaml sets the time", max(done.Code, 1)}
	case done.Code != 0:
		return &hintError{fmt.Errorf("the action %s of the plugin %s ended with %d", args[1], args[0], done.Code), "", done.Code}
	}
	return nil
}
