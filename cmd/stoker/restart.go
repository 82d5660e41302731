package main

import "github.com/urfave/cli/v2"

// restartCommand is `stoker restart`.
func restartCommand() *cli.Command {
	return &cli.Command{Name: "restart", Usage: "stop and start a service, and with it those that require it",
		ArgsUsage: "SERVICE|all...", Category: categoryServices, Description: servicesHelp, UsageText: "stoker restart tomcat worker --wait",
		Flags: waitFlags(), Action: func(c *cli.Context) error { return changeServices(c, "restart") }}
}
