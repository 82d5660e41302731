package main

import (
	"context"
	"fmt"
	"io"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/urfave/cli/v2"
)

// signalCommand is `stoker signal`.
func signalCommand() *cli.Command {
	return &cli.Command{Name: "signal", Usage: "send a signal to the process of a service",
		ArgsUsage: "SERVICE SIGNAL", Description: signalHelp,
		Flags: []cli.Flag{outputFlag(), &cli.BoolFlag{Name: "group", Aliases: []string{"g"}, Usage: "send it to every process of the service"}},
		Action: func(c *cli.Context) error {
			return upTo(c, 2, func(a []string) error {
				return sendSignal(c.Context, c.App.Writer, a, c.Bool("group"), c.String("output"))
			})
		}}
}

// signalHelp explains signal.
const signalHelp = `SIGNAL is a name with or without SIG, or a number: HUP, SIGUSR1, 10. What it does
is up to the service: one that is ended by it has ended by itself, and is
restarted as its configuration says. "stoker stop" stops it for good.`

// sendSignal sends a signal to a service.
func sendSignal(ctx context.Context, w io.Writer, args []string, group bool, format string) error {
	if len(args) != 2 {
		return &hintError{fmt.Errorf("cannot send a signal: a service and a signal are wanted"),
			"stoker signal SERVICE HUP; stoker status lists the services", codeUsage}
	}
	sig, err := proc.ParseSignal(args[1])
	if err != nil {
		return &hintError{err, "a name with or without SIG, or a number: HUP, SIGUSR1, 10", codeUsage}
	}
	c, err := connect()
	if err != nil {
		return err
	}
	there, err := services(ctx, c)
	if err != nil {
		return err
	}
	names, err := chooseServices(there, "signal", args[:1])
	if err != nil {
		return err
	}
	done, err := c.Signal(ctx, names[0], proc.SignalName(sig), group)
	if err != nil {
		return fmt.Errorf("cannot signal %s: %w", names[0], err)
	}
	if format == "json" {
		return printJSON(w, done)
	}
	to := fmt.Sprintf("pid %d", done.Pid)
	if group {
		to += " and all of its processes"
	}
	_, err = fmt.Fprintf(w, "%s was sent to %s (%s)\n", done.Signal, done.Service, to)
	return err
}
