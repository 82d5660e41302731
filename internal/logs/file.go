package logs

import (
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// logFile writes a log to files. One goroutine does, and a disk that is slow,
// full or gone holds up nobody else: what is no longer kept in memory by the time
// it can be written is counted, and marked in the file.
//
// What is to be written is first laid down in shared memory, with the size that
// the file has before it. After a kill that size says how much of it is written.
type logFile struct {
	*notebook
	l     *Log
	notes *fileNotes
	poke  chan struct{}
	done  chan struct{} // closed when the goroutine has ended

	// Guarded by l.mu:
	reached int64 // before it nothing is needed any more
	taken   taken
	retired bool  // no file is wanted any more
	until   int64 // retired: nothing from here on is written
	options FileOptions
	err     string // why it cannot be written now

	// Of the goroutine alone:
	j       joiner
	file    rotated
	rest    []byte        // of what was laid down, not written yet
	buf     []byte        // rest is a part of it; borrowed
	retryAt time.Time     // after a failure
	tried   string        // the path of the last step
	pause   time.Duration // before the next try; 0: the last one worked
	why     string        // the latest failure, for a mark
	told    string        // the latest failure that the operator was told
	toldAt  time.Time
	wroteAt time.Time
}

// fileNotes are at the start of its memory. Their layout may only grow.
type fileNotes struct {
	magic    uint64
	which    uint64 // of batch, the one that counts
	batch    [2]fileBatch
	written  uint64 // bytes
	begun    int64  // when the file's first line was written; Unix, ns
	begunIno uint64 // of the file that begun is about
}

// fileBatch is what was laid down last.
type fileBatch struct {
	next     cursor // where the log is behind it
	lines    uint64 // newlines before next
	n        int64  // its bytes, at the start of the memfd's
	size     int64  // of the file before them
	dev, ino uint64 // of the file
	done     uint64 // 1: they are written
	dropped  lostOutput
	marked   lostOutput // of it, what a mark in the file tells of
}

const fileMagic = 0x73746f6b65720201

// Pauses after a failure, and how long failures of one kind are told once.
const (
	firstPause = time.Second
	maxPause   = 30 * time.Second
	tellAgain  = time.Hour
)

// gatherTime is how long lines are gathered that come soon after others.
const gatherTime = 10 * time.Millisecond

func newLogFile(l *Log) (*logFile, error) {
	n, err := newNotebook("file-"+l.name, fileMagic)
	if err != nil {
		return nil, err
	}
	f := makeLogFile(l, n)
	f.notes.batch[0] = fileBatch{next: cursorAt(-1), done: 1}
	return f, nil
}

func makeLogFile(l *Log, n *notebook) *logFile {
	return &logFile{notebook: n, l: l, notes: (*fileNotes)(n.notes()), poke: make(chan struct{}, 1),
		done: make(chan struct{}), file: rotated{fd: -1}}
}

// openLogFile takes over one from the bag. What was laid down and not written is
// written first.
func openLogFile(l *Log, fd int) (*logFile, error) {
	n, err := openNotebook(fd, fileMagic)
	if err != nil {
		return nil, err
	}
	f := makeLogFile(l, n)
	b := f.last()
	if b.next.pos < 0 || b.next.pos > l.end { // killed before it began
		f.begin(l.end)
		return f, nil
	}
	f.reached, f.taken = b.next.pos, taken{b.next.pos, b.lines}
	for _, open := range b.next.open {
		if open >= 0 {
			f.reached = min(f.reached, open)
		}
	}
	f.j.load(l, b.next)
	return f, nil
}

// begin writes the log to the file from pos on. It has l.mu, or the log alone.
func (f *logFile) begin(pos int64) {
	f.j.start(pos)
	f.reached, f.taken = pos, taken{pos, f.l.ix.lines}
	f.note(fileBatch{next: f.j.cursor, lines: f.taken.lines, done: 1, dropped: f.last().dropped, marked: f.last().dropped})
}

// start begins and runs.
func (f *logFile) start(pos int64) {
	f.begin(pos)
	go f.run() // ends with Flush, or when it is retired
}

func (f *logFile) last() *fileBatch { return &f.notes.batch[f.notes.which&1] }

// note makes b the batch that counts. It has l.mu, or the log alone.
func (f *logFile) note(b fileBatch) {
	which := 1 - f.notes.which&1
	f.notes.batch[which] = b
	atomic.StoreUint64(&f.notes.which, which)
}

// stats has l.mu.
func (f *logFile) stats() *FileStats {
	counted, gone := f.last().dropped, f.l.missed(f.taken)
	return &FileStats{Path: f.options.Path, Bytes: atomic.LoadUint64(&f.notes.written), Error: f.err,
		DroppedBytes: counted.bytes + gone.bytes, DroppedLines: counted.lines + gone.lines}
}

// run writes until it is retired or the container ends.
func (f *logFile) run() {
	defer close(f.done)
	defer f.close()
	f.resume()
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
		case <-f.poke:
			if since := time.Since(f.wroteAt); since < gatherTime {
				f.gather(gatherTime - since)
			}
		case <-due:
		}
	}
}

