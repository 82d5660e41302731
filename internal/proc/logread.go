package proc

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
// ctx is done; without, it ends with what there is, unfinished lines included.
// It returns f's error or ctx's.
func (l *Log) Lines(ctx context.Context, offset int64, follow bool, f func(Line) error) error {
	wake, cancel := l.subscribe()
	defer cancel()
	s := splitter{f: f}
	buf := make([]byte, 16<<10)
	for {
		n, seg, at := l.read(buf, offset)
		if n == 0 {
			if !follow {
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

// read copies bytes from offset, or from the first that is kept.
func (l *Log) read(buf []byte, offset int64) (n int, seg segment, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
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
	l.mu.Lock()
	defer l.mu.Unlock()
	pos, buf := l.end, make([]byte, 16<<10)
	for lines := 0; pos > l.ix.start(); {
		size := min(int64(len(buf)), pos-l.ix.start())
		got, err := unix.Pread(l.data, buf[:size], pos-size)
		if err != nil || int64(got) != size {
			break
		}
		for k := got - 1; k >= 0; k-- {
			if buf[k] == '\n' && pos-size+int64(k)+1 != l.end {
				if lines++; lines == n {
					return pos - size + int64(k) + 1
				}
			}
		}
		pos -= size
	}
	return l.ix.start()
}
