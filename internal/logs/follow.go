package logs

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// Lines calls f for every line from offset on (older ones when it is no longer
// kept), each stream's bytes put together. With follow it waits for more until
// ctx is done or the log is removed; without, it ends with what there is, unfinished lines
// included. It returns f's error or ctx's.
func (l *Log) Lines(ctx context.Context, offset int64, follow bool, f func(Line) error) error {
	wake, cancel := l.subscribe()
	defer cancel()
	lines := assembleFrom(position{done: [2]int64{offset, offset}})
	buf := make([]byte, 16<<10)
	var err error
	emit := func(line Line) bool {
		err = f(line)
		return err == nil
	}
	for {
		n, seg, at := l.read(buf, lines.pos)
		if n == 0 && (!follow || l.over()) {
			for k := range lines.part {
				if lines.emitHeld(k, emit); err != nil {
					return err
				}
			}
			return nil
		}
		if n == 0 {
			select {
			case <-wake:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		lines.pos = at
		if lines.take(buf[:n], seg, emit); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// subscribe returns a channel that gets a token whenever there may be more.
func (l *Log) subscribe() (wake chan struct{}, cancel func()) {
	wake = make(chan struct{}, 1)
	l.mu.Lock()
	l.readers[wake] = true
	l.mu.Unlock()
	return wake, func() {
		l.mu.Lock()
		delete(l.readers, wake)
		l.mu.Unlock()
	}
}

// over says whether the log is removed: nothing comes any more.
func (l *Log) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// read copies bytes from offset, or from the first that is kept.
func (l *Log) read(buf []byte, offset int64) (n int, seg segment, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.readKept(buf, offset)
}

// readKept is read with l.mu.
func (l *Log) readKept(buf []byte, offset int64) (n int, seg segment, at int64) {
	at = max(offset, l.ix.start())
	seg, until, ok := l.ix.find(at, l.end)
	if !ok {
		return 0, seg, at
	}
	n, err := unix.Pread(l.data, buf[:min(int64(len(buf)), until-at)], at)
	if err != nil {
		n = 0
	}
	return n, seg, at
}

// TailOffset is where the last n lines begin.
func (l *Log) TailOffset(n int) int64 {
	const step = 16 << 10
	end := l.End()
	for pos, lines := end, 0; ; {
		text := l.Bytes(pos-step, pos)
		for k := len(text) - 1; k >= 0; k-- {
			if at := pos - int64(len(text)-k) + 1; text[k] == '\n' && at != end {
				if lines++; lines == n {
					return at
				}
			}
		}
		if pos -= int64(len(text)); len(text) == 0 {
			return pos
		}
	}
}

// SinceOffset is where to begin to read what came at t or later. Lines of an
// earlier Time may come first: they are whole where they are shorter than MaxLine.
func (l *Log) SinceOffset(t time.Time) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.ix.first
	for n < l.ix.next && l.ix.at(n).time < t.UnixNano() {
		n++
	}
	if n == l.ix.next {
		return l.end
	}
	for off := l.ix.at(n).off; n > l.ix.first && off-l.ix.at(n-1).off <= MaxLine; {
		n--
	}
	return l.ix.at(n).off
}

// ResumeOffset is where to begin to read for a reader that has had every line up
// to the one whose Offset is given: with the other stream's line, where that one
// was unfinished then. Lines that end up to offset come first once more.
func (l *Log) ResumeOffset(offset int64) int64 {
	a := assembleFrom(position{})
	buf := make([]byte, 16<<10)
	for begin, last := offset, 0; ; {
		n, seg, at := l.read(buf[:min(int64(len(buf)), max(offset-a.pos, 0))], a.pos)
		if n <= 0 || at >= offset {
			for k := range a.part {
				if a.rest[k] || k == last && len(a.part[k]) > 0 { // the fragments of a long line, or the reader has had one
					return offset
				}
				if len(a.part[k]) > 0 {
					begin = min(begin, a.from[k])
				}
			}
			return begin
		}
		a.pos, last = at, int(seg.stream)-1
		a.take(buf[:min(int64(n), offset-at)], seg, func(Line) bool { return true })
	}
}

// Text is everything that is kept, both streams in the order of arrival.
func (l *Log) Text() string { return string(l.Bytes(0, l.End())) }

// Bytes is what is kept of the bytes from one offset to another, both streams
// in the order of arrival.
func (l *Log) Bytes(from, to int64) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, to = max(from, l.ix.start()), min(to, l.end)
	if from >= to {
		return nil
	}
	text := make([]byte, to-from)
	n, _ := unix.Pread(l.data, text, from)
	return text[:max(n, 0)]
}

// streamTail is the end of what is kept of a stream, at most n bytes.
func (l *Log) streamTail(stream, n int) (out []byte) {
	buf := make([]byte, 16<<10)
	for pos := int64(0); ; {
		got, seg, at := l.read(buf, pos)
		if got == 0 {
			return out
		}
		if int(seg.stream) == stream {
			out = append(out, buf[:got]...)
			out = out[max(len(out)-n, 0):]
		}
		pos = at + int64(got)
	}
}

// AwaitForwarded waits until the bytes before an offset were forwarded, or given up, but
// not longer than a time: a reader may never read them.
func (l *Log) AwaitForwarded(offset int64, within time.Duration) {
	limit := time.After(within)
	for {
		l.mu.Lock()
		done := l.ix.forwarded >= offset || l.quit || l.closed
		l.mu.Unlock()
		if done {
			return
		}
		select {
		case <-time.After(time.Millisecond):
		case <-limit:
			return
		}
	}
}
