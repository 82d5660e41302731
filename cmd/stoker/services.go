package main

import (
	"fmt"

	"github.com/stoker-init/stoker/supervisor"
	"github.com/urfave/cli/v2"
)

// changeCommands are start, stop and restart.
func changeCommands() []*cli.Command {
	change := func(verb, usage, example string, flags []cli.Flag) *cli.Command {
		return reachable(&cli.Command{Name: verb, Usage: usage, ArgsUsage: "SERVICE|all...", Category: categoryServices, UsageText: example,
			Description: `SERVICE is a name of the configuration, "stoker status" lists them; all means
every service. If one of the names is unknown nothing is done.`,
			Flags: flags, Action: func(c *cli.Context) error { return changeServices(c, verb) }})
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
