package logs

import (
	"cmp"
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// Lines calls f for every line from offset on (later if it is no longer kept), each
// stream assembled by itself. With follow it waits for more until ctx is done or the log is
// removed; without, it ends with what there is, incomplete lines included. It returns f's
// error or ctx's.
func (l *Log) Lines(ctx context.Context, offset int64, follow bool, f func(Line) error) error {
	wake, cancel := l.subscribe()
	defer cancel()
	lines := assembleAt(offset)
	buf := make([]byte, 16<<10)
	var err error
	emit := func(line Line) bool {
		err = f(line)
		return err == nil
	}
	for {
		n, seg, at := l.read(buf, lines.pos, nil)
		if n == 0 && (!follow || l.removed()) {
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
		lines.take(buf[:n], seg, emit)
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
	}
}

// subscribe returns a channel that receives when there may be more output.
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

func (l *Log) removed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// read copies bytes of one segment from offset, or from the first that is kept. It sets the
// progress of a writer, unless nil, under the same lock: what is dropped later was read.
func (l *Log) read(buf []byte, offset int64, by *progress) (n int, seg segment, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at = max(offset, l.ix.start().pos)
	seg, until, ok := l.ix.find(at, l.end)
	if !ok {
		return 0, seg, at
	}
	n, err := unix.Pread(l.data, buf[:min(int64(len(buf)), until-at)], seg.at(at))
	if err != nil {
		return 0, seg, at
	}
	if by != nil && at == offset {
		end := at + int64(n)
		switch {
		case by.pos == at:
			by.lines += newlines(buf[:n])
		case end == until:
			by.lines = l.linesAt(end)
		default:
			by.lines = l.linesBefore(end)
		}
		by.pos = end
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

// SinceOffset is where to begin to read what was captured at t or later. Lines of an
// earlier Time may come first; lines shorter than MaxLine are whole.
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

// ResumeOffset is where to begin to read for a reader that has read every line up
// to the one whose Offset is given: with the line of the other stream if it was incomplete
// then. Lines that end up to offset come first once more.
func (l *Log) ResumeOffset(offset int64) int64 {
	a := assembleAt(0)
	buf := make([]byte, 16<<10)
	for begin, last := offset, 0; ; {
		n, seg, at := l.read(buf[:min(int64(len(buf)), max(offset-a.pos, 0))], a.pos, nil)
		if n <= 0 || at >= offset {
			for k := range a.part {
				if a.open[k] || k == last && len(a.part[k]) > 0 { // the reader has read fragments of a long line
					return offset
				}
				if len(a.part[k]) > 0 {
					begin = min(begin, a.from[k])
				}
			}
			return begin
		}
		a.pos, last = at, seg.stream()-1
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
	from, to = max(from, l.ix.start().pos), min(to, l.end)
	if from >= to {
		return nil
	}
	text := make([]byte, 0, to-from)
	for from < to {
		n, err := l.pread(text[len(text):cap(text)], from)
		if n <= 0 || err != nil {
			break
		}
		text, from = text[:len(text)+n], from+int64(n)
	}
	return text
}

// streamTail is the end of what is kept of a stream, at most n bytes.
func (l *Log) streamTail(stream, n int) (out []byte) {
	buf := make([]byte, 16<<10)
	for pos := int64(0); ; {
		got, seg, at := l.read(buf, pos, nil)
		if got == 0 {
			return out
		}
		if seg.stream() == stream {
			out = append(out, buf[:got]...)
			out = out[max(len(out)-n, 0):]
		}
		pos = at + int64(got)
	}
}

// AwaitForwarded waits, for a limited time, until the bytes before an offset were forwarded
// or dropped.
func (l *Log) AwaitForwarded(offset int64, within time.Duration) {
	limit := time.After(within)
	for {
		l.mu.Lock()
		done := l.ix.forwarded.pos >= offset || l.stopping || l.closed
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
