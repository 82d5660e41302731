package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/supervisor"
	"golang.org/x/sys/unix"
)

// status prints the services. With check it is an error if they are not ready.
func status(ctx context.Context, w io.Writer, name, format string, check bool) error {
	c, err := connect()
	if err != nil {
		return err
	}
	st, err := c.Status(ctx)
	if err != nil {
		return fmt.Errorf("cannot ask for the status: %w", err)
	}
	if name != "" && name != config.AllServices {
		var only []supervisor.Snapshot
		var all []string
		for _, s := range st.Services {
			all = append(all, s.Name)
			if s.Name == name {
				only = append(only, s)
			}
		}
		if len(only) == 0 {
			return noService("show", name, all)
		}
		st.Services, st.Plugins = only, nil
	}
	if format == "json" {
		err = printJSON(w, st)
	} else {
		err = printStatus(w, st, time.Now(), colourful(w), widthOf(w))
	}
	if err != nil || !check {
		return err
	}
	return checkReady(ctx, c, name)
}

// colourful says whether w is a terminal whose user did not refuse colour
// (no-color.org).
func colourful(w io.Writer) bool {
	f := fileOf(w)
	if f == nil || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// printStatus is the table for people: a line for each service, and below it
// what an operator must know.
func printStatus(w io.Writer, st api.Status, now time.Time, colour bool, width int) error {
	if st.Stopping != nil {
		fmt.Fprintf(w, "The container stops; %s of its budget are left.\n\n", layout.Duration(st.Stopping.Sub(now)))
	}
	if st.Config != "" {
		text := "The configuration's files are refused; what was in force before still is:\n  " +
			strings.ReplaceAll(st.Config, "\n", "\n  ")
		fmt.Fprint(w, layout.Wrap(text, width, "  ")+"\n\n")
	}
	t := layout.Table{{"NAME", "STATE", "PID", "UP", "RESTARTS"}}
	for _, s := range st.Services {
		pid, up := "-", "-"
		if s.Pid != 0 {
			pid = fmt.Sprint(s.Pid)
		}
		if s.UpSince != nil {
			up = layout.Duration(now.Sub(*s.UpSince))
		}
		t.Add(s.Name, string(s.State), pid, up, strconv.Itoa(s.Restarts))
	}
	lines := layout.RowLines(t, width)
	for _, line := range lines[0] {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	for k, s := range st.Services {
		line := strings.Join(lines[k+1], "\n")
		if before, after, found := strings.Cut(line, string(s.State)); colour && found {
			fmt.Fprint(w, before)
			fmt.Fprint(exact(w), colourOf(s.State)+string(s.State)+"\x1b[0m")
			line = after
		}
		fmt.Fprintln(w, line)
		for _, d := range details(s, now) {
			if _, err := fmt.Fprintln(w, layout.Wrap("  "+strings.ReplaceAll(d, "\n", "\n    "), width, "  ")); err != nil {
				return err
			}
		}
	}
	return printPlugins(w, st.Plugins, width)
}

func colourOf(s supervisor.State) string {
	switch s {
	case supervisor.Running:
		return "\x1b[32m"
	case supervisor.Fatal, supervisor.Delayed:
		return "\x1b[31m"
	default:
		return "\x1b[33m"
	}
}

// details says what the line of a service cannot.
func details(s supervisor.Snapshot, now time.Time) []string {
	var out []string
	if s.Debugger != "" {
		out = append(out, s.Debugger+": no time runs for its start, and liveness is only reported")
	}
	switch s.State {
	case supervisor.Starting:
		if s.Waiting != "" {
			out = append(out, "waiting: "+s.Waiting)
		}
		if s.Deadline != nil {
			out = append(out, "given up in "+layout.Duration(s.Deadline.Sub(now)))
		}
	case supervisor.Stopping:
		phase := "stop: " + s.Phase
		if s.Waiting != "" {
			phase += ", because " + s.Waiting
		}
		if s.Deadline != nil {
			phase += "; the next step in " + layout.Duration(s.Deadline.Sub(now))
		}
		out = append(out, phase)
		if len(s.Left) > 0 {
			out = append(out, fmt.Sprintf("its process is gone; of those that belong to it live on: %v", s.Left))
		}
	case supervisor.Running:
		if s.Ill != "" {
			out = append(out, "not healthy: "+s.Ill)
		}
		if s.Degraded != "" {
			out = append(out, "degraded: "+s.Degraded)
		}
		if s.Unhealthy != "" {
			what := "live" // not yet often enough
			if s.Reported {
				what = "not alive"
			}
			out = append(out, fmt.Sprintf("%s: %d looks in a row failed, the last: %s", what, s.Looks, s.Unhealthy))
		}
	}
	if s.Leaving {
		out = append(out, "not configured any more")
	}
	if s.Reason != "" && s.State != supervisor.Running {
		out = append(out, "reason: "+s.Reason)
	}
	if s.Exit != nil && s.State != supervisor.Running && s.Pid == 0 {
		how := "last end: " + s.Exit.String() + ", " + layout.Duration(now.Sub(s.Exit.At)) + " ago"
		if s.Exit.Asked != "" {
			how += ", stop asked for by " + s.Exit.Asked
		}
		out = append(out, how)
	}
	if s.Previous != nil && s.Pid != 0 {
		out = append(out, "previous end: "+s.Previous.String()+", "+layout.Duration(now.Sub(s.Previous.At))+" ago")
	}
	if s.Next != nil {
		out = append(out, "next start in "+layout.Duration(s.Next.Sub(now))+" (stoker start "+s.Name+" does not wait)")
	}
	if s.Incident != 0 && s.State != supervisor.Running && (s.State != supervisor.Stopped || s.Reason != "") {
		out = append(out, fmt.Sprintf("evidence: stoker incidents show %d", s.Incident))
	}
	out = append(out, s.Notes...)
	if o := s.Output; o != nil && o.DroppedBytes+o.LostBytes > 0 {
		out = append(out, fmt.Sprintf("output: %d lines (%d bytes) dropped because they were not read fast enough, "+
			"%d (%d bytes) discarded because no supervisor worked or they could not be kept",
			o.DroppedLines, o.DroppedBytes, o.LostLines, o.LostBytes))
	}
	return append(out, outputDetails(s.Output)...)
}

// outputDetails says where the output does not go as it should.
func outputDetails(o *logs.Stats) (out []string) {
	if o == nil {
		return nil
	}
	if o.Blocked {
		out = append(out, "output: the service waits, because what it writes is not read (output.overflow is block)")
	}
	if f := o.File; f != nil && (f.Error != "" || f.DroppedBytes > 0) {
		line := fmt.Sprintf("output: %d lines (%d bytes) were not written to %s", f.DroppedLines, f.DroppedBytes, f.Path)
		if f.Error != "" {
			line += ": " + f.Error
		}
		out = append(out, line)
	}
	return out
}

// printPlugins is a line for each plugin that an operator should know of.
func printPlugins(w io.Writer, plugins []api.PluginLine, width int) error {
	for k, p := range plugins {
		line := fmt.Sprintf("plugin %s: %s", p.Name, p.State)
		if p.Why != "" {
			line += ": " + strings.ReplaceAll(p.Why, "\n", "\n  ")
		}
		if k == 0 {
			line = "\n" + line
		}
		if _, err := fmt.Fprintln(w, layout.Wrap(line, width, "  ")); err != nil {
			return err
		}
	}
	return nil
}
