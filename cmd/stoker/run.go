package main

import (
	"github.com/stoker-init/stoker/internal/daemon"
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
