package proc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultKeep is how much of a service's output is kept, in bytes.
const DefaultKeep = 256 << 10

// chunkSize is the most that is moved at once, and the largest segment.
const chunkSize = 64 << 10

// Log is the captured output of one service, over all of its processes. It must
// survive our being killed at any instruction, and lose nothing by it, so the
// kernel keeps its positions: bytes are moved from the pipe into a memfd by
// splice(2), which advances the file's own position in the same system call,
// and out of it by sendfile(2) on a second description. The file only grows;
// what is no longer kept is punched out, so an offset names a byte for good.
type Log struct {
	name string
	keep int64
	outs *[2]*Outlet
	have Features

	mu     sync.Mutex // guards what follows
	data   int        // memfd; its position is the end
	sent   int        // the same file; its position is what was passed on
	ix     *index
	end    int64
	buf    []byte // borrowed from pool
	pool   *sync.Pool
	wakes  map[chan struct{}]bool
	pipes  map[*pipes]bool
	pinned [2]int64 // bytes that are being passed on right now
	behind int64    // bytes behind the pinned ones that were given back end here
	notes  []string // markers to pass on before the next bytes
	gap    bool     // the next bytes do not follow the last ones
	passed chan struct{}
	quit   bool
	closed bool
}

// logMeta is the bag's blob beside a log's descriptors.
type logMeta struct {
	Keep int64 `json:"keep"`
}

const logPrefix = "log/"

// Log gives the log of a service and makes it when there is none. keep is how
// many bytes are kept; 0: DefaultKeep.
func (m *Manager) Log(name string, keep int64) (*Log, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.logs[name]; l != nil {
		return l, nil
	}
	if keep <= 0 {
		keep = DefaultKeep
	}
	l, err := newLog(name, keep)
	if err != nil {
		return nil, fmt.Errorf("cannot keep the output of %q: %w", name, err)
	}
	meta, err := json.Marshal(logMeta{keep})
	if err == nil {
		err = m.Put(logPrefix+name, meta, l.data, l.sent, l.ix.fd)
	}
	if err != nil {
		return nil, err
	}
	m.addLog(l)
	return l, nil
}

// addLog starts passing on.
func (m *Manager) addLog(l *Log) {
	l.outs, l.have, l.pool = m.outs, m.opts.Deny, &m.buffers
	m.logs[l.name] = l
	go l.passOn() // ends with Flush, or with the process
}

// adoptLogs takes over the logs of an earlier supervisor.
func (m *Manager) adoptLogs(rec *Recovered) {
	for name, blob := range rec.Blobs {
		if !strings.HasPrefix(name, logPrefix) {
			continue
		}
		fds := rec.Files[name]
		delete(rec.Blobs, name)
		delete(rec.Files, name)
		var meta logMeta
		if json.Unmarshal(blob, &meta) != nil || len(fds) != 3 {
			continue
		}
		l, err := openLog(strings.TrimPrefix(name, logPrefix), meta.Keep, fds[0], fds[1], fds[2])
		if err != nil {
			m.warn(fmt.Sprintf("cannot take over the output kept for %s: %v", name, err))
			continue
		}
		m.addLog(l)
	}
}

// newLog makes an empty log.
func newLog(name string, keep int64) (*Log, error) {
	data, err := unix.MemfdCreate("log-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	// A second description of the same file, with a position of its own.
	sent, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", data), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(data)
		return nil, fmt.Errorf("cannot open the memfd a second time (is /proc mounted?): %w", err)
	}
	ix, err := newIndex()
	if err != nil {
		unix.Close(data)
		unix.Close(sent)
		return nil, err
	}
	return &Log{name: name, keep: keep, data: data, sent: sent, ix: ix, wakes: map[chan struct{}]bool{},
		pipes: map[*pipes]bool{}, passed: make(chan struct{})}, nil
}

