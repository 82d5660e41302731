package main

import (
	"embed"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/daemon"
	"github.com/stoker-init/stoker/internal/display"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/urfave/cli/v2"
)

func pluginCommand() *cli.Command {
	return &cli.Command{Name: "plugin", Usage: "show, switch and make plugins", Category: categoryExtensions, UsageText: "stoker plugin list",
		Subcommands: []*cli.Command{
			{Name: "list", Usage: "show the plugins and their states", UsageText: "stoker plugin list",
				Flags: []cli.Flag{tableOrJSON()}, Action: answer("list the plugins", (*api.Client).Plugins, pluginsText)},
			{Name: "show", Usage: "show one with its parameters, JVM options, hooks and actions", ArgsUsage: "PLUGIN",
				UsageText: "stoker plugin show jacoco", Flags: []cli.Flag{tableOrJSON()}, Action: withClient(showPlugin)},
			{Name: "enable", Usage: "switch one on; services whose JVM options change are restarted once", ArgsUsage: "PLUGIN",
				UsageText: "stoker plugin enable jacoco --wait --set port=6301", Flags: switchFlags(),
				Action: func(c *cli.Context) error { return switchPlugin(c, true) }},
			{Name: "disable", Usage: "switch one off; services whose JVM options change are restarted once", ArgsUsage: "PLUGIN",
				UsageText: "stoker plugin disable jacoco --no-restart", Flags: switchFlags(),
				Action: func(c *cli.Context) error { return switchPlugin(c, false) }},
			{Name: "run", Usage: "run an action of one; its output and exit code are the command's", ArgsUsage: "PLUGIN ACTION [ARGS...]",
				UsageText: "stoker plugin run jacoco dump", Flags: []cli.Flag{tableOrJSON()}, Action: withClient(runPluginAction)},
			{Name: "validate", Usage: "find problems in the folder of a plugin; no stoker has to run", ArgsUsage: "DIR",
				UsageText: "stoker plugin validate ./my-plugin",
				Action:    func(c *cli.Context) error { return validatePlugin(c.App.Writer, c.Args().First()) }},
			{Name: "init", Usage: "write a plugin to begin with", ArgsUsage: "NAME",
				UsageText: "stoker plugin init my-plugin --dir plugins", Action: initPlugin,
				Flags: []cli.Flag{&cli.StringFlag{Name: "dir", Value: ".", Usage: "make its folder in `DIR`"}}},
		}}
}

func switchFlags() []cli.Flag {
	return append(waitFlags(), tableOrJSON(),
		&cli.StringSliceFlag{Name: "set", Usage: "give a parameter a value: `NAME=VALUE`; NAME alone takes it back"},
		&cli.BoolFlag{Name: "no-restart", Usage: "do not restart services whose JVM options change"})
}

func pluginsText(list api.PluginList, width int) string {
	if len(list.Plugins) == 0 {
		return "There are no plugins.\n"
	}
	t := layout.Table{{"NAME", "VERSION", "STATE", "WHY"}}
	for _, p := range list.Plugins {
		why, more, _ := strings.Cut(p.Why, "\n")
		if more != "" {
			why += " (and more: stoker plugin show " + p.Name + ")"
		}
		t.Add(oneLine(p.Name), dash(oneLine(p.Version)), string(p.State), oneLine(why))
	}
	return layout.Rows(t, width)
}

func showPlugin(c *cli.Context, client *api.Client) error {
	name := c.Args().First()
	p, err := client.Plugin(c.Context, name)
	if err != nil {
		return fmt.Errorf("cannot show the plugin %s: %w", name, err)
	}
	return show(c, p, func(width int) string { return pluginText(p, width) })
}

func pluginText(p plugin.Info, width int) string {
	b := fields{width: width}
	b.add("plugin", strings.TrimSpace(p.Name+" "+p.Version))
	b.add("about", p.Description)
	b.add("state", string(p.State))
	b.add("why", p.Why)
	if p.Required {
		b.add("required", "services do not start when it has failed")
	}
	b.add("folder", p.Dir)
	for _, n := range p.Notes {
		b.add("note", n)
	}
	params := layout.Table{{"PARAMETER", "VALUE", "ORIGIN", "TYPE", "ABOUT"}}
	for _, v := range p.Params {
		params.Add(v.Name, dash(oneLine(v.Value)), v.Origin, v.Type, oneLine(v.Description))
	}
	options := layout.Table{{"JVM OPTION", "LAYER", "FROM"}}
	for _, o := range p.Options {
		options.Add(oneLine(o.Option), string(o.Layer), o.Source)
	}
	hooks := layout.Table{{"HOOK", "EVENT", "FROM"}}
	for _, h := range p.Hooks {
		hooks.Add(h.Name, string(h.Event), oneLine(h.Source))
	}
	actions := layout.Table{{"ACTION", "ABOUT"}}
	for _, name := range slices.Sorted(maps.Keys(p.Actions)) {
		actions.Add(name, oneLine(p.Actions[name].Description))
	}
	for _, t := range []layout.Table{params, options, hooks, actions} {
		if len(t) > 1 {
			b.WriteString("\n" + layout.Rows(t, width))
		}
	}
	return b.String()
}

