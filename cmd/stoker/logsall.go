package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/api"
)

// namedLine is a line of a service.
type namedLine struct {
	service string
	api.LogLine
}

// logsOfAll prints the output of several services, each line behind its service's
// name: in the order of their times, and while it is followed as they come.
func logsOfAll(ctx context.Context, c *api.Client, names []string, q api.LogQuery, o logFlags) error {
	out := newLogPrinter(os.Stdout, os.Stderr, o.times)
	longest := 0
	for _, name := range names {
		longest = max(longest, utf8.RuneCountInString(name))
	}
	show := func(l namedLine) error {
		out.prefix = l.service + strings.Repeat(" ", longest-utf8.RuneCountInString(l.service)) + " | "
		l.Open = false // the next line may be another service's
		return out.print(l.LogLine)
	}
	var mu sync.Mutex // guards what follows, and while it is followed out
	var lines []namedLine
	var errs []error
	var all sync.WaitGroup
	for _, name := range names {
		q := q
		q.Service = name
		all.Go(func() { // ends with the output, or with ctx
			err := outlive(ctx, o.follow, "the output of "+name, func() error {
				q.Started = func(offset int64) { q.After = offset }
				return c.Logs(ctx, q, func(l api.LogLine) error {
					q.After = l.Offset
					mu.Lock()
					defer mu.Unlock()
					if o.follow {
						return show(namedLine{name, l})
					}
					lines = append(lines, namedLine{name, l})
					return nil
				})
			})
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	all.Wait()
	slices.SortStableFunc(lines, func(a, b namedLine) int { return a.Time.Compare(b.Time) })
	for _, l := range lines {
		if err := show(l); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}
