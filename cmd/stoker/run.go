package main

import (
	"context"
	"os"
	"time"

	"github.com/stoker-init/stoker/internal/cmdline"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/daemon"
	"github.com/stoker-init/stoker/internal/pid1"
	"github.com/stoker-init/stoker/internal/program"
	"github.com/urfave/cli/v2"
)

// runCommand is `stoker run`. The init passes its arguments to the supervisor, which
// reads them.
func runCommand(run func(daemon.Options) error) *cli.Command {
	return &cli.Command{Name: "run", Usage: "be the container's init: run the configured services, or CMD", ArgsUsage: "[--] [CMD [ARGS...]]",
		Category: categoryServices, UsageText: "stoker run -- java -jar /app/app.jar",
		Description: `Without CMD the services of the configuration are started; without a
configuration, the Tomcat that is found in the image. With CMD stoker is an init
for that command alone: it passes signals on, waits for orphans, and ends with
the command's exit code (128+n for signal n, 127 not found, 126 not executable).
"run CMD" and "run -- CMD" mean the same, and so do "run" and "run --".`,
		Flags: append(configFlags(),
			&cli.BoolFlag{Name: "with-services", Usage: "with CMD: start the configured services too"},
			&cli.BoolFlag{Name: "force", Usage: "start the services even if another stoker runs some here"}),
		Action: func(c *cli.Context) error {
			return run(daemon.Options{File: c.String("config"), Set: c.StringSlice("set"),
				WithServices: c.Bool("with-services"), Force: c.Bool("force"), Command: c.Args().Slice()})
		}}
}

// parseRun parses the arguments of run. It returns nil if they ask for help, which it
// prints.
func parseRun(args []string) (opts *daemon.Options, err error) {
	return parseCommand(append([]string{"run"}, args...))
}

// parseCommand parses the arguments of a command that an init is started for.
func parseCommand(args []string) (opts *daemon.Options, err error) {
	run := func(o daemon.Options) error {
		opts = &o
		return nil
	}
	args = append([]string{"stoker"}, args...)
	if args[1] == "run" && !wantsHelp(args[2:]) { // the other commands are needed for help and hints alone
		p := cmdline.New(&cli.App{Name: "stoker", Commands: []*cli.Command{runCommand(run)}})
		if p.Run(context.Background(), args) == nil && opts != nil {
			return opts, nil
		}
	}
	err = newApp(run).Run(context.Background(), args)
	return opts, err
}

// commandAlone returns what the init runs if it cannot start a supervisor: the command of
// run; nil: there is none, or services are to run too.
func commandAlone(args []string) *pid1.Command {
	opts, err := parseRun(args)
	if err != nil || opts == nil || !opts.Alone() {
		return nil
	}
	c := &pid1.Command{Argv: opts.Command, Env: os.Environ()}
	c.Budget = func() time.Duration {
		loaded, err := config.Load(config.Options{File: opts.File, Set: opts.Set, Environ: c.Env})
		if err != nil { // the supervisor reports it
			return config.WithDefaults(config.Config{}).Stop.Timeout
		}
		return loaded.Config.Stop.Timeout
	}
	c.Find = func() (string, int, error) {
		path, err := (&program.Command{Argv: c.Argv, Env: c.Env}).LookPath()
		return path, exitCode(err), err
	}
	return c
}
