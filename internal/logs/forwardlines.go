package logs

import (
	"bytes"
	"os"
	"time"
)

// startLines begins to forward line by line: where an earlier supervisor was, or behind
// what is forwarded.
func (l *Log) startLines() *lineAssembler {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.page; p.live == 0 {
		p.out = position{done: [2]int64{l.ix.forwarded, l.ix.forwarded}}
		p.live = 1
	}
	a := assembleFrom(l.page.out)
	l.forwardedUpTo(a.pos)
	return a
}

// endLines forwards what is held, before another format takes over.
func (l *Log) endLines(a *lineAssembler, f Format) {
	for k := range a.part {
		l.forwardBatch(a, f, segment{stream: uint64(k + 1)}, l.buffer(), 0)
	}
	l.page.live = 0
}

// forwardLines forwards the next batch as lines. wait is how long a fragment is still
// held; 0: none is.
func (l *Log) forwardLines(a *lineAssembler, f Format, quit bool) (did bool, wait time.Duration) {
	l.skipGap(a)
	l.writeNotices()
	in := l.buffer()
	n, seg, at := l.takeNext(&l.taken, (*in)[:chunkSize], a.pos)
	if n > 0 && at != a.pos {
		l.pool.Put(in)
		return true, 0 // dropped in this moment: look again
	}
	hold := f.hold()
	if quit {
		hold = 0
	}
	k, wait, due := a.due(hold)
	if n > 0 && due { // it may end the fragment, or the other stream's fragment that comes behind it
		due = k != int(seg.stream)-1 && time.Since(a.held[k]) >= f.hold()+holdLong
	}
	if due {
		n, seg = 0, segment{stream: uint64(k + 1)}
	}
	if due || n > 0 {
		l.forwardBatch(a, f, seg, in, n)
		return true, 0
	}
	l.pool.Put(in)
	return false, wait
}

// skipGap jumps over what is no longer kept, and counts it.
func (l *Log) skipGap(a *lineAssembler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	start := l.ix.start()
	if l.skipDropped() {
		l.ix.droppedBytes += uint64(a.moveTo(l.ix.forwarded))
	} else if a.pos < start { // it is what an earlier supervisor had held
		for _, skip := range a.skip {
			if gone := start - max(skip, a.pos); gone > 0 {
				l.ix.droppedBytes += uint64(gone)
				l.ix.droppedLines++
			}
		}
		a.pos = start
	}
	a.save(&l.page.out)
	l.taken = progress{l.ix.forwarded, l.ix.forwardedLines}
}

// forwardBatch forwards the first n bytes of in, which are what follows and all of one
// segment; with n 0 what is held of that stream. It puts in back before it writes: a
// stalled reader must not keep more than what is written.
func (l *Log) forwardBatch(a *lineAssembler, f Format, seg segment, in *[]byte, n int) {
	k := int(seg.stream) - 1
	sink, title, resumed := l.sinks[k], l.title(), a.rest[k]
	var err error
	if sink.absent() {
		err = os.ErrClosed
	}
	buf := l.buffer()
	out := (*buf)[:0]
	add := func(line Line) bool {
		if err == nil {
			out = appendLine(out, f, title, line)
		}
		return true
	}
	b := (*in)[:n]
	if n == 0 {
		a.emitHeld(k, add)
	} else {
		a.take(b, seg, add)
	}
	// What is before l.ix.forwarded repeats what an earlier supervisor has forwarded.
	fresh := b[n-int(min(max(a.pos-l.Stats().Forwarded, 0), int64(n))):]
	took := amount{uint64(len(fresh)), uint64(bytes.Count(fresh, []byte{'\n'}))}
	l.pool.Put(in)
	if len(out) > 0 {
		t := transfer{owner: l, text: out, begins: true, ends: true}
		if f == FormatPrefix {
			t.begins, t.ends, t.more, t.resume = !resumed, !a.rest[k], len(out) >= longLine, appendPrefix(nil, title)
		}
		l.page.out.writing = seg.stream
		_, err = sink.pass(t)
	}
	l.putGrown(buf, out)
	l.mu.Lock()
	defer l.mu.Unlock()
	a.save(&l.page.out)
	l.advance(a.pos, took.lines)
	if err != nil {
		l.drop(took, err)
	}
	l.makeRoom()
	l.trim()
}
