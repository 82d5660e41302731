package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// incidents prints the list.
func incidents(ctx context.Context, w io.Writer, format string) error {
	c, err := connect()
	if err != nil {
		return err
	}
	list, err := c.Incidents(ctx)
	if err != nil {
		return fmt.Errorf("cannot ask for the incidents: %w", err)
	}
	if format == "json" {
		return printJSON(w, list)
	}
	return printIncidents(w, list.Incidents, widthOf(w))
}

// incidentShow prints one with everything.
func incidentShow(ctx context.Context, w io.Writer, text, format string) error {
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return &hintError{fmt.Errorf("cannot show incident %q: that is no number", text), "stoker incidents lists them", codeUsage}
	}
	c, err := connect()
	if err != nil {
		return err
	}
	i, err := c.Incident(ctx, number)
	if err != nil {
		return fmt.Errorf("cannot show incident %d: %w", number, err)
	}
	if format == "json" {
		return printJSON(w, i)
	}
	return printIncident(w, i, time.Now(), widthOf(w))
}

// printIncidents is the table for people.
func printIncidents(w io.Writer, list []incident.Summary, width int) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "No service has failed or died.")
		return err
	}
	t := layout.Table{{"NUMBER", "TIME", "SERVICE", "CAUSE", "REASON"}}
	for _, i := range list {
		t.Add(strconv.FormatUint(i.Number, 10), i.At.UTC().Format(time.RFC3339), oneLine(i.Service), oneLine(string(i.Cause)), oneLine(i.Reason))
	}
	return t.Write(w, width)
}

// printIncident is everything for people: what happened, what to do, what was in
// force, and then the long texts, the output last.
func printIncident(w io.Writer, i incident.Incident, now time.Time, width int) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", name, indented(layout.Wrap(fmt.Sprintf(format, args...), within(width, incidentIndent), "")))
	}
	line("incident", "%d", i.Number)
	line("service", "%s", strings.TrimSpace(i.Service+" "+parenthesised(i.Kind)))
	line("time", "%s (%s ago)", i.At.UTC().Format(time.RFC3339), layout.Duration(now.Sub(i.At)))
	line("cause", "%s", i.Cause)
	line("reason", "%s", i.Reason)
	if next := advice(i.Cause); next != "" {
		line("next", "%s", strings.ReplaceAll(next, "SERVICE", i.Service))
	}
	line("start", "%s", startOf(i))
	if i.Exit != nil {
		line("end", "%s", i.Exit)
	}
	if i.StopRequestedBy != "" {
		line("stop", "asked for by %s", i.StopRequestedBy)
	}
	for _, n := range i.Notes {
		line("note", "%s", n)
	}
	for _, f := range i.Files {
		line("file", "%s %s, %d bytes, %s", f.Kind, f.Path, f.Size, f.ModTime.UTC().Format(time.RFC3339))
	}
	if len(i.Limits) > 0 {
		line("limits", "%s", limitsText(i.Limits, within(width, incidentIndent)))
	}
	for k, o := range i.Options {
		name := ""
		if k == 0 {
			name = "command"
		}
		line(name, "%s", o)
	}
	for _, f := range i.Files {
		section(&b, "beginning of "+f.Path, f.Excerpt)
	}
	section(&b, "thread dump", i.ThreadDump)
	section(&b, "end of the output", i.Output)
	_, err := io.WriteString(w, b.String())
	return err
}

// incidentIndent is the width of the names before the texts.
const incidentIndent = 11

// indented puts a text of several lines behind its name.
func indented(text string) string {
	return strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", incidentIndent))
}

// within is what is left of a width behind an indent; 0: it has no bounds.
func within(width, indent int) int {
	if width == 0 {
		return 0
	}
	return max(width-indent, layout.MinWidth)
}

func parenthesised(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

// startOf says which start it was.
func startOf(i incident.Incident) string {
	text := fmt.Sprintf("number %d", i.Start)
	if i.Pid == 0 {
		return text + ", no process"
	}
	text = fmt.Sprintf("%s, pid %d", text, i.Pid)
	if i.Ran > 0 { // else nobody knows
		text += ", ran " + layout.Duration(i.Ran)
	}
	return text
}

// limitsText is the table of the limits that were in force; what an earlier stoker
// has written otherwise stays as it is.
func limitsText(data json.RawMessage, width int) string {
	var l cgroup.Limits
	if json.Unmarshal(data, &l) != nil || l.EffectiveCPUs == 0 {
		return string(data)
	}
	text := layout.Rows(limitsTable(l), width)
	for _, warning := range l.Warnings {
		text += layout.Wrap("warning: "+warning.Code+": "+warning.Message, width, "  ") + "\n"
	}
	return strings.TrimRight(text, "\n")
}

// section is a long text, as it was written but for what would steer a terminal.
func section(b *strings.Builder, title string, text incident.Text) {
	if len(text) == 0 {
		return
	}
	fmt.Fprintf(b, "\n---- %s ----\n%s\n", title, strings.TrimRight(string(text), "\n"))
}

// advice is what to do next, with SERVICE for the name; docs/reference/incidents.md has more.
func advice(c incident.Cause) string {
	switch c {
	case incident.CauseNotStarted:
		return "the reason names what is missing; after the repair: stoker start SERVICE"
	case incident.CauseExit:
		return "the end of the output says why, below"
	case incident.CauseSignal:
		return "find out who sent it: the container engine, the host, another process"
	case incident.CauseCore:
		return "the core, if there is one, can be read with gdb"
	case incident.CauseOOMKill:
		return "raise the container's memory, or lower what is used: stoker jvm explain shows the budget"
	case incident.CauseJVMMemory:
		return "look at the heap dump, or make one: -XX:+HeapDumpOnOutOfMemoryError; stoker jvm explain shows the sizes"
	case incident.CauseJVMCrash:
		return "the problematic frame says whose code it was: a native library, or the JVM itself"
	case incident.CauseStartTimeout:
		return "the reason is what the last look found; ready.within sets the time"
	case incident.CauseFailedStart:
		return "the reason names what failed; after the repair: stoker start SERVICE"
	case incident.CauseUnhealthy:
		return "the thread dump shows what the threads wait for"
	case incident.CauseDegraded:
		return "the reason names what is not deployed; the rest of the service works; after the repair: stoker restart SERVICE"
	case incident.CauseStopTimeout:
		return "the thread dump shows what did not end; stop.timeout sets the time"
	case incident.CauseLeft:
		return "run the program in the foreground, then: stoker restart SERVICE"
	case incident.CauseUnseen:
		return "look at the log of stoker and of the host at that time"
	}
	return ""
}
