package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/display"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/urfave/cli/v2"
)

func waitFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "wait", Usage: "wait until each service that is started by it is RUNNING or has failed"},
		&cli.DurationFlag{Name: "timeout", Usage: "with --wait: end with 75 after `DURATION`; the start goes on"},
	}
}

// startWait waits for starts if --wait was given, and shows the progress on a terminal.
type startWait struct {
	client   *api.Client
	w        io.Writer // for a line about each start
	wait     bool
	timeout  time.Duration // 0: each start has only its own limit
	begun    time.Time
	progress progressLine
	failures []error
}

func newStartWait(c *cli.Context) (*startWait, error) {
	s := &startWait{w: c.App.Writer, wait: c.Bool("wait"), timeout: c.Duration("timeout"), begun: time.Now(), progress: newProgressLine()}
	switch {
	case s.timeout < 0:
		return nil, exit.UsageError("--timeout is a duration such as 2m", "cannot wait for %v", s.timeout)
	case s.timeout > 0 && !s.wait:
		return nil, exit.UsageError("--timeout bounds how long --wait waits", "cannot use --timeout without --wait")
	case asJSON(c):
		s.w = io.Discard // stdout is one document
	}
	var err error
	s.client, err = connect(c)
	return s, err
}

// around calls request, and waits for the starts that it causes.
func (s *startWait) around(ctx context.Context, request func() error) error {
	if !s.wait {
		return request()
	}
	before, err := services(ctx, s.client)
	if err != nil {
		return err
	}
	if _, err := retry(ctx, func() (any, error) { return nil, request() }); err != nil {
		return err
	}
	return s.await(ctx, before, nil)
}

// await waits for these starts, and for those of other services since before.
func (s *startWait) await(ctx context.Context, before []supervisor.Snapshot, starts map[string]uint64) error {
	if !s.wait {
		return nil
	}
	after, err := services(ctx, s.client)
	if err != nil {
		return err
	}
	all := api.StartsBetween(before, after)
	maps.Copy(all, starts)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for done := false; !done; {
			if done, err = s.poll(ctx, name, all[name], len(all) > 1); err != nil {
				return err
			}
		}
	}
	return s.result()
}

// How long one request waits: on a terminal the progress is shown in between.
const (
	shownTime   = 500 * time.Millisecond
	requestTime = 10 * time.Second
)

// poll waits a while for a start, and returns whether it is over.
func (s *startWait) poll(ctx context.Context, name string, number uint64, several bool) (over bool, err error) {
	limit := requestTime
	if s.progress.terminal != nil {
		limit = shownTime
	}
	if s.timeout > 0 {
		limit = min(limit, max(s.timeout-time.Since(s.begun), 0))
	}
	requested := time.Now()
	done := false
	snap, err := retry(ctx, func() (snap supervisor.Snapshot, err error) {
		snap, done, err = s.client.AwaitStart(ctx, name, number, limit)
		return snap, err
	})
	took := time.Since(s.begun)
	refused := new(api.StatusError)
	s.progress.show("")
	switch {
	case errors.As(err, &refused) && (refused.Code == "start-failed" || refused.Code == "no-such-service"):
		s.failures = append(s.failures, fmt.Errorf("cannot start %s: %w", name, err))
		if err = nil; several {
			reason, _, _ := strings.Cut(refused.Message, "\n")
			_, err = fmt.Fprintf(s.w, "%s has failed after %s: %s\n", name, layout.Duration(took), reason)
		}
		return true, err
	case err != nil:
		return false, fmt.Errorf("cannot wait for %s: %w", name, err)
	case done:
		end := "is " + string(snap.State)
		if snap.Oneshot {
			end = "has succeeded"
		}
		_, err := fmt.Fprintf(s.w, "%s %s after %s\n", name, end, layout.Duration(took))
		return true, err
	case s.timeout > 0 && took >= s.timeout:
		s.failures = append(s.failures, &exit.Error{Err: fmt.Errorf("cannot start %s within %v: it is %s", name, s.timeout, startProgress(snap)),
			Hint: "it goes on; stoker status " + name + " shows how", Code: exit.TryLater})
		return true, nil
	}
	s.progress.show(fmt.Sprintf("%s is %s (%s)", name, startProgress(snap), took.Round(time.Second)))
	if early := limit - time.Since(requested); early > 0 { // the server has no room for more waiting requests
		<-time.After(min(early, shownTime))
	}
	return false, nil
}

// startProgress describes an unfinished start: the state, and what it waits for.
func startProgress(snap supervisor.Snapshot) string {
	out := string(snap.State)
	for _, part := range []string{snap.Phase, snap.Waiting} {
		if part != "" {
			out += ": " + strings.ReplaceAll(printable.Text(part), "\n", " ")
		}
	}
	return out
}

// progressLine is the last line of a terminal, where a wait shows what it waits for.
type progressLine struct{ terminal *os.File } // nil: there is none

func newProgressLine() progressLine {
	if !display.IsTerminal(os.Stderr) {
		return progressLine{}
	}
	return progressLine{os.Stderr}
}

// show replaces the line.
func (p progressLine) show(line string) {
	if p.terminal == nil {
		return
	}
	if width := display.Width(p.terminal); width > 1 {
		runes := []rune(line)
		line = string(runes[:min(len(runes), width-1)])
	}
	fmt.Fprint(p.terminal, "\r\x1b[K"+line)
}

// result joins the failures. Its code is that of a timeout only if nothing else failed.
func (s *startWait) result() error {
	if len(s.failures) < 2 {
		return errors.Join(s.failures...)
	}
	var lines []string
	code := exit.TryLater
	for _, err := range s.failures {
		lines = append(lines, "  "+strings.ReplaceAll(err.Error(), "\n", "\n    "))
		if exitCode(err) != exit.TryLater {
			code = exit.Failed
		}
	}
	return &exit.Error{Err: fmt.Errorf("cannot start %d services:\n%s", len(lines), strings.Join(lines, "\n")),
		Hint: "stoker status tells more", Code: code}
}
