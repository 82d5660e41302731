package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/layout"
)

// hookList prints the hooks.
func hookList(ctx context.Context, w io.Writer, format string) error {
	c, err := connect()
	if err != nil {
		return err
	}
	list, err := c.Hooks(ctx)
	if err != nil {
		return fmt.Errorf("cannot ask for the hooks: %w", err)
	}
	if format == "json" {
		return printJSON(w, list)
	}
	return printHooks(w, list.Hooks, time.Now(), widthOf(w))
}

// printHooks is the table for people, and below it why hooks have failed.
func printHooks(w io.Writer, list []hooks.Status, now time.Time, width int) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "There are no hooks.")
		return err
	}
	var failed strings.Builder
	t := layout.Table{{"EVENT", "ORDER", "NAME", "LAST", "TOOK", "SOURCE"}}
	for _, s := range list {
		name := s.Name
		if s.Plugin != "" {
			name = s.Plugin + "/" + name
		}
		last, took := "-", "-"
		switch {
		case s.Unmet != "":
			last = "does not count: " + s.Unmet
		case len(s.Running) > 0:
			last = "runs now"
		case s.Last != nil:
			last = outcomeWord(s.Last.Outcome) + ", " + layout.Duration(now.Sub(s.Last.At)) + " ago"
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
	_, err := io.WriteString(w, text)
	return err
}

// outcomeWord is an outcome in a word.
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

// hookRun runs hooks by hand, and fails where one of them does.
func hookRun(ctx context.Context, w io.Writer, event, name, service, format string) error {
	c, err := connect()
	if err != nil {
		return err
	}
	done, err := c.RunHooks(ctx, event, name, service)
	if err != nil {
		return fmt.Errorf("cannot run hooks of %s: %w", event, err)
	}
	if format == "json" {
		err = printJSON(w, done)
	} else {
		err = printOutcomes(w, done)
	}
	failed := 0
	for _, o := range done.Outcomes {
		if !o.OK {
			failed++
		}
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of %d hooks failed", failed, len(done.Outcomes))
	}
	return err
}

// printOutcomes tells how each hook ended, with the end of what it wrote.
func printOutcomes(w io.Writer, done api.HookRun) error {
	var b strings.Builder
	for _, o := range done.Outcomes {
		name := o.Hook
		if o.Plugin != "" {
			name = o.Plugin + "/" + name
		}
		line := fmt.Sprintf("%s/%s: %s", done.Event, name, outcomeWord(o))
		if o.Why != "" {
			line += ", " + o.Why
		}
		if o.Tries > 1 {
			line += fmt.Sprintf(" (%d tries)", o.Tries)
		}
		b.WriteString(line + ", took " + o.Took.Round(time.Millisecond).String() + "\n")
		for _, text := range strings.Split(strings.TrimRight(o.Output, "\n"), "\n") {
			if text != "" {
				b.WriteString("  " + text + "\n")
			}
		}
		writeGiven(&b, o.Given)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeGiven tells what a hook would have given.
func writeGiven(b *strings.Builder, g hooks.Output) {
	if n := len(g.Env) + len(g.Options) + len(g.Annotations); n > 0 {
		fmt.Fprintf(b, "  it gives %d variables, %d JVM options, %d annotations; run by hand they count for nothing\n", len(g.Env), len(g.Options), len(g.Annotations))
	}
}

// needEvent refuses a command line without an event.
func needEvent(args []string) (event, name string, err error) {
	if len(args) == 0 {
		return "", "", &hintError{errors.New("cannot run hooks: no event is named"), "stoker hook list lists them", codeUsage}
	}
	if len(args) > 1 {
		name = args[1]
	}
	return args[0], name, nil
}
