package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/display"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/urfave/cli/v2"
)

func statusCommand() *cli.Command {
	return &cli.Command{Name: "status", Usage: "show the services: state, process, problems", ArgsUsage: "[SERVICE|all]",
		Category: categoryServices, UsageText: "stoker status tomcat -o json",
		Flags:  []cli.Flag{tableOrJSON(), &cli.BoolFlag{Name: "check", Usage: "end with 1 if it is not ready, and say why"}},
		Action: withClient(showStatus)}
}

// showStatus prints the services. With --check it fails if they are not ready.
func showStatus(c *cli.Context, client *api.Client) error {
	st, err := client.Status(c.Context)
	if err != nil {
		return fmt.Errorf("cannot get the status: %w", err)
	}
	name := c.Args().First()
	if name != "" && name != config.AllServices {
		if _, err := selectServices(st.Services, "show", []string{name}); err != nil {
			return err
		}
		st.Services = slices.DeleteFunc(st.Services, func(s supervisor.Snapshot) bool { return s.Name != name })
		st.Plugins, st.Network = nil, nil
	}
	if w := c.App.Writer; asJSON(c) {
		err = printJSON(w, st)
	} else {
		err = printStatus(w, st, time.Now(), display.HasColour(w), display.Width(w))
	}
	if err != nil || !c.Bool("check") {
		return err
	}
	return checkReady(c.Context, client, name)
}

// Colours of a terminal (SGR).
const red, green, yellow = 31, 32, 33

// printStatus prints a row for each service, and its details below the row.
func printStatus(w io.Writer, st api.Status, now time.Time, colour bool, width int) error {
	var b strings.Builder
	line := func(text string) { b.WriteString(printable.Text(layout.Wrap(text, width, "  ")) + "\n") }
	if st.Stopping != nil {
		line("The container stops; " + layout.Duration(st.Stopping.Sub(now)) + " of its budget are left.\n")
	}
	if st.Config != "" {
		line("The configuration's files are rejected; the previous configuration is still in force:\n  " +
			strings.ReplaceAll(st.Config, "\n", "\n  ") + "\n")
	}
	if st.TCP != "" {
		line("API over TCP: " + strings.ReplaceAll(st.TCP, "\n", "\n  ") + "\n")
	}
	t := layout.Table{{"NAME", "STATE", "PID", "UP", "RESTARTS"}}
	for _, s := range st.Services {
		pid, up := "-", "-"
		if s.Pid != 0 {
			pid = strconv.Itoa(s.Pid)
		}
		if s.UpSince != nil {
			up = layout.Duration(now.Sub(*s.UpSince))
		}
		t.Add(s.Name, string(s.State), pid, up, strconv.Itoa(s.Restarts))
	}
	rows := layout.RowLines(t, width)
	b.WriteString(strings.Join(rows[0], "\n") + "\n")
	for k, s := range st.Services {
		row, state := printable.Text(strings.Join(rows[k+1], "\n")), string(s.State)
		if colour {
			code, known := map[supervisor.State]int{supervisor.Running: green, supervisor.Fatal: red, supervisor.Backoff: red}[s.State]
			if !known {
				code = yellow
			}
			row = strings.Replace(row, state, fmt.Sprintf("\x1b[%dm%s\x1b[0m", code, state), 1)
		}
		b.WriteString(row + "\n")
		for _, d := range details(s, now) {
			line("  " + strings.ReplaceAll(d, "\n", "\n    "))
		}
	}
	for k, p := range st.Plugins {
		if k == 0 {
			b.WriteByte('\n')
		}
		line(fmt.Sprintf("plugin %s: %s%s", p.Name, p.State, optional(": ", strings.ReplaceAll(p.Why, "\n", "\n  "), "")))
	}
	for k, text := range networkLines(st.Network, now) {
		if k == 0 {
			b.WriteByte('\n')
		}
		line(text)
	}
	_, err := io.WriteString(display.Exact(w), b.String())
	return err
}

