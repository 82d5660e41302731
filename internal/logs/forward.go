package logs

import (
	"bytes"
	"github.com/stoker-init/stoker/internal/logs/space"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// forward copies the log to the container's stdout and stderr. It is the only goroutine
// of a log that a stalled reader can block. It ends with Flush, and at the end of a retired
// log.
func (l *Log) forward() {
	var held time.Time // since when raw holds the beginning of a line
	var now Format
	var lines *lineAssembler
	for {
		f, last := l.mode()
		if f != now {
			lines = l.changeFormat(now, f, lines)
			now, held = f, time.Time{}
		}
		did, wait := false, time.Duration(0)
		switch {
		case f == FormatNone:
			l.writeMark()
		case f.byLines():
			did, wait = l.forwardLines(lines, f, last)
		default:
			did, wait = l.forwardRaw(&held, last)
		}
		switch {
		case did:
			continue
		case last:
			if f != FormatNone { // their reader may stall
				l.sinks()[0].release(l)
				l.sinks()[1].release(l)
			}
			return
		}
		await(l.wake, wait)
	}
}

// await waits for a wake-up, and at most for a time unless it is 0.
func await(wake <-chan struct{}, limit time.Duration) {
	var due <-chan time.Time
	if limit > 0 {
		due = time.After(limit)
	}
	select {
	case <-wake:
	case <-due:
	}
}

func (l *Log) sinks() *[2]*Sink { return l.registry.Sinks }

// mode is how to forward now. last: once all is forwarded nothing follows.
func (l *Log) mode() (f Format, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opts.Format, l.stopping || l.retired && len(l.captures) == 0
}

// changeFormat ends what was begun in one format and starts another. With the first format a
// line that an earlier supervisor has begun continues.
func (l *Log) changeFormat(from, to Format, lines *lineAssembler) *lineAssembler {
	if from.byLines() {
		l.endLines(lines, from)
	}
	if from != "" {
		l.endSinkLines()
		l.midLine = [2]bool{}
	}
	if to.byLines() {
		return l.startLines()
	}
	return nil
}

func (l *Log) endSinkLines() {
	l.sinks()[0].endLine(l)
	l.sinks()[1].endLine(l)
}

// forwardRaw forwards the next bytes. wait is how long the beginning of a line is still
// held; 0: there is none.
func (l *Log) forwardRaw(held *time.Time, last bool) (did bool, wait time.Duration) {
	due := last || !held.IsZero() && time.Since(*held) >= holdPrompt
	t, stream, partial := l.nextRaw(due)
	l.writeMark()
	if t.n > 0 {
		*held = time.Time{}
		l.passRaw(t, stream)
		return true, 0
	}
	if !partial {
		return false, 0
	}
	if held.IsZero() {
		*held = time.Now()
	}
	return false, max(time.Until(held.Add(holdPrompt)), time.Microsecond)
}

// nextRaw returns the next bytes to forward; n is 0 if there are none. partial: there is
// the beginning of a line, which is forwarded only if it is due. The bytes are pinned until
// passRaw.
func (l *Log) nextRaw(due bool) (t transfer, stream int, partial bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.skipDropped()
	from := l.ix.forwarded
	if l.skipped { // FormatNone may have come and gone between two passes
		l.skipped, l.gap, l.midLine = false, true, [2]bool{}
	}
	seg, until, ok := l.ix.find(from.pos, l.end)
	if !ok || l.opts.Format != FormatRaw {
		return t, 0, false
	}
	last, err := l.lastNewline(from.pos, until)
	if err != nil {
		return t, 0, false
	}
	cut, more := last+1-from.pos, until < l.end || until-from.pos >= chunkSize
	if cut <= 0 {
		if cut = until - from.pos; !due && !more {
			return t, 0, true
		}
		more = more || cut >= longLine
	}
	l.taken = progress{from.pos + cut, l.linesAt(until)} // behind the cut is no newline
	l.moveSent(seg, from.pos)
	l.pinned = [2]int64{from.pos, l.taken.pos}
	stream = seg.stream()
	return transfer{owner: l, src: l.sent, n: int(cut), begins: !l.midLine[stream-1], ends: last >= from.pos, more: more}, stream, false
}

// moveSent sets the position of sent to that of an offset in a segment. A kill between the steps
// leaves a position that does not count.
func (l *Log) moveSent(seg segment, off int64) {
	shift := seg.shift()
	if l.ix.sentShift != shift {
		l.ix.sentShift = noShift
	}
	unix.Seek(l.sent, off-shift, io.SeekStart)
	l.ix.sentShift = shift
}

// passRaw forwards t, or counts it as dropped if it cannot be written.
func (l *Log) passRaw(t transfer, stream int) {
	n, err := l.sinks()[stream-1].pass(t)
	l.midLine[stream-1] = !t.ends
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ix.forwarded.pos <= l.pinned[0] { // else all was skipped meanwhile, with FormatNone
		if n < t.n {
			l.forwardedUpTo(l.pinned[0] + int64(n))
		}
		if n < t.n && err != nil {
			l.countDropped(l.taken.since(l.ix.forwarded), err)
		}
		if n == t.n || err != nil {
			l.ix.forwarded = l.taken
		}
	}
	l.unpin()
	l.room.Broadcast()
	l.trim()
}

// forwardedUpTo notes that everything before pos was forwarded.
func (l *Log) forwardedUpTo(pos int64) {
	from := &l.ix.forwarded
	switch {
	case pos <= from.pos:
		return
	case pos >= l.ix.start().pos:
		from.lines = l.linesBefore(pos)
	default: // pinned: it is still there
		at := from.pos - l.ix.sentShift
		lines, _ := l.newlinesIn(space.Extent{From: at, To: min(at+pos-from.pos, at+maxSegment)})
		from.lines += lines
	}
	from.pos = pos
}

// countDropped counts what could not be written. The mark has the reason.
func (l *Log) countDropped(a amount, err error) {
	l.ix.dropped = l.ix.dropped.plus(a)
	switch {
	case err == unix.EPIPE || err == os.ErrClosed && l.reason == "":
		l.reason = "it was not read"
	case err != os.ErrClosed:
		l.reason = "it could not be written: " + err.Error()
	}
}

// skipDropped skips and counts what is no longer kept. l.mu is held, and nothing is being
// forwarded.
func (l *Log) skipDropped() bool {
	l.taken = progress{}
	if l.ix.forwarded.pos >= l.ix.start().pos {
		return false
	}
	next := l.firstLine()
	l.ix.dropped = l.ix.dropped.plus(next.since(l.ix.forwarded))
	l.ix.forwarded = next
	l.gap = true
	return true
}

// firstLine is where the first line begins whose beginning is kept. If the byte before
// what is kept is gone too, one line too many is skipped, and counted.
func (l *Log) firstLine() progress {
	start := l.ix.start()
	_, until, ok := l.ix.find(start.pos, l.end)
	if !ok {
		return start
	}
	if l.startsLine {
		return start
	}
	buf := getBuffer()
	defer buffers.Put(buf)
	got, err := l.pread((*buf)[:min(until-start.pos, chunkSize)], start.pos)
	if err != nil {
		return start
	}
	if end := bytes.IndexByte((*buf)[:max(got, 0)], '\n'); end >= 0 {
		return progress{start.pos + int64(end) + 1, start.lines + 1}
	}
	return start // longer than a segment: its fragments are no lines anyway
}

// claimSinks claims the sinks on which an earlier supervisor was in the middle of a line.
func (l *Log) claimSinks() {
	if f := l.opts.Format; f.byLines() {
		for k, s := range l.sinks() {
			if p := l.page; p.live == 1 && (p.out.writing == uint64(k+1) || p.out.partial[k] == 1 && f == FormatPrefix) {
				s.claim(s, true)
			}
		}
		return
	}
	var last [1]byte
	at := l.ix.forwarded.pos - 1
	seg, _, ok := l.ix.find(at, l.end)
	if !ok || l.opts.Format != FormatRaw {
		return
	}
	if n, err := l.pread(last[:], at); n == 1 && err == nil && last[0] != '\n' {
		l.sinks()[seg.stream()-1].claim(l, false)
	}
}

// writeMark writes how much was dropped since the last mark, once the reader reads again.
// The mark is noted in shared memory after it is written: a kill between the two repeats it.
func (l *Log) writeMark() {
	l.mu.Lock()
	f, gap, reason := l.opts.Format, l.gap, l.reason
	dropped, before := l.ix.dropped, l.ix.reported
	due := dropped != before && !l.sinks()[0].failing() && !l.sinks()[1].failing()
	l.gap = false
	if due {
		l.reason = ""
	}
	l.mu.Unlock()
	if gap { // what follows does not continue the line before
		l.endSinkLines()
	}
	if !due {
		return
	}
	text := appendMark(nil, f, l.name, dropMark(dropped.minus(before), l.name, reason), time.Now())
	if _, err := l.sinks()[1].Write(text); err == nil {
		l.mu.Lock()
		l.ix.reported = dropped
		l.mu.Unlock()
	}
}
