package logs

import (
	"bytes"
	"cmp"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// fileWriter writes a log to files, in a goroutine of its own: a disk that is slow, full
// or gone holds up nothing else. What is no longer kept in memory by the time it can be
// written is counted, and marked in the file.
type fileWriter struct {
	l     *Log
	page  *sharedPage
	saved *filePosition // in page
	wake  chan struct{}
	done  chan struct{} // closed when the goroutine has ended

	// Guarded by l.mu:
	reached int64 // nothing before it is needed any more
	taken   progress
	retired bool  // no file is wanted any more
	until   int64 // if retired: nothing from here on is written
	options FileOptions
	err     string // why it cannot be written now

	// Of the goroutine alone:
	lines    *lineAssembler
	file     rotated
	rest     []byte        // of the batch, not written yet
	buf      *[]byte       // rest begins in it
	marking  amount        // what the marks in the file report with the batch
	torn     bool          // an earlier supervisor may have written a part of a line
	retryAt  time.Time     // after a failure
	tried    string        // the path of the last step
	pause    time.Duration // before the next try; 0: the last one worked
	why      string        // the latest failure, for a mark
	warned   string        // the latest failure that was warned about
	warnedAt time.Time
	wroteAt  time.Time
}

// Pauses after a failure, and for how long failures of one kind are warned about once.
const (
	firstPause = time.Second
	maxPause   = 30 * time.Second
	warnAgain  = time.Hour
)

// gatherTime is how long lines are gathered after a write, so that each of many does not
// cost a write.
const gatherTime = 10 * time.Millisecond

func newFileWriter(l *Log, page *sharedPage) *fileWriter {
	return &fileWriter{l: l, page: page, saved: &page.file, wake: make(chan struct{}, 1), done: make(chan struct{}), file: rotated{fd: -1}}
}

// begin writes the log to the file from its end on. It has l.mu, or the log alone.
func (f *fileWriter) begin() {
	at := f.l.end
	*f.saved = filePosition{position: position{done: [2]int64{at, at}}, lines: f.l.ix.lines}
	f.resume()
}

// resume goes on where an earlier supervisor was. It has l.mu, or the log alone.
func (f *fileWriter) resume() {
	f.lines = assembleFrom(f.saved.position)
	f.torn = f.saved.writing != 0
	lines := f.saved.lines
	if f.lines.pos >= f.l.ix.start() {
		lines = f.l.linesBefore(f.lines.pos)
	}
	f.reached, f.taken = f.lines.pos, progress{f.lines.pos, lines}
}

// stats has l.mu.
func (f *fileWriter) stats() *FileStats {
	gone := f.l.missed(f.taken)
	return &FileStats{Path: f.options.Path, Bytes: atomic.LoadUint64(&f.saved.written), Error: f.err,
		DroppedBytes: f.saved.dropped.bytes + gone.bytes, DroppedLines: f.saved.dropped.lines + gone.lines}
}

// run writes until it is retired or the container ends.
func (f *fileWriter) run() {
	defer close(f.done)
	defer f.close()
	for {
		o, last := f.wanted()
		did, wait := f.step(o, last)
		switch {
		case did:
			continue
		case last:
			return
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-f.wake:
			if _, last := f.wanted(); !last {
				<-time.After(gatherTime - min(time.Since(f.wroteAt), gatherTime))
			}
		case <-due:
		}
	}
}

// close gives up what only the goroutine uses. A log at its end keeps its page.
func (f *fileWriter) close() {
	f.file.close()
	f.l.mu.Lock()
	defer f.l.mu.Unlock()
	if f.retired {
		f.page.close()
	}
}

// wanted is how to write now. last says that this is the last chance.
func (f *fileWriter) wanted() (o FileOptions, last bool) {
	f.l.mu.Lock()
	defer f.l.mu.Unlock()
	return f.options, f.l.quit || f.retired
}

// step writes the next batch. wait is how long it takes until something is due; 0: when
// there is more.
func (f *fileWriter) step(o FileOptions, last bool) (did bool, wait time.Duration) {
	hold := holdLong
	if last {
		hold = 0
	}
	if len(f.rest) == 0 && f.left() == 0 {
		if _, wait, due := f.lines.due(hold); !due {
			return false, wait
		}
	}
	if o.Path != f.tried { // what was wrong with another file says nothing of this one
		f.tried, f.pause, f.retryAt = o.Path, 0, time.Time{}
	}
	if left := time.Until(f.retryAt); left > 0 && !last {
		return false, left
	}
	err := f.file.open(o, f.saved)
	if err == nil && len(f.rest) == 0 {
		err = f.render(hold)
	}
	if err == nil {
		err = f.write()
	}
	if err != nil {
		f.failed(err)
		return false, f.pause
	}
	f.pause, f.retryAt = 0, time.Time{}
	return true, 0
}

// left is how many bytes are captured and not taken yet.
func (f *fileWriter) left() int64 {
	f.l.mu.Lock()
	defer f.l.mu.Unlock()
	if f.retired {
		return max(f.until-f.lines.pos, 0)
	}
	return max(f.l.end-f.lines.pos, 0)
}

// render puts the next lines of both streams into rest, at most a chunk and a line. Where
// the file is full another is begun first.
func (f *fileWriter) render(hold time.Duration) error {
	if f.file.tooOld(f.saved) {
		if err := f.file.rotate(f.saved); err != nil {
			return err
		}
	}
	f.buf = f.l.buffer()
	out := f.skipDropped((*f.buf)[:0])
	if f.torn && f.file.midLine() {
		out = append(out, '\n')
	}
	f.torn = false
	marks, full := len(out), false
	add := func(l Line) bool {
		after := f.file.size + int64(len(out)+len(l.Text)) + 1
		if after > f.file.Size && f.file.size+int64(len(out)-marks) > 0 || len(out) >= chunkSize {
			full = len(out) == marks
			return false
		}
		if other := 2 - l.Stream; f.lines.rest[other] { // its line is cut rather than mixed with this one
			out, f.lines.rest[other] = append(out, '\n'), false
		}
		out = append(out, l.Text...)
		if !l.Open {
			out = append(out, '\n')
		}
		return true
	}
	f.take(hold, &out, add)
	if full {
		if err := f.file.rotate(f.saved); err != nil {
			return err
		}
		f.take(hold, &out, add)
	}
	*f.buf = out[:cap(out)]
	f.rest, f.why = out, ""
	return nil
}

// take emits lines to add until it refuses one or there are no more.
func (f *fileWriter) take(hold time.Duration, out *[]byte, add func(Line) bool) {
	in := f.l.buffer()
	defer f.l.pool.Put(in)
	for len(*out) < chunkSize {
		n, seg, at := f.l.takeNext(&f.taken, (*in)[:min(chunkSize, f.left())], f.lines.pos)
		if n > 0 && at != f.lines.pos {
			break // dropped in this moment: for the next batch to count
		}
		if n == 0 {
			if k, _, due := f.lines.due(hold); due {
				f.lines.emitHeld(k, add)
			}
			break
		}
		before := f.lines.pos
		took := f.lines.take((*in)[:n], seg, add)
		f.l.mu.Lock()
		f.taken = progress{before + int64(took), f.taken.lines - uint64(bytes.Count((*in)[took:n], []byte{'\n'}))}
		f.l.mu.Unlock()
		if took < n {
			break
		}
	}
}

// skipDropped jumps over what is no longer kept, counts it and adds a mark that says so.
func (f *fileWriter) skipDropped(out []byte) []byte {
	l := f.l
	l.mu.Lock()
	defer l.mu.Unlock()
	p := f.saved
	begun := f.lines.rest
	if f.lines.pos < l.ix.start() {
		next := l.firstLine()
		p.dropped.bytes += uint64(next.pos - f.lines.pos)
		p.dropped.lines += next.lines - min(f.taken.lines, next.lines)
		p.dropped.bytes += uint64(f.lines.moveTo(next.pos))
		f.taken = next
		f.lines.save(&p.position)
	}
	if f.marking = p.dropped; p.dropped == p.marked {
		return out
	}
	if begun[0] || begun[1] {
		out, f.lines.rest = append(out, '\n'), [2]bool{}
	}
	reason := cmp.Or(f.why, "the file could not be written in time")
	gone := amount{p.dropped.bytes - p.marked.bytes, p.dropped.lines - p.marked.lines}
	return appendMark(out, FormatRaw, l.name, dropMark(gone, l.name, reason), time.Now())
}

// write writes the batch, from where the last try ended, and saves the position.
func (f *fileWriter) write() error {
	if f.file.size == 0 && len(f.rest) > 0 {
		f.saved.begun, f.saved.begunIno = time.Now().UnixNano(), f.file.ino
	}
	f.saved.writing = 1
	for len(f.rest) > 0 {
		n, err := unix.Write(f.file.fd, f.rest)
		if n > 0 {
			f.rest = f.rest[n:]
			f.file.size += int64(n)
			atomic.AddUint64(&f.saved.written, uint64(n))
			continue
		}
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("cannot write to %s: %w", f.file.Path, err)
		}
	}
	if f.buf != nil {
		f.l.pool.Put(f.buf)
	}
	f.rest, f.buf, f.wroteAt = nil, nil, time.Now()
	f.l.mu.Lock()
	defer f.l.mu.Unlock()
	f.saved.lines, f.saved.marked = f.taken.lines, f.marking
	f.lines.save(&f.saved.position)
	f.reached, f.err = f.lines.pos, ""
	f.l.trim()
	return nil
}

// failed notes why nothing can be written, and warns once of each kind.
func (f *fileWriter) failed(err error) {
	f.pause = min(max(2*f.pause, firstPause), maxPause)
	f.retryAt = time.Now().Add(f.pause)
	f.why = err.Error()
	f.l.mu.Lock()
	f.err = f.why
	f.l.mu.Unlock()
	if f.warned == f.why && time.Since(f.warnedAt) < warnAgain {
		return
	}
	f.warned, f.warnedAt = f.why, time.Now()
	f.l.warn(fmt.Sprintf("the output of %s is not written to its file: %v; it is tried again, and lines that are too old by then are counted",
		f.l.name, err))
}
