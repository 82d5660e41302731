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
	"text/tabwriter"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/api"
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
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tVERSION\tSTATE\tWHY")
	for _, p := range list.Plugins {
		why, more, _ := strings.Cut(p.Why, "\n")
		if more != "" {
			why += " (and more: stoker plugin show " + p.Name + ")"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", printable(p.Name), dash(printable(p.Version)), p.State, printable(why))
	}
	tw.Flush() // a strings.Builder does not fail
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
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
	return printPlugin(w, p)
}

// printPlugin is everything for people.
func printPlugin(w io.Writer, p hooks.Plugin) error {
	var b strings.Builder
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-10s %s\n", name, indented(text))
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
	table := func(head string, rows func(w io.Writer)) {
		b.WriteString("\n")
		tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, head)
		rows(tw)
		tw.Flush() // a strings.Builder does not fail
	}
	if len(p.Params) > 0 {
		table("PARAMETER\tVALUE\tORIGIN\tTYPE\tABOUT", func(w io.Writer) {
			for _, v := range p.Params {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", v.Name, dash(printable(v.Value)), v.Origin, v.Type, printable(v.Description))
			}
		})
	}
	if len(p.Options) > 0 {
		table("JVM OPTION\tLAYER\tFROM", func(w io.Writer) {
			for _, o := range p.Options {
				fmt.Fprintf(w, "%s\t%s\t%s\n", printable(o.Option), o.Layer, o.Source)
			}
		})
	}
	if len(p.Hooks) > 0 {
		table("HOOK\tEVENT\tFROM", func(w io.Writer) {
			for _, h := range p.Hooks {
				fmt.Fprintf(w, "%s\t%s\t%s\n", h.Name, h.Event, printable(h.Source))
			}
		})
	}
	if len(p.Actions) > 0 {
		table("ACTION\tABOUT", func(w io.Writer) {
			for _, name := range slices.Sorted(maps.Keys(p.Actions)) {
				fmt.Fprintf(w, "%s\t%s\n", name, printable(p.Actions[name].Description))
			}
		})
	}
	for text := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(text, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// switchFlags are what a switch may have behind the plugin's name, too.
type switchFlags struct {
	set       []string
	noRestart bool
	format    string
	waitFlags
}

// split takes the flags out of the arguments: people write them behind the name.
func (f *switchFlags) split(args []string) (names []string, err error) {
	for k := 0; k < len(args); k++ {
		name, value, given := strings.Cut(args[k], "=")
		into := map[string]func(string){"--set": func(v string) { f.set = append(f.set, v) },
			"-o": func(v string) { f.format = v }, "--output": func(v string) { f.format = v }}[name]
		switch {
		case args[k] == "--no-restart":
			f.noRestart = true
		case args[k] == "--wait":
			f.wait = true
		case into != nil && given:
			into(value)
		case into != nil && k+1 < len(args):
			k++
			into(args[k])
		case strings.HasPrefix(args[k], "-"):
			return nil, &hintError{fmt.Errorf("cannot use %q", args[k]), "the flags are --set NAME=VALUE, --no-restart and -o", codeUsage}
		default:
			names = append(names, args[k])
		}
	}
	if len(names) != 1 {
		return nil, &hintError{errors.New("cannot switch: name one plugin"), "stoker plugin list has the names", codeUsage}
	}
	if f.format != "" && f.format != "table" && f.format != "json" {
		return nil, &hintError{fmt.Errorf("cannot print as %q", f.format), "-o is table or json", codeUsage}
	}
	return names, nil
}

// pluginSwitch is enable and disable.
func pluginSwitch(ctx context.Context, w io.Writer, on bool, args []string, f switchFlags) error {
	verb := map[bool]string{true: "enable", false: "disable"}[on]
	names, err := f.split(args)
	if err != nil {
		return err
	}
	want := hooks.PluginSwitch{Enabled: &on, NoRestart: f.noRestart, Params: map[string]*string{}}
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
		done, err := persistIf(ctx, f.wait, func() (api.PluginSwitched, error) { return c.SwitchPlugin(ctx, names[0], want) })
		if err != nil {
			return fmt.Errorf("cannot %s the plugin %s: %w", verb, names[0], err)
		}
		if f.format == "json" {
			err = printJSON(w, done)
		} else {
			err = printSwitched(w, done)
		}
		if err == nil && on && done.Plugin.State == hooks.PluginFailed {
			err = &hintError{fmt.Errorf("cannot enable the plugin %s: it has failed", names[0]), "stoker plugin show " + names[0] + " tells more", codeFailed}
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
		if _, err := fmt.Fprintln(w, printable(line)); err != nil {
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
	if _, err := io.WriteString(w, done.Output); err != nil {
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