// networkLines returns the state of the network; none if netinit is not configured.
func networkLines(n *api.NetworkStatus, now time.Time) (out []string) {
	if n == nil {
		return nil
	}
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	ago := func(t time.Time) string { return layout.Duration(now.Sub(t)) + " ago" }
	switch {
	case n.Applied == nil:
		add("network: not configured from %s", n.From)
	case n.Stale != "" && n.Described != nil:
		add("network: configured %s from %s, with the last good description, of %s: %s", ago(*n.Applied), n.From, ago(*n.Described), n.Stale)
	default:
		add("network: configured %s from %s", ago(*n.Applied), n.From)
	}
	if n.Doing != "" {
		add("  under way: %s", n.Doing)
	}
	if n.Error != "" {
		add("  error: %s", strings.ReplaceAll(n.Error, "\n", "\n    "))
	}
	for _, d := range n.Differences {
		add("  not as applied, needs: %s", d)
	}
	return out
}

// details returns what a row cannot show.
func details(s supervisor.Snapshot, now time.Time) (out []string) {
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	left := func(t time.Time) string { return layout.Duration(t.Sub(now)) }
	ago := func(t time.Time) string { return layout.Duration(now.Sub(t)) + " ago" }
	if s.Debugger != "" {
		add("%s: its start has no time limit, and liveness is only reported", s.Debugger)
	}
	switch s.State {
	case supervisor.Starting:
		if s.Waiting != "" {
			add("waiting: %s", s.Waiting)
		}
		if s.Deadline != nil {
			add("start timeout in %s", left(*s.Deadline))
		}
	case supervisor.Stopping:
		next := ""
		if s.Deadline != nil {
			next = "; the next step in " + left(*s.Deadline)
		}
		add("stop: %s%s%s", s.Phase, optional(", because ", s.Waiting, ""), next)
		if len(s.Left) > 0 {
			add("its process has ended; other processes of the service are alive: %v", s.Left)
		}
	case supervisor.Running:
		if s.Issue != "" {
			add("not healthy: %s", s.Issue)
		}
		if s.Degraded != "" {
			add("degraded: %s", s.Degraded)
		}
		if s.Unhealthy != "" {
			verdict := "live" // too few failures yet
			if s.Reported {
				verdict = "not alive"
			}
			add("%s: %d probes in a row failed, the last: %s", verdict, s.LiveFailures, s.Unhealthy)
		}
	}
	if s.Removed {
		add("not configured any more")
	}
	if s.Reason != "" && s.State != supervisor.Running {
		add("reason: %s", s.Reason)
	}
	if s.Exit != nil && s.State != supervisor.Running && s.Pid == 0 {
		add("last end: %s, %s%s", s.Exit, ago(s.Exit.At), optional(", stop requested by ", s.Exit.Asked, ""))
	}
	if s.Previous != nil && s.Pid != 0 {
		add("previous end: %s, %s", s.Previous, ago(s.Previous.At))
	}
	if s.Next != nil {
		add("next start in %s (stoker start %s does not wait)", left(*s.Next), s.Name)
	}
	if s.Incident != 0 && s.State != supervisor.Running && (s.State != supervisor.Stopped || s.Reason != "") {
		add("evidence: stoker incidents show %d", s.Incident)
	}
	for _, k := range s.Listen {
		add("%s", socketDetail(k, now))
	}
	for _, note := range s.Notes {
		add("%s", note)
	}
	if s.Output != nil {
		outputDetails(s.Output, add)
	}
	return out
}

func socketDetail(k supervisor.Socket, now time.Time) string {
	text := fmt.Sprintf("listens on %s (%s): waiting connections %d, backlog %d", k.Address, k.Name, k.Waiting, k.Backlog)
	if k.FullSince != nil {
		text += ", full for " + layout.Duration(now.Sub(*k.FullSince))
	}
	return text
}

func outputDetails(o *logs.Stats, add func(format string, args ...any)) {
	if o.DroppedBytes+o.LostBytes > 0 {
		add("output: %d lines (%d bytes) dropped because they were not read fast enough, "+
			"%d (%d bytes) discarded because no supervisor worked or they could not be kept",
			o.DroppedLines, o.DroppedBytes, o.LostLines, o.LostBytes)
	}
	if o.Blocked {
		add("output: the service waits, because its output is not read (output.overflow is block)")
	}
	if f := o.File; f != nil && (f.Error != "" || f.DroppedBytes > 0) {
		add("output: %d lines (%d bytes) were not written to %s%s", f.DroppedLines, f.DroppedBytes, f.Path, optional(": ", f.Error, ""))
	}
}
