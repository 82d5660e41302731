package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

func reloadCommand() *cli.Command {
	return &cli.Command{Name: "reload", Usage: "read the configuration again and apply what has changed", Category: categoryExtensions,
		UsageText: "stoker reload --dry-run\nstoker reload --wait --timeout 2m",
		Description: `What did not change is not touched. Changed files are seen without this command,
unless reload.watch is false. A configuration with a problem changes nothing.`,
		Flags:  append(waitFlags(), tableOrJSON(), &cli.BoolFlag{Name: "dry-run", Usage: "only print what would be done"}),
		Action: reload}
}

func reload(c *cli.Context) error {
	s, err := newStartWait(c)
	if err != nil {
		return err
	}
	dryRun := c.Bool("dry-run")
	return s.around(c.Context, func() error {
		done, err := s.client.Reload(c.Context, dryRun)
		if err != nil {
			return fmt.Errorf("cannot reload: %w", err)
		}
		return show(c, done, func(int) string {
			if len(done.Changes) == 0 {
				return "nothing has changed\n"
			}
			before := map[bool]string{true: "would "}[dryRun]
			return strings.ReplaceAll(before+strings.Join(done.Changes, "\n"+before)+"\n", "would nothing", "would do nothing")
		})
	})
}