// openLog takes over one from the bag and counts what its last owner had moved
// and not yet counted.
func openLog(name string, keep int64, data, sent, ixfd int) (*Log, error) {
	ix, err := mapIndex(ixfd)
	if err != nil {
		return nil, err
	}
	l := &Log{name: name, keep: keep, data: data, sent: sent, ix: ix, wakes: map[chan struct{}]bool{},
		pipes: map[*pipes]bool{}, passed: make(chan struct{})}
	if l.end, err = unix.Seek(data, 0, io.SeekCurrent); err != nil {
		return nil, err
	}
	for l.ix.counted < l.end {
		n := min(l.end-l.ix.counted, chunkSize)
		if l.count(int(n)) != nil {
			break
		}
	}
	// The same for what had been passed on: the position is the truth.
	if pos, err := unix.Seek(sent, 0, io.SeekCurrent); err == nil && pos > l.ix.passed {
		buf := make([]byte, min(pos-l.ix.passed, 4*chunkSize))
		n, _ := unix.Pread(data, buf, l.ix.passed)
		l.ix.passedLines += uint64(bytes.Count(buf[:max(n, 0)], []byte{'\n'}))
		l.ix.passed = pos
	}
	return l, nil
}

// Name is the service's name.
func (l *Log) Name() string { return l.name }

// End is the offset behind the last byte.
func (l *Log) End() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// Stats are a log's counters.
type Stats struct {
	Bytes        int64  `json:"bytes"`         // written so far
	Lines        uint64 `json:"lines"`         // of them, complete ones
	DroppedBytes uint64 `json:"dropped_bytes"` // not passed on: the reader is too slow, or gone
	DroppedLines uint64 `json:"dropped_lines"`
	LostBytes    uint64 `json:"lost_bytes"` // discarded: no supervisor worked, or it could not be kept
	LostLines    uint64 `json:"lost_lines"`
}

// Stats gives the counters.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.ix.header
	s := Stats{Bytes: l.end, Lines: h.lines, DroppedBytes: h.droppedBytes, DroppedLines: h.droppedLines,
		LostBytes: h.lostBytes, LostLines: h.lostLines}
	for p := range l.pipes {
		s.LostBytes += p.lost.bytes + p.cast.bytes
		s.LostLines += p.lost.lines + p.cast.lines
	}
	return s
}

// capture moves what is in a pipe into the log: at most one chunk. It never
// blocks; unix.EAGAIN says that the pipe is empty, 0 bytes that it has ended.
func (l *Log) capture(fd int, stream int) (int, error) {
	l.mu.Lock()
	defer l.unlock()
	if l.closed {
		return 0, nil
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
	l.trim()
	for wake := range l.wakes {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	return n, nil
}

// move is splice, or read and write where splice is not to be had: there a kill
// between the two loses what was read.
func (l *Log) move(fd int) (int, error) {
	for !l.have.Splice {
		n, err := unix.Splice(fd, nil, l.data, nil, chunkSize, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EINVAL || err == unix.ENOSYS {
			l.have.Splice = true
			break
		}
		return int(n), err
	}
	n, err := unix.Read(fd, l.buffer())
	if n <= 0 {
		return n, err
	}
	return unix.Write(l.data, l.buf[:n])
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
	cut := l.ix.expire(min(l.end-l.keep, max(l.ix.passed, l.end-l.keep-2*pipeSize)))
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
	page := int64(os.Getpagesize())
	from, to = pageDown(from+page-1), pageDown(to)
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
func pageDown(off int64) int64 {
	page := int64(os.Getpagesize())
	return off / page * page
}

// NewScratchLog makes a log that is kept by nobody and passed on nowhere, for a
// command whose output is wanted at its end.
func NewScratchLog(name string) (*Log, error) { return newLog(name, DefaultKeep) }

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

// release unmaps and closes everything.
func (l *Log) release() {
	unix.Close(l.data)
	unix.Close(l.sent)
	unix.Munmap(l.ix.mem)
	unix.Close(l.ix.fd)
}
