package main

import (
	"fmt"

	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/urfave/cli/v2"
)

// changeCommands are start, stop and restart.
func changeCommands() []*cli.Command {
	change := func(verb, usage, example string, flags []cli.Flag) *cli.Command {
		return &cli.Command{Name: verb, Usage: usage, ArgsUsage: "SERVICE|all...", Category: categoryServices, UsageText: example,
			Description: `SERVICE is a name of the configuration, "stoker status" lists them; all means
every service. If one of the names is unknown nothing is done.`,
			Flags: flags, Action: func(c *cli.Context) error { return changeServices(c, verb) }}
	}
	return []*cli.Command{
		change("start", "start a service, even one that failed or was stopped, and what it requires", "stoker start tomcat --wait", waitFlags()),
		change("stop", "stop a service and those that require it; returns when every process is gone", "stoker stop all", nil),
		change("restart", "stop and start a service, and with it those that require it", "stoker restart tomcat worker --wait", waitFlags()),
	}
}

func changeServices(c *cli.Context, verb string) error {
	s, err := newStartWait(c)
	if err != nil {
		return err
	}
	before, err := services(c.Context, s.client)
	if err != nil {
		return err
	}
	names, err := selectServices(before, verb, c.Args().Slice())
	if err != nil {
		return err
	}
	latest := map[string]uint64{} // a repeated request does not start it twice
	for _, snap := range before {
		latest[snap.Name] = snap.Starts
	}
	starts := map[string]uint64{}
	for _, name := range names {
		snap, err := retry(c.Context, func() (supervisor.Snapshot, error) { return s.client.Command(c.Context, name, verb, latest[name]) })
		if err != nil {
			return fmt.Errorf("cannot %s %s: %w", verb, name, err)
		}
		switch starts[name] = snap.Start; {
		case s.wait:
		case snap.State == supervisor.Starting || snap.State == supervisor.Stopping:
			fmt.Fprintf(s.w, "%s is %s (requested; --wait waits until it is RUNNING or has failed)\n", name, snap.State)
		default:
			fmt.Fprintf(s.w, "%s is %s\n", name, snap.State)
		}
	}
	return s.await(c.Context, before, starts)
}

func signalCommand() *cli.Command {
	return &cli.Command{Name: "signal", Usage: "send a signal to the process of a service", ArgsUsage: "SERVICE SIGNAL",
		Category: categoryServices, UsageText: "stoker signal tomcat QUIT",
		Description: `SIGNAL is a name with or without SIG, or a number: HUP, SIGUSR1, 10. A service
that is ended by it was not stopped: it is restarted as its configuration says.
"stoker stop" stops it for good.`,
		Flags: []cli.Flag{tableOrJSON(),
			&cli.BoolFlag{Name: "group", Aliases: []string{"g"}, Usage: "send it to every process of the service"}},
		Action: sendSignal}
}

func sendSignal(c *cli.Context) error {
	service, group := c.Args().First(), c.Bool("group")
	sig, err := proc.ParseSignal(c.Args().Get(1))
	if err != nil {
		return exit.UsageError(placeholders["SIGNAL"].Hint, "%w", err)
	}
	if service == config.AllServices {
		return exit.UsageError(placeholders["SERVICE"].Hint, "cannot signal all: a signal goes to one service")
	}
	client, err := connect()
	if err != nil {
		return err
	}
	sent, err := client.Signal(c.Context, service, proc.SignalName(sig), group)
	if err != nil {
		return fmt.Errorf("cannot signal %s: %w", service, err)
	}
	to := fmt.Sprintf("pid %d", sent.Pid)
	if group {
		to += " and its whole service"
	}
	return show(c, sent, func(int) string { return fmt.Sprintf("%s was sent to %s (%s)\n", sent.Signal, sent.Service, to) })
}
