package logs

import (
	"bytes"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// rendering passes output on in another form than the service wrote it. What is
// to be passed on is first laid down in a memfd; sendfile takes it from there, so
// the kernel's position says after a kill how much of it is out, byte for byte.
// Like a log that memfd only grows, and whole pages that are out are given back.
type rendering struct {
	*notebook
	notes *outNotes
	sent  int // the memfd a second time; its position is how much is out
	j     joiner
	live  bool // j goes on from the notes, and nothing else has passed anything on since
}

// outNotes are at the start of its memory. Their layout may only grow.
type outNotes struct {
	magic uint64
	which uint64 // of batch, the one that counts
	batch [2]outBatch
}

// outBatch is what was laid down last.
type outBatch struct {
	from   int64  // where the log was before it
	next   cursor // and is behind it
	until  int64  // where the batch ends, in the memfd
	stream int64
	lines  uint64 // newlines between from and next
}

const outMagic = 0x73746f6b65720101

// Times for which the beginning of a line waits for its end before it is given as
// it is. An object is not cut for a prompt's sake: nobody waits before it.
const jsonHold = time.Second

func newRendering(l *Log) (*rendering, error) {
	n, err := newNotebook("out-"+l.name, outMagic)
	if err != nil {
		return nil, err
	}
	r := &rendering{notebook: n, notes: (*outNotes)(n.notes())}
	r.notes.batch[0].from = -1 // none yet
	if r.sent, err = openAgain(n.fd); err == nil {
		_, err = unix.Seek(r.sent, notesSize, io.SeekStart)
	}
	if err != nil {
		n.close()
		return nil, err
	}
	return r, nil
}

// openRendering takes over one from the bag.
func openRendering(l *Log, fd, sent int) (*rendering, error) {
	n, err := openNotebook(fd, outMagic)
	if err != nil {
		return nil, err
	}
	r := &rendering{notebook: n, notes: (*outNotes)(n.notes()), sent: sent}
	b := r.last()
	out, err := unix.Seek(sent, 0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	// Somebody who does not know of batches may have passed the log on since.
	switch at := l.ix.passed; {
	case b.from >= 0 && at == b.from && out < notesSize+b.until, b.from >= 0 && at == b.next.pos:
		r.live = true
	case b.from >= 0 && at == b.from: // all of it is out, and that was not noted
		r.live = true
		l.reachedBatch(r)
	default:
		_, err = unix.Seek(sent, notesSize+b.until, io.SeekStart)
	}
	if r.live {
		r.j.load(l, b.next)
		l.taken = taken{b.next.pos, l.ix.passedLines + b.lines}
	}
	return r, err
}

// last is the batch that counts.
func (r *rendering) last() *outBatch { return &r.notes.batch[r.notes.which&1] }

// unsent is how many bytes of the batch are not out yet.
func (r *rendering) unsent() int {
	out, err := unix.Seek(r.sent, 0, io.SeekCurrent)
	if err != nil {
		return 0
	}
	return int(max(notesSize+r.last().until-out, 0))
}

// note says that a batch is laid down, or that the cursor moved without one. The
// store of which makes it true.
func (r *rendering) note(b outBatch) {
	which := 1 - r.notes.which&1
	r.notes.batch[which] = b
	atomic.StoreUint64(&r.notes.which, which)
}

// begin forgets the cursor: the log is passed on from pos, after a time in which
// something else passed it on or nothing did.
func (r *rendering) begin(pos int64) (gone int64) {
	gone = r.j.start(pos)
	r.note(outBatch{from: pos, next: r.j.cursor, until: r.last().until})
	r.live = true
	return gone
}

// passRendered passes the next batch on. wait is how long something is held yet
// that is due then; 0: nothing is.
func (l *Log) passRendered(r *rendering, f Format, quit bool) (did bool, wait time.Duration) {
	if r.live && r.unsent() > 0 { // of an earlier supervisor
		l.passNotes()
		l.sendBatch(r, f, true)
		return true, 0
	}
	from := l.beginRendered(r)
	l.passNotes()
	resumes := r.j.begun
	did, laid := l.layDown(r, f, from, quit)
	switch {
	case laid > 0:
		l.sendBatch(r, f, resumes[r.last().stream-1] == 1)
	case did:
		l.reachedBatch(r)
	default:
		wait = r.nextDue(f)
	}
	return did, wait
}

// layDown renders what comes next, at most a chunk, and gives its size. did is
// false where nothing is to be done now.
func (l *Log) layDown(r *rendering, f Format, from int64, quit bool) (did bool, laid int) {
	buf, out := l.borrow(), l.borrow()[:0]
	defer l.giveBack(buf)
	defer func() { l.giveBack(out) }()
	title := l.title()
	add := func(p piece) bool {
		if len(out) >= chunkSize {
			return false
		}
		out = appendPiece(out, f, title, p)
		return true
	}
	n, seg, at := l.takeNext(&l.taken, buf, from)
	if n > 0 && at != from {
		return true, 0 // dropped in this moment: look again
	}
	b := outBatch{from: from, until: r.last().until, stream: int64(seg.stream)}
	if k, due := r.due(int(seg.stream), f, n > 0, quit); due {
		b.stream = int64(k + 1)
		r.j.giveHeld(k, add)
	} else if n > 0 {
		n = r.j.take(buf[:n], seg, add)
		b.lines = uint64(bytes.Count(buf[:n], []byte{'\n'}))
	} else {
		return false, 0
	}
	b.next = r.j.cursor
	laid = l.lay(r, out, b)
	l.mu.Lock()
	l.taken = taken{b.next.pos, l.ix.passedLines + b.lines}
	l.mu.Unlock()
	return true, laid
}

// lay writes a batch into the memfd and then says that it is there.
func (l *Log) lay(r *rendering, out []byte, b outBatch) int {
	if err := r.put(out, b.until); err != nil { // no memory, or a limit on the size of files
		if _, err := l.outs[b.stream-1].Write(out); err != nil {
			l.dropBatch(b, err)
		}
		out = nil
	}
	b.until += int64(len(out))
	r.note(b)
	return len(out)
}

// beginRendered gives where to go on, after what was dropped.
func (l *Log) beginRendered(r *rendering) int64 {
	l.mu.Lock()
	defer l.unlock()
	l.skipLost()
	if !r.live || r.j.pos != l.ix.passed {
		l.ix.droppedBytes += uint64(r.begin(l.ix.passed))
	}
	if l.skipAbsent() {
		r.j.pos = l.ix.passed
		for k, o := range l.outs {
			if _, held := r.j.waits(k); held && o.absent() {
				l.ix.droppedBytes += uint64(len(r.j.part[k]))
				r.j.gave(k, piece{ends: true})
			}
		}
		r.note(outBatch{from: r.j.pos, next: r.j.cursor, until: r.last().until})
	}
	l.taken = taken{l.ix.passed, l.ix.passedLines}
	return l.ix.passed
}

// due gives a stream whose held piece must be given now. What just came may end
// the line that is held; it is waited for the longer by as much.
func (r *rendering) due(stream int, f Format, more, quit bool) (k int, ok bool) {
	for k := range r.j.part {
		since, held := r.j.waits(k)
		patience := f.hold()
		switch {
		case !held || more && k == stream-1:
			continue
		case more:
			patience += jsonHold
		case quit:
			patience = 0
		}
		if time.Since(since) >= patience {
			return k, true
		}
	}
	return 0, false
}

// nextDue is how long it takes until something held is due; 0: nothing is held.
func (r *rendering) nextDue(f Format) (wait time.Duration) {
	for k := range r.j.part {
		if since, held := r.j.waits(k); held {
			left := max(time.Until(since.Add(f.hold())), time.Microsecond)
			if wait == 0 || left < wait {
				wait = left
			}
		}
	}
	return wait
}

// hold is how long the beginning of a line waits for its end.
func (f Format) hold() time.Duration {
	if f == FormatJSON {
		return jsonHold
	}
	return holdPartial
}

// sendBatch passes what is laid down on, or counts it as dropped where nobody
// reads. resumed says that its first byte may not be the first of a line.
func (l *Log) sendBatch(r *rendering, f Format, resumed bool) {
	b, n := *r.last(), r.unsent()
	p := passing{owner: l, src: r.sent, n: n, begins: true, ends: true}
	if f == FormatPrefix {
		p.begins, p.ends, p.more = !resumed, b.next.begun[b.stream-1] == 0, n >= longLine
		p.resume = appendPrefix(nil, l.title())
	}
	sent, err := l.outs[b.stream-1].pass(p)
	if sent < n && err == nil {
		return // nothing is lost: what is left is sent as the rest of a batch
	}
	if sent < n {
		l.dropBatch(b, err)
		unix.Seek(r.sent, notesSize+b.until, io.SeekStart)
	}
	l.reachedBatch(r)
	if b.until%(2*chunkSize) < int64(n) {
		r.forget(max(b.until-16*chunkSize, 0), b.until)
	}
}

// dropBatch counts a batch as dropped.
func (l *Log) dropBatch(b outBatch, cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ix.droppedBytes += uint64(b.next.pos - b.from)
	l.ix.droppedLines += b.lines
	l.reason = lostReader(cause)
}

// reachedBatch notes that everything up to the end of the batch is dealt with.
func (l *Log) reachedBatch(r *rendering) {
	b := r.last()
	l.mu.Lock()
	defer l.unlock()
	unix.Seek(l.sent, b.next.pos, io.SeekStart)
	if l.ix.passed == b.from {
		l.ix.passedLines += b.lines
		l.ix.passed = b.next.pos
	} else {
		l.passedUpTo(b.next.pos)
	}
	l.makeRoom()
	l.trim()
}

// endRendered gives what is held, before something else passes the log on.
func (l *Log) endRendered(r *rendering, f Format) {
	for k := range r.j.part {
		if _, held := r.j.waits(k); !held || !r.live {
			continue
		}
		var out []byte
		resumed := r.j.begun[k] == 1
		title := l.title()
		r.j.giveHeld(k, func(p piece) bool { out = appendPiece(nil, f, title, p); return true })
		b := outBatch{from: r.j.pos, next: r.j.cursor, until: r.last().until, stream: int64(k + 1)}
		if l.lay(r, out, b) > 0 {
			l.sendBatch(r, f, resumed)
		}
	}
	r.live = false
}
