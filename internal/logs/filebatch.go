package logs

import (
	"bytes"
	"time"
)

// layDown takes what is next from the log, at most a chunk and a line, and lays
// it down to be written. Where the file is full another is begun first.
func (f *logFile) layDown(last bool) error {
	if f.file.tooOld(f.notes) {
		if err := f.file.rotate(f.notes); err != nil {
			return err
		}
	}
	b, out, full := f.render(last)
	defer func() { f.why = "" }() // told, if there was anything to tell
	if full {
		f.l.giveBack(out)
		if err := f.file.rotate(f.notes); err != nil {
			return err
		}
		b, out, _ = f.render(last)
	}
	if len(out) == 0 {
		f.l.giveBack(out)
		b.done = 1
	} else {
		if f.file.size == 0 {
			f.notes.begun, f.notes.begunIno = time.Now().UnixNano(), f.file.ino
		}
		if f.put(out, 0) == nil { // else it is written all the same, and a kill meanwhile repeats or loses it
			b.n, b.size, b.dev, b.ino = int64(len(out)), f.file.size, f.file.dev, f.file.ino
		} else {
			b.done = 1
		}
		f.rest, f.buf = out, out
	}
	f.l.mu.Lock()
	f.note(b)
	f.l.mu.Unlock()
	if len(out) == 0 {
		f.advance()
	}
	return nil
}

// render puts the next lines of both streams together. full says that not even
// the first of them has room in the file, which is not empty.
func (f *logFile) render(last bool) (b fileBatch, out []byte, full bool) {
	l := f.l
	in := l.borrow()
	defer l.giveBack(in)
	out = l.borrow()[:0]
	b = fileBatch{lines: f.last().lines, dropped: f.last().dropped, marked: f.last().marked}
	out = f.skipLost(&b, out)
	marks := len(out)
	size := f.file.size
	add := func(p piece) bool {
		after := size + int64(len(out)+len(p.text)) + 1
		if len(out) == 0 && size > 0 && after > f.file.Size {
			full = true
			return false
		}
		if len(out) > marks && (after > f.file.Size || len(out) >= chunkSize) {
			return false
		}
		if other := 2 - p.stream; f.j.begun[other] == 1 { // its line is cut rather than mixed with this one
			out, f.j.begun[other] = append(out, '\n'), 0
		}
		out = append(out, p.text...)
		if p.ends {
			out = append(out, '\n')
		}
		return true
	}
	for !full && len(out) < chunkSize {
		n, seg, at := f.read(in)
		if n > 0 && at != f.j.pos {
			break // dropped in this moment: for the next batch to tell
		}
		if n == 0 {
			f.giveDue(last, add)
			break
		}
		took := f.j.take(in[:n], seg, add)
		b.lines += uint64(bytes.Count(in[:took], []byte{'\n'}))
		if took < n {
			break
		}
	}
	b.next = f.j.cursor
	l.mu.Lock()
	f.taken = taken{b.next.pos, b.lines}
	l.mu.Unlock()
	return b, out, full
}

// read reads what comes next.
func (f *logFile) read(in []byte) (n int, seg segment, at int64) {
	n, seg, at = f.l.takeNext(&f.taken, in, f.j.pos)
	f.l.mu.Lock()
	defer f.l.mu.Unlock()
	return int(max(min(int64(n), f.end()-at), 0)), seg, at
}

// giveDue gives the beginnings of lines that have waited long enough for their end.
func (f *logFile) giveDue(last bool, add func(piece) bool) {
	for k := range f.j.part {
		if since, held := f.j.waits(k); held && (last || time.Since(since) >= jsonHold) {
			f.j.giveHeld(k, add)
		}
	}
}

// skipLost jumps over what is no longer kept, counts it and begins the batch with
// a mark that says so.
func (f *logFile) skipLost(b *fileBatch, out []byte) []byte {
	l := f.l
	l.mu.Lock()
	defer l.unlock()
	begun := f.j.begun
	if start := l.ix.start(); f.j.pos < start {
		rest, restLines := l.restOfLine(start)
		lines := l.ix.startLines() + restLines
		b.dropped.bytes += uint64(start + rest - f.j.pos)
		b.dropped.lines += lines - min(b.lines, lines)
		b.dropped.bytes += uint64(f.j.start(start + rest))
		b.lines = lines
		// Counted and noted in one step; a mark is due until one is noted.
		place := f.j.cursor
		place.begun = begun
		f.taken = taken{place.pos, lines}
		f.note(fileBatch{next: place, lines: lines, done: 1, dropped: b.dropped, marked: b.marked})
	}
	if b.dropped == b.marked {
		return out
	}
	if begun[0]+begun[1] > 0 {
		out, f.j.begun = append(out, '\n'), [2]uint64{}
	}
	reason := "the file could not be written in time"
	if f.why != "" {
		reason = f.why
	}
	out = appendMark(out, FormatRaw, l.name,
		dropMark(b.dropped.lines-b.marked.lines, b.dropped.bytes-b.marked.bytes, l.name, reason), time.Now())
	b.marked = b.dropped
	return out
}
