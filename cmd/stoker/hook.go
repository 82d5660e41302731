package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/urfave/cli/v2"
)

func hookCommand() *cli.Command {
	return &cli.Command{Name: "hook", Usage: "show the hooks, run them by hand", Category: categoryExtensions, UsageText: "stoker hook list",
		Subcommands: []*cli.Command{
			{Name: "list", Usage: "each hook with its event, its source and its last result", UsageText: "stoker hook list -o json",
				Flags: []cli.Flag{tableOrJSON()}, Action: answer("list the hooks", (*api.Client).Hooks, hooksText)},
			{Name: "run", Usage: "run the hooks of an event, or one of them, and print the results", ArgsUsage: "EVENT [HOOK]",
				UsageText: "stoker hook run ready --service tomcat",
				Flags: []cli.Flag{tableOrJSON(),
					&cli.StringFlag{Name: "service", Aliases: []string{"s"}, Usage: "as if it happened to `SERVICE` (default: the only one)"}},
				Action: withClient(runHooks)},
		}}
}

// hooksText is a table, and below it the reasons of failed hooks.
func hooksText(list api.HookList, width int) string {
	if len(list.Hooks) == 0 {
		return "There are no hooks.\n"
	}
	var failed strings.Builder
	t := layout.Table{{"EVENT", "ORDER", "NAME", "LAST", "TOOK", "SOURCE"}}
	for _, s := range list.Hooks {
		name, last, took := optional("", s.Plugin, "/")+s.Name, "-", "-"
		switch {
		case s.Unmet != "":
			last = "inactive: " + s.Unmet
		case len(s.Running) > 0:
			last = "runs now"
		case s.Last != nil:
			last = outcomeWord(s.Last.Outcome) + ", " + layout.Duration(time.Since(s.Last.At)) + " ago"
			took = s.Last.Took.Round(time.Millisecond).String()
			if !s.Last.OK {
				fmt.Fprintf(&failed, "%s/%s: %s\n", s.Event, name, s.Last.Why)
			}
		}
		t.Add(string(s.Event), strconv.Itoa(s.Order), oneLine(name), oneLine(last), took, oneLine(s.Source))
	}
	text := layout.Rows(t, width)
	if failed.Len() > 0 {
		text += "\n" + layout.Wrap(failed.String(), width, "  ")
	}
	return text
}

func outcomeWord(o hooks.Outcome) string {
	switch {
	case o.OK:
		return "ok"
	case o.Tries == 0:
		return "not run"
	case o.TimedOut:
		return "timed out"
	}
	return "failed"
}

// runHooks runs hooks by hand, and fails if one of them does.
func runHooks(c *cli.Context, client *api.Client) error {
	event := c.Args().First()
	run, err := client.RunHooks(c.Context, event, c.Args().Get(1), c.String("service"))
	if err != nil {
		return fmt.Errorf("cannot run hooks of %s: %w", event, err)
	}
	if err := show(c, run, func(int) string { return hookRunText(run) }); err != nil {
		return err
	}
	failed := 0
	for _, o := range run.Outcomes {
		if !o.OK {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d hooks failed", failed, len(run.Outcomes))
	}
	return nil
}

func hookRunText(run api.HookRun) string {
	var b strings.Builder
	for _, o := range run.Outcomes {
		tries := ""
		if o.Tries > 1 {
			tries = fmt.Sprintf(" (%d tries)", o.Tries)
		}
		fmt.Fprintf(&b, "%s/%s%s: %s%s%s, took %v\n", run.Event, optional("", o.Plugin, "/"), o.Hook, outcomeWord(o),
			optional(", ", o.Why, ""), tries, o.Took.Round(time.Millisecond))
		for text := range strings.SplitSeq(o.Output, "\n") {
			if text != "" {
				b.WriteString("  " + text + "\n")
			}
		}
		if g := o.Given; len(g.Env)+len(g.Options)+len(g.Annotations) > 0 {
			fmt.Fprintf(&b, "  it gives %d variables, %d JVM options, %d annotations; run by hand they count for nothing\n",
				len(g.Env), len(g.Options), len(g.Annotations))
		}
	}
	return b.String()
}
