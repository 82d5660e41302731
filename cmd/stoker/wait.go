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
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/supervisor"
	"golang.org/x/sys/unix"
)

// waitFlags say whether a command waits for the starts that it leads to.
type waitFlags struct {
	wait    bool
	timeout time.Duration // 0: each start has its own limit only
}

// check refuses flags that mean nothing.
func (f waitFlags) check() error {
	switch {
	case f.timeout < 0:
		return &hintError{fmt.Errorf("cannot wait for %v", f.timeout), "--timeout is a duration such as 2m", codeUsage}
	case f.timeout > 0 && !f.wait:
		return &hintError{errors.New("cannot use --timeout without --wait"), "--timeout bounds how long --wait waits", codeUsage}
	}
	return nil
}

// retryTime is how long a command waits for another supervisor.
const retryTime = 3 * time.Second

// persist asks until a supervisor answers: one that dies meanwhile is followed by
// one that goes on with it.
func persist[T any](ctx context.Context, ask func() (T, error)) (T, error) {
	for until := time.Now().Add(retryTime); ; {
		v, err := ask()
		if !errors.Is(err, api.ErrNoSocket) || time.Now().After(until) || ctx.Err() != nil {
			return v, err
		}
		<-time.After(50 * time.Millisecond)
	}
}

// persistIf is persist for a command that waits, and one try for one that does not.
func persistIf[T any](ctx context.Context, waits bool, ask func() (T, error)) (T, error) {
	if waits {
		return persist(ctx, ask)
	}
	return ask()
}

// serviceCommand starts, stops or restarts services, one after the other.
func serviceCommand(ctx context.Context, w io.Writer, verb string, names []string, f waitFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	c, err := connect()
	if err != nil {
		return err
	}
	before, err := services(ctx, c)
	if err != nil {
		return err
	}
	if names, err = chooseServices(before, verb, names); err != nil { // before anything is done
		return err
	}
	s := newStartWait(c, w, f)
	starts := map[string]uint64{}
	for _, name := range names {
		var latest uint64 // made again, the request does not start it twice
		for _, snap := range before {
			if snap.Name == name {
				latest = snap.Starts
			}
		}
		snap, err := persist(ctx, func() (supervisor.Snapshot, error) { return c.Command(ctx, name, verb, latest) })
		if err != nil {
			return fmt.Errorf("cannot %s %s: %w", verb, name, err)
		}
		switch starts[name] = snap.Start; {
		case f.wait:
		case snap.State == supervisor.Starting || snap.State == supervisor.Stopping:
			fmt.Fprintf(w, "%s is %s (asked; --wait waits until it is RUNNING or has failed)\n", name, snap.State)
		default:
			fmt.Fprintf(w, "%s is %s\n", name, snap.State)
		}
	}
	if !f.wait {
		return nil
	}
	return s.touched(ctx, before, starts)
}

// waitAround does something, and with --wait waits for the starts that it leads to.
func waitAround(ctx context.Context, c *api.Client, w io.Writer, f waitFlags, do func() error) error {
	if err := f.check(); err != nil {
		return err
	}
	if !f.wait {
		return do()
	}
	before, err := services(ctx, c)
	if err != nil {
		return err
	}
	s := newStartWait(c, w, f)
	if err := do(); err != nil {
		return err
	}
	return s.touched(ctx, before, nil)
}

// waitLines takes the lines about a wait: none are printed beside output for programs.
func waitLines(w io.Writer, format string) io.Writer {
	if format == "json" {
		return io.Discard
	}
	return w
}

// startWait waits for starts, and shows what it waits for on a terminal.
type startWait struct {
	c        *api.Client
	w        io.Writer
	f        waitFlags
	begun    time.Time
	terminal *os.File // nil: there is none
	failures []error
}

func newStartWait(c *api.Client, w io.Writer, f waitFlags) *startWait {
	s := &startWait{c: c, w: w, f: f, begun: time.Now()}
	if _, err := unix.IoctlGetTermios(int(os.Stderr.Fd()), unix.TCGETS); err == nil && os.Getenv("TERM") != "dumb" {
		s.terminal = os.Stderr
	}
	return s
}

