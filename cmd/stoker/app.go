package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/stoker-init/stoker/internal/daemon"
	"github.com/urfave/cli/v2"
)

// The categories of the commands. The help lists the commands in the order of newApp.
const (
	categoryServices   = "Services"
	categoryHistory    = "What happened and why"
	categoryJava       = "Java"
	categoryExtensions = "Configuration and extensions"
	categoryStoker     = "stoker itself"
)

// newApp returns the whole command line; run is the Action of `stoker run`.
func newApp(run func(daemon.Options) error) *cli.App {
	app := &cli.App{
		Name:  "stoker",
		Usage: "the first process of a Java container",
		Description: `Commands ask the stoker that runs in the same container, by its unix socket:
STOKER_SOCKET, or else api.socket of the configuration, or
/run/stoker/stoker.sock and what docs/reference/api.md names. STOKER_CONFIG
names another configuration file.`,
		UsageText:                 "stoker status\nstoker logs tomcat -n 50 -f\nstoker jvm explain",
		HideHelp:                  true, // printHelp is ours
		HideVersion:               true,
		DisableSliceFlagSeparator: true, // paths and values have commas
		OnUsageError:              flagError,
		ExitErrHandler:            func(*cli.Context, error) {},
		Writer:                    newDisplay(os.Stdout),
		Flags:                     []cli.Flag{&cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print the version"}},
		Action: func(c *cli.Context) error {
			if c.Bool("version") {
				_, err := fmt.Fprintln(c.App.Writer, "stoker", version)
				return err
			}
			return printHelp(c.App.Writer, readArguments(c.App, nil))
		},
		Commands: []*cli.Command{
			runCommand(run),
			statusCommand(),
			healthCommand(),
			startCommand(),
			stopCommand(),
			restartCommand(),
			signalCommand(),
			logsCommand(),
			eventsCommand(),
			incidentsCommand(),
			limitsCommand(),
			jvmCommand(),
			jacocoCommand(),
			configCommand(),
			reloadCommand(),
			hookCommand(),
			pluginCommand(),
			upgradeCommand(),
			versionCommand(),
			completionCommand(),
			completeCommand(),
			manCommand(),
		},
	}
	help := &cli.BoolFlag{Name: helpWord, Aliases: []string{"h"}, Usage: "explain the command"}
	app.Flags = append(app.Flags, help)
	addHelp(app.Commands, help)
	return app
}

// addHelp adds --help to commands and their subcommands.
func addHelp(commands []*cli.Command, help cli.Flag) {
	for _, c := range commands {
		c.OnUsageError, c.HideHelp = flagError, true
		c.Flags = append(c.Flags, help)
		addHelp(c.Subcommands, help)
	}
}

// execute runs a command line, or prints the help that it asks for.
func execute(ctx context.Context, app *cli.App, args []string) (help bool, err error) {
	inv, err := parseArguments(app, args)
	switch {
	case err != nil:
		return false, err
	case inv.help:
		return true, printHelp(app.Writer, inv)
	}
	return false, app.RunContext(ctx, inv.args)
}

// flagError rewords the library's error about the value of a flag.
func flagError(c *cli.Context, err error, _ bool) error {
	text := strings.NewReplacer("invalid value", "cannot use", " for flag -", " for --").Replace(err.Error())
	for _, f := range c.Command.Flags {
		kind := ""
		switch f.(type) {
		case *cli.IntFlag:
			kind = "a number"
		case *cli.DurationFlag:
			kind = "a duration such as 30s"
		}
		if before, cause, found := strings.Cut(text, " for --"+f.Names()[0]+": "); found && kind != "" {
			text = fmt.Sprintf("%s for --%s: want %s (%s)", before, f.Names()[0], kind, cause)
		}
	}
	text = strings.Replace(text, " (parse error)", "", 1)
	return usageError(c.Command.HelpName+" --help explains the flags", "%s", text)
}
