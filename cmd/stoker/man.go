package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// manCommand prints the manual page; it is hidden, as only packagers need it.
func manCommand(app *cli.App) *cli.Command {
	return &cli.Command{Name: "man", Usage: "print the manual page, as roff", Hidden: true, Action: func(c *cli.Context) error {
		return atMost(c, 0, func([]string) error {
			_, err := io.WriteString(app.Writer, manPage(app))
			return err
		})
	}}
}

// manPage is stoker(1), made of what the help is made of.
func manPage(app *cli.App) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH STOKER 1 \"\" \"stoker %s\" \"User Commands\"\n", roff(version))
	fmt.Fprintf(&b, ".SH NAME\nstoker \\- %s\n", roff(app.Usage))
	b.WriteString(".SH SYNOPSIS\n.B stoker\n.I COMMAND\n[\\fIFLAGS\\fR] [\\fIARGUMENTS\\fR]\n")
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", roff(app.Description))
	b.WriteString(".PP\nFlags stand before or behind arguments; what follows \\fB\\-\\-\\fR are arguments.\n")
	b.WriteString(".SH COMMANDS\n")
	title := ""
	for _, c := range app.Commands {
		if c.Hidden {
			continue
		}
		if c.Category != title {
			title = c.Category
			fmt.Fprintf(&b, ".SS %s\n", roff(title))
		}
		manOf(&b, c, "stoker "+c.Name)
	}
	b.WriteString(".SH FILES\n.TP\n.I /etc/stoker/stoker.yaml\nthe configuration\n.TP\n.I /run/stoker/stoker.sock\nthe socket of the API\n")
	b.WriteString(".SH ENVIRONMENT\n.TP\n.B STOKER_CONFIG\nanother configuration file\n.TP\n.B STOKER_SOCKET\nthe socket that commands ask\n" +
		".TP\n.B NO_COLOR\nif it is set, status has no colours\n")
	b.WriteString(".SH EXIT STATUS\n")
	for _, code := range exitCodes() {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", code.code, roff(code.when))
	}
	fmt.Fprintf(&b, ".SH EXAMPLES\n.EX\n%s\n.EE\n", roff(app.UsageText))
	return b.String()
}

// manOf is a command and those below it.
func manOf(b *strings.Builder, c *cli.Command, name string) {
	if len(c.Subcommands) == 0 || c.Action != nil {
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
	for _, sub := range c.Subcommands {
		if !sub.Hidden {
			manOf(b, sub, name+" "+sub.Name)
		}
	}
}

// exitMeaning is an exit code of stoker itself; docs/reference/exit-codes.md has more.
type exitMeaning struct {
	code int
	when string
}

func exitCodes() []exitMeaning {
	return []exitMeaning{{0, "it worked"}, {codeFailed, "it failed, and no other code fits"},
		{codeUsage, "the command line is wrong, or there is nothing to run"},
		{codeRefused, "not permitted"}, {codeNoThing, "there is no such service or plugin, or nothing is known of it"},
		{codeNoSocket, "no stoker answers"}, {codeNoFile, "a file cannot be written there"}, {codeNotNow, "not now: it may work later"},
		{codeConfig, "the configuration, or a JVM option, is refused"}}
}

// roff protects a text from being read as requests.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "~", `\(ti`, "^", `\(ha`, "`", `\(ga`).Replace(text)
	lines := strings.Split(text, "\n")
	for k, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[k] = `\&` + line
		}
		if k > 0 && strings.HasPrefix(lines[k-1], " ") && !strings.HasPrefix(line, " ") {
			lines[k] = ".br\n" + lines[k] // what is indented has lines of its own
		}
	}
	return strings.Join(lines, "\n")
}
