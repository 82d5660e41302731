package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/display"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/events"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/urfave/cli/v2"
)

// eventsCommand is `stoker events`.
func eventsCommand() *cli.Command {
	return &cli.Command{Name: "events", Usage: "show what has happened: the stages of services, hooks, plugins, reloads",
		Category: categoryHistory, UsageText: "stoker events -f --service tomcat --kind exited",
		Flags: []cli.Flag{tableOrJSON(),
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on as they come"},
			countFlag("last", "events", "begin with the last `N`"),
			&cli.StringSliceFlag{Name: "service", Usage: "only those of `SERVICE`, repeatable"},
			&cli.StringSliceFlag{Name: "kind", Usage: "only those of `KIND`, such as ready, exited or hook, repeatable"}},
		Action: withClient(showEvents)}
}

// showEvents prints the last events. With --follow it survives a restart of the
// supervisor.
func showEvents(c *cli.Context, client *api.Client) error {
	q := api.EventQuery{Filter: events.Filter{Services: c.StringSlice("service"), Kinds: c.StringSlice("kind")},
		Last: c.Int("last"), Following: api.Following{Follow: c.Bool("follow")}}
	out := eventPrinter{w: c.App.Writer, json: asJSON(c), width: display.Width(c.App.Writer)}
	found := false
	err := readStream(c.Context, &q.Following, "the events", func() error {
		return client.Events(c.Context, &q, func(e events.Event) error {
			found = true
			return out.print(e)
		})
	})
	if err != nil || found || q.Last == 0 {
		return err
	}
	all, err := services(c.Context, client) // only now: a removed service may have events
	if err == nil {
		_, err = selectServices(all, "show the events of", q.Services)
	}
	return err
}

// eventPrinter prints an event a line. The widths of the columns are fixed, as later
// events are unknown.
type eventPrinter struct {
	w      io.Writer
	json   bool
	headed bool
	width  int // of the terminal; 0: it is none
}

const eventColumns = "%-20s  %-13s  %-12s  %s"

func (p *eventPrinter) print(e events.Event) error {
	var text string
	if p.json {
		data, err := jsonText(e, "")
		if err != nil {
			return err
		}
		text = string(data)
	} else {
		text = p.line(e)
	}
	if _, err := io.WriteString(p.w, text); err != nil {
		return fmt.Errorf("%w: %w", errPrint, err)
	}
	return nil
}

// line lays out an event, the first one below the head of the table.
func (p *eventPrinter) line(e events.Event) string {
	head := ""
	if !p.headed {
		head = fmt.Sprintf(eventColumns+"\n", "TIME", "KIND", "SERVICE", "WHAT")
		p.headed = true
	}
	line := fmt.Sprintf(eventColumns, e.Time.UTC().Format(time.RFC3339), oneLine(e.Kind), oneLine(dash(e.Service)), oneLine(describeEvent(&e)))
	return head + layout.Wrap(strings.TrimRight(line, " "), p.width, "    ") + "\n"
}

// describeEvent describes an event without its time, kind and service.
func describeEvent(e *events.Event) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if e.Hook != nil {
		add("%s", describeHook(e.Hook))
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
		add("requested by %s", e.By)
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

// describeHook describes the result of a hook.
func describeHook(h *events.Hook) string {
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
