package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/urfave/cli/v2"
)

// upgradeTime bounds an upgrade. The init gives a new binary 10 s to work, twice if it
// dies late, and then needs a moment for the previous one.
const upgradeTime = 45 * time.Second

func upgradeCommand() *cli.Command {
	return &cli.Command{Name: "upgrade", Usage: "swap the supervisor's binary under the running services", ArgsUsage: "[PATH]",
		Category: categoryStoker, UsageText: "stoker upgrade /tmp/stoker --check",
		Description: `PATH is a new stoker, by default the file that the running one was started from,
replaced by a new version. The services are not touched. The init is not
replaced; it returns to the previous binary if the new one does not work.`,
		Flags:  []cli.Flag{tableOrJSON(), &cli.BoolFlag{Name: "check", Usage: "only check whether the binary would work"}},
		Action: withClient(upgrade)}
}

// upgrade has the init start the supervisor from another binary, and waits until a
// supervisor answers again.
func upgrade(c *cli.Context, client *api.Client) error {
	path := c.Args().First()
	if path != "" {
		var err error
		if path, err = filepath.Abs(path); err != nil {
			return fmt.Errorf("cannot upgrade: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(c.Context, upgradeTime)
	defer cancel()
	before, err := client.Versions(ctx)
	if err != nil {
		return upgradeError(err)
	}
	if c.Bool("check") {
		v, err := client.Upgrade(ctx, path, true)
		if err != nil {
			return upgradeError(err)
		}
		return show(c, v, func(int) string { return versionsText(v) })
	}
	now, err := swap(ctx, client, before, path)
	if err != nil {
		return err
	}
	if now.Fallback != nil {
		return &exit.Error{Err: fmt.Errorf("cannot upgrade to %s: it %s; %s supervises again, and the services run on",
			now.Fallback.Version, now.Fallback.Reason, now.Supervisor.Version), Hint: "stoker's own log says more"}
	}
	return show(c, now, func(int) string {
		return fmt.Sprintf("stoker %s supervises now (it was %s); the services run on.\n"+
			"If it ends twice within its first minute, %s takes over again.\n",
			now.Supervisor.Version, before.Supervisor.Version, before.Supervisor.Version)
	})
}

// upgradeError adds what could not be done.
func upgradeError(err error) error {
	if refused := new(api.StatusError); errors.As(err, &refused) && !strings.HasPrefix(refused.Message, "cannot ") {
		return fmt.Errorf("cannot upgrade: %w", err)
	}
	return err
}

// swap requests the upgrade and waits for a supervisor that was started after it. If one
// of the old binary answers, the request was lost with its predecessor and is repeated.
func swap(ctx context.Context, client *api.Client, before api.Versions, path string) (api.Versions, error) {
	for request := true; ; {
		if request {
			if _, err := client.Upgrade(ctx, path, false); err != nil && !errors.Is(err, api.ErrNoSocket) {
				return api.Versions{}, upgradeError(err)
			}
		}
		now, err := client.Versions(ctx)
		if err == nil && now.Upgrades > before.Upgrades {
			return now, nil
		}
		if request = err == nil && now.Supervisor.Pid != before.Supervisor.Pid; request {
			before = now
		}
		select {
		case <-ctx.Done():
			return now, &exit.Error{Err: fmt.Errorf("cannot tell how the upgrade ended: no other supervisor answered within %v", upgradeTime),
				Hint: "the services run on; stoker's own log says more"}
		case <-time.After(retryPause):
		}
	}
}