// gather lets more lines come, so that each of many does not cost a write.
func (f *logFile) gather(d time.Duration) {
	f.l.mu.Lock()
	last := f.l.quit || f.retired
	f.l.mu.Unlock()
	if last {
		return
	}
	<-time.After(d)
}

// wanted is how to write now. last says that this is the last chance.
func (f *logFile) wanted() (o FileOptions, last bool) {
	f.l.mu.Lock()
	defer f.l.mu.Unlock()
	return f.options, f.l.quit || f.retired
}

// close gives up what only the goroutine uses. A log at its end keeps its notes.
func (f *logFile) close() {
	f.file.close()
	f.l.mu.Lock()
	defer f.l.mu.Unlock()
	if f.retired {
		f.notebook.close()
	}
}

// resume finds out how much of what an earlier supervisor had laid down it has
// written.
func (f *logFile) resume() {
	b := f.last()
	if b.done == 1 || b.n == 0 {
		return
	}
	laid, err := f.get(int(b.n), 0)
	if err != nil {
		f.tell(err)
		return
	}
	o, _ := f.wanted()
	f.rest = laid[writtenBefore(o.Path, b, laid):]
	if len(f.rest) == 0 {
		f.finished()
	}
}

// step does the next thing. wait is when it is to be called again at the latest;
// 0: when there is more.
func (f *logFile) step(o FileOptions, last bool) (did bool, wait time.Duration) {
	idle, due := f.pending(last)
	if idle {
		return false, due
	}
	if o.Path != f.tried { // what was wrong with another file says nothing of this one
		f.tried, f.pause, f.retryAt = o.Path, 0, time.Time{}
	}
	if left := time.Until(f.retryAt); left > 0 && !last {
		return false, left
	}
	err := f.file.open(o, f.notes)
	if err == nil && len(f.rest) == 0 {
		err = f.layDown(last)
	}
	if err == nil && len(f.rest) > 0 {
		err = f.write()
	}
	if err != nil {
		f.failed(err)
		return false, f.pause
	}
	f.pause, f.retryAt = 0, time.Time{}
	return true, 0
}

// pending says whether there is nothing to do, and when something held is due.
func (f *logFile) pending(last bool) (idle bool, due time.Duration) {
	if len(f.rest) > 0 {
		return false, 0
	}
	f.l.mu.Lock()
	more := f.j.pos < f.end()
	f.l.mu.Unlock()
	if more {
		return false, 0
	}
	for k := range f.j.part {
		since, held := f.j.waits(k)
		if !held {
			continue
		}
		left := time.Until(since.Add(jsonHold))
		if last || left <= 0 {
			return false, 0
		}
		if due == 0 || left < due {
			due = left
		}
	}
	return true, due
}

// end is the offset behind the last byte that is to be written. It has l.mu.
func (f *logFile) end() int64 {
	if f.retired {
		return f.until
	}
	return f.l.end
}

// write writes what is laid down, from where the last try ended.
func (f *logFile) write() error {
	for len(f.rest) > 0 {
		n, err := unix.Write(f.file.fd, f.rest)
		if n > 0 {
			f.rest = f.rest[n:]
			f.file.size += int64(n)
			atomic.AddUint64(&f.notes.written, uint64(n))
			continue
		}
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("cannot write to %s: %w", f.file.Path, err)
		}
	}
	f.finished()
	return nil
}

// finished notes that all that was laid down is written.
func (f *logFile) finished() {
	b := f.last()
	atomic.StoreUint64(&b.done, 1)
	f.forget(0, b.n)
	f.l.giveBack(f.buf)
	f.rest, f.buf = nil, nil
	f.wroteAt = time.Now()
	f.advance()
}

// advance lets go of what is not needed any more.
func (f *logFile) advance() {
	f.l.mu.Lock()
	defer f.l.mu.Unlock()
	f.reached, f.err = f.j.pos, ""
	f.l.trim()
}

// failed notes why nothing can be written. The operator is told once of each kind.
func (f *logFile) failed(err error) {
	f.pause = min(max(2*f.pause, firstPause), maxPause)
	f.retryAt = time.Now().Add(f.pause)
	f.why = err.Error()
	f.tell(err)
}

func (f *logFile) tell(err error) {
	f.l.mu.Lock()
	f.err = err.Error()
	f.l.mu.Unlock()
	if f.told == err.Error() && time.Since(f.toldAt) < tellAgain {
		return
	}
	f.told, f.toldAt = err.Error(), time.Now()
	if f.l.warn != nil {
		f.l.warn(fmt.Sprintf("the output of %s is not written to its file: %v; it is tried again, and lines that are too old by then are counted", f.l.name, err))
	}
}
