package logs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// forward copies the log to the container's stdout and stderr. It is the only goroutine
// of a log that a stalled reader can block. It ends with Flush, and when a retired log
// is at its end.
func (l *Log) forward() {
	var held time.Time // since when the beginning of a line is held, in raw
	var now Format
	var lines *lineAssembler
	for {
		f, quit := l.wanted()
		if f != now {
			lines = l.changeFormat(now, f, lines)
			now, held = f, time.Time{}
		}
		did, wait := false, time.Duration(0)
		switch {
		case f == FormatNone:
			l.writeNotices()
		case f.byLines():
			did, wait = l.forwardLines(lines, f, quit)
		default:
			did, wait = l.forwardRaw(&held, quit)
		}
		switch {
		case did:
			continue
		case quit:
			l.sinks[0].leave(l)
			l.sinks[1].leave(l)
			return
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-l.wake:
		case <-due:
		}
	}
}

// wanted is how the output is to be forwarded now.
func (l *Log) wanted() (f Format, quit bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opts.Format, l.quit || l.retired && len(l.pipes) == 0
}

// changeFormat ends what was begun in one format and starts another. At the first one a
// line that an earlier supervisor has begun goes on.
func (l *Log) changeFormat(from, to Format, lines *lineAssembler) *lineAssembler {
	if from.byLines() {
		l.endLines(lines, from)
	}
	if from != "" {
		l.sinks[0].endLine(l)
		l.sinks[1].endLine(l)
		l.within = [2]bool{}
	}
	if to.byLines() {
		return l.startLines()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	unix.Seek(l.sent, l.ix.forwarded, io.SeekStart)
	return nil
}

// portion is what raw forwards in one go.
type portion struct {
	n      int // bytes; 0: nothing to forward now
	stream int
	lines  uint64
	ends   bool // it ends a line
	more   bool // more of the line is there already, or about to be
	hold   bool // there is the beginning of a line, not yet due
}

// forwardRaw forwards the next portion. wait is how long the beginning of a line is
// still held; 0: there is none.
func (l *Log) forwardRaw(held *time.Time, quit bool) (did bool, wait time.Duration) {
	due := quit || !held.IsZero() && time.Since(*held) >= holdPrompt
	p := l.portion(!due)
	l.writeNotices()
	if p.n > 0 {
		*held = time.Time{}
		l.forwardPortion(p)
		return true, 0
	}
	if !p.hold {
		return false, 0
	}
	if held.IsZero() {
		*held = time.Now()
	}
	return false, max(time.Until(held.Add(holdPrompt)), time.Microsecond)
}

// portion looks at what comes next. whole asks for whole lines only.
func (l *Log) portion(whole bool) portion {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.skipDropped()
	seg, until, ok := l.ix.find(l.ix.forwarded, l.end)
	if !ok || l.opts.Format != FormatRaw {
		return portion{}
	}
	buf := l.buffer()
	defer l.pool.Put(buf)
	n := int(min(until-l.ix.forwarded, chunkSize))
	got, err := unix.Pread(l.data, (*buf)[:n], l.ix.forwarded)
	if err != nil || got <= 0 {
		return portion{}
	}
	b := (*buf)[:got]
	cut := bytes.LastIndexByte(b, '\n') + 1
	more := until < l.end || got == chunkSize
	if cut == 0 {
		if whole && !more {
			return portion{hold: true}
		}
		cut, more = got, more || got >= longLine
	}
	lines := uint64(bytes.Count(b[:cut], []byte{'\n'}))
	l.pinned = [2]int64{l.ix.forwarded, l.ix.forwarded + int64(cut)}
	l.taken = progress{l.pinned[1], l.ix.forwardedLines + lines}
	return portion{n: cut, stream: int(seg.stream), lines: lines, ends: b[cut-1] == '\n', more: more}
}

// forwardPortion forwards p, or counts it as dropped where it is not read.
func (l *Log) forwardPortion(p portion) {
	within := &l.within[p.stream-1]
	n, err := l.sinks[p.stream-1].pass(transfer{owner: l, src: l.sent, n: p.n, begins: !*within, ends: p.ends, more: p.more})
	*within = !p.ends
	l.mu.Lock()
	defer l.mu.Unlock()
	if n < p.n && err != nil {
		l.drop(amount{uint64(p.n - n), p.lines}, err)
		unix.Seek(l.sent, l.pinned[1], io.SeekStart)
		n = p.n
	}
	if at := l.pinned[0] + int64(n); at < l.ix.forwarded { // with FormatNone the rest was skipped meanwhile
		unix.Seek(l.sent, l.ix.forwarded, io.SeekStart)
	} else {
		l.advance(at, p.lines)
	}
	l.unpin()
	l.makeRoom()
	l.trim()
}

// advance notes that everything before pos, with so many lines more, was forwarded. With
// FormatNone more was skipped meanwhile.
func (l *Log) advance(pos int64, lines uint64) {
	if pos > l.ix.forwarded {
		l.ix.forwarded = pos
		l.ix.forwardedLines += lines
	}
}

// forwardedUpTo notes that everything before pos was forwarded.
func (l *Log) forwardedUpTo(pos int64) {
	switch from := l.ix.forwarded; {
	case pos <= from:
		return
	case pos >= l.ix.start():
		l.ix.forwardedLines = l.linesBefore(pos)
	default: // within what was being forwarded, which is still there
		l.ix.forwardedLines += l.newlines(from, min(pos, from+chunkSize))
	}
	l.ix.forwarded = pos
}

// drop counts what could not be written. The reason is for the mark.
func (l *Log) drop(gone amount, err error) {
	l.ix.droppedBytes += gone.bytes
	l.ix.droppedLines += gone.lines
	switch {
	case err == unix.EPIPE || err == os.ErrClosed && l.reason == "":
		l.reason = "it was not read"
	case err != os.ErrClosed:
		l.reason = "it could not be written: " + err.Error()
	}
}

// skipDropped jumps over what is no longer kept, and counts it. It has l.mu, and nothing
// is being forwarded.
func (l *Log) skipDropped() bool {
	l.taken = progress{}
	if l.ix.forwarded >= l.ix.start() {
		return false
	}
	next := l.firstLine()
	l.ix.droppedBytes += uint64(next.pos - l.ix.forwarded)
	l.ix.droppedLines += next.lines - min(l.ix.forwardedLines, next.lines)
	l.ix.forwarded, l.ix.forwardedLines = next.pos, next.lines
	unix.Seek(l.sent, l.ix.forwarded, io.SeekStart)
	l.gap = true
	return true
}

// firstLine is where the first line begins whose beginning is kept. Where the byte before
// what is kept is gone too, one line too many is skipped, and counted.
func (l *Log) firstLine() progress {
	off, lines := l.ix.start(), l.ix.startLines()
	_, until, ok := l.ix.find(off, l.end)
	if !ok {
		return progress{off, lines}
	}
	buf := l.buffer()
	defer l.pool.Put(buf)
	b := (*buf)[:min(until-off, chunkSize-1)+1]
	got, err := unix.Pread(l.data, b, off-1)
	if err != nil || got < 1 || b[0] == '\n' {
		return progress{off, lines}
	}
	if end := bytes.IndexByte(b[1:got], '\n'); end >= 0 {
		return progress{off + int64(end) + 1, lines + 1}
	}
	return progress{off, lines} // longer than a segment: its fragments are no lines anyway
}

// claimSinks finds out whether an earlier supervisor was in the middle of a line.
func (l *Log) claimSinks() {
	if f := l.opts.Format; f.byLines() {
		for k, s := range l.sinks {
			if p := l.page; p.live == 1 && (p.out.writing == uint64(k+1) || p.out.begun[k] == 1 && f == FormatPrefix) {
				s.claim(s, true)
			}
		}
		return
	}
	var last [1]byte
	seg, _, ok := l.ix.find(l.ix.forwarded-1, l.end)
	if !ok || l.opts.Format != FormatRaw {
		return
	}
	if n, err := unix.Pread(l.data, last[:], l.ix.forwarded-1); n == 1 && err == nil && last[0] != '\n' {
		l.sinks[seg.stream-1].claim(l, false)
	}
}

// writeNotices writes the notices that wait, and a mark of how much was dropped since the
// last mark, once the reader reads again. The mark is noted in shared memory after it is
// written: a kill between the two repeats it.
func (l *Log) writeNotices() {
	l.mu.Lock()
	h, f := l.ix.header, l.opts.Format
	gone := amount{h.droppedBytes, h.droppedLines}
	fresh := (gone.bytes > h.markedBytes || gone.lines > h.markedLines) && !l.sinks[0].failing() && !l.sinks[1].failing()
	if !fresh && !l.gap && len(l.notices) == 0 {
		l.mu.Unlock()
		return
	}
	gap := l.gap
	l.gap = false
	var notices []string
	if !l.sinks[1].absent() {
		notices, l.notices = l.notices, nil
	}
	if fresh {
		notices = append(notices, dropMark(amount{gone.bytes - h.markedBytes, gone.lines - h.markedLines}, l.name, l.reason))
		l.reason = ""
	}
	l.mu.Unlock()
	if gap { // what follows does not continue the line before
		l.sinks[0].endLine(l)
		l.sinks[1].endLine(l)
	}
	var text []byte
	for _, n := range notices {
		text = appendMark(text, f, l.name, n, time.Now())
	}
	if _, err := l.sinks[1].Write(text); err != nil || !fresh {
		return
	}
	l.mu.Lock()
	l.ix.markedBytes, l.ix.markedLines = gone.bytes, gone.lines
	l.mu.Unlock()
}

// noteLost notes how much the init discarded of p's output while no supervisor worked.
func (l *Log) noteLost(p *Capture, lost amount) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	p.lost = lost
	total := l.ix.lostLines
	for q := range l.pipes {
		total += q.lost.lines
	}
	if total > l.ix.notedLost { // an earlier supervisor may have reported a part of it
		l.notices = append(l.notices, fmt.Sprintf("%d lines of the output of %s were discarded while no supervisor worked",
			total-l.ix.notedLost, l.name))
		l.ix.notedLost = total
	}
	l.notifyWriters()
}
