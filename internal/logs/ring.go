package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// chunkSize is the most that is moved at once, and the largest segment.
const chunkSize = 64 << 10

// Log is the captured output of one service, over all of its processes. It loses
// nothing when the supervisor is killed at any instruction: the kernel keeps the
// positions. splice(2) moves bytes from the pipe into a memfd and advances that file's
// own position in the same system call; sendfile(2) on a second description does so on
// the way out. The file only grows and what is no longer kept is punched out, so an
// offset names a byte for good.
type Log struct {
	name     string
	sinks    *[2]*Sink
	noSplice bool
	store    Store
	warn     func(string)
	pool     *sync.Pool    // of *[]byte
	wake     chan struct{} // wakes forward
	within   [2]bool       // of forward: what raw forwarded last of a stream ended no line

	changes sync.Mutex // one Configure at a time; never held while output is moved

	mu        sync.Mutex // guards what follows
	opts      Options    // with defaults; written with changes held too
	data      int        // memfd; its position is the end
	sent      int        // the same file; its position is what raw has forwarded
	ix        *index
	end       int64
	readers   map[chan struct{}]bool
	pipes     map[*Capture]bool
	taken     progress // of forward
	pinned    [2]int64 // bytes that sendfile forwards right now
	notices   []string // lines to forward before the next bytes
	reason    string   // why the latest lines were dropped; empty: unknown, or not read fast enough
	gap       bool     // the next bytes do not follow the last ones
	forwarded chan struct{}
	quit      bool
	closed    bool
	retired   bool          // it is removed once all is forwarded and no process writes
	room      chan struct{} // closed when a capture that waits may go on; nil: none waits

	warnedLost bool // that the output of the latest process cannot be kept

	page *sharedPage // nil: neither a format of lines nor a file was asked for yet
	file *fileWriter // nil: no file
}

