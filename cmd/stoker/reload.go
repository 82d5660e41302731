package main

import (
	"fmt"
	"strings"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/urfave/cli/v2"
)

// reloadCommand is `stoker reload`.
func reloadCommand() *cli.Command {
	return &cli.Command{Name: "reload", Usage: "read the configuration again and apply what has changed", Category: categoryExtensions,
		UsageText: "stoker reload --dry-run\nstoker reload --wait --timeout 2m",
		Description: `What did not change is not touched. Changed files are seen without this command,
unless reload.watch is false. A configuration with a problem changes nothing.`,
		Flags:  append(waitFlags(), tableOrJSON(), &cli.BoolFlag{Name: "dry-run", Usage: "only print what would be done"}),
		Action: reload}
}

// reload has the configuration read again, and prints what has changed.
func reload(c *cli.Context) error {
	s, err := newStartWait(c)
	if err != nil {
		return err
	}
	dryRun := c.Bool("dry-run")
	return s.around(c.Context, func() error {
		done, err := retry(c.Context, func() (api.ReloadResult, error) { return s.client.Reload(c.Context, dryRun) })
		if err != nil {
			return fmt.Errorf("cannot reload: %w", err)
		}
		return show(c, done, func(int) string {
			var b strings.Builder
			for _, change := range done.Changes {
				if dryRun {
					change = "would " + change
				}
				b.WriteString(change + "\n")
			}
			if len(done.Changes) == 0 {
				return "nothing has changed\n"
			}
			return b.String()
		})
	})
}
