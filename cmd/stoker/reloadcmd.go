package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/stoker-init/stoker/internal/api"
)

// reload is the command.
func reload(ctx context.Context, w io.Writer, dryRun bool, format string, f waitFlags) error {
	c, err := connect()
	if err != nil {
		return err
	}
	return waitAround(ctx, c, waitLines(w, format), f, func() error { return reloadOnce(ctx, c, w, dryRun, format, f) })
}

// reloadOnce has the configuration read again, and says what has changed.
func reloadOnce(ctx context.Context, c *api.Client, w io.Writer, dryRun bool, format string, f waitFlags) error {
	done, err := persistIf(ctx, f.wait, func() (api.Reloaded, error) { return c.Reload(ctx, dryRun) })
	if err != nil {
		return fmt.Errorf("cannot reload: %w", err)
	}
	if format == "json" {
		return printJSON(w, done)
	}
	lines := slices.Clone(done.Changes)
	if len(lines) == 0 {
		lines = []string{"nothing has changed"}
	}
	for _, line := range lines {
		if dryRun && len(done.Changes) > 0 {
			line = "would " + line
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