func switchPlugin(c *cli.Context, on bool) error {
	name := c.Args().First()
	want := plugin.SwitchRequest{Enabled: &on, NoRestart: c.Bool("no-restart"), Params: map[string]*string{}}
	for _, pair := range c.StringSlice("set") {
		param, value, given := strings.Cut(pair, "=")
		if want.Params[param] = &value; !given {
			want.Params[param] = nil
		}
	}
	s, err := newStartWait(c)
	if err != nil {
		return err
	}
	return s.around(c.Context, func() error {
		done, err := s.client.SwitchPlugin(c.Context, name, want)
		if err != nil {
			return fmt.Errorf("cannot %s the plugin %s: %w", c.Command.Name, name, err)
		}
		err = show(c, done, func(int) string { return switchedText(done) })
		if err == nil && on && done.Plugin.State == plugin.Failed {
			err = &exit.Error{Err: fmt.Errorf("cannot enable the plugin %s: it has failed", name),
				Hint: "stoker plugin show " + name + " tells more"}
		}
		return err
	})
}

func switchedText(done api.SwitchResult) string {
	text := fmt.Sprintf("%s is %s%s\n", done.Plugin.Name, done.Plugin.State, optional(": ", done.Plugin.Why, "")) +
		optional("restarted for its JVM options: ", strings.Join(done.Restarted, ", "), "\n") +
		optional("to be restarted to apply its JVM options: ", strings.Join(done.Deferred, ", "), "\n")
	if len(done.Restarted)+len(done.Deferred)+len(done.Notes) == 0 {
		text += "no running service has to be restarted\n"
	}
	for _, note := range done.Notes {
		text += note + "\n"
	}
	return text + optional("this counts until the container ends only: ", done.Unsaved, "\n")
}

func runPluginAction(c *cli.Context, client *api.Client) error {
	args := c.Args().Slice()
	name, action := args[0], args[1]
	done, err := client.RunAction(c.Context, name, action, args[2:])
	switch {
	case err != nil:
		return fmt.Errorf("cannot run %s of the plugin %s: %w", action, name, err)
	case asJSON(c):
		return printJSON(c.App.Writer, done)
	}
	if done.Truncated {
		fmt.Fprintln(os.Stderr, "stoker: only the end of its output was kept")
	}
	if _, err := io.WriteString(display.ForPrograms(c.App.Writer), done.Output); err != nil {
		return err
	}
	switch {
	case done.Why != "":
		return &exit.Error{Err: fmt.Errorf("the action %s of the plugin %s failed: %s", action, name, done.Why),
			Hint: "actions.NAME.timeout of its plugin.yaml sets the time", Code: max(done.Code, 1)}
	case done.Code != 0:
		return &exit.Error{Err: fmt.Errorf("the action %s of the plugin %s ended with %d", action, name, done.Code), Code: done.Code}
	}
	return nil
}

//go:embed all:plugintemplate
var pluginTemplate embed.FS

func initPlugin(c *cli.Context) error {
	name, parent := c.Args().First(), c.String("dir")
	if !plugin.ValidName(name) {
		return exit.UsageError("a name has small letters, digits, _ . and -", "cannot make the plugin %q: that is no name", name)
	}
	dir := filepath.Join(parent, name)
	err := os.MkdirAll(parent, 0o755)
	if err == nil {
		err = os.Mkdir(dir, 0o755)
	}
	if err == nil {
		err = copyTemplate(dir, name)
	}
	if err != nil {
		return fmt.Errorf("cannot make the plugin: %w", err)
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s is a plugin now; stoker plugin validate %s checks it after a change\n", dir, dir)
	return err
}

func copyTemplate(dir, name string) error {
	const top = "plugintemplate"
	return fs.WalkDir(pluginTemplate, top, func(path string, d fs.DirEntry, err error) error {
		to := filepath.Join(dir, strings.TrimPrefix(path, top))
		if err != nil || path == top {
			return err
		}
		if d.IsDir() {
			return os.Mkdir(to, 0o755)
		}
		data, err := pluginTemplate.ReadFile(path)
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(string(data), "#!") {
			mode = 0o755
		}
		return os.WriteFile(to, []byte(strings.ReplaceAll(string(data), "PLUGIN-NAME", name)), mode)
	})
}

// validatePlugin checks the folder of a plugin, except the owners of its files: they
// depend on where it is installed.
func validatePlugin(w io.Writer, path string) error {
	dir, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("cannot validate %s: %w", path, err)
	}
	reader := daemon.PluginReader()
	reader.CheckOwners = false
	f := reader.Read(dir)
	f.Check()
	for _, note := range f.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	if len(f.Problems) > 0 {
		return &exit.Error{Err: fmt.Errorf("cannot use the plugin in %s:\n%s", path, strings.Join(f.Problems, "\n")), Code: exit.BadConfig}
	}
	_, err = fmt.Fprintf(w, "%s %s is valid\n", f.Manifest.Name, f.Manifest.Version)
	return err
}
