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

// Log is the captured output of one service, over all of its processes. It must
// survive our being killed at any instruction, and lose nothing by it, so the
// kernel keeps its positions: bytes are moved from the pipe into a memfd by
// splice(2), which advances the file's own position in the same system call,
// and out of it by sendfile(2) on a second description. The file only grows;
// what is no longer kept is punched out, so an offset names a byte for good.
type Log struct {
	name     string
	outs     *[2]*Sink
	noSplice bool
	store    Store
	warn     func(string)
	poke     chan struct{} // wakes passOn

	within [2]bool // of passOn: what it passed on last of a stream ended no line

	changes sync.Mutex // one Configure at a time; never held by the output's flow

	mu     sync.Mutex // guards what follows
	opts   Options    // with defaults; written with changes held too
	data   int        // memfd; its position is the end
	sent   int        // the same file; its position is what was passed on
	ix     *index
	end    int64
	buf    []byte // borrowed from pool
	pool   *sync.Pool
	wakes  map[chan struct{}]bool
	pipes  map[*Capture]bool
	taken  taken    // by what passes on
	pinned [2]int64 // bytes that are being passed on right now
	behind int64    // bytes behind the pinned ones that were given back end here
	notes  []string // markers to pass on before the next bytes
	reason string   // why the latest lines were dropped; empty: unknown, or not read fast enough
	gap    bool     // the next bytes do not follow the last ones
	passed chan struct{}
	quit   bool
	closed bool
	// retired says that it is given up once all is passed on and no process writes.
	retired bool
	room    chan struct{} // closed when a capture that waits may go on; nil: none waits

	toldLost bool // that the output of the latest process cannot be kept

	rendering *rendering // of the formats that need it
	file      *logFile   // nil: no file
}

