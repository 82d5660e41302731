package main

import (
	"fmt"
	"net/url"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/terminal"
	"github.com/urfave/cli/v2"
)

// attachCommand is `stoker sessions attach`.
func attachCommand() *cli.Command {
	return &cli.Command{Name: "attach", Usage: "come back to a session, or look at it", ArgsUsage: "SESSION",
		UsageText: "stoker sessions attach 7kq2m5xw3d\nstoker sessions attach --view 7kq2m5xw3d",
		Description: `Shows the output that is kept, and goes on as "stoker exec -i" does. The command
in the session has one keyboard: if another client has it, --view only shows the
output, and --take takes it. Viewers leave by ^C or the detach keys.`,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "view", Usage: "only show the output"},
			&cli.BoolFlag{Name: "take", Usage: "take the keyboard from the client that has it"},
			detachKeysFlag(),
		}, remoteFlags(false)...),
		Action: withClient(attachToSession)}
}

func attachToSession(c *cli.Context, client *api.Client) error {
	mode := "hold"
	switch view, take := c.Bool("view"), c.Bool("take"); {
	case view && take:
		return exit.UsageError("a viewer has no keyboard", "cannot use --view and --take together")
	case view:
		mode = "view"
	case take:
		mode = "take"
	}
	keys, err := parseDetachKeys(c.String("detach-keys"))
	if err != nil {
		return err
	}
	id := c.Args().First()
	now, err := client.Session(c.Context, id)
	if err != nil {
		return fmt.Errorf("cannot attach to session %s: %w", id, err)
	}
	r := consoleRun{client: client, input: mode != "view", settings: terminal.Save(), keys: keys, written: now.StdoutBytes,
		path: api.SessionPath(id) + "/attach?" + url.Values{"mode": {mode}}.Encode()}
	return r.run(c.Context)
}
