package logs

import (
	"bytes"
	"cmp"
	"fmt"
	"time"

	"github.com/stoker-init/stoker/internal/logfile"
)

// fileWriter writes a log to files in its own goroutine: a disk that is slow, full or gone
// delays nothing else. What is no longer kept in memory when it can be written is counted,
// and marked in the file.
type fileWriter struct {
	l    *Log
	wake chan struct{}
	much chan struct{} // half of what is kept in memory is not written
	done chan struct{} // closed when the goroutine has ended

	// Guarded by l.mu:
	saved   *filePosition // in l.page
	reached int64         // nothing before it is needed any more
	taken   progress
	retired bool   // the log has no file any more
	until   int64  // if retired: nothing from here on is written
	err     string // of the last write; empty: it succeeded

	// Of the goroutine:
	lines    *lineAssembler
	file     logfile.File
	rest     []byte        // of the batch, not written yet
	buf      *[]byte       // the buffer of rest
	marking  amount        // what the marks in the file report with the batch
	torn     bool          // an earlier supervisor may have written a part of a line
	retryAt  time.Time     // after a failure
	pause    time.Duration // before the next try; 0: the last one succeeded
	why      string        // the latest failure, for the next mark
	warned   string        // the latest failure that was warned about
	warnedAt time.Time
	wroteAt  time.Time
}

// Pauses after a failure, and how long the same failure is not warned about again.
const (
	firstPause = time.Second
	maxPause   = 30 * time.Second
	warnAgain  = time.Hour
)

// gatherTime is how long lines are gathered after a write, unless they become many, to save
// writes.
const gatherTime = 10 * time.Millisecond

func newFileWriter(l *Log) *fileWriter {
	return &fileWriter{l: l, saved: &l.page.file, wake: make(chan struct{}, 1), much: make(chan struct{}, 1), done: make(chan struct{})}
}

// begin starts at the end of the log. l.mu is held, or the log is not shared yet.
func (f *fileWriter) begin() {
	at := f.l.end
	f.l.page.magic = pageMagic
	*f.saved = filePosition{position: position{done: [2]int64{at, at}}, lines: f.l.ix.lines}
	f.resume()
}

// resume continues where an earlier supervisor stopped. l.mu is held, or the log is not
// shared yet.
func (f *fileWriter) resume() {
	f.lines = assembleFrom(f.saved.position)
	f.torn = f.saved.writing != 0
	f.taken = progress{f.lines.pos, f.saved.lines}
	if f.lines.pos >= f.l.ix.start().pos {
		f.taken.lines = f.l.linesBefore(f.lines.pos)
	}
	f.reached = f.lines.pos
}

// retire lets the goroutine write what there is, and end. The next file may use the page.
// l.mu is held.
func (f *fileWriter) retire() {
	saved := *f.saved
	f.saved, f.retired, f.until = &saved, true, f.l.end
	notify(f.wake)
}

// stats are the counters. l.mu is held.
func (f *fileWriter) stats() *FileStats {
	dropped := f.saved.dropped.plus(f.l.missed(f.taken))
	return &FileStats{Path: f.l.opts.File.Path, Bytes: f.saved.written, Error: f.err,
		DroppedBytes: dropped.bytes, DroppedLines: dropped.lines}
}

// run writes until the writer is retired or the container ends.
func (f *fileWriter) run() {
	defer close(f.done)
	defer f.file.Close()
	for {
		last := f.configure()
		did, wait := f.step(last)
		switch {
		case did:
			continue
		case last:
			return
		}
		await(f.wake, wait)
		if !f.configure() {
			await(f.much, max(gatherTime-time.Since(f.wroteAt), time.Microsecond))
		}
	}
}

// configure takes over the options. last: nothing is written after the next steps.
func (f *fileWriter) configure() (last bool) {
	f.l.mu.Lock()
	o := f.file.Options
	if !f.retired {
		o = *f.l.opts.File
	}
	last = f.l.stopping || f.retired
	f.l.mu.Unlock()
	if o.Path != f.file.Path { // the last failure was of another file
		f.file.Close()
		f.pause, f.retryAt = 0, time.Time{}
	}
	f.file.Options = o
	return last
}

// step writes the next batch. wait is how long it takes until something is due; 0: when
// there is more.
func (f *fileWriter) step(last bool) (did bool, wait time.Duration) {
	hold := holdLong
	if last {
		hold = 0
	}
	if len(f.rest) == 0 && f.left() == 0 {
		if _, wait, due := f.lines.due(hold); !due {
			return false, wait
		}
	}
	if left := time.Until(f.retryAt); left > 0 && !last {
		return false, left
	}
	err := f.file.Open()
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
	end := f.l.end
	if f.retired {
		end = f.until
	}
	return max(end-f.lines.pos, 0)
}

