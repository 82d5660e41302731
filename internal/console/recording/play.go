package recording

import (
	"context"
	"errors"
	"io"
	"time"
)

// Playing is how a recording is shown.
type Playing struct {
	Speed   float64       // 2: in half of the time; 0: all at once
	MaxIdle time.Duration // of a pause, at Speed 1; 0: there is no bound
	Text    bool          // without control sequences
}

// Play writes the output of a recording to w, piece by piece at its time, until its end or that of ctx. Unless it is text, w is a
// terminal, and usable after that.
func Play(ctx context.Context, c *Reader, w io.Writer, o Playing) error {
	filter, last := Filter{Text: o.Text}, 0.0
	if !o.Text {
		defer func() { _, _ = io.WriteString(w, filter.reset()) }() // the error of the last write is returned
	}
	for {
		e, err := c.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.Kind != Output {
			continue
		}
		if err := wait(ctx, o, e.Time-last); err != nil {
			return err
		}
		last = e.Time
		if _, err := io.WriteString(w, filter.String(e.Data)); err != nil {
			return err
		}
	}
}

// wait waits for the time of the next event, in seconds after the one before.
func wait(ctx context.Context, o Playing, seconds float64) error {
	if o.Speed <= 0 {
		return ctx.Err()
	}
	if o.MaxIdle > 0 {
		seconds = min(seconds, o.MaxIdle.Seconds())
	}
	const longest = 365 * 24 * time.Hour
	pause := time.NewTimer(time.Duration(min(seconds/o.Speed*1e9, float64(longest))))
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
