package main

import (
	"context"
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/executor"
	jobs "github.com/stoker-init/stoker/executor/client"
	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/cmdline"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/events"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"
	"github.com/urfave/cli/v2"
)

// The scripts of the shells. They call completeCommand at each TAB.
//
//go:embed completion
var completionScripts embed.FS

func shells() []string { return []string{"bash", "fish", "zsh"} }

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
			if !slices.Contains(shells(), shell) {
				return exit.UsageError(suggest.Hint(shell, shells()), "cannot complete in the shell %q", shell)
			}
			script, err := completionScripts.ReadFile("completion/" + shell)
			if err == nil {
				_, err = c.App.Writer.Write(script)
			}
			return err
		}}
}

// completionTime bounds how long a user waits for names after a TAB.
const completionTime = 700 * time.Millisecond

// completeCommand prints the completions of the last word for the scripts of the shells.
func completeCommand(program func() *cmdline.Program) *cli.Command {
	return &cli.Command{Name: "__complete", Usage: "print the completions of the last word", ArgsUsage: "[ARGS...]", Hidden: true,
		Action: func(c *cli.Context) error {
			ctx, cancel := context.WithTimeout(c.Context, completionTime)
			defer cancel()
			for _, word := range program().Complete(ctx, c.Args().Slice()) {
				fmt.Fprintln(c.App.Writer, word)
			}
			return nil // a shell cannot show an error here
		}}
}

// placeholders are the words of the help whose values are completed.
var placeholders = map[string]cmdline.Placeholder{
	"SERVICE":     {Hint: "stoker status lists the services", Values: ask(serviceNames)},
	"SERVICE|all": {Hint: "stoker status lists the services", Values: ask(serviceNamesAndAll)},
	"PLUGIN":      {Hint: "stoker plugin list has the names", Values: ask(pluginNames)},
	"ACTION":      {Hint: "stoker plugin show PLUGIN has the actions", Values: ask(actionNames)},
	"EVENT":       {Hint: "stoker hook list has the events", Values: known(lifecycle.Names)},
	"HOOK":        {Hint: "stoker hook list has the names", Values: ask(hookNames)},
	"NUMBER":      {Hint: "stoker incidents has the numbers", Values: ask(incidentNumbers)},
	"SIGNAL":      {Hint: "a name with or without SIG, or a number: HUP, SIGUSR1, 10", Values: known(signalNames)},
	"JOB":         {Hint: "stoker job list has the IDs; key:KEY names one by its key", Values: ask(jobNames)},
	"ARTIFACT":    {Hint: "stoker job artifacts JOB lists them", Values: ask(artifactNames)},
	"SESSION":     {Hint: "stoker sessions list has the IDs", Values: ask(sessionIDs)},
	"RECORDING":   {Hint: "stoker sessions recordings has the IDs; a file ends with .cast, or has a / in its name", Values: ask(recordingIDs)},
	"STATE":       {Values: known(stateNames)},
	"KIND":        {Values: known(events.Kinds)},
	"SHELL":       {Hint: "it is bash, zsh or fish", Values: known(shells)},
	"FILE":        {Values: files},
	"DIR":         {Values: files},
	"PATH":        {Values: files},
	"CMD":         {Values: files},
	"ARGS":        {Values: files},
}

func files(context.Context, []string) []string { return []string{cmdline.FileNames} }

// known returns values that need no running stoker.
func known(values func() []string) func(context.Context, []string) []string {
	return func(context.Context, []string) []string { return values() }
}

// ask returns values that the running stoker has, each with a tab and a description; there
// are none without it. args are the arguments before the value.
func ask(names func(ctx context.Context, c *api.Client, args []string) []string) func(context.Context, []string) []string {
	return func(ctx context.Context, args []string) (out []string) {
		c, err := connect(nil)
		if err != nil {
			return nil
		}
		for _, line := range names(ctx, c, args) {
			name, about, _ := strings.Cut(line, "\t")
			out = append(out, oneLine(name)+"\t"+oneLine(about))
		}
		return out
	}
}

func signalNames() (out []string) {
	for sig := syscall.SIGHUP; sig <= syscall.SIGSYS; sig++ {
		out = append(out, proc.SignalName(sig))
	}
	return out
}

func serviceNames(ctx context.Context, c *api.Client, _ []string) []string {
	st, _ := c.Status(ctx)
	return each(st.Services, func(s supervisor.Snapshot) string { return s.Name + "\t" + string(s.State) })
}

func serviceNamesAndAll(ctx context.Context, c *api.Client, args []string) []string {
	out := serviceNames(ctx, c, args)
	if len(out) > 1 {
		out = append(out, config.AllServices+"\tevery service")
	}
	return out
}

func pluginNames(ctx context.Context, c *api.Client, _ []string) []string {
	list, _ := c.Plugins(ctx)
	return each(list.Plugins, func(p plugin.Info) string { return p.Name + "\t" + string(p.State) })
}

func actionNames(ctx context.Context, c *api.Client, args []string) []string {
	p, _ := c.Plugin(ctx, args[0])
	return each(slices.Sorted(maps.Keys(p.Actions)), func(name string) string { return name + "\t" + p.Actions[name].Description })
}

func hookNames(ctx context.Context, c *api.Client, args []string) []string {
	list, _ := c.Hooks(ctx)
	ofEvent := slices.DeleteFunc(list.Hooks, func(h hooks.Status) bool { return string(h.Event) != args[0] })
	return each(ofEvent, func(h hooks.Status) string { return h.Name + "\t" + h.Plugin })
}

func incidentNumbers(ctx context.Context, c *api.Client, _ []string) []string {
	list, _ := c.Incidents(ctx)
	return each(list.Incidents, func(n incident.Summary) string { return fmt.Sprintf("%d\t%s: %s", n.Number, n.Service, n.Cause) })
}

func jobNames(ctx context.Context, c *api.Client, _ []string) []string {
	const newest = 50
	list, _ := jobs.New(c, "http://stoker").Jobs(ctx, executor.Filter{Limit: newest})
	return each(list, func(j executor.Job) string {
		return j.ID.String() + "\t" + string(j.State) + ": " + commandLine(j.Spec.Command, maxCommand)
	})
}

func each[T any](list []T, text func(T) string) (out []string) {
	for _, v := range list {
		out = append(out, text(v))
	}
	return out
}
