package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layout"
	"github.com/urfave/cli/v2"
)

// theme is a category of commands.
type theme struct{ name, commands string }

// themes are the categories in their order.
func themes() []theme {
	return []theme{
		{"Services", "run status health start stop restart signal logs"},
		{"What happened and why", "events incidents limits"},
		{"Java", "jvm"},
		{"Configuration and extensions", "config reload hook plugin"},
		{"stoker itself", "upgrade version completion"},
		{"Others", ""},
	}
}

// themeOf is the number of a command's theme; the last: it has none.
func themeOf(command string) int {
	return slices.IndexFunc(themes(), func(t theme) bool { return t.commands == "" || slices.Contains(strings.Fields(t.commands), command) })
}

// examples are one command line or more of each command, by its name.
func examples() map[string]string {
	return map[string]string{
		"":                "stoker status\nstoker logs tomcat -n 50 -f\nstoker jvm explain",
		"run":             "stoker run -- java -jar /app/app.jar",
		"status":          "stoker status tomcat -o json",
		"health":          "stoker health\nstoker health tomcat",
		"start":           "stoker start tomcat --wait",
		"stop":            "stoker stop all",
		"restart":         "stoker restart tomcat worker --wait",
		"signal":          "stoker signal tomcat QUIT",
		"logs":            "stoker logs tomcat -n 50 -f\nstoker logs all --since 10m -t",
		"events":          "stoker events -f --service tomcat --kind exited",
		"incidents":       "stoker incidents\nstoker incidents 1",
		"incidents show":  "stoker incidents show 1",
		"limits":          "stoker limits -o json",
		"reload":          "stoker reload --dry-run\nstoker reload --wait --timeout 2m",
		"hook":            "stoker hook list",
		"hook list":       "stoker hook list -o json",
		"hook run":        "stoker hook run ready --service tomcat",
		"jvm":             "stoker jvm explain tomcat\nstoker jvm threads",
		"jvm threads":     "stoker jvm threads tomcat",
		"jvm histo":       "stoker jvm histo tomcat",
		"jvm heapdump":    "stoker jvm heapdump tomcat /tmp/heap.hprof.gz --gz",
		"jvm flags":       "stoker jvm flags tomcat --all",
		"jvm nmt":         "stoker jvm nmt",
		"jvm render":      "stoker jvm render --memory 2GiB --java-version 17",
		"jvm check":       "stoker jvm check --java-version 21 jvm.options",
		"jvm explain":     "stoker jvm explain tomcat",
		"jacoco":          "stoker jacoco dump -o jacoco.exec",
		"jacoco dump":     "stoker jacoco dump --reset -o jacoco.exec",
		"jacoco reset":    "stoker jacoco reset --address 127.0.0.1:6301",
		"config":          "stoker config check",
		"config check":    "stoker config check -c stoker.yaml",
		"config show":     "stoker config show --origin",
		"plugin":          "stoker plugin list",
		"plugin list":     "stoker plugin list",
		"plugin show":     "stoker plugin show jacoco",
		"plugin enable":   "stoker plugin enable jacoco --wait --set port=6301",
		"plugin disable":  "stoker plugin disable jacoco --no-restart",
		"plugin run":      "stoker plugin run jacoco dump",
		"plugin validate": "stoker plugin validate ./my-plugin",
		"plugin init":     "stoker plugin init my-plugin --dir plugins",
		"upgrade":         "stoker upgrade /tmp/stoker --check",
		"version":         "stoker version -o json",
		"completion":      "source <(stoker completion bash)",
		"man":             "stoker man | man -l -",
	}
}

// printHelp explains a command: its usage, commands or flags, and an example.
func printHelp(w io.Writer, app *cli.App, inv *invocation) error {
	width := widthOf(w)
	if width == 0 || width > defaultWidth {
		width = defaultWidth // longer lines are hard to read
	}
	_, err := io.WriteString(w, helpText(inv.command(app), inv.name(), width))
	return err
}

// helpText is the help of a command.
func helpText(cmd *cli.Command, name string, width int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s\n\n%s\n", usageOf(cmd, name), layout.Wrap(sentence(cmd.Usage), width, ""))
	if cmd.Description != "" {
		b.WriteString("\n" + layout.Wrap(cmd.Description, width, "") + "\n")
	}
	title, commands := "", layout.Table{}
	flush := func() {
		if len(commands) > 0 {
			b.WriteString("\n" + title + ":\n" + layout.Rows(commands, width))
		}
		commands = nil
	}
	for _, c := range cmd.Subcommands {
		if c.Hidden {
			continue
		}
		name := c.Category
		if name == "" {
			name = "Commands"
		}
		if name != title {
			flush()
		}
		title = name
		commands.Add("  "+c.Name, c.Usage)
	}
	flush()
	var rows layout.Table
	for _, f := range visibleFlags(cmd) {
		names, usage := describeFlag(f)
		rows.Add("  "+names, usage)
	}
	if len(rows) > 0 {
		b.WriteString("\nFlags:\n" + layout.Rows(rows, width))
	}
	if cmd.UsageText != "" {
		b.WriteString("\nExample:\n  " + strings.ReplaceAll(cmd.UsageText, "\n", "\n  ") + "\n")
	}
	if len(cmd.Subcommands) > 0 {
		b.WriteString("\n" + layout.Wrap("\""+name+" COMMAND --help\" explains a command.", width, "") + "\n")
	}
	return b.String()
}

// usageOf is a command line with the places of flags and arguments.
func usageOf(cmd *cli.Command, name string) string {
	words := []string{name}
	switch {
	case len(cmd.Subcommands) > 0 && cmd.Action != nil:
		words = append(words, "[COMMAND]")
	case len(cmd.Subcommands) > 0:
		words = append(words, "COMMAND")
	}
	if len(visibleFlags(cmd)) > 1 { // more than --help
		words = append(words, "[FLAGS]")
	}
	if cmd.ArgsUsage != "" {
		words = append(words, cmd.ArgsUsage)
	}
	return strings.Join(words, " ")
}

// sentence is a command's usage with a capital and a full stop.
func sentence(usage string) string {
	if usage == "" {
		return ""
	}
	return strings.ToUpper(usage[:1]) + usage[1:] + "."
}

// visibleFlags are those that the help shows.
func visibleFlags(cmd *cli.Command) (out []cli.DocGenerationFlag) {
	for _, f := range cmd.Flags {
		if v, ok := f.(cli.VisibleFlag); ok && !v.IsVisible() {
			continue
		}
		out = append(out, f.(cli.DocGenerationFlag)) // as every flag of the library is
	}
	return out
}

// describeFlag gives a flag's names with the name of its value, and what it does
// with its default. The value's name stands in back quotes within the usage.
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
	usage = f.GetUsage()
	if f.TakesValue() {
		value := "VALUE"
		if parts := strings.SplitN(usage, "`", 3); len(parts) == 3 {
			value, usage = parts[1], strings.Join(parts, "")
		}
		names += " " + value
		if d := f.GetDefaultText(); d != "" && d != `""` && d != "[]" {
			usage += " (default: " + strings.Trim(d, `"`) + ")"
		}
	}
	return names, usage
}
