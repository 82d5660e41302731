package tomcat

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// logTail is how much of a log file is searched from its end.
const logTail = 512 << 10

// causeWindow is how far before the failure its cause may have been logged:
// listeners run one after another, so a slow one may follow the one that threw.
const causeWindow = 10 * time.Minute

// FindCause looks for the exception behind a failed application in
// logs/localhost.DATE.log of the base, where Tomcat's own logging puts it, and
// returns the finding with Cause, Root, Where and Log filled in. ok is false if
// there is nothing to find (yet: the file is written in the background, so ask
// again a second later). since is the start of this Tomcat: older entries do
// not count.
func (p *Patterns) FindCause(base string, f Finding, since time.Time) (found Finding, ok bool, err error) {
	if f.Kind != ContextFailed || f.Where != "" || f.Log != "" || f.Line > 0 {
		return f, false, nil
	}
	files, _ := filepath.Glob(filepath.Join(base, "logs/localhost.*.log")) // only a bad pattern fails
	best := f
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil || info.ModTime().Before(since) {
			continue
		}
		causes, err := p.causes(file)
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
	f.Cause, f.Root, f.Where, f.Log = first(best.Cause, best.Message), best.Root, best.Where, best.Log
	return f, true, nil
}

// causes lists what the end of a log file says about contexts that failed.
func (p *Patterns) causes(file string) ([]Finding, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// Lines are counted from the start of the file, so the part before the tail
	// is read too, and only not looked at.
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	skip := info.Size() - logTail
	r := bufio.NewReader(f)
	w := NewWatch(p)
	var out []Finding
	keep := func() {
		if w.why.Message != "" {
			out = append(out, w.why)
			w.why = Finding{}
		}
	}
	for at, n := int64(0), 1; ; n++ {
		line, err := r.ReadString('\n')
		at += int64(len(line))
		if at > skip && line != "" {
			if t, ok := lineTime(line); ok {
				keep()
				w.Line(line)
				if w.inWhy {
					w.why.Time, w.why.Log = t, fmt.Sprintf("%s:%d", strings.TrimSpace(file), n)
				}
			} else {
				w.Line(line)
			}
		}
		if err == io.EOF {
			keep()
			return out, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
