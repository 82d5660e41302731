package logs

import (
	"bytes"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// holdPartial is how long the beginning of a line waits for its end before it is
// passed on all the same (a prompt has none).
const holdPartial = 50 * time.Millisecond

// portion is what is passed on in one go.
type portion struct {
	n      int // bytes; 0: nothing to pass on now
	stream int
	lines  uint64
	ends   bool // it ends a line
	more   bool // more of the line is there already, or about to be
	hold   bool // there is the beginning of a line, not yet due
}

// passOn copies the log to the container's stdout and stderr. It is the only
// one that a stalled reader can block. It ends with Flush, and when a retired log
// is at its end.
func (l *Log) passOn() {
	var held time.Time // since when the beginning of a line waits, in raw
	var now Format
	var r *rendering
	for {
		f, next, quit := l.wanted()
		if f != now {
			l.endFormat(now, r)
			now, held = f, time.Time{}
		}
		r = next
		did, wait := false, time.Duration(0)
		switch {
		case f == FormatNone:
			l.passNotes()
		case f.rendered():
			did, wait = l.passRendered(r, f, quit)
		default:
			did, wait = l.passRaw(&held, quit)
		}
		switch {
		case did:
			continue
		case quit:
			l.outs[0].leave(l)
			l.outs[1].leave(l)
			return
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-l.poke:
		case <-due:
		}
	}
}

// wanted is how the output is to be passed on now.
func (l *Log) wanted() (f Format, r *rendering, quit bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opts.Format, l.rendering, l.quit || l.retired && len(l.pipes) == 0
}

// endFormat ends what was begun in a format that counts no more.
func (l *Log) endFormat(f Format, r *rendering) {
	if f == "" {
		return // the first one: a line that an earlier supervisor has begun goes on
	}
	if f.rendered() {
		l.endRendered(r, f)
	}
	l.outs[0].endLine(l)
	l.outs[1].endLine(l)
}

// passRaw passes the next portion on. wait is how long the beginning of a line is
// held yet; 0: there is none.
func (l *Log) passRaw(held *time.Time, quit bool) (did bool, wait time.Duration) {
	due := quit || !held.IsZero() && time.Since(*held) >= holdPartial
	p := l.portion(!due)
	l.passNotes()
	if p.n > 0 {
		*held = time.Time{}
		l.passPortion(p)
		return true, 0
	}
	if !p.hold {
		return false, 0
	}
	if held.IsZero() {
		*held = time.Now()
	}
	return false, max(time.Until(held.Add(holdPartial)), time.Microsecond)
}

// portion looks at what comes next. whole asks for whole lines only.
func (l *Log) portion(whole bool) portion {
	l.mu.Lock()
	defer l.unlock()
	l.skipLost()
	l.skipAbsent()
	seg, until, ok := l.ix.find(l.ix.passed, l.end)
	if !ok || l.opts.Format != FormatRaw {
		return portion{}
	}
	n := int(min(until-l.ix.passed, chunkSize))
	got, err := unix.Pread(l.data, l.buffer()[:n], l.ix.passed)
	if err != nil || got <= 0 {
		return portion{}
	}
	b := l.buf[:got]
	cut := bytes.LastIndexByte(b, '\n') + 1
	more := until < l.end || got == chunkSize
	if cut == 0 {
		if whole && !more {
			return portion{hold: true}
		}
		cut, more = got, more || got >= longLine
	}
	lines := uint64(bytes.Count(b[:cut], []byte{'\n'}))
	l.pinned = [2]int64{l.ix.passed, l.ix.passed + int64(cut)}
	l.taken = taken{l.pinned[1], l.ix.passedLines + lines}
	return portion{n: cut, stream: int(seg.stream), lines: lines, ends: b[cut-1] == '\n', more: more}
}

// skipLost jumps over what is no longer kept, and counts it. Nothing is on its way.
func (l *Log) skipLost() {
	l.taken = taken{}
	start := l.ix.start()
	if l.ix.passed >= start {
		return
	}
	rest, restLines := l.restOfLine(start)
	l.drop(start+rest, l.ix.startLines()+restLines)
	l.gap = true
}

// drop gives up what is before an offset, which has lines newlines before it.
func (l *Log) drop(upTo int64, lines uint64) {
	l.ix.droppedBytes += uint64(upTo - l.ix.passed)
	l.ix.droppedLines += lines - l.ix.passedLines
	l.ix.passed, l.ix.passedLines = upTo, lines
	unix.Seek(l.sent, upTo, io.SeekStart)
}

// skipAbsent jumps over what is for an outlet that nobody reads, and counts it,
// without a look at the bytes.
func (l *Log) skipAbsent() (skipped bool) {
	absent := [2]bool{l.outs[0].absent(), l.outs[1].absent()}
	for absent[0] || absent[1] {
		seg, until, ok := l.ix.find(l.ix.passed, l.end)
		if !ok || !absent[seg.stream-1] {
			break
		}
		l.drop(until, l.ix.linesBefore(until))
		skipped = true
	}
	if skipped {
		l.makeRoom()
		l.trim()
	}
	return skipped
}

// restOfLine is what must be skipped at off so that nothing begins in the middle
// of a line whose beginning is gone. Where the byte before is gone too, one line
// too many is skipped, and counted.
func (l *Log) restOfLine(off int64) (n int64, lines uint64) {
	seg, until, ok := l.ix.find(off, l.end)
	if !ok || seg.off > off {
		return 0, 0
	}
	b := l.buffer()[:min(until-off, chunkSize-1)+1]
	got, err := unix.Pread(l.data, b, off-1)
	if err != nil || got < 1 || b[0] == '\n' {
		return 0, 0
	}
	if end := bytes.IndexByte(b[1:got], '\n'); end >= 0 {
		return int64(end) + 1, 1
	}
	return 0, 0 // longer than a segment: its pieces are no lines anyway
}

// passPortion passes p on, or counts it as dropped where nobody reads.
func (l *Log) passPortion(p portion) {
	n, err := l.outs[p.stream-1].pass(passing{owner: l, src: l.sent, n: p.n, begins: !l.within[p.stream-1], ends: p.ends, more: p.more})
	l.within[p.stream-1] = !p.ends
	l.mu.Lock()
	defer l.unlock()
	if n < p.n && err != nil {
		l.ix.droppedBytes += uint64(p.n - n)
		l.ix.droppedLines += p.lines
		l.reason = lostReader(err)
		unix.Seek(l.sent, l.ix.passed+int64(p.n), io.SeekStart)
		n = p.n
	}
	l.ix.passed += int64(n)
	l.ix.passedLines += p.lines
	l.pinned = [2]int64{}
	l.makeRoom()
	l.trim()
}

// lostReader is the reason in a mark.
func lostReader(err error) string {
	if err == unix.EPIPE {
		return "nobody read it"
	}
	return "it could not be written: " + err.Error()
}

// claimOutlet finds out whether an earlier supervisor was in the middle of a
// line: its rest comes before anything else.
func (l *Log) claimOutlet() {
	if r := l.rendering; l.opts.Format.rendered() && r != nil && r.live {
		b := r.last()
		if r.unsent() > 0 {
			l.outs[b.stream-1].claim(l)
		}
		for k, begun := range b.next.begun {
			if begun == 1 && l.opts.Format == FormatPrefix {
				l.outs[k].claim(l)
			}
		}
		return
	}
	var last [1]byte
	seg, _, ok := l.ix.find(l.ix.passed-1, l.end)
	if !ok || l.opts.Format != FormatRaw {
		return
	}
	if n, err := unix.Pread(l.data, last[:], l.ix.passed-1); n == 1 && err == nil && last[0] != '\n' {
		l.outs[seg.stream-1].claim(l)
	}
}

// passNotes writes the markers that wait, and how much was dropped since the last
// such marker, once whoever did not read reads again. What was said is noted in
// shared memory behind it: a kill between the two says it twice rather than never.
func (l *Log) passNotes() {
	l.mu.Lock()
	h, f := l.ix.header, l.opts.Format
	bytes, lines := h.droppedBytes, h.droppedLines
	fresh := (bytes > h.markedBytes || lines > h.markedLines) && !l.outs[0].failing() && !l.outs[1].failing()
	if !fresh && !l.gap && len(l.notes) == 0 {
		l.mu.Unlock()
		return
	}
	gap := l.gap
	l.gap = false
	var notes []string
	if !l.outs[1].absent() {
		notes, l.notes = l.notes, nil
	}
	if fresh {
		notes = append(notes, dropMark(lines-h.markedLines, bytes-h.markedBytes, l.name, l.reason))
		l.reason = ""
	}
	l.mu.Unlock()
	if gap { // what follows must not be taken for the rest of the line before
		l.outs[0].endLine(l)
		l.outs[1].endLine(l)
	}
	var text []byte
	for _, n := range notes {
		text = appendMark(text, f, l.name, n, time.Now())
	}
	if _, err := l.outs[1].Write(text); err != nil || !fresh {
		return
	}
	l.mu.Lock()
	l.ix.markedBytes, l.ix.markedLines = bytes, lines
	l.mu.Unlock()
}

// EndLine ends the line that a stream is in.
func (l *Log) EndLine(stream int) {
	l.mu.Lock()
	defer l.unlock()
	until := l.end
	for n := l.ix.next; n > l.ix.first; n-- {
		seg := l.ix.at(n - 1)
		if int(seg.stream) != stream || seg.off == until {
			until = seg.off
			continue
		}
		var last [1]byte
		if got, err := unix.Pread(l.data, last[:], until-1); err != nil || got < 1 || last[0] == '\n' {
			return
		}
		l.ix.begin(l.end, stream, time.Now())
		if got, err := unix.Write(l.data, []byte{'\n'}); err == nil && got == 1 {
			l.end++
			_ = l.count(1)
		}
		return
	}
}
