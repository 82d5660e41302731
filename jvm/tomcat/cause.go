package tomcat

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/stoker-init/stoker/internal/untrusted"
)

// Bounds in bytes: how much of the end of a log file is searched, and up to which size its lines are numbered.
const (
	logTail    = 512 << 10
	maxCounted = 16 << 20
)

// causeWindow is the longest time between a cause and the failure: listeners run one after another, so a slow one may follow the one that
// threw.
const causeWindow = 10 * time.Minute

// FindCause looks for the exception behind a failed application in logs/localhost.DATE.log of the base, where Tomcat's own logging puts it,
// and returns the finding with Cause, Root, Where and Log. ok is false if there is none (yet: Tomcat writes the file in the background, so
// ask again a second later). Entries before since, the start of this Tomcat, are ignored.
func (p *Patterns) FindCause(base string, f Finding, since time.Time) (found Finding, ok bool, err error) {
	if f.Kind != ContextFailed || f.Where != "" || f.Log != "" || f.Line > 0 {
		return f, false, nil
	}
	best := f
	for _, file := range logFiles(base) {
		causes, err := p.causes(file, since)
		if err != nil {
			return f, false, fmt.Errorf("cannot look for the cause of %s: %w", f.Context, err)
		}
		for _, c := range causes {
			// Times have milliseconds; since has more.
			if c.Time.Before(since.Truncate(time.Millisecond)) || !f.Time.IsZero() && (c.Time.After(f.Time) || f.Time.Sub(c.Time) > causeWindow) {
				continue
			}
			if !ok || !c.Time.Before(best.Time) {
				best, ok = c, true
			}
		}
	}
	if !ok {
		return f, false, nil
	}
	f.Cause, f.Root, f.Where, f.Log = cmp.Or(best.Cause, best.Message), best.Root, best.Where, best.Log
	return f, true, nil
}

// causes lists the causes of failed contexts at the end of a log file, if it was written after since.
func (p *Patterns) causes(file string, since time.Time) ([]Finding, error) {
	f, err := untrusted.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.ModTime().Before(since) {
		return nil, err
	}
	// The part before the tail is read to number the lines, but not searched.
	skip, counted := info.Size()-logTail, info.Size() <= maxCounted
	at := int64(0)
	if !counted {
		if at, err = f.Seek(skip, io.SeekStart); err != nil {
			return nil, err
		}
	}
	// The file may grow as fast as it is read. A line longer than the buffer is several.
	r := bufio.NewReaderSize(io.LimitReader(f, info.Size()-at), maxLogLine)
	w := NewOutputReader(p)
	var out []Finding
	keep := func() {
		if w.cause.Message != "" {
			out = append(out, w.cause)
			w.cause = Finding{}
		}
	}
	for n := 1; ; {
		data, err := r.ReadSlice('\n')
		line := string(data)
		at += int64(len(line))
		if at > skip && line != "" {
			t, ok := lineTime(line)
			if ok {
				keep()
			}
			w.Line(line)
			if ok && w.inCause {
				w.cause.Time, w.cause.Log = t, file
				if counted {
					w.cause.Log = fmt.Sprintf("%s:%d", file, n)
				}
			}
		}
		switch {
		case err == io.EOF:
			keep()
			return out, nil
		case err == nil:
			n++
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