// render puts the next lines of both streams into rest, at most a chunk and a line. If the
// file is full it begins another first.
func (f *fileWriter) render(hold time.Duration) error {
	if f.file.TooOld() {
		if err := f.file.Rotate(); err != nil {
			return err
		}
	}
	f.buf = getBuffer()
	out := f.skipDropped((*f.buf)[:0])
	if f.torn && f.file.Len() > 0 {
		out = append(out, '\n')
	}
	f.torn = false
	marks, full := len(out), false
	add := func(l Line) bool {
		after := f.file.Len() + int64(len(out)+len(l.Text)) + 1
		if after > f.file.Size && f.file.Len()+int64(len(out)-marks) > 0 || len(out) >= chunkSize {
			full = len(out) == marks
			return false
		}
		if other := 2 - l.Stream; f.lines.open[other] { // its line is cut rather than mixed with this one
			out, f.lines.open[other] = append(out, '\n'), false
		}
		out = append(out, l.Text...)
		if !l.Open {
			out = append(out, '\n')
		}
		return true
	}
	f.take(hold, &out, add)
	if full {
		if err := f.file.Rotate(); err != nil {
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
	in := getBuffer()
	defer buffers.Put(in)
	for len(*out) < chunkSize {
		before := f.lines.pos
		n, seg, at := f.l.read((*in)[:min(int64(chunkSize-len(*out)), f.left())], before, &f.taken)
		if n > 0 && at != before {
			break // dropped in this moment: the next batch counts it
		}
		if n == 0 {
			if k, _, due := f.lines.due(hold); due {
				f.lines.emitHeld(k, add)
			}
			break
		}
		if took := f.takeLines((*in)[:n], seg, out, add); took < n {
			f.l.mu.Lock()
			f.taken = progress{before + int64(took), f.taken.lines - newlines((*in)[took:n])}
			f.l.mu.Unlock()
			break
		}
	}
}

// takeLines takes the lines of b, the next bytes of a segment: as many as possible at once, the
// others with add. It stops where add refuses a line, and returns how many bytes it has taken.
func (f *fileWriter) takeLines(b []byte, seg segment, out *[]byte, add func(Line) bool) (took int) {
	for took < len(b) {
		room := min(f.file.Size-f.file.Len(), chunkSize) - int64(len(*out))
		if n := f.lines.takeWhole(b[took:], seg, room); n > 0 {
			*out = append(*out, b[took:took+n]...)
			took += n
			continue
		}
		line := b[took:]
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			line = line[:end+1]
		}
		n := f.lines.take(line, seg, add)
		if took += n; n < len(line) {
			break
		}
	}
	return took
}

// skipDropped skips and counts what is no longer kept, and appends a mark about it.
func (f *fileWriter) skipDropped(out []byte) []byte {
	l := f.l
	l.mu.Lock()
	defer l.mu.Unlock()
	p := f.saved
	open := f.lines.open
	if at := f.lines.pos; at < l.ix.start().pos {
		next := l.firstLine()
		p.dropped = p.dropped.plus(next.since(progress{at, f.taken.lines}))
		p.dropped.bytes += uint64(f.lines.moveTo(next.pos))
		f.taken = next
		f.lines.save(&p.position)
	}
	if f.marking = p.dropped; p.dropped == p.reported {
		return out
	}
	if open[0] || open[1] {
		out, f.lines.open = append(out, '\n'), [2]bool{}
	}
	reason := cmp.Or(f.why, "the file could not be written in time")
	return appendMark(out, FormatRaw, l.name, dropMark(p.dropped.minus(p.reported), l.name, reason), time.Now())
}

// write writes the batch, from where the last try ended, and saves the position.
func (f *fileWriter) write() error {
	f.l.mu.Lock()
	f.saved.writing = 1
	f.l.mu.Unlock()
	if len(f.rest) > 0 {
		n, err := f.file.Write(f.rest)
		f.rest = f.rest[n:]
		f.l.mu.Lock()
		f.saved.written += uint64(n)
		f.l.mu.Unlock()
		if err != nil {
			return err
		}
	}
	if f.buf != nil {
		buffers.Put(f.buf)
	}
	f.rest, f.buf, f.wroteAt = nil, nil, time.Now()
	f.l.mu.Lock()
	defer f.l.mu.Unlock()
	f.saved.lines, f.saved.reported = f.taken.lines, f.marking
	f.lines.save(&f.saved.position)
	f.reached, f.err = f.lines.pos, ""
	f.l.trim()
	return nil
}

// failed notes why nothing can be written, and warns once about each failure.
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
