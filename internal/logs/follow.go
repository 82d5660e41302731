package logs

import (
	"bytes"
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// Line is one line of a log, without its newline.
type Line struct {
	Stream int // Stdout or Stderr
	Time   time.Time
	Text   []byte // valid during the call
	Open   bool   // the line has no newline yet, or was cut at MaxLine
	Offset int64  // behind its last byte in the log
}

// MaxLine is the longest line that Lines gives in one piece.
const MaxLine = 64 << 10

// Lines calls f for every line from offset on (older ones when it is no longer
// kept), each stream's bytes put together. With follow it waits for more until
// ctx is done or the log is gone; without, it ends with what there is, unfinished lines included.
// It returns f's error or ctx's.
func (l *Log) Lines(ctx context.Context, offset int64, follow bool, f func(Line) error) error {
	wake, cancel := l.subscribe()
	defer cancel()
	s := splitter{f: f}
	buf := make([]byte, 16<<10)
	for {
		n, seg, at := l.read(buf, offset)
		if n == 0 {
			if !follow || l.over() {
				return s.finish()
			}
			select {
			case <-wake:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := s.add(buf[:n], seg, at); err != nil {
			return err
		}
		if offset = at + int64(n); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// over says whether the log is gone: nothing comes any more.
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

// splitter puts each stream's lines together.
type splitter struct {
	f    func(Line) error
	part [2][]byte
	when [2]time.Time
	end  [2]int64
}

func (s *splitter) add(b []byte, seg segment, at int64) error {
	k := int(seg.stream) - 1
	for len(b) > 0 {
		if len(s.part[k]) == 0 {
			s.when[k] = time.Unix(0, seg.time)
		}
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		room := MaxLine - len(s.part[k])
		cut := len(line) > room
		if cut {
			line, rest, whole = line[:room], b[room:], false
		}
		at += int64(len(b) - len(rest))
		s.part[k] = append(s.part[k], line...)
		s.end[k] = at
		if whole || cut {
			if err := s.emit(k, cut); err != nil {
				return err
			}
		}
		b = rest
	}
	return nil
}

func (s *splitter) emit(k int, open bool) error {
	line := Line{Stream: k + 1, Time: s.when[k], Text: s.part[k], Open: open, Offset: s.end[k]}
	s.part[k] = s.part[k][:0]
	return s.f(line)
}

// finish gives the lines that have no end.
func (s *splitter) finish() error {
	for k := range s.part {
		if len(s.part[k]) > 0 {
			if err := s.emit(k, true); err != nil {
				return err
			}
		}
	}
	return nil
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

// readBefore fills buf with what ends at pos, as far as it is kept, and gives
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

// ResumeOffset is where to begin to read for somebody who has had every line up
// to the one whose Offset is given: with the other stream's line, where that one
// was unfinished then. Lines that end up to offset come first once more.
func (l *Log) ResumeOffset(offset int64) int64 {
	l.mu.Lock()
	defer l.unlock()
	buf := l.buffer()
	seg, _, ok := l.ix.find(offset-1, l.end)
	if n, err := unix.Pread(l.data, buf[:1], offset-1); !ok || n != 1 || err != nil || buf[0] != '\n' {
		return offset
	}
	begin, looked := offset, int64(0)
	for n := l.ix.next; n > l.ix.first && looked < MaxLine; n-- {
		at := l.ix.at(n - 1)
		until := offset
		if n < l.ix.next {
			until = min(offset, l.ix.at(n).off)
		}
		size := until - at.off
		if size <= 0 || at.stream == seg.stream {
			continue
		}
		size = min(size, int64(len(buf)))
		got, err := unix.Pread(l.data, buf[:size], until-size)
		if err != nil || int64(got) != size {
			return offset
		}
		if k := bytes.LastIndexByte(buf[:got], '\n'); k >= 0 {
			if from := until - size + int64(k) + 1; from < until {
				begin = from
			}
			return begin
		}
		begin, looked = until-size, looked+size
	}
	if looked >= MaxLine { // its pieces cannot be told from here
		return offset
	}
	return begin
}

// Bytes gives what is kept of the bytes from one offset to another, both streams
// in the order of arrival.
func (l *Log) Bytes(from, to int64) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, to = max(from, l.ix.start()), min(to, l.end)
	if from >= to {
		return nil
	}
	buf := make([]byte, to-from)
	n, err := unix.Pread(l.data, buf, from)
	if err != nil {
		return nil
	}
	return buf[:n]
}

// AwaitPassed waits until the bytes before an offset were passed on, or were given
// up, but not longer than a time: a reader may never read them.
func (l *Log) AwaitPassed(offset int64, within time.Duration) {
	limit := time.After(within)
	for {
		l.mu.Lock()
		passed := l.ix.passed >= offset || l.quit || l.closed
		l.mu.Unlock()
		if passed {
			return
		}
		select {
		case <-time.After(time.Millisecond):
		case <-limit:
			return
		}
	}
}
