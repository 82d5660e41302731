package logs

import (
	"bytes"
	"context"
	"io"
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
	give := func(line Line) bool {
		err = f(line)
		return err == nil
	}
	for {
		n, seg, at := l.read(buf, lines.pos)
		if n == 0 && (!follow || l.over()) {
			for k := range lines.part {
				if lines.giveHeld(k, give); err != nil {
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
		if lines.take(buf[:n], seg, give); err != nil {
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
	end := l.End()
	buf := make([]byte, 16<<10)
	for pos, lines := end, 0; ; {
		size, start := l.readBefore(buf, pos)
		if size <= 0 {
			return min(start, end)
		}
		for k := size - 1; k >= 0; k-- {
			if buf[k] == '\n' && pos-int64(size-k)+1 != end {
				if lines++; lines == n {
					return pos - int64(size-k) + 1
				}
			}
		}
		pos -= int64(size)
	}
}

// readBefore fills buf with what ends at pos, as far as it is kept, and returns
// the first offset that is.
func (l *Log) readBefore(buf []byte, pos int64) (n int, start int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	start = l.ix.start()
	size := min(int64(len(buf)), pos-start)
	if size <= 0 {
		return 0, start
	}
	n, err := unix.Pread(l.data, buf[:size], pos-size)
	if err != nil || int64(n) != size {
		return 0, start
	}
	return n, start
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
	l.mu.Lock()
	defer l.mu.Unlock()
	seg, _, ok := l.ix.find(offset-1, l.end)
	if last, err := l.bytesAt(offset-1, 1); !ok || err != nil || last[0] != '\n' {
		return offset
	}
	begin, seen := offset, int64(0)
	for n := l.ix.next; n > l.ix.first && seen < MaxLine; n-- {
		at := l.ix.at(n - 1)
		until := offset
		if n < l.ix.next {
			until = min(offset, l.ix.at(n).off)
		}
		size := min(until-at.off, chunkSize)
		if size <= 0 || at.stream == seg.stream {
			continue
		}
		text, err := l.bytesAt(until-size, size)
		if err != nil {
			return offset
		}
		if k := int64(bytes.LastIndexByte(text, '\n')); k >= 0 {
			if k+1 < size {
				begin = until - size + k + 1
			}
			return begin
		}
		begin, seen = until-size, seen+size
	}
	if seen >= MaxLine { // its fragments cannot be told apart from here
		return offset
	}
	return begin
}

// bytesAt reads n bytes. The caller has l.mu.
func (l *Log) bytesAt(off, n int64) ([]byte, error) {
	buf := make([]byte, n)
	got, err := unix.Pread(l.data, buf, off)
	if err == nil && int64(got) < n {
		err = io.ErrUnexpectedEOF
	}
	return buf, err
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
	text, err := l.bytesAt(from, to-from)
	if err != nil {
		return nil
	}
	return text
}

// streamTail is the end of what is kept of a stream, at most n bytes.
func (l *Log) streamTail(stream, n int) (out []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for from := l.ix.start(); from < l.end; {
		seg, until, ok := l.ix.find(from, l.end)
		if !ok {
			break
		}
		if int(seg.stream) == stream {
			part, err := l.bytesAt(from, until-from)
			if err != nil {
				break
			}
			out = append(out, part...)
			out = out[max(len(out)-n, 0):]
		}
		from = until
	}
	return out
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
