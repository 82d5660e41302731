package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/stoker-init/stoker/internal/cmdline"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/urfave/cli/v2"
)

// manCommand is hidden, as only packagers need it.
func manCommand(program func() *cmdline.Program) *cli.Command {
	return &cli.Command{Name: "man", Usage: "print the manual page, as roff", Hidden: true, UsageText: "stoker man | man -l -",
		Action: func(c *cli.Context) error {
			_, err := io.WriteString(c.App.Writer, program().ManPage(manSections()))
			return err
		}}
}

// manSections are those that are not made from the commands.
func manSections() string {
	var b strings.Builder
	b.WriteString(`.SH FILES
.TP
.I /etc/stoker/stoker.yaml
the configuration
.TP
.I /run/stoker/stoker.sock
the socket of the API
.SH ENVIRONMENT
.TP
.B STOKER_CONFIG
another configuration file
.TP
.B STOKER_SOCKET
the socket that commands ask
.TP
.B NO_COLOR
if it is set, status has no colours
.SH EXIT STATUS
`)
	for _, m := range exit.Meanings {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", m.Code, cmdline.Roff(m.Text))
	}
	return b.String()
}
