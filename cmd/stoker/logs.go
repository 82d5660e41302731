package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/config"
)

// logFlags are the flags of logs.
type logFlags struct {
	follow, times bool
	lines         int // negative: however many
	since         string
}

// showLogs prints a service's output, each stream to the stream that it came from,
// byte for byte. While it follows it outlives the supervisor: it goes on behind
// the last line.
func showLogs(ctx context.Context, name string, o logFlags) error {
	q := api.LogQuery{Lines: o.lines, Follow: o.follow}
	if o.since != "" {
		var err error
		if q.Since, err = api.ParseSince(o.since, time.Now()); err != nil {
			return &hintError{fmt.Errorf("cannot show the output: %w", err), "", codeUsage}
		}
	}
	c, err := connect()
	if err != nil {
		return err
	}
	if name == config.AllServices {
		there, err := services(ctx, c)
		if err != nil {
			return err
		}
		names, err := chooseServices(there, "show the output of", []string{name})
		if err != nil {
			return err
		}
		return logsOfAll(ctx, c, names, q, o)
	}
	if q.Service = name; name == "" {
		if q.Service, err = mainService(ctx, c); err != nil {
			return err
		}
	}
	out := newLogPrinter(os.Stdout, os.Stderr, o.times)
	return outlive(ctx, o.follow, "the output of "+q.Service, func() error {
		q.Started = func(offset int64) { q.After = offset }
		return c.Logs(ctx, q, func(l api.LogLine) error {
			q.After = l.Offset
			return out.print(l)
		})
	})
}

// outlive reads what, and where it is followed goes on with another supervisor when
// the one that was asked has gone.
func outlive(ctx context.Context, follow bool, what string, read func() error) error {
	var gone time.Time
	for {
		err := read()
		var refused *api.RefusedError
		if !follow || errors.As(err, &refused) || errors.Is(err, os.ErrClosed) || errors.Is(err, errPrint) {
			if err != nil {
				err = fmt.Errorf("cannot show %s: %w", what, err)
			}
			return err
		}
		if !errors.Is(err, api.ErrNoSocket) || gone.IsZero() {
			gone = time.Now() // it was there until this moment
		}
		if time.Since(gone) > 10*time.Second {
			return fmt.Errorf("cannot follow %s any more: %w", what, api.ErrNoSocket)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// errPrint says that our own output cannot be written.
var errPrint = errors.New("cannot print it")

// logPrinter prints lines, and puts the pieces of a long one together.
type logPrinter struct {
	out   [2]io.Writer
	open  [2]bool // the latest piece of the stream had no newline
	one   bool    // both go to the same file, where their lines must not be mixed
	times bool
	// prefix begins each line: of which service it is; empty: of the only one.
	prefix string
}

func newLogPrinter(stdout, stderr *os.File, times bool) *logPrinter {
	p := &logPrinter{out: [2]io.Writer{stdout, stderr}, times: times}
	a, errA := stdout.Stat()
	b, errB := stderr.Stat()
	p.one = errA == nil && errB == nil && os.SameFile(a, b)
	return p
}

func (p *logPrinter) print(l api.LogLine) error {
	k := 0
	if l.Stream == "stderr" {
		k = 1
	}
	var text strings.Builder
	if p.one && p.open[1-k] {
		text.WriteByte('\n')
		p.open[1-k] = false
	}
	text.WriteString(p.prefix)
	if p.times && !p.open[k] {
		text.WriteString(l.Time.Format(time.RFC3339Nano) + " ")
	}
	text.WriteString(l.Text)
	text.Write(l.Bytes)
	if !l.Open {
		text.WriteByte('\n')
	}
	p.open[k] = l.Open
	if _, err := io.WriteString(p.out[k], text.String()); err != nil {
		return fmt.Errorf("%w: %w", errPrint, err)
	}
	return nil
}
