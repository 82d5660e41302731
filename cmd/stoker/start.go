package main

import "github.com/urfave/cli/v2"

// servicesHelp explains the arguments of start, stop and restart.
const servicesHelp = `SERVICE is a name of the configuration, "stoker status" lists them; all means
every service. If one of the names is unknown nothing is done.`

// startCommand is `stoker start`.
func startCommand() *cli.Command {
	return &cli.Command{Name: "start", Usage: "start a service, even one that failed or was stopped, and what it requires",
		ArgsUsage: "SERVICE|all...", Category: categoryServices, Description: servicesHelp, UsageText: "stoker start tomcat --wait",
		Flags: waitFlags(), Action: func(c *cli.Context) error { return changeServices(c, "start") }}
}
