package cmdline

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// ManPage returns the manual page of section 1; sections are those behind the commands.
func (p *Program) ManPage(sections string) string {
	var b strings.Builder
	app := p.App
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"%s %s\" \"User Commands\"\n", strings.ToUpper(app.Name), app.Name, Roff(app.Version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", app.Name, Roff(app.Usage))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n.I COMMAND\n[\\fIFLAGS\\fR] [\\fIARGUMENTS\\fR]\n", app.Name)
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", Roff(app.Description))
	b.WriteString(".PP\nFlags stand before or behind arguments; what follows \\fB\\-\\-\\fR are arguments.\n")
	b.WriteString(".SH COMMANDS\n")
	category := ""
	for _, c := range RootCommand(app).VisibleCommands() {
		if c.Category != category {
			category = c.Category
			fmt.Fprintf(&b, ".SS %s\n", Roff(category))
		}
		manOf(&b, c, app.Name+" "+c.Name)
	}
	b.WriteString(sections)
	fmt.Fprintf(&b, ".SH EXAMPLES\n.EX\n%s\n.EE\n", Roff(app.UsageText))
	return b.String()
}

// manOf writes a command and its subcommands.
func manOf(b *strings.Builder, c *cli.Command, name string) {
	if c.Action != nil {
		fmt.Fprintf(b, ".PP\n\\fB%s\\fR%s\n.RS 4\n%s\n", Roff(name), Roff(strings.TrimPrefix(usageOf(c, name), name)), Roff(sentence(c.Usage)))
		if c.Description != "" {
			fmt.Fprintf(b, ".PP\n%s\n", Roff(c.Description))
		}
		for _, f := range visibleFlags(c) {
			if names, usage := describeFlag(f); f.Names()[0] != helpWord {
				fmt.Fprintf(b, ".TP\n\\fB%s\\fR\n%s\n", Roff(strings.TrimSpace(names)), Roff(usage))
			}
		}
		fmt.Fprintf(b, ".PP\nExample:\n.PP\n.EX\n%s\n.EE\n.RE\n", Roff(c.UsageText))
	}
	for _, sub := range c.VisibleCommands() {
		manOf(b, sub, name+" "+sub.Name)
	}
}

// Roff escapes what roff would read as a request.
func Roff(text string) string {
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
