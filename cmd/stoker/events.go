package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/display"
	"github.com/stoker-init/stoker/internal/events"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/urfave/cli/v2"
)

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
	out := newEventPrinter(c.App.Writer, asJSON(c), display.Width(c.App.Writer))
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
	w     io.Writer
	json  bool
	head  []byte // of the table, until it is printed
	width int    // of the terminal; 0: it is none
}

const eventColumns = "%-20s  %-13s  %-12s  %s"

func newEventPrinter(w io.Writer, json bool, width int) *eventPrinter {
	return &eventPrinter{w, json, fmt.Appendf(nil, eventColumns+"\n", "TIME", "KIND", "SERVICE", "WHAT"), width}
}

func (p *eventPrinter) print(e events.Event) error {
	var text []byte
	var err error
	if p.json {
		text, err = jsonText(e, "")
	} else {
		at, service := e.Time.UTC().Format(time.RFC3339), oneLine(dash(e.Service))
		line := fmt.Sprintf(eventColumns, at, oneLine(e.Kind), service, oneLine(describeEvent(&e)))
		text = fmt.Appendln(p.head, layout.Wrap(strings.TrimRight(line, " "), p.width, "    "))
		p.head = nil
	}
	if err == nil {
		_, err = p.w.Write(text)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errPrint, err)
	}
	return nil
}

func describeEvent(e *events.Event) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if e.Hook != nil {
		add("%s", describeHook(e.Hook))
	}
	if e.State != "" {
		add("%s%s", optional("", e.Plugin, " is "), e.State)
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
	if text == "" {
		return e.Reason
	}
	return text + optional(": ", e.Reason, "")
}

func describeHook(h *events.Hook) string {
	text := h.Event + "/" + h.Name + optional(" of plugin ", h.Plugin, "")
	switch {
	case h.OK:
		text += " ok"
	case h.Tries == 0:
		text += " was not run"
	default:
		text += " failed"
	}
	if h.Tries > 0 {
		text += " after " + h.Took.Round(time.Millisecond).String()
	}
	if h.Tries > 1 {
		text += fmt.Sprintf(" and %d tries", h.Tries)
	}
	return text + optional(": ", h.Why, "")
}
