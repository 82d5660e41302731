package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/stoker-init/stoker/internal/exit"
	"github.com/urfave/cli/v2"
)

// manCommand is hidden, as only packagers need it.
func manCommand() *cli.Command {
	return &cli.Command{Name: "man", Usage: "print the manual page, as roff", Hidden: true, UsageText: "stoker man | man -l -",
		Action: func(c *cli.Context) error {
			_, err := io.WriteString(c.App.Writer, manPage(c.App))
			return err
		}}
}

// manPage is stoker(1), made from the commands as the help is.
func manPage(app *cli.App) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH STOKER 1 \"\" \"stoker %s\" \"User Commands\"\n", roff(version))
	fmt.Fprintf(&b, ".SH NAME\nstoker \\- %s\n", roff(app.Usage))
	b.WriteString(".SH SYNOPSIS\n.B stoker\n.I COMMAND\n[\\fIFLAGS\\fR] [\\fIARGUMENTS\\fR]\n")
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", roff(app.Description))
	b.WriteString(".PP\nFlags stand before or behind arguments; what follows \\fB\\-\\-\\fR are arguments.\n")
	b.WriteString(".SH COMMANDS\n")
	category := ""
	for _, c := range rootCommand(app).VisibleCommands() {
		if c.Category != category {
			category = c.Category
			fmt.Fprintf(&b, ".SS %s\n", roff(category))
		}
		manOf(&b, c, "stoker "+c.Name)
	}
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
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", m.Code, roff(m.Text))
	}
	fmt.Fprintf(&b, ".SH EXAMPLES\n.EX\n%s\n.EE\n", roff(app.UsageText))
	return b.String()
}

// manOf writes a command and its subcommands.
func manOf(b *strings.Builder, c *cli.Command, name string) {
	if c.Action != nil {
		fmt.Fprintf(b, ".PP\n\\fB%s\\fR%s\n.RS 4\n%s\n", roff(name), roff(strings.TrimPrefix(usageOf(c, name), name)), roff(sentence(c.Usage)))
		if c.Description != "" {
			fmt.Fprintf(b, ".PP\n%s\n", roff(c.Description))
		}
		for _, f := range visibleFlags(c) {
			if names, usage := describeFlag(f); f.Names()[0] != helpWord {
				fmt.Fprintf(b, ".TP\n\\fB%s\\fR\n%s\n", roff(strings.TrimSpace(names)), roff(usage))
			}
		}
		fmt.Fprintf(b, ".PP\nExample:\n.PP\n.EX\n%s\n.EE\n.RE\n", roff(c.UsageText))
	}
	for _, sub := range c.VisibleCommands() {
		manOf(b, sub, name+" "+sub.Name)
	}
}

// roff escapes what roff would read as a request.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "~", `\(ti`, "^", `\(ha`, "`", `\(ga`).Replace(text)
	lines := strings.Split(text, "\n")
	for k, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[k] = `\&` + line
		}
		if k > 0 && strings.HasPrefix(lines[k-1], " ") && !strings.HasPrefix(line, " ") {
			lines[k] = ".br\n" + lines[k] // indented lines stay lines
		}
	}
	return strings.Join(lines, "\n")
}
