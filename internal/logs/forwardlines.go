package logs

import (
	"cmp"
	"os"
	"time"
)

// startLines begins to forward line by line: where an earlier supervisor stopped, or behind
// what is forwarded.
func (l *Log) startLines() *lineAssembler {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := l.ix.forwarded.pos; l.page.live == 0 {
		l.page.out = position{done: [2]int64{at, at}}
		l.page.magic, l.page.live = pageMagic, 1
	}
	a := assembleFrom(l.page.out)
	l.forwardedUpTo(a.pos)
	return a
}

// endLines forwards what is held, before the format changes.
func (l *Log) endLines(a *lineAssembler, f Format) {
	for k := range a.part {
		l.forwardBatch(a, f, segment{word: uint64(k + 1)}, getBuffer(), 0)
	}
	l.page.live = 0
}

// forwardLines forwards the next batch as lines. wait is how long a fragment is still
// held; 0: there is none.
func (l *Log) forwardLines(a *lineAssembler, f Format, last bool) (did bool, wait time.Duration) {
	l.skipGap(a)
	l.writeMark()
	in := getBuffer()
	n, seg, at := l.read((*in)[:chunkSize], a.pos, &l.taken)
	if n > 0 && at != a.pos {
		buffers.Put(in)
		return true, 0 // dropped in this moment: skipGap counts it
	}
	hold := f.hold()
	if last {
		hold = 0
	}
	k, wait, due := a.due(hold)
	if n > 0 && due { // it may end the fragment, or the other stream's fragment behind it
		due = k != seg.stream()-1 && time.Since(a.held[k]) >= f.hold()+holdLong
	}
	if due {
		n, seg = 0, segment{word: uint64(k + 1)}
	}
	if due || n > 0 {
		l.forwardBatch(a, f, seg, in, n)
		return true, 0
	}
	buffers.Put(in)
	return false, wait
}

// skipGap skips and counts what is no longer kept.
func (l *Log) skipGap(a *lineAssembler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	start := l.ix.start().pos
	if l.skipDropped() {
		l.ix.dropped.bytes += uint64(a.moveTo(l.ix.forwarded.pos))
	} else if a.pos < start { // fragments that an earlier supervisor held
		for _, skip := range a.skip {
			if gone := start - max(skip, a.pos); gone > 0 {
				l.ix.dropped = l.ix.dropped.plus(amount{uint64(gone), 1})
			}
		}
		a.pos = start
	}
	a.save(&l.page.out)
	l.taken = l.ix.forwarded
}

// forwardBatch forwards the first n bytes of in, which are what follows and all of one
// segment; with n 0 the held fragment of that stream. It returns the buffer in before it
// writes: a stalled reader must not keep more than what is written.
func (l *Log) forwardBatch(a *lineAssembler, f Format, seg segment, in *[]byte, n int) {
	k := seg.stream() - 1
	l.mu.Lock()
	title := cmp.Or(l.opts.Title, l.name)
	l.mu.Unlock()
	sink, continued := l.sinks()[k], a.open[k]
	var err error
	if sink.skipped() {
		err = os.ErrClosed
	}
	buf := getBuffer()
	out := (*buf)[:0]
	add := func(line Line) bool {
		if err == nil {
			out = appendLine(out, f, title, line)
		}
		return true
	}
	if n == 0 {
		a.emitHeld(k, add)
	} else {
		a.take((*in)[:n], seg, add)
	}
	buffers.Put(in)
	if len(out) > 0 {
		t := transfer{owner: l, text: out, begins: true, ends: true}
		if f == FormatPrefix {
			t.begins, t.ends, t.more, t.resume = !continued, !a.open[k], len(out) >= longLine, appendPrefix(nil, title)
		}
		l.page.out.writing = uint64(seg.stream())
		_, err = sink.pass(t)
	}
	putGrown(buf, out)
	l.mu.Lock()
	defer l.mu.Unlock()
	a.save(&l.page.out)
	// What is before it was forwarded by an earlier supervisor, or skipped with FormatNone.
	if before := l.ix.forwarded; n > 0 && l.taken.pos > before.pos {
		l.ix.forwarded = l.taken
		if err != nil {
			l.countDropped(l.taken.since(before), err)
		}
	}
	l.room.Broadcast()
	l.trim()
}
