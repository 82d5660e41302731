package logs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"github.com/stoker-init/stoker/internal/logs/space"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// chunkSize is the most that is moved at once; a segment that has as much is full.
const chunkSize = 64 << 10

// batchSize is the most that is moved before readers are notified, in bytes.
const batchSize = 4 * chunkSize

// maxSegment is the most that a segment can have, in bytes: a chunk less one byte, and another
// chunk.
const maxSegment = 2 * chunkSize

// errFull means that the service has to wait for the reader of its output.
var errFull = errors.New("the output that is not forwarded exceeds the memory for it")

// capture moves what is in a pipe into the log: at most one batch. It never blocks. The
// error is unix.EAGAIN if the pipe is empty, and errFull if the service must wait, unless
// force is set. 0 bytes without an error: the pipe has ended.
func (l *Log) capture(fd int, stream int, force bool) (int, error) {
	l.mu.Lock()
	if l.data < 0 && !l.closed {
		l.mu.Unlock()
		if ready, err := readable(fd); !ready {
			return 0, err
		}
		if err := l.registry.open(l); err != nil {
			return -1, err
		}
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	if l.closed {
		return 0, nil
	}
	total, n, err := 0, chunkSize, error(nil)
	for n == chunkSize && err == nil && total < batchSize {
		if !force && l.full() {
			n, err = 0, errFull
		} else if n, err = l.captureChunk(fd, stream); n > 0 {
			total += n
		}
	}
	if total == 0 {
		return n, err
	}
	l.notifyAll()
	if n <= 0 { // the next call finds it again
		err = nil
	}
	return total, err
}

// captureChunk moves at most one chunk.
func (l *Log) captureChunk(fd, stream int) (int, error) {
	undo := l.begin(stream)
	n, err := l.move(fd)
	if n <= 0 {
		undo()
		return n, err
	}
	l.end, l.mem.At = l.end+int64(n), l.mem.At+int64(n)
	if err := l.count(n); err != nil {
		return n, err
	}
	l.skipUnforwarded()
	l.trim()
	return n, nil
}

// readable reports whether a pipe has bytes to read. The error is unix.EAGAIN if it has
// none now, nil if it has ended.
func readable(fd int) (ready bool, err error) {
	ends := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	_, err = unix.Poll(ends, 0)
	got := ends[0].Revents
	if err == nil && got&(unix.POLLIN|unix.POLLHUP) == 0 {
		err = unix.EAGAIN
	}
	return got&unix.POLLIN != 0, err
}

// full reports whether the service has to wait for the reader of its output.
func (l *Log) full() bool {
	return l.opts.Block && !l.stopping && l.opts.Format != FormatNone && l.end-l.ix.forwarded.pos >= l.opts.Keep
}

// skipUnforwarded advances the position of a log that is not forwarded.
func (l *Log) skipUnforwarded() {
	if l.opts.Format == FormatNone && l.ix.forwarded.pos < l.end {
		l.ix.forwarded = progress{l.end, l.ix.lines}
		l.skipped = true
	}
}

// notifyAll wakes all that wait for more output.
func (l *Log) notifyAll() {
	for wake := range l.readers {
		notify(wake)
	}
	l.notifyWriters()
}

// notifyWriters wakes forward and the writer of files.
func (l *Log) notifyWriters() {
	if l.opts.Format != FormatNone || l.stopping {
		notify(l.wake)
	}
	if l.file != nil {
		notify(l.file.wake)
		if l.end-l.file.reached >= l.opts.Keep/2 {
			notify(l.file.much)
		}
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
	buf := getBuffer()
	defer buffers.Put(buf)
	n, err := unix.Read(fd, (*buf)[:chunkSize])
	if n <= 0 {
		return n, err
	}
	written, err := unix.Write(l.data, (*buf)[:n])
	if rest := (*buf)[max(written, 0):n]; len(rest) > 0 {
		l.countLost(rest, err)
	}
	return written, err
}

// discard reads and counts what cannot be kept (a limit on the size of files, no memory):
// the service must not stall because of it.
func (l *Log) discard(fd int, cause error) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	buf := getBuffer()
	defer buffers.Put(buf)
	n, err := unix.Read(fd, (*buf)[:chunkSize])
	if n > 0 {
		l.countLost((*buf)[:n], cause)
	}
	return n, err
}

// countLost counts bytes that cannot be kept, and warns once a process. A short
// write has no error; the next one has the cause.
func (l *Log) countLost(b []byte, cause error) {
	l.ix.lost = l.ix.lost.plus(amount{uint64(len(b)), newlines(b)})
	if !l.warnedLost && cause != nil {
		l.warnedLost = true
		l.warn(fmt.Sprintf("the output of %s cannot be kept and is discarded: %v", l.name, cause))
	}
	l.notifyAll()
}

// buffers has buffers of a chunk or more: a hundred logs with a line now and then must not
// keep a hundred of them.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, chunkSize)
	return &b
}}

func getBuffer() *[]byte { return buffers.Get().(*[]byte) }

// putGrown returns a buffer that was appended to.
func putGrown(buf *[]byte, out []byte) {
	if cap(out) <= 4*chunkSize {
		*buf = out[:cap(out)]
	}
	buffers.Put(buf)
}

