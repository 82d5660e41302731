package main

import (
	"path/filepath"
	"time"

	"github.com/stoker-init/stoker/internal/daemon"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/training"
	"github.com/urfave/cli/v2"
)

// archiveCommand is `stoker jvm archive`. It starts the service itself and asks no stoker.
func archiveCommand(run func(daemon.Options) error) *cli.Command {
	return &cli.Command{Name: "archive", Usage: "make the class archive of a service, from which its JVM starts faster", ArgsUsage: "SERVICE",
		UsageText: "stoker jvm archive tomcat",
		Description: `The service is started three times, each time until it is ready: recording,
without the archive and with it. In an image build it is a RUN line. Beside the
running service (docker exec) the JVM has a lower priority and a small heap, and
a Tomcat has private ports; but the application runs a second time meanwhile.
Hooks other than pre-start do not run. Exit code 73: the archive cannot be
written, 75: not enough memory now, or the port is in use.
docs/howto/start-faster.md has more.`,
		Flags: append(configFlags(),
			&cli.StringFlag{Name: "dir", Usage: "write the archive into `DIR` (default: jvm.archive_dir, or archives in the state folder)"},
			&cli.StringFlag{Name: "heap", Usage: "the largest heap of the JVM, a `SIZE` such as 1GiB (default: up to 512 MiB, as there is room)"},
			&cli.DurationFlag{Name: "within", Value: 5 * time.Minute, Usage: "give each start, and each stop, `DURATION`"}),
		Action: func(c *cli.Context) (err error) {
			o := &training.Options{Service: c.Args().First(), Dir: c.String("dir"), Within: c.Duration("within")}
			if o.Within <= 0 {
				return exit.UsageError("--within is a duration such as 5m", "cannot make an archive within %v", o.Within)
			}
			if heap := c.String("heap"); heap != "" {
				if o.Heap, err = jvm.ParseMemory(heap); err != nil {
					return exit.UsageError("--heap is a size such as 1GiB", "%w", err)
				}
			}
			if o.Dir != "" {
				if o.Dir, err = filepath.Abs(o.Dir); err != nil {
					return err
				}
			}
			return run(daemon.Options{File: c.String("config"), Set: c.StringSlice("set"), Archive: o})
		}}
}
