package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/urfave/cli/v2"
)

func logsCommand() *cli.Command {
	return &cli.Command{Name: "logs", Usage: "show the output of a service, by default the main one", ArgsUsage: "[SERVICE|all]",
		Category: categoryServices, UsageText: "stoker logs tomcat -n 50 -f\nstoker logs all --since 10m -t",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on as it comes"},
			countFlag("lines", "lines", "begin with the last `N` lines; with --since alone all since then"),
			&cli.StringFlag{Name: "since", Usage: "begin at `TIME`, or that long ago: 2026-01-31T12:00:00Z, 10m"},
			&cli.BoolFlag{Name: "timestamps", Aliases: []string{"t"}, Usage: "put the time before each line"},
		},
		Action: withClient(showLogs)}
}

// countFlag is -n, by default 100.
func countFlag(name, noun, usage string) cli.Flag {
	return &cli.IntFlag{Name: name, Aliases: []string{"n"}, Value: 100, Usage: usage, Action: func(_ *cli.Context, n int) error {
		if n < 0 {
			return exit.UsageError("-n is a number from 0", "cannot show %d %s", n, noun)
		}
		return nil
	}}
}

// showLogs prints the output of a service, or of all, each stream to the stream that it
// came from, byte for byte.
func showLogs(c *cli.Context, client *api.Client) (err error) {
	q := api.LogQuery{Lines: c.Int("lines"), Following: api.Following{Follow: c.Bool("follow")}}
	if since := c.String("since"); since != "" {
		if q.Since, err = api.ParseSince(since, time.Now()); err != nil {
			return exit.UsageError("", "cannot show the output: %w", err)
		}
		if !c.IsSet("lines") {
			q.Lines = -1
		}
	}
	out := newLogPrinter(os.Stdout, os.Stderr, c.Bool("timestamps"))
	if c.Args().First() == config.AllServices {
		all, err := services(c.Context, client)
		if err != nil {
			return err
		}
		return showAllLogs(c.Context, client, serviceList(all), q, out)
	}
	service, err := serviceOrMain(c.Context, client, c.Args().First())
	if err != nil {
		return err
	}
	return readLog(c.Context, client, service, q, out.print)
}

func readLog(ctx context.Context, client *api.Client, service string, q api.LogQuery, emit func(api.LogLine) error) error {
	q.Service = service
	return readStream(ctx, &q.Following, "the output of "+service, func() error { return client.Logs(ctx, &q, emit) })
}

// showAllLogs prints the output of several services, each line behind the name of its
// service: sorted by time, or with Follow as the lines come.
func showAllLogs(ctx context.Context, client *api.Client, names []string, q api.LogQuery, out *logPrinter) error {
	type serviceLine struct {
		service string
		api.LogLine
	}
	longest := 0
	for _, name := range names {
		longest = max(longest, utf8.RuneCountInString(name))
	}
	show := func(l serviceLine) error {
		out.prefix = fmt.Sprintf("%-*s | ", longest, l.service)
		l.Open = false // the next line may be another service's
		return out.print(l.LogLine)
	}
	var mu sync.Mutex // guards lines, errs and, with Follow, out
	var lines []serviceLine
	var errs []error
	var readers sync.WaitGroup
	for _, name := range names {
		readers.Go(func() { // ends with the output, or with ctx
			err := readLog(ctx, client, name, q, func(l api.LogLine) error {
				mu.Lock()
				defer mu.Unlock()
				if q.Follow {
					return show(serviceLine{name, l})
				}
				lines = append(lines, serviceLine{name, l})
				return nil
			})
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	readers.Wait()
	slices.SortStableFunc(lines, func(a, b serviceLine) int { return a.Time.Compare(b.Time) })
	for _, l := range lines {
		if err := show(l); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// logPrinter prints lines, and joins the fragments of a long one.
type logPrinter struct {
	out    [2]io.Writer // stdout, stderr
	open   [2]bool      // the latest fragment of the stream had no newline
	shared bool         // both streams go to one file, where their lines must not be mixed
	times  bool
	prefix string // of each line: the name of its service
}

func newLogPrinter(stdout, stderr *os.File, times bool) *logPrinter {
	p := &logPrinter{out: [2]io.Writer{stdout, stderr}, times: times}
	a, errA := stdout.Stat()
	b, errB := stderr.Stat()
	p.shared = errA == nil && errB == nil && os.SameFile(a, b)
	return p
}

func (p *logPrinter) print(l api.LogLine) error {
	k := 0
	if l.Stream == "stderr" {
		k = 1
	}
	var text strings.Builder
	if p.shared && p.open[1-k] {
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
