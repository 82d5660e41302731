package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/events"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/urfave/cli/v2"
)

// The scripts of the shells. They call completeCommand at each TAB.
var (
	//go:embed completion/bash.sh
	bashCompletion string
	//go:embed completion/zsh.sh
	zshCompletion string
	//go:embed completion/fish.fish
	fishCompletion string
)

// completionCommand is `stoker completion`.
func completionCommand() *cli.Command {
	return &cli.Command{Name: "completion", Usage: "print a script that completes commands in a shell", ArgsUsage: "SHELL",
		Category: categoryStoker, UsageText: "source <(stoker completion bash)",
		Description: `SHELL is bash, zsh or fish. In the shell's startup file:
  bash:  source <(stoker completion bash)
  zsh:   source <(stoker completion zsh)
  fish:  stoker completion fish | source
Names of services, plugins and incidents are those of the stoker that runs here.`,
		Action: func(c *cli.Context) error {
			shell := c.Args().First()
			script, ok := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[shell]
			if !ok {
				return usageError(suggest.Hint(shell, shells), "cannot complete in the shell %q", shell)
			}
			_, err := io.WriteString(c.App.Writer, script)
			return err
		}}
}

var shells = []string{"bash", "fish", "zsh"}

// completionTime bounds how long a user waits for names after a TAB.
const completionTime = 700 * time.Millisecond

// completeCommand prints the completions of the last word for the scripts of the shells.
func completeCommand() *cli.Command {
	return &cli.Command{Name: "__complete", Usage: "print the completions of the last word", ArgsUsage: "[ARGS...]", Hidden: true,
		Action: func(c *cli.Context) error {
			ctx, cancel := context.WithTimeout(c.Context, completionTime)
			defer cancel()
			for _, word := range complete(ctx, c.App, c.Args().Slice()) {
				fmt.Fprintln(c.App.Writer, word)
			}
			return nil // a shell cannot show an error here
		}}
}

// complete returns the completions of the last word, each with a tab and its meaning.
func complete(ctx context.Context, app *cli.App, words []string) []string {
	if len(words) == 0 {
		return nil
	}
	i := readArguments(app, words[:len(words)-1])
	cmd, last := i.command(), words[len(words)-1]
	name, value, valued := strings.Cut(last, "=")
	switch {
	case i.pending != nil:
		return withPrefix(last, "", i.flagValues(ctx, i.pending))
	case !i.argsOnly && strings.HasPrefix(last, "--") && valued:
		f := flagOf(cmd, strings.TrimLeft(name, "-"))
		if f == nil {
			return nil
		}
		return withPrefix(value, name+"=", i.flagValues(ctx, f))
	case !i.argsOnly && strings.HasPrefix(last, "-"):
		return withPrefix(last, "", longFlags(cmd))
	}
	var found []string
	if len(i.rest) == 0 && !i.argsOnly {
		for _, c := range cmd.VisibleCommands() {
			found = append(found, c.Name+"\t"+c.Usage)
		}
	}
	if places := placesOf(cmd); len(places) > 0 {
		place := places[min(len(i.rest), len(places)-1)]
		if len(i.rest) < len(places) || strings.Contains(place, "...") {
			found = append(found, i.values(ctx, placeholderName(place))...)
		}
	}
	return withPrefix(last, "", found)
}

// flagValues returns the values of a flag.
func (i *invocation) flagValues(ctx context.Context, f cli.DocGenerationFlag) []string {
	if o, ok := f.(*outputFlag); ok {
		return o.formats
	}
	return i.values(ctx, placeholderOf(f))
}

// values returns the values of a placeholder of the help.
func (i *invocation) values(ctx context.Context, name string) []string {
	if p, ok := placeholders[name]; ok {
		return p.values(ctx, i)
	}
	return nil
}

// longFlags returns the long names of the flags of a command.
func longFlags(cmd *cli.Command) (out []string) {
	for _, f := range visibleFlags(cmd) {
		_, usage := describeFlag(f)
		for _, n := range f.Names() {
			if len(n) > 1 {
				out = append(out, "--"+n+"\t"+usage)
			}
		}
	}
	return out
}

