package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/supervisor/incident"
	"github.com/urfave/cli/v2"
)

func incidentsCommand() *cli.Command {
	return &cli.Command{Name: "incidents", Usage: "show why services failed or died: the last ten failures, or one by its NUMBER",
		ArgsUsage: "[NUMBER]", Category: categoryHistory, UsageText: "stoker incidents\nstoker incidents 1",
		Flags: []cli.Flag{tableOrJSON()},
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return showIncident(c)
			}
			return answer("list the incidents", (*api.Client).Incidents, incidentsText)(c)
		},
		Subcommands: []*cli.Command{
			{Name: "show", Usage: "show everything that is known of one; the list has its NUMBER", ArgsUsage: "NUMBER",
				UsageText: "stoker incidents show 1", Flags: []cli.Flag{tableOrJSON()}, Action: showIncident},
		}}
}

func showIncident(c *cli.Context) error {
	text := c.Args().First()
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return exit.UsageError(placeholders["NUMBER"].Hint, "cannot show incident %q: that is no number", text)
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	i, err := client.Incident(c.Context, number)
	if err != nil {
		return fmt.Errorf("cannot show incident %d: %w", number, err)
	}
	return show(c, i, func(width int) string { return incidentText(i, time.Now(), width) })
}

func incidentsText(list api.IncidentList, width int) string {
	if len(list.Incidents) == 0 {
		return "No service has failed or died.\n"
	}
	t := layout.Table{{"NUMBER", "TIME", "SERVICE", "CAUSE", "REASON"}}
	for _, i := range list.Incidents {
		t.Add(strconv.FormatUint(i.Number, 10), i.At.UTC().Format(time.RFC3339), oneLine(i.Service), oneLine(string(i.Cause)), oneLine(i.Reason))
	}
	return layout.Rows(t, width)
}

// incidentText is what happened, what to do, what was in force, and then the long
// texts, the output last.
func incidentText(i incident.Incident, now time.Time, width int) string {
	b := fields{width: width}
	b.add("incident", strconv.FormatUint(i.Number, 10))
	b.add("service", i.Service+optional(" (", i.Kind, ")"))
	b.add("time", fmt.Sprintf("%s (%s ago)", i.At.UTC().Format(time.RFC3339), layout.Duration(now.Sub(i.At))))
	b.add("cause", string(i.Cause))
	b.add("reason", i.Reason)
	b.add("next", strings.ReplaceAll(advice[i.Cause], "SERVICE", i.Service))
	b.add("start", startOf(i))
	if i.Exit != nil {
		b.add("end", i.Exit.String())
	}
	b.add("stop", optional("requested by ", i.StopRequestedBy, ""))
	for _, n := range i.Notes {
		b.add("note", n)
	}
	for _, f := range i.Files {
		b.add("file", fmt.Sprintf("%s %s, %d bytes, %s", f.Kind, f.Path, f.Size, f.ModTime.UTC().Format(time.RFC3339)))
	}
	b.add("limits", limitsInForce(i.Limits, within(width, fieldIndent)))
	name := "command"
	for _, o := range i.Options {
		b.add(name, o)
		name = ""
	}
	for _, f := range i.Files {
		b.section("beginning of "+f.Path, f.Excerpt)
	}
	b.section("thread dump", i.ThreadDump)
	b.section("end of the output", i.Output)
	return b.String()
}

// section adds a long text below a title.
func (f *fields) section(title string, text incident.Text) {
	if len(text) > 0 {
		fmt.Fprintf(f, "\n---- %s ----\n%s\n", title, strings.TrimRight(string(text), "\n"))
	}
}

func startOf(i incident.Incident) string {
	text := fmt.Sprintf("number %d", i.Start)
	if i.Pid == 0 {
		return text + ", no process"
	}
	text = fmt.Sprintf("%s, pid %d", text, i.Pid)
	if i.Ran > 0 { // 0: unknown
		text += ", ran " + layout.Duration(i.Ran)
	}
	return text
}

// limitsInForce lays out the limits of an incident. Those in the form of an earlier stoker
// are not changed.
func limitsInForce(data json.RawMessage, width int) string {
	var l cgroup.Limits
	if json.Unmarshal(data, &l) != nil || l.EffectiveCPUs == 0 {
		return string(data)
	}
	return strings.TrimRight(limitsText(l, width), "\n")
}

// advice is what to do next, with SERVICE for the name; docs/reference/incidents.md has more.
var advice = map[incident.Cause]string{
	incident.CauseNotStarted:   "the reason names what is missing; after the repair: stoker start SERVICE",
	incident.CauseExit:         "the end of the output says why, below",
	incident.CauseSignal:       "find out who sent it: the container engine, the host, another process",
	incident.CauseCore:         "the core, if there is one, can be read with gdb",
	incident.CauseOOMKill:      "raise the container's memory, or lower what is used: stoker jvm explain shows the budget",
	incident.CauseJVMMemory:    "look at the heap dump, or make one: -XX:+HeapDumpOnOutOfMemoryError; stoker jvm explain shows the sizes",
	incident.CauseJVMCrash:     "the problematic frame says whose code it was: a native library, or the JVM itself",
	incident.CauseStartTimeout: "the reason is what the last probe found; ready.within sets the time",
	incident.CauseFailedStart:  "the reason names what failed; after the repair: stoker start SERVICE",
	incident.CauseUnhealthy:    "the thread dump shows what the threads wait for",
	incident.CauseDegraded:     "the reason names what is not deployed; the rest works; after the repair: stoker restart SERVICE",
	incident.CauseStopTimeout:  "the thread dump shows what did not end; stop.timeout sets the time",
	incident.CauseLeft:         "run the program in the foreground, then: stoker restart SERVICE",
	incident.CauseUnseen:       "read the logs of stoker and of the host at that time",
}
