package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/display"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/jacoco"
	"github.com/urfave/cli/v2"
)

// jacocoCommand is `stoker jacoco`, which the plugin jacoco runs.
func jacocoCommand() *cli.Command {
	flags := func(more ...cli.Flag) []cli.Flag {
		return append(more, &cli.StringFlag{Name: "address", Value: "127.0.0.1:6300", Usage: "of the agent, `HOST:PORT`"},
			&cli.DurationFlag{Name: "timeout", Value: 10 * time.Second, Usage: "give up after `TIME`"})
	}
	return &cli.Command{Name: "jacoco", Usage: "ask a JaCoCo agent for its data, as the plugin jacoco does", Hidden: true,
		UsageText: "stoker jacoco dump -o jacoco.exec",
		Subcommands: []*cli.Command{
			{Name: "dump", Usage: "write the coverage to a file", UsageText: "stoker jacoco dump --reset -o jacoco.exec",
				Action: askJaCoCo(dumpJaCoCo),
				Flags: flags(&cli.BoolFlag{Name: "reset", Usage: "and reset it; what cannot be written then is lost"},
					&cli.StringFlag{Name: "file", Aliases: []string{"o"}, Usage: "write `FILE`, as a whole or not at all; - is stdout"})},
			{Name: "reset", Usage: "reset the coverage", UsageText: "stoker jacoco reset --address 127.0.0.1:6301",
				Flags: flags(), Action: askJaCoCo(resetJaCoCo)},
		}}
}

func dumpJaCoCo(ctx context.Context, c *cli.Context) (err error) {
	address, file := c.String("address"), c.String("file")
	if file == "" {
		return exit.UsageError("-o FILE, or -o - for stdout", "cannot dump: no file is named")
	}
	summary := c.App.Writer
	var s jacoco.Summary
	if file == "-" {
		summary = display.New(os.Stderr)
		s, err = jacoco.Dump(ctx, address, c.Bool("reset"), display.Exact(c.App.Writer))
	} else {
		s, err = jacoco.DumpFile(ctx, address, c.Bool("reset"), file)
	}
	if err != nil {
		return fmt.Errorf("cannot dump: %w", err)
	}
	_, err = fmt.Fprintf(summary, "%d of %d probes hit in %d classes, %d sessions; %d bytes in %s\n",
		s.Hit, s.Probes, s.Classes, len(s.Sessions), s.Bytes, file)
	return err
}

func resetJaCoCo(ctx context.Context, c *cli.Context) error {
	if err := jacoco.Reset(ctx, c.String("address")); err != nil {
		return fmt.Errorf("cannot reset: %w", err)
	}
	_, err := fmt.Fprintln(c.App.Writer, "the coverage is reset")
	return err
}

// askJaCoCo makes the Action of a command that asks the agent, and adds a hint to its error.
func askJaCoCo(run func(context.Context, *cli.Context) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
		defer cancel()
		err := run(ctx, c)
		for cause, hint := range map[error]string{
			syscall.ECONNREFUSED: "is the plugin active, and the JVM started with it? stoker plugin show jacoco; --address names another place",
			jacoco.ErrBusy:       "try again when the other dump is over, or with a longer --timeout",
			os.ErrNotExist:       "-o is a file in a folder that exists and may be written to",
			os.ErrPermission:     "-o is a file in a folder that exists and may be written to",
		} {
			if errors.Is(err, cause) {
				return &exit.Error{Err: err, Hint: hint}
			}
		}
		if errors.Is(err, jacoco.ErrTimeout) {
			return &exit.Error{Err: err, Hint: "a longer --timeout may help"}
		}
		return err
	}
}
