package recording

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// ErrFull is the end of a recording's room.
var ErrFull = errors.New("its recording is full (console.recording.file_size)")

const (
	maxPiece = 4 << 10            // bytes of output in one event
	maxEvent = 6*maxPiece + 1<<10 // of its line: a byte can become \u0000
	reserve  = 1 << 10            // of a file, for the markers about what is left out
	pause    = time.Second        // between two attempts to write to a disk that had no room
)

// Recording is a recording that is being written. Its methods can be called at a time.
type Recording struct {
	recorder *Recorder
	opts     Options
	name     string
	started  time.Time

	mu      sync.Mutex // guards the rest
	f       *os.File   // nil: closed
	head    int64      // length of the header's line
	size    int64      // of the whole lines
	last    float64    // time of the last event
	out, in printable.Cutter
	resized string // the terminal's size, that is recorded with the next output; empty: it is recorded
	full    bool
	leftOut int64     // bytes of output that are not in the file
	failed  time.Time // of the last write that failed; zero: none
}

// Name is the name of its file in the folder.
func (c *Recording) Name() string { return c.name }

// Output records what the session has written. An error ends a session that must be recorded: it says why.
func (c *Recording) Output(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text(Output, &c.out, p)
}

// Input records what was typed, if that is configured.
func (c *Recording) Input(p []byte) {
	if !c.opts.Input {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.text(Input, &c.in, p) // the next output tells of an error
}

// Resize records the size of the terminal, with the next output: a client that changes it all the time does not fill the recording.
func (c *Recording) Resize(rows, columns uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resized = fmt.Sprintf("%dx%d", columns, rows)
}

// writeSize writes the size that the terminal has now.
func (c *Recording) writeSize() {
	if data := c.resized; data != "" {
		c.resized = ""
		_ = c.write(Resize, data) // the next output tells of an error
	}
}

func (c *Recording) text(kind string, cut *printable.Cutter, p []byte) (err error) {
	if c.full && !c.opts.Required {
		if kind == Output {
			c.leftOut += int64(len(p))
		}
		return nil
	}
	if kind == Output {
		c.writeSize()
	}
	for len(p) > 0 && err == nil {
		n := min(len(p), maxPiece)
		if text := cut.Next(p[:n]); len(text) > 0 {
			if err = c.write(kind, string(text)); err != nil && kind == Output {
				c.leftOut += int64(len(text))
			}
		}
		p = p[n:]
	}
	if err != nil && kind == Output {
		c.leftOut += int64(len(p))
	}
	if err != nil && c.opts.Required {
		return fmt.Errorf("it cannot be recorded any more: %w", err)
	}
	return nil
}

// write adds an event. After a failed write it says how much was left out, once there is room again.
func (c *Recording) write(kind, data string) error {
	switch {
	case c.f == nil:
		return os.ErrClosed
	case c.full:
		return ErrFull
	case !c.failed.IsZero() && time.Since(c.failed) < pause:
		return errors.New("the last write failed")
	}
	line := encodeEvent(Event{c.since(), kind, data})
	if c.size+int64(len(line)) > c.opts.FileSize-reserve {
		c.full = true
		c.marker(fmt.Sprintf("the recording is full with %d bytes: what follows is left out", c.size))
		return ErrFull
	}
	if !c.failed.IsZero() {
		line = append(encodeEvent(c.leftOutMarker()), line...)
	}
	err := c.append(line)
	if err != nil && c.failed.IsZero() {
		c.recorder.log.Warn("cannot record a session: what it shows is left out until that works again", "recording", c.name, "error", err)
	}
	c.failed = time.Time{}
	if err != nil {
		c.failed = time.Now()
	}
	return err
}

func (c *Recording) leftOutMarker() Event {
	return Event{c.since(), Marker, fmt.Sprintf("%d bytes of output are left out before this", c.leftOut)}
}

// marker adds a line that a player shows or jumps to, if the file has room for it.
func (c *Recording) marker(text string) {
	if line := encodeEvent(Event{c.since(), Marker, text}); c.size+int64(len(line)) <= c.opts.FileSize {
		_ = c.append(line) // it only explains
	}
}

// append adds whole lines, or nothing.
func (c *Recording) append(lines []byte) error {
	_, err := c.f.WriteAt(lines, c.size)
	if err == nil {
		c.size += int64(len(lines))
		return nil
	}
	_ = c.f.Truncate(c.size) // a part may be there, also if WriteAt counts none; if this fails it is overwritten later
	return fmt.Errorf("cannot write the recording: %w", untrusted.Cause(err))
}

// since is the time of an event; clocks that are set back have no effect.
func (c *Recording) since() float64 {
	c.last = max(c.last, time.Since(c.started).Seconds())
	return c.last
}

// Close writes how the session ended into the header.
func (c *Recording) Close(e console.Exit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.f == nil {
		return
	}
	c.writeSize()
	for kind, cut := range map[string]*printable.Cutter{Output: &c.out, Input: &c.in} {
		if text := cut.End(); len(text) > 0 {
			_ = c.write(kind, string(text))
		}
	}
	if c.leftOut > 0 {
		c.marker(c.leftOutMarker().Data)
	}
	end := Exit{e, math.Round(c.since()*1e3) / 1e3, c.leftOut}
	line := make([]byte, c.head)
	_, err := c.f.ReadAt(line, 0)
	if err == nil {
		line, err = withExit(line, end)
	}
	if err == nil {
		_, err = c.f.WriteAt(line, 0) // in place: it needs no room on the disk
	}
	if err = errors.Join(err, c.f.Close()); err != nil {
		c.recorder.log.Warn("cannot write the end of a session into its recording", "recording", c.name, "error", err)
	}
	c.f = nil
	c.recorder.closed(c.name)
}
