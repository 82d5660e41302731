package logs

import (
	"fmt"
	"github.com/stoker-init/stoker/internal/logs/space"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// Log is the captured output of one service, over all of its processes. It loses
// nothing when the supervisor is killed at any instruction: the kernel keeps the
// positions. splice(2) moves bytes from the pipe into a memfd and advances that file's
// own position in the same system call; sendfile(2) on a second description does so on
// the way out. The file only grows, and the memory of old bytes is released by punching
// holes, so an offset always means the same byte.
type Log struct {
	name     string
	registry *Registry // nil: a temporary log
	noSplice bool
	warn     func(string)
	wake     chan struct{} // wakes forward
	midLine  [2]bool       // of forward: what raw forwarded last of a stream ended no line

	changes sync.Mutex // one Configure at a time; never held while output is moved

	mu         sync.Mutex // guards the following
	opts       Options    // with defaults; written with changes held too
	data       int        // memfd; its position is the end
	sent       int        // the same file; its position is what raw has forwarded
	ix         *index
	page       *pageContent // nil: a temporary log, or no memory yet
	end        int64
	readers    map[chan struct{}]bool
	captures   map[*Capture]bool
	taken      progress // of forward
	pinned     [2]int64 // bytes that sendfile forwards right now
	mem        space.Space
	reuse      bool   // memory can be written over: nothing but the log refers to its pages
	young      bool   // so was what was dropped last, in less than reuseAge: output comes fast
	startsLine bool   // what is kept begins with a line
	reason     string // why the latest lines were dropped; empty: unknown, or not read fast enough
	gap        bool   // the next bytes do not follow the last ones
	skipped    bool   // forwarded was advanced without forwarding
	forwarded  chan struct{}
	stopping   bool // the container ends: what is there is forwarded, and no more
	closed     bool
	retired    bool // it is removed once all is forwarded and no process writes
	blocked    int  // captures that wait for room
	room       *sync.Cond

	warnedLost bool // that the output of the latest process cannot be kept

	file *fileWriter // nil: no file
}

// makeLog makes a log without memory.
func makeLog(name string, o Options) *Log {
	l := &Log{name: name, opts: o.withDefaults(), data: -1, sent: -1, ix: &index{fd: -1, header: &header{}}, warn: func(string) {},
		mem: space.New(maxSegment), startsLine: true, readers: map[chan struct{}]bool{}, captures: map[*Capture]bool{},
		forwarded: make(chan struct{}), wake: make(chan struct{}, 1)}
	l.room = sync.NewCond(&l.mu)
	return l
}

// newLog makes an empty log outside of any registry.
func newLog(name string, o Options) (*Log, error) {
	l := makeLog(name, o)
	return l, l.allocate()
}

// NewTemporary makes a log that is neither in the store nor forwarded, for a command whose
// output is read at its end. Close releases it.
func NewTemporary(name string) (*Log, error) { return newLog(name, Options{}) }

// allocate makes the memory of a log.
func (l *Log) allocate() error {
	data, err := unix.MemfdCreate("log-"+l.name, unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	sent, err := reopen(data)
	if err != nil {
		unix.Close(data)
		return err
	}
	ix, err := newIndex()
	if err != nil {
		unix.Close(data)
		unix.Close(sent)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	ix.lost = l.ix.lost
	l.data, l.sent, l.ix = data, sent, ix
	return nil
}

// reopen opens a memfd a second time, which gives a position of its own.
func reopen(fd int) (int, error) {
	again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot open the memfd a second time (is /proc mounted?): %w", err)
	}
	return again, nil
}

// openLog takes over a log from the store and counts what the last supervisor had moved
// and not yet counted.
func openLog(name string, o Options, data, sent, ixfd int) (l *Log, err error) {
	l = makeLog(name, o)
	l.data, l.sent = data, sent
	if l.ix, err = openIndex(ixfd); err != nil {
		return nil, err
	}
	if err := l.findEnd(); err != nil {
		return nil, err
	}
	_ = l.count(int(l.end - l.ix.counted))
	// The same for what had been forwarded. The position of sent is behind where bytes
	// were dropped or forwarded as lines.
	pos, err := unix.Seek(sent, 0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	if l.ix.sentShift != noShift {
		l.forwardedUpTo(pos + l.ix.sentShift)
	}
	return l, l.findMemory()
}

// findEnd finds where an earlier supervisor has written last. Its last segment may not have
// been moved to yet.
func (l *Log) findEnd() error {
	at, err := unix.Seek(l.data, 0, io.SeekCurrent)
	if err != nil {
		return err
	}
	l.end, l.mem.At = at, at
	if l.ix.magic == indexMagic || l.ix.next == l.ix.first {
		return nil
	}
	last := l.ix.at(l.ix.next - 1)
	begin := last.at(last.off)
	if n := at - begin; n >= 0 && n <= maxSegment {
		l.end = last.off + n
		return nil
	}
	l.end = last.off
	l.mem.At, err = unix.Seek(l.data, begin, io.SeekStart)
	return err
}

// Name is the service's name.
func (l *Log) Name() string { return l.name }

// End is the offset behind the last byte.
func (l *Log) End() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// removeCapture adds what the init discarded of a capture's output to the counters.
func (l *Log) removeCapture(c *Capture) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ix.lost = l.ix.lost.plus(c.lost)
	c.lost = amount{}
	delete(l.captures, c)
	if l.closed && len(l.captures) == 0 {
		l.release()
	}
	if l.retired {
		notify(l.wake) // forward may be waiting for it
	}
}

// Close releases a temporary log, once the last descendant of its command that holds a pipe
// has written or ended.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if len(l.captures) == 0 {
		l.release()
	}
}

// release frees everything. Readers find an empty log with its counters.
func (l *Log) release() {
	l.closed = true
	l.notifyAll()
	l.free()
}

// free unmaps and closes everything.
func (l *Log) free() {
	l.ix.close()
	unix.Close(l.data)
	unix.Close(l.sent)
	if l.page != nil {
		unmapShared(l.page)
	}
	l.data, l.sent, l.page = -1, -1, nil
}
