// Package cmdline adds to a urfave/cli app what that library does not have: flags behind
// arguments, one line and a hint for a typing error, help with examples, completion of
// values, and a manual page. It is made from the commands, and knows none of them.
package cmdline

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/exit"
	"github.com/urfave/cli/v2"
)

// Program is an app with the words that explain it.
type Program struct {
	App          *cli.App
	Placeholders map[string]Placeholder // by their names in the help
	Commands     map[string]string      // commands of other tools, separated by blanks, by ours
	Flags        map[string]string      // flags of other tools, by ours
}

// Placeholder is a word of the help that stands for a value.
type Placeholder struct {
	Hint   string // where a user finds the values; empty: in the help of the command
	Values func(ctx context.Context, args []string) []string
}

// New completes an app: every command gets --help. With no command it prints the help.
func New(app *cli.App) *Program {
	p := &Program{App: app}
	help := &cli.BoolFlag{Name: helpWord, Aliases: []string{"h"}, Usage: "explain the command"}
	app.Flags = append(app.Flags, help, &cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print the version"})
	app.Action = func(c *cli.Context) error {
		if c.Bool("version") {
			_, err := fmt.Fprintln(app.Writer, app.Name, app.Version)
			return err
		}
		return p.printHelp(p.read(nil))
	}
	addHelp(app.Commands, help)
	return p
}

func addHelp(commands []*cli.Command, help cli.Flag) {
	for _, c := range commands {
		c.Flags = append(c.Flags, help)
		addHelp(c.Subcommands, help)
	}
}

// Run runs a command line, or prints the help that it asks for.
func (p *Program) Run(ctx context.Context, args []string) error {
	i, err := p.Parse(args)
	switch {
	case err != nil:
		return err
	case i.Help:
		return p.printHelp(i)
	}
	return i.run(ctx)
}

// run sets the flags of the command and calls its action. App.Run would do the same, and
// link text/template for a help that is not used: with it the linker keeps every exported
// method of every type, a tenth of the binary.
func (i *Invocation) run(ctx context.Context) error {
	app, cmd := i.program.App, i.command()
	cmd.HelpName = i.Name()
	action := cmd.Action
	if len(i.path) == 1 {
		action = app.Action
	}
	set := flag.NewFlagSet(cmd.Name, flag.ContinueOnError)
	for _, f := range cmd.Flags {
		if err := f.Apply(set); err != nil {
			return err
		}
	}
	c := cli.NewContext(app, set, &cli.Context{Context: ctx})
	c.Command = cmd
	if err := set.Parse(append([]string{"--"}, i.rest...)); err != nil {
		return err
	}
	lists := map[string][]string{}
	for _, f := range i.flags {
		name, value := f.flag.Names()[0], f.value
		if _, list := f.flag.(*cli.StringSliceFlag); list { // the library would split a value at its commas
			lists[name] = append(lists[name], value)
			value = cli.NewStringSlice(lists[name]...).Serialize()
		}
		if err := set.Set(name, value); err != nil {
			return exit.UsageError(i.Name()+" --help explains the flags", "cannot use %q for --%s: %s", f.value, name, wanted(f.flag, err))
		}
	}
	for _, f := range cmd.Flags {
		if a, ok := f.(cli.ActionableFlag); ok && c.IsSet(f.Names()[0]) {
			if err := a.RunAction(c); err != nil {
				return err
			}
		}
	}
	return action(c)
}

// wanted describes the values of a flag, for an error about one.
func wanted(f cli.DocGenerationFlag, err error) string {
	want := ""
	switch f.(type) {
	case *cli.IntFlag:
		want = "want a number"
	case *cli.DurationFlag:
		want = "want a duration such as 30s"
	case *cli.BoolFlag:
		want = "want true or false"
	}
	if cause := err.Error(); cause != "parse error" {
		want += " (" + cause + ")"
	}
	return want
}

// outputFlag is -o, whose values are completed.
type outputFlag struct {
	*cli.StringFlag
	formats []string
}

// OutputFlag returns -o with its values, of which the first is the default.
func OutputFlag(formats ...string) cli.Flag {
	last := len(formats) - 1
	list := strings.Join(formats[:last], ", ") + " or " + formats[last]
	return &outputFlag{&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: formats[0], Usage: "print as `FORMAT`: " + list,
		Action: func(_ *cli.Context, format string) error {
			if !slices.Contains(formats, format) {
				return exit.UsageError("-o is "+list, "cannot print as %q", format)
			}
			return nil
		}}, formats}
}
