package cmdline

import (
	"fmt"
	"io"
	"strings"

	"github.com/stoker-init/stoker/internal/display"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/urfave/cli/v2"
)

// helpWidth is the width of the help where no terminal is narrower: longer lines are
// hard to read.
const helpWidth = 80

// printHelp explains the command of an invocation.
func (p *Program) printHelp(i *Invocation) error {
	width := display.Width(p.App.Writer)
	if width == 0 || width > helpWidth {
		width = helpWidth
	}
	_, err := io.WriteString(p.App.Writer, HelpText(i.command(), i.Name(), width))
	return err
}

// HelpText explains a command: its usage, commands, flags and an example.
func HelpText(cmd *cli.Command, name string, width int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s\n\n%s\n", usageOf(cmd, name), layout.Wrap(sentence(cmd.Usage), width, ""))
	if cmd.Description != "" {
		b.WriteString("\n" + layout.Wrap(cmd.Description, width, "") + "\n")
	}
	for group := cmd.VisibleCommands(); len(group) > 0; {
		category, rows := group[0].Category, layout.Table{}
		for ; len(group) > 0 && group[0].Category == category; group = group[1:] {
			rows.Add("  "+group[0].Name, group[0].Usage)
		}
		if category == "" {
			category = "Commands"
		}
		b.WriteString("\n" + category + ":\n" + layout.Rows(rows, width))
	}
	var flags layout.Table
	for _, f := range visibleFlags(cmd) {
		names, usage := describeFlag(f)
		flags.Add("  "+names, usage)
	}
	if len(flags) > 0 {
		b.WriteString("\nFlags:\n" + layout.Rows(flags, width))
	}
	if cmd.UsageText != "" {
		b.WriteString("\nExample:\n  " + strings.ReplaceAll(cmd.UsageText, "\n", "\n  ") + "\n")
	}
	if len(cmd.Subcommands) > 0 {
		b.WriteString("\n" + layout.Wrap("\""+name+" COMMAND --help\" explains a command.", width, "") + "\n")
	}
	return b.String()
}

// usageOf returns a command line with the places of flags and arguments.
func usageOf(cmd *cli.Command, name string) string {
	switch {
	case len(cmd.Subcommands) > 0 && cmd.Action != nil:
		name += " [COMMAND]"
	case len(cmd.Subcommands) > 0:
		name += " COMMAND"
	}
	if len(visibleFlags(cmd)) > 1 { // more than --help
		name += " [FLAGS]"
	}
	return strings.TrimSpace(name + " " + cmd.ArgsUsage)
}

// sentence adds a capital and a full stop to the usage of a command.
func sentence(usage string) string {
	if usage == "" {
		return ""
	}
	return strings.ToUpper(usage[:1]) + usage[1:] + "."
}

// visibleFlags returns the flags that the help shows.
func visibleFlags(cmd *cli.Command) (out []cli.DocGenerationFlag) {
	for _, f := range cmd.VisibleFlags() {
		out = append(out, f.(cli.DocGenerationFlag)) // as every flag of the library is
	}
	return out
}

// describeFlag returns the names of a flag with the placeholder of its value, and its
// usage with the default. The placeholder stands in back quotes within the usage.
func describeFlag(f cli.DocGenerationFlag) (names, usage string) {
	var short, long []string
	for _, n := range f.Names() {
		if len(n) == 1 {
			short = append(short, "-"+n)
		} else {
			long = append(long, "--"+n)
		}
	}
	names = strings.Join(append(short, long...), ", ")
	if len(short) == 0 {
		names = "    " + names
	}
	usage = strings.ReplaceAll(f.GetUsage(), "`", "")
	if f.TakesValue() {
		names += " " + placeholderOf(f)
		if d := f.GetDefaultText(); d != "" && d != `""` && d != "[]" {
			usage += " (default: " + strings.Trim(d, `"`) + ")"
		}
	}
	return names, usage
}

// placeholderOf returns the name of the value of a flag.
func placeholderOf(f cli.DocGenerationFlag) string {
	if parts := strings.SplitN(f.GetUsage(), "`", 3); len(parts) == 3 {
		return parts[1]
	}
	return "VALUE"
}