// withPrefix filters words by their beginning, and puts prefix before each.
func withPrefix(begin, prefix string, words []string) (out []string) {
	for _, word := range words {
		name, about, described := strings.Cut(word, "\t")
		switch {
		case word == fileNames:
			out = append(out, word)
		case !strings.HasPrefix(name, begin):
		case described:
			out = append(out, prefix+oneLine(name)+"\t"+oneLine(about))
		default:
			out = append(out, prefix+oneLine(name))
		}
	}
	return out
}

// fileNames has the shell complete the names of files.
const fileNames = ":files"

// placeholder is a word of the help that stands for a value.
type placeholder struct {
	hint   string // where a user finds the values; empty: in the help of the command
	values func(ctx context.Context, i *invocation) []string
}

// placeholders are those whose values are completed.
var placeholders = map[string]placeholder{
	"SERVICE":     {"stoker status lists the services", serviceNames},
	"SERVICE|all": {"stoker status lists the services", serviceNamesAndAll},
	"PLUGIN":      {"stoker plugin list has the names", pluginNames},
	"ACTION":      {"stoker plugin show PLUGIN has the actions", actionNames},
	"EVENT":       {"stoker hook list has the events", eventNames},
	"HOOK":        {"stoker hook list has the names", hookNames},
	"NUMBER":      {"stoker incidents has the numbers", incidentNumbers},
	"SIGNAL":      {"a name with or without SIG, or a number: HUP, SIGUSR1, 10", signalNames},
	"KIND":        {"", func(context.Context, *invocation) []string { return events.Kinds() }},
	"SHELL":       {"it is bash, zsh or fish", func(context.Context, *invocation) []string { return shells }},
	"FILE":        {"", files}, "DIR": {"", files}, "PATH": {"", files}, "CMD": {"", files}, "ARGS": {"", files},
}

func files(context.Context, *invocation) []string { return []string{fileNames} }

func eventNames(context.Context, *invocation) []string { return lifecycle.Names() }

func signalNames(context.Context, *invocation) (out []string) {
	for sig := syscall.SIGHUP; sig <= syscall.SIGSYS; sig++ {
		out = append(out, proc.SignalName(sig))
	}
	return out
}

// What follows asks the running stoker. Without an answer there are no names.

func serviceNames(ctx context.Context, _ *invocation) (out []string) {
	if c, err := connect(); err == nil {
		st, _ := c.Status(ctx)
		for _, s := range st.Services {
			out = append(out, s.Name+"\t"+string(s.State))
		}
	}
	return out
}

func serviceNamesAndAll(ctx context.Context, i *invocation) []string {
	out := serviceNames(ctx, i)
	if len(out) > 1 {
		out = append(out, config.AllServices+"\tevery service")
	}
	return out
}

func pluginNames(ctx context.Context, _ *invocation) (out []string) {
	if c, err := connect(); err == nil {
		list, _ := c.Plugins(ctx)
		for _, p := range list.Plugins {
			out = append(out, p.Name+"\t"+string(p.State))
		}
	}
	return out
}

func actionNames(ctx context.Context, i *invocation) (out []string) {
	if c, err := connect(); err == nil {
		p, _ := c.Plugin(ctx, i.rest[0])
		for _, name := range slices.Sorted(maps.Keys(p.Actions)) {
			out = append(out, name+"\t"+p.Actions[name].Description)
		}
	}
	return out
}

func hookNames(ctx context.Context, i *invocation) (out []string) {
	if c, err := connect(); err == nil {
		list, _ := c.Hooks(ctx)
		for _, h := range list.Hooks {
			if string(h.Event) == i.rest[0] {
				out = append(out, h.Name)
			}
		}
	}
	return out
}

func incidentNumbers(ctx context.Context, _ *invocation) (out []string) {
	if c, err := connect(); err == nil {
		list, _ := c.Incidents(ctx)
		for _, n := range list.Incidents {
			out = append(out, strconv.FormatUint(n.Number, 10)+"\t"+n.Service+": "+string(n.Cause))
		}
	}
	return out
}
