package main

import (
	"fmt"
	"strings"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/urfave/cli/v2"
)

func consoleCommand() *cli.Command {
	const grants = "what the token may do: `GRANTS` of view, job, exec, admin, with commas"
	return &cli.Command{Name: "console", Usage: "print a URL that opens the page in a browser", Category: categoryServices,
		UsageText: "stoker console\nstoker console token ops --grants view,exec",
		Description: `The URL works once, within a minute, with the grants of who asks for it. The
configuration needs api.listen.`,
		Flags: []cli.Flag{tableOrJSON()},
		Action: answer("make a ticket", (*api.Client).Ticket, func(t access.Ticket, _ int) string {
			return strings.Join(t.URLs, "\n") + "\n"
		}),
		Subcommands: []*cli.Command{
			{Name: "token", Usage: "make a token for a program or a person", ArgsUsage: "NAME",
				UsageText: "stoker console token ops --grants view,exec --file /etc/stoker/tokens",
				Description: `Prints the token, which is not shown again, and the line for the file that
api.tokens names. The line has the token's hash.`,
				Flags: []cli.Flag{&cli.StringFlag{Name: "grants", Usage: grants, Value: "view"},
					&cli.StringFlag{Name: "file", Usage: "add the line to `FILE`, which is created with mode 0600 if it is not there"}},
				Action: makeToken},
		}}
}

// makeToken prints a token and its line; with --file it adds the line there.
func makeToken(c *cli.Context) error {
	if c.NArg() != 1 {
		return exit.UsageError("stoker console token ops --grants view,exec", "cannot make a token: give it one name")
	}
	token, line, err := access.TokenLine(c.Args().First(), strings.Split(c.String("grants"), ","))
	if err != nil {
		return exit.UsageError("", "cannot make a token: %v", err)
	}
	file := c.String("file")
	if file != "" {
		if err := access.AppendLine(file, line); err != nil {
			return err
		}
	}
	t := layout.Table{}
	t.Add("token", token)
	if file == "" {
		t.Add("line for api.tokens", line)
	} else {
		t.Add("added to", file)
	}
	_, err = fmt.Fprint(c.App.Writer, layout.Rows(t, 0))
	return err
}