func newlines(b []byte) uint64 { return uint64(bytes.Count(b, []byte{'\n'})) }

// count adds the newlines of the next n bytes.
func (l *Log) count(n int) error {
	lines, err := l.newlines(l.ix.counted, l.ix.counted+int64(n))
	if err != nil {
		return err
	}
	l.ix.lines += lines
	l.ix.counted += int64(n)
	return nil
}

// newlines counts the newlines of a part of the log that is kept.
func (l *Log) newlines(from, to int64) (lines uint64, err error) {
	for from < to {
		seg, until, ok := l.ix.find(from, l.end)
		if !ok {
			return lines, nil
		}
		until = min(until, to)
		n, err := l.newlinesIn(space.Extent{From: seg.at(from), To: seg.at(until)})
		if lines += n; err != nil {
			return lines, err
		}
		from = until
	}
	return lines, nil
}

// newlinesIn counts the newlines of a part of the memfd.
func (l *Log) newlinesIn(e space.Extent) (lines uint64, err error) {
	buf := getBuffer()
	defer buffers.Put(buf)
	for e.From < e.To {
		n, err := unix.Pread(l.data, (*buf)[:min(e.To-e.From, chunkSize)], e.From)
		if n <= 0 {
			return lines, err
		}
		lines += newlines((*buf)[:n])
		e.From += int64(n)
	}
	return lines, nil
}

// pread reads bytes from an offset, at most to the end of its segment.
func (l *Log) pread(b []byte, off int64) (int, error) {
	seg, until, ok := l.ix.find(off, l.end)
	if !ok {
		return 0, nil
	}
	return unix.Pread(l.data, b[:min(int64(len(b)), until-off)], seg.at(off))
}

// lastNewline is the offset of the last newline in a part of the log; before from: it has
// none.
func (l *Log) lastNewline(from, to int64) (int64, error) {
	var buf [4 << 10]byte
	for to > from {
		begin := max(from, to-int64(len(buf)))
		n, err := l.pread(buf[:to-begin], begin)
		if err != nil || n < int(to-begin) {
			return 0, cmp.Or(err, io.ErrUnexpectedEOF)
		}
		if at := bytes.LastIndexByte(buf[:n], '\n'); at >= 0 {
			return begin + int64(at), nil
		}
		to = begin
	}
	return from - 1, nil
}

// linesAt is the number of newlines before an offset at which a segment begins, or the log
// ends.
func (l *Log) linesAt(off int64) uint64 {
	if seg, _, ok := l.ix.find(off, l.end); ok {
		return seg.lines
	}
	return l.ix.lines
}

// linesBefore counts the newlines before an offset that is kept.
func (l *Log) linesBefore(off int64) uint64 {
	seg, _, ok := l.ix.find(off, l.end)
	if !ok {
		return l.ix.lines
	}
	lines, _ := l.newlines(seg.off, off)
	return seg.lines + lines
}

// trim drops whole segments beyond what is kept and releases their memory.
func (l *Log) trim() {
	// When a supervisor takes over, the contents of a pipe arrive at once, faster than
	// they can be forwarded: that much more is kept until it is forwarded.
	needed := l.ix.forwarded.pos
	if l.file != nil {
		needed = min(needed, l.file.reached)
	}
	keep := l.opts.Keep
	limit := min(l.end-keep, max(needed, l.end-keep-2*pipeSize))
	for l.ix.next-l.ix.first > 1 && l.ix.at(l.ix.first+1).off <= limit {
		l.dropOldest()
	}
	if l.mem.Old.Total() >= chunkSize {
		l.mem.Old.Release(l.data)
	}
	if free := l.mem.Free.Total(); free >= chunkSize && (!l.young || l.end-l.ix.start().pos+free > keep+freeMax) {
		l.mem.Free.Release(l.data)
	}
}

// begin notes that the next bytes are of a stream. If none follow, undo takes that back.
func (l *Log) begin(stream int) (undo func()) {
	now := time.Now()
	if l.ix.joins(l.end, stream, now) {
		return func() {}
	}
	if l.ix.next-l.ix.first == segments {
		l.dropOldest()
	}
	here := l.mem.At
	at := l.mem.Next(l.end, l.reuse && l.young && !l.noSplice)
	l.ix.begin(l.end, stream, now, at)
	if at != here { // the segment stays: it has the shift of the position
		unix.Seek(l.data, at, io.SeekStart)
		return func() {}
	}
	return func() { l.ix.next-- }
}

// endLine ends the line that a stream is in.
func (l *Log) endLine(stream int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	until := l.end
	for n := l.ix.next; n > l.ix.first; n-- {
		seg := l.ix.at(n - 1)
		if seg.stream() != stream || seg.off == until {
			until = seg.off
			continue
		}
		var last [1]byte
		if got, err := l.pread(last[:], until-1); err != nil || got < 1 || last[0] == '\n' {
			return
		}
		l.begin(stream)
		if got, err := unix.Write(l.data, []byte{'\n'}); err == nil && got == 1 {
			l.end, l.mem.At = l.end+1, l.mem.At+1
			_ = l.count(1)
		}
		return
	}
}
