package main

import "github.com/urfave/cli/v2"

// stopCommand is `stoker stop`.
func stopCommand() *cli.Command {
	return &cli.Command{Name: "stop", Usage: "stop a service and those that require it; returns when every process is gone",
		ArgsUsage: "SERVICE|all...", Category: categoryServices, Description: servicesHelp, UsageText: "stoker stop all",
		Action: func(c *cli.Context) error { return changeServices(c, "stop") }}
}