// newLog makes an empty log.
func newLog(name string, o Options) (*Log, error) {
	data, err := unix.MemfdCreate("log-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	sent, err := reopen(data)
	if err != nil {
		unix.Close(data)
		return nil, err
	}
	ix, err := newIndex()
	if err != nil {
		unix.Close(data)
		unix.Close(sent)
		return nil, err
	}
	return makeLog(name, o, data, sent, ix), nil
}

func makeLog(name string, o Options, data, sent int, ix *index) *Log {
	return &Log{name: name, opts: o.withDefaults(), data: data, sent: sent, ix: ix, readers: map[chan struct{}]bool{}, pool: &sync.Pool{},
		pipes: map[*Capture]bool{}, forwarded: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// openLog takes over a log from the store and counts what its last owner had moved
// and not yet counted.
func openLog(name string, o Options, data, sent, ixfd int) (*Log, error) {
	ix, err := openIndex(ixfd)
	if err != nil {
		return nil, err
	}
	l := makeLog(name, o, data, sent, ix)
	if l.end, err = unix.Seek(data, 0, io.SeekCurrent); err != nil {
		return nil, err
	}
	for l.ix.counted < l.end {
		if l.count(int(min(l.end-l.ix.counted, chunkSize))) != nil {
			break
		}
	}
	// The same for what had been forwarded. The position of sent is behind where bytes
	// were dropped or forwarded as lines.
	pos, err := unix.Seek(sent, 0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	l.forwardedUpTo(pos)
	l.punch(0, ix.punched) // what was being forwarded was left out
	return l, nil
}

// linesBefore counts the newlines before an offset that is kept.
func (l *Log) linesBefore(off int64) uint64 {
	seg, _, ok := l.ix.find(off, l.end)
	if !ok {
		return l.ix.lines
	}
	return seg.lines + l.newlines(seg.off, off)
}

// newlines counts the newlines of a part of the log.
func (l *Log) newlines(from, to int64) uint64 {
	buf := make([]byte, to-from)
	n, _ := unix.Pread(l.data, buf, from)
	return uint64(bytes.Count(buf[:max(n, 0)], []byte{'\n'}))
}

// Name is the service's name.
func (l *Log) Name() string { return l.name }

// End is the offset behind the last byte.
func (l *Log) End() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// errFull says that the service has to wait for the reader of its output.
var errFull = errors.New("what was not forwarded exceeds what is kept")

// capture moves what is in a pipe into the log: at most one chunk. It never
// blocks; unix.EAGAIN says that the pipe is empty, 0 bytes that it has ended,
// errFull that it must wait unless it is forced.
func (l *Log) capture(fd int, stream int, force bool) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, nil
	}
	if !force && l.full() {
		return 0, errFull
	}
	fresh := l.ix.begin(l.end, stream, time.Now())
	n, err := l.move(fd)
	if n <= 0 {
		if fresh {
			l.ix.next--
		}
		return n, err
	}
	l.end += int64(n)
	if err := l.count(n); err != nil {
		return n, err
	}
	l.skipUnwanted()
	l.trim()
	l.notifyAll()
	return n, nil
}

// full says whether the service has to wait for the reader of its output.
func (l *Log) full() bool {
	return l.opts.Block && !l.quit && l.opts.Format != FormatNone && l.end-l.ix.forwarded >= l.opts.Keep
}

// skipUnwanted keeps pace where nothing is forwarded.
func (l *Log) skipUnwanted() {
	if l.opts.Format == FormatNone && l.ix.forwarded < l.end {
		l.ix.forwarded, l.ix.forwardedLines = l.end, l.ix.lines
	}
}

// makeRoom lets captures that wait go on, if they may.
func (l *Log) makeRoom() {
	if l.room != nil && !l.full() {
		close(l.room)
		l.room = nil
	}
}

// notifyAll wakes whatever waits for more.
func (l *Log) notifyAll() {
	for wake := range l.readers {
		notify(wake)
	}
	l.notifyWriters()
}

// notifyWriters wakes forward and the writer of files.
func (l *Log) notifyWriters() {
	if l.opts.Format != FormatNone || l.quit || len(l.notices) > 0 {
		notify(l.wake)
	}
	if l.file != nil {
		notify(l.file.wake)
	}
}

// notify wakes the one goroutine that reads c.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// move is splice, or read and write where splice does not work: there a kill
// between the two loses what was read.
func (l *Log) move(fd int) (int, error) {
	for !l.noSplice {
		n, err := unix.Splice(fd, nil, l.data, nil, chunkSize, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EINVAL || err == unix.ENOSYS {
			l.noSplice = true
			break
		}
		return int(n), err
	}
	buf := l.buffer()
	defer l.pool.Put(buf)
	n, err := unix.Read(fd, (*buf)[:chunkSize])
	if n <= 0 {
		return n, err
	}
	written, err := unix.Write(l.data, (*buf)[:n])
	if rest := (*buf)[max(written, 0):n]; len(rest) > 0 {
		l.lose(rest, err)
	}
	return written, err
}

// discard reads from a pipe what cannot be kept (a limit on the size of files, no
// memory for it), and counts it: the service must not stall because of it.
func (l *Log) discard(fd int, cause error) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	buf := l.buffer()
	defer l.pool.Put(buf)
	n, err := unix.Read(fd, (*buf)[:chunkSize])
	if n > 0 {
		l.lose((*buf)[:n], cause)
	}
	return n, err
}

// lose counts bytes that cannot be kept, and says so once a process. A short
// write has no error; the next one has the cause.
func (l *Log) lose(gone []byte, cause error) {
	lines := uint64(bytes.Count(gone, []byte{'\n'}))
	l.ix.lostBytes += uint64(len(gone))
	l.ix.lostLines += lines
	l.ix.notedLost += lines // the mark of SetLost is about the init's alone
	if !l.warnedLost && cause != nil {
		l.warnedLost = true
		l.notices = append(l.notices, fmt.Sprintf("the output of %s cannot be kept and is discarded: %v", l.name, cause))
	}
	l.notifyAll()
}

// buffer is memory of a chunk or more, from the pool: a hundred logs with a line
// now and then must not keep a hundred of them.
func (l *Log) buffer() *[]byte {
	if b, ok := l.pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, chunkSize)
	return &b
}

// putGrown puts a buffer back that was appended to.
func (l *Log) putGrown(buf *[]byte, out []byte) {
	if cap(out) <= 4*chunkSize {
		*buf = out[:cap(out)]
	}
	l.pool.Put(buf)
}

// count adds the newlines of the next n bytes.
func (l *Log) count(n int) error {
	buf := l.buffer()
	defer l.pool.Put(buf)
	got, err := unix.Pread(l.data, (*buf)[:n], l.ix.counted)
	if err != nil {
		return err
	}
	l.ix.lines += uint64(bytes.Count((*buf)[:got], []byte{'\n'}))
	l.ix.counted += int64(n)
	return nil
}

// trim forgets whole segments beyond what is kept and gives their memory back.
func (l *Log) trim() {
	// What a pipe holds comes at once when a supervisor takes over, faster than
	// it can be forwarded: that much more is kept as long as it is not forwarded.
	needed := l.ix.forwarded
	if l.file != nil {
		needed = min(needed, l.file.reached)
	}
	keep := l.opts.Keep
	cut := l.ix.expire(min(l.end-keep, max(needed, l.end-keep-2*pipeSize)))
	if cut <= l.ix.punched+chunkSize {
		return
	}
	from := l.ix.punched
	if a, b := l.pinned[0], l.pinned[1]; a < cut && b > from {
		l.punch(from, a)
		from = b // unpin punches between them
	}
	l.punch(from, cut)
	l.ix.punched = pageDown(cut)
}

// unpin ends the pin, and gives back what trim has left out for it.
func (l *Log) unpin() {
	l.punch(pageDown(l.pinned[0]), min(l.ix.punched, l.pinned[1]+pageBytes()))
	l.pinned = [2]int64{}
}

// punch gives the memory of [from, to) back, whole pages only: sendfile puts the
// pages themselves into the reader's pipe, where a page that is gone from the
// file is still whole, but a hole over a part of it would show as zeros.
func (l *Log) punch(from, to int64) {
	from, to = pageDown(from+pageBytes()-1), pageDown(to)
	if to > from {
		unix.Fallocate(l.data, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, to-from)
	}
}

// pageDown rounds down to the beginning of a page.
func pageDown(off int64) int64 { return off / pageBytes() * pageBytes() }

func pageBytes() int64 { return int64(os.Getpagesize()) }

// EndLine ends the line that a stream is in.
func (l *Log) EndLine(stream int) {
	l.mu.Lock()
	defer l.mu.Unlock()
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

// NewScratch makes a log that the store does not have and that is not forwarded, for a
// command whose output is wanted at its end.
func NewScratch(name string) (*Log, error) { return newLog(name, Options{}) }

// Close gives a scratch log's memory back, once the last descendant of its
// command that holds a pipe has written or ended.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if len(l.pipes) == 0 {
		l.release()
	}
}

// release unmaps and closes everything. Readers find an empty log with its counters.
func (l *Log) release() {
	l.closed = true
	l.notifyAll()
	if l.page != nil {
		l.page.close()
	}
	unix.Close(l.data)
	unix.Close(l.sent)
	left := *l.ix.header
	left.first = left.next
	unix.Munmap(l.ix.mem)
	unix.Close(l.ix.fd)
	l.data, l.sent, l.page, l.ix = -1, -1, nil, &index{fd: -1, header: &left}
}

// reopen opens a memfd a second time, which gives a position of its own.
func reopen(fd int) (int, error) {
	again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot open the memfd a second time (is /proc mounted?): %w", err)
	}
	return again, nil
}
