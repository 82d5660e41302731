package main

import (
	"fmt"

	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/urfave/cli/v2"
)

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
	client, err := connect(c)
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