// newLog makes an empty log.
func newLog(name string, o Options) (*Log, error) {
	data, err := unix.MemfdCreate("log-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	sent, err := openAgain(data)
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
	return &Log{name: name, opts: o.withDefaults(), data: data, sent: sent, ix: ix, wakes: map[chan struct{}]bool{},
		pipes: map[*Capture]bool{}, passed: make(chan struct{}), poke: make(chan struct{}, 1)}
}

// openLog takes over one from the bag and counts what its last owner had moved
// and not yet counted.
func openLog(name string, o Options, data, sent, ixfd int) (*Log, error) {
	ix, err := mapIndex(ixfd)
	if err != nil {
		return nil, err
	}
	l := makeLog(name, o, data, sent, ix)
	if l.end, err = unix.Seek(data, 0, io.SeekCurrent); err != nil {
		return nil, err
	}
	for l.ix.counted < l.end {
		n := min(l.end-l.ix.counted, chunkSize)
		if l.count(int(n)) != nil {
			break
		}
	}
	// The same for what had been passed on: the position is the truth. It is behind
	// only where bytes were dropped and the next ones not yet sent.
	pos, err := unix.Seek(sent, 0, io.SeekCurrent)
	if err == nil && pos < l.ix.passed {
		_, err = unix.Seek(sent, l.ix.passed, io.SeekStart)
	} else if err == nil {
		l.passedUpTo(pos)
	}
	return l, err
}

// passedUpTo notes that everything before pos was passed on.
func (l *Log) passedUpTo(pos int64) {
	for l.ix.passed < pos {
		buf := l.buffer()
		n, _ := unix.Pread(l.data, buf[:min(pos-l.ix.passed, int64(len(buf)))], l.ix.passed)
		if n <= 0 {
			break
		}
		l.ix.passedLines += uint64(bytes.Count(buf[:n], []byte{'\n'}))
		l.ix.passed += int64(n)
	}
	l.ix.passed = pos
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
var errFull = errors.New("what was not passed on exceeds what is kept")

// capture moves what is in a pipe into the log: at most one chunk. It never
// blocks; unix.EAGAIN says that the pipe is empty, 0 bytes that it has ended,
// errFull that it must wait unless it is forced.
func (l *Log) capture(fd int, stream int, force bool) (int, error) {
	l.mu.Lock()
	defer l.unlock()
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
	l.wakeAll()
	return n, nil
}

// full says whether the service has to wait for the reader of its output.
func (l *Log) full() bool {
	return l.opts.Block && !l.quit && l.opts.Format != FormatNone && l.end-l.ix.passed >= l.opts.Keep
}

// skipUnwanted keeps pace where nothing is passed on.
func (l *Log) skipUnwanted() {
	if l.opts.Format == FormatNone && l.ix.passed < l.end {
		l.ix.passed, l.ix.passedLines = l.end, l.ix.lines
		unix.Seek(l.sent, l.end, io.SeekStart) // for a supervisor that does not know the format
	}
}

// makeRoom lets captures that wait go on, if they may.
func (l *Log) makeRoom() {
	if l.room != nil && !l.full() {
		close(l.room)
		l.room = nil
	}
}

// wakeAll wakes everybody who waits for more.
func (l *Log) wakeAll() {
	for wake := range l.wakes {
		poke(wake)
	}
	l.wakeSinks()
}

// wakeSinks wakes who passes on and who writes to files.
func (l *Log) wakeSinks() {
	if l.opts.Format != FormatNone || l.quit || len(l.notes) > 0 {
		poke(l.poke)
	}
	if l.file != nil {
		poke(l.file.poke)
	}
}

// move is splice, or read and write where splice is not to be had: there a kill
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
	n, err := unix.Read(fd, l.buffer())
	if n <= 0 {
		return n, err
	}
	written, err := unix.Write(l.data, l.buf[:n])
	if rest := l.buf[max(written, 0):n]; len(rest) > 0 {
		l.lose(rest, err)
	}
	return written, err
}

// discard reads from a pipe what cannot be kept (a limit on the size of files, no
// memory for it), and counts it: the service must not stall for our trouble.
func (l *Log) discard(fd int, cause error) (int, error) {
	l.mu.Lock()
	defer l.unlock()
	n, err := unix.Read(fd, l.buffer())
	if n > 0 {
		l.lose(l.buf[:n], cause)
	}
	return n, err
}

// lose counts bytes that cannot be kept, and says so once a process. A short
// write has no error; the next one tells the cause.
func (l *Log) lose(gone []byte, cause error) {
	lines := uint64(bytes.Count(gone, []byte{'\n'}))
	l.ix.lostBytes += uint64(len(gone))
	l.ix.lostLines += lines
	l.ix.notedLost += lines // not the init's doing, of which outputLost tells
	if !l.toldLost && cause != nil {
		l.toldLost = true
		l.notes = append(l.notes, fmt.Sprintf("the output of %s cannot be kept and is discarded: %v", l.name, cause))
	}
	l.wakeAll()
}

// buffer is borrowed for as long as the lock is held: a hundred logs that say a
// line now and then must not keep a hundred buffers.
func (l *Log) buffer() []byte {
	if l.buf == nil && l.pool != nil {
		l.buf, _ = l.pool.Get().([]byte)
	}
	if l.buf == nil {
		l.buf = make([]byte, chunkSize)
	}
	return l.buf
}

// borrow is buffer for somebody without the lock; giveBack follows.
func (l *Log) borrow() []byte {
	if l.pool != nil {
		if b, ok := l.pool.Get().([]byte); ok {
			return b
		}
	}
	return make([]byte, chunkSize)
}

// giveBack returns what borrow gave, which may have grown by now.
func (l *Log) giveBack(b []byte) {
	if l.pool != nil && cap(b) >= chunkSize && cap(b) <= 2*chunkSize {
		l.pool.Put(b[:chunkSize]) //nolint:staticcheck // as in unlock
	}
}

// unlock gives the buffer back with the lock.
func (l *Log) unlock() {
	if l.buf != nil && l.pool != nil {
		l.pool.Put(l.buf) //nolint:staticcheck // a slice header a chunk is cheaper than what it saves
		l.buf = nil
	}
	l.mu.Unlock()
}

// count adds the newlines of the next n bytes.
func (l *Log) count(n int) error {
	got, err := unix.Pread(l.data, l.buffer()[:n], l.ix.counted)
	if err != nil {
		return err
	}
	l.ix.lines += uint64(bytes.Count(l.buf[:got], []byte{'\n'}))
	l.ix.counted += int64(n)
	return nil
}

// trim forgets whole segments beyond what is kept and gives their memory back.
func (l *Log) trim() {
	// What a pipe holds comes at once when a supervisor takes over, faster than
	// anybody reads: that much more is kept as long as it is not passed on.
	needed := l.ix.passed
	if l.file != nil {
		needed = min(needed, l.file.reached)
	}
	keep := l.opts.Keep
	cut := l.ix.expire(min(l.end-keep, max(needed, l.end-keep-2*pipeSize)))
	if a, b := l.pinned[0], l.pinned[1]; b > a && a < cut {
		// These are being passed on to somebody slow: give back what is before and
		// behind them.
		l.punch(l.ix.punched, a)
		if from := max(b, l.behind); cut > from+chunkSize {
			l.punch(from, cut)
			l.behind = pageDown(cut)
		}
		return
	}
	if cut > l.ix.punched+chunkSize {
		l.punch(l.ix.punched, cut)
		l.ix.punched, l.behind = pageDown(cut), pageDown(cut)
	}
}

// punch gives the memory of [from, to) back, whole pages only: sendfile puts the
// pages themselves into the reader's pipe, where a page that is gone from the
// file is still whole, but a hole over a part of it would show as zeros.
func (l *Log) punch(from, to int64) {
	from, to = pageDown(from+pageSize()-1), pageDown(to)
	if to > from {
		unix.Fallocate(l.data, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, to-from)
	}
}

// subscribe gives a channel that gets a token whenever there may be more.
func (l *Log) subscribe() (wake chan struct{}, cancel func()) {
	wake = make(chan struct{}, 1)
	l.mu.Lock()
	l.wakes[wake] = true
	l.mu.Unlock()
	return wake, func() {
		l.mu.Lock()
		delete(l.wakes, wake)
		l.mu.Unlock()
	}
}

// pageDown rounds down to the beginning of a page.
func pageDown(off int64) int64 { return off / pageSize() * pageSize() }

func pageSize() int64 { return int64(os.Getpagesize()) }

// NewScratchLog makes a log that is kept by nobody and passed on nowhere, for a
// command whose output is wanted at its end.
func NewScratchLog(name string) (*Log, error) { return newLog(name, Options{}) }

// Text is everything that is kept, both streams in the order of arrival.
func (l *Log) Text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	start := l.ix.start()
	buf := make([]byte, l.end-start)
	n, err := unix.Pread(l.data, buf, start)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// Close gives a scratch log's memory back, once the last descendant of its
// command that holds a pipe has written again or is gone.
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
	l.wakeAll()
	if l.rendering != nil {
		l.rendering.close()
		unix.Close(l.rendering.sent)
	}
	unix.Close(l.data)
	unix.Close(l.sent)
	left := *l.ix.header
	left.first = left.next
	unix.Munmap(l.ix.mem)
	unix.Close(l.ix.fd)
	l.data, l.sent, l.rendering, l.ix = -1, -1, nil, &index{fd: -1, header: &left}
}
