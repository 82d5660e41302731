package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/events"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/printable"
)

// eventFlags are the flags of events.
type eventFlags struct {
	follow          bool
	last            int
	services, kinds []string
	format          string
}

// showEvents prints the last events. While it follows it outlives the supervisor:
// it goes on behind the last one.
func showEvents(ctx context.Context, w io.Writer, o eventFlags) error {
	if o.last < 0 {
		return &hintError{fmt.Errorf("cannot show %d events", o.last), "-n is a number from 0", codeUsage}
	}
	c, err := connect()
	if err != nil {
		return err
	}
	q := api.EventQuery{Filter: events.Filter{Services: o.services, Kinds: o.kinds}, Last: o.last, Follow: o.follow}
	out := eventPrinter{w: w, json: o.format == "json", width: widthOf(w)}
	none := true
	err = outlive(ctx, o.follow, "the events", func() error {
		q.Started = func(id int64) { q.After = id }
		return c.Events(ctx, q, func(e events.Event) error {
			q.After, none = int64(e.ID), false
			return out.print(e)
		})
	})
	if err != nil || !none || o.last == 0 {
		return err
	}
	there, err := services(ctx, c) // one that is not configured any more may have events
	if err == nil {
		_, err = chooseServices(there, "show the events of", o.services)
	}
	return err
}

// eventPrinter prints events, one a line. The columns have their widths before
// anybody knows what comes.
type eventPrinter struct {
	w     io.Writer
	json  bool
	begun bool
	width int // of the terminal; 0: it is none
}

const eventColumns = "%-20s  %-13s  %-12s  %s"

func (p *eventPrinter) print(e events.Event) error {
	var b strings.Builder
	switch {
	case p.json:
		data, err := jsonText(e, "")
		if err != nil {
			return err
		}
		b.Write(data)
	default:
		if !p.begun {
			fmt.Fprintf(&b, eventColumns+"\n", "TIME", "KIND", "SERVICE", "WHAT")
			p.begun = true
		}
		service := e.Service
		if service == "" {
			service = "-"
		}
		line := fmt.Sprintf(eventColumns, e.Time.UTC().Format(time.RFC3339), oneLine(e.Kind), oneLine(service), "")
		what := oneLine(whatHappened(&e))
		indent := utf8.RuneCountInString(line)
		if p.width > 0 && indent > p.width/2 && indent+utf8.RuneCountInString(what) > p.width {
			line, indent = strings.TrimRight(line, " ")+"\n    ", 4
		}
		lines := []string{what}
		if p.width > 0 {
			lines = layout.Lines(what, within(p.width, indent))
		}
		b.WriteString(strings.TrimRight(line+strings.Join(lines, "\n"+strings.Repeat(" ", indent)), " ") + "\n")
	}
	if _, err := io.WriteString(p.w, b.String()); err != nil {
		return fmt.Errorf("%w: %w", errPrint, err)
	}
	return nil
}

// oneLine is a text that others wrote as a part of a line.
func oneLine(s string) string { return strings.Join(strings.Fields(printable.Text(s)), " ") }

// whatHappened is an event in words.
func whatHappened(e *events.Event) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if e.Hook != nil {
		add("%s", hookWords(e.Hook))
	}
	if e.Plugin != "" {
		add("%s is %s", e.Plugin, e.State)
	} else if e.State != "" {
		add("%s", e.State)
	}
	if e.Pid != 0 {
		add("pid %d", e.Pid)
	}
	switch {
	case e.Service != "" && e.Pid == 0: // there was no process
	case strings.HasPrefix(e.Reason, "exit code "), strings.HasPrefix(e.Reason, "killed by "): // the reason says so
	case e.Signal != "" && e.OOM:
		add("killed by the kernel: out of memory")
	case e.Signal != "":
		add("signal %s", e.Signal)
	case e.Code != nil:
		add("exit code %d", *e.Code)
	}
	if e.Missed > 0 {
		add("%d events", e.Missed)
	}
	if e.Start != 0 && e.Hook == nil {
		add("start %d", e.Start)
	}
	if e.By != "" {
		add("asked for by %s", e.By)
	}
	if len(e.Changes) > 0 {
		add("%s", strings.Join(e.Changes, "; "))
	}
	text := strings.Join(parts, ", ")
	if e.Reason != "" {
		if text != "" {
			text += ": "
		}
		text += e.Reason
	}
	return text
}

// hookWords are those of a hook's end.
func hookWords(h *events.Hook) string {
	name := h.Event + "/" + h.Name
	if h.Plugin != "" {
		name += " of plugin " + h.Plugin
	}
	how := "ok"
	switch {
	case !h.OK && h.Tries == 0:
		how = "was not run"
	case !h.OK:
		how = "failed"
	}
	text := name + " " + how
	if h.Tries > 0 {
		text += " after " + h.Took.Round(time.Millisecond).String()
	}
	if h.Tries > 1 {
		text += fmt.Sprintf(" and %d tries", h.Tries)
	}
	if h.Why != "" {
		text += ": " + h.Why
	}
	return text
}