// touched waits for these starts, and for those of the services that were started
// besides since before.
func (s *startWait) touched(ctx context.Context, before []supervisor.Snapshot, starts map[string]uint64) error {
	after, err := services(ctx, s.c)
	if err != nil {
		return err
	}
	all := api.Touched(before, after)
	maps.Copy(all, starts)
	for names := slices.Sorted(maps.Keys(all)); len(names) > 0; {
		var left []string
		for _, name := range names {
			over, err := s.look(ctx, name, all[name], len(names))
			if err != nil {
				return err
			}
			if !over {
				left = append(left, name)
			}
		}
		names = left
	}
	return s.result()
}

// How long requests wait: each of several starts is asked for, or a terminal shows
// something new, once in shownTime.
const (
	shownTime = 500 * time.Millisecond
	askedTime = 10 * time.Second
)

// look waits a while for one of so many starts, and says whether it is over.
func (s *startWait) look(ctx context.Context, name string, number uint64, many int) (over bool, err error) {
	step := askedTime
	if many > 1 || s.terminal != nil {
		step = shownTime / time.Duration(many)
	}
	if s.f.timeout > 0 {
		step = min(step, max(s.f.timeout-time.Since(s.begun), 0))
	}
	asked := time.Now()
	done := false
	snap, err := persist(ctx, func() (snap supervisor.Snapshot, err error) {
		snap, done, err = s.c.AwaitStart(ctx, name, number, step)
		return snap, err
	})
	took := time.Since(s.begun)
	refused := new(api.RefusedError)
	s.show("")
	switch {
	case errors.As(err, &refused) && (refused.Code == "start-failed" || refused.Code == "no-such-service"):
		s.failures = append(s.failures, fmt.Errorf("cannot start %s: %w", name, err))
		if many > 1 { // the others may take long
			reason, _, _ := strings.Cut(refused.Message, "\n")
			_, err = fmt.Fprintf(s.w, "%s has failed after %s: %s\n", name, layout.Duration(took), reason)
			return true, err
		}
		return true, nil
	case err != nil:
		return false, fmt.Errorf("cannot wait for %s: %w", name, err)
	case done && snap.Start == 0:
		return false, &hintError{fmt.Errorf("cannot wait for %s: the supervisor that runs is an older stoker", name),
			"stoker upgrade swaps it", codeFailed}
	case done:
		how := "is " + string(snap.State)
		if snap.Oneshot {
			how = "has succeeded"
		}
		_, err := fmt.Fprintf(s.w, "%s %s after %s\n", name, how, layout.Duration(took))
		return true, err
	case s.f.timeout > 0 && took >= s.f.timeout:
		s.failures = append(s.failures, &hintError{fmt.Errorf("cannot start %s within %v: it is %s", name, s.f.timeout, progress(snap)),
			"it goes on; stoker status " + name + " shows how", codeNotNow})
		return true, nil
	}
	s.show(fmt.Sprintf("%s is %s (%s)", name, progress(snap), took.Round(time.Second)))
	if early := step - time.Since(asked); early > 0 { // too many wait
		<-time.After(min(early, shownTime))
	}
	return false, nil
}

// progress is the state of a service that is on its way, and what it waits for.
func progress(snap supervisor.Snapshot) string {
	out := string(snap.State)
	for _, what := range []string{snap.Phase, snap.Waiting} {
		if what != "" {
			out += ": " + strings.ReplaceAll(printable.Text(what), "\n", " ")
		}
	}
	return out
}

// show rewrites the terminal's last line.
func (s *startWait) show(line string) {
	if s.terminal == nil {
		return
	}
	if size, err := unix.IoctlGetWinsize(int(s.terminal.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 1 {
		runes := []rune(line)
		line = string(runes[:min(len(runes), int(size.Col)-1)])
	}
	fmt.Fprint(s.terminal, "\r\x1b[K"+line)
}

// result is the error of all that failed. What is only late counts where nothing
// has failed.
func (s *startWait) result() error {
	switch len(s.failures) {
	case 0:
		return nil
	case 1:
		return s.failures[0]
	}
	var lines []string
	code := codeNotNow
	for _, err := range s.failures {
		lines = append(lines, "  "+strings.ReplaceAll(err.Error(), "\n", "\n    "))
		if exitCode(err) != codeNotNow {
			code = codeFailed
		}
	}
	return &hintError{fmt.Errorf("cannot start %d services:\n%s", len(lines), strings.Join(lines, "\n")), "stoker status tells more", code}
}
