package logs

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Streams of a log.
const (
	Stdout = 1
	Stderr = 2
)

// Capture reads one process's stdout and stderr, or the one pipe of both, into a log.
// Descendants of the process may hold the write ends long after it. The zero value has no
// pipes.
type Capture struct {
	log    *Log
	ends   []*os.File
	raw    []syscall.RawConn
	lost   amount      // by the init, in total; guarded by log.mu
	noWait atomic.Bool // it does not wait for the reader of the output

	mu    sync.Mutex // guards the following
	open  int        // ends that have writers
	onEnd func()     // called when none has
}

// pipeSize lets a service write for a while when nothing reads: 100 ms at 10
// MB/s. The kernel grants it to root, and to others up to their quota.
const pipeSize = 1 << 20

// NewCapture makes one pipe or two, and returns the child's ends.
func NewCapture(l *Log, count int) (c *Capture, writers []*os.File, err error) {
	var readers []int
	for range count {
		fds := make([]int, 2)
		if err := unix.Pipe2(fds, unix.O_CLOEXEC); err != nil {
			for k, fd := range readers {
				unix.Close(fd)
				writers[k].Close()
			}
			return nil, nil, err
		}
		unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize)
		readers, writers = append(readers, fds[0]), append(writers, os.NewFile(uintptr(fds[1]), "output"))
	}
	c, err = OpenCapture(l, readers)
	return c, writers, err
}

// OpenCapture takes over read ends from the store.
func OpenCapture(l *Log, fds []int) (*Capture, error) {
	c := &Capture{log: l, open: len(fds)}
	for _, fd := range fds {
		unix.SetNonblock(fd, true)
		end := os.NewFile(uintptr(fd), "output")
		raw, err := end.SyscallConn()
		if err != nil {
			return nil, err
		}
		c.ends, c.raw = append(c.ends, end), append(c.raw, raw)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.captures[c] = true
	l.warnedLost = false
	return c, nil
}

// each calls f for every read end that is open.
func (c *Capture) each(f func(k, fd int)) {
	for k, raw := range c.raw {
		_ = raw.Control(func(fd uintptr) { f(k, int(fd)) }) // an error: it is closed
	}
}

// Fds are the read ends, for the store. They stay the capture's.
func (c *Capture) Fds() (fds []int) {
	c.each(func(_, fd int) { fds = append(fds, fd) })
	return fds
}

// Inodes are the names of the pipes; none when they have ended.
func (c *Capture) Inodes() (names []string) {
	c.each(func(_, fd int) {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil {
			names = append(names, PipeName(st.Ino))
		}
	})
	return names
}

// PipeName is how /proc/PID/fd calls a pipe.
func PipeName(inode uint64) string { return fmt.Sprintf("pipe:[%d]", inode) }

// Run captures until every writer has closed.
func (c *Capture) Run() {
	for k := range c.ends {
		go c.readEnd(k) // ends with the writers, or with Close
	}
}

func (c *Capture) readEnd(k int) {
	for {
		n, err := 0, error(nil)
		waitErr := c.raw[k].Read(func(fd uintptr) bool {
			n, err = c.capture(int(fd), k+1, c.noWait.Load())
			return err != unix.EAGAIN
		})
		switch {
		case waitErr == nil && err == errFull:
			c.awaitRoom()
		case waitErr == nil && err == unix.EINTR:
		case waitErr != nil || n <= 0 || err != nil:
			c.closeEnd()
			return
		case n == batchSize: // a flood: without a turn for forward most of it would be dropped
			runtime.Gosched()
		}
	}
}

// capture is Log.capture. It discards what cannot be kept.
func (c *Capture) capture(fd, stream int, force bool) (int, error) {
	n, err := c.log.capture(fd, stream, force)
	switch err {
	case nil, errFull, unix.EAGAIN, unix.EINTR:
		return n, err
	}
	return c.log.discard(fd, err)
}

// awaitRoom lets the pipe fill, which blocks the service, until the reader of the output
// has read or is gone, or until StopWaiting.
func (c *Capture) awaitRoom() {
	l := c.log
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocked++
	for !c.noWait.Load() && !l.closed && l.full() {
		l.room.Wait()
	}
	l.blocked--
}

// StopWaiting ends all waiting for the reader of the output: from now on lines are dropped
// instead.
func (c *Capture) StopWaiting() {
	if c.log == nil {
		return
	}
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	c.noWait.Store(true)
	c.log.room.Broadcast()
}

// closeEnd notes that one end has no writer left. After the last one the ends are closed.
func (c *Capture) closeEnd() {
	c.mu.Lock()
	c.open--
	var onEnd func()
	if c.open == 0 {
		onEnd = c.onEnd
		c.Close()
	}
	c.mu.Unlock()
	if onEnd != nil {
		onEnd()
	}
}

// Ended reports whether every writer has closed.
func (c *Capture) Ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open == 0
}

// OnEnd calls f once every writer has closed.
func (c *Capture) OnEnd(f func()) {
	c.mu.Lock()
	if c.open > 0 {
		c.onEnd, f = f, nil
	}
	c.mu.Unlock()
	if f != nil {
		f()
	}
}

// Flush reads what is in the pipes now: what a process wrote before it ended is in the log
// before its exit is reported. A descendant that continues to write can delay this by a
// pipe's size at most.
func (c *Capture) Flush() {
	c.each(func(k, fd int) {
		for total := 0; total < 2*pipeSize; {
			n, err := c.capture(fd, k+1, true)
			if n <= 0 || err != nil {
				return
			}
			total += n
		}
	})
}

// Close closes the read ends, and adds what the init discarded to the log's counters.
func (c *Capture) Close() {
	c.StopWaiting()
	for _, f := range c.ends {
		f.Close()
	}
	if c.log != nil {
		c.log.removeCapture(c)
	}
}

// RetireLog retires the log; see Log.Retire.
func (c *Capture) RetireLog() {
	if c.log != nil {
		c.log.Retire()
	}
}

// EndLine ends the line that a stream is in.
func (c *Capture) EndLine(stream int) {
	if c.log != nil {
		c.log.endLine(stream)
	}
}

// SetLost notes how much the init discarded in total while no supervisor worked.
func (c *Capture) SetLost(bytes, lines uint64) {
	if c.log != nil {
		c.log.mu.Lock()
		defer c.log.mu.Unlock()
		c.lost = amount{bytes, lines}
	}
}

// Tail is the end of what is in the log, and of what was written to stderr, at most n bytes
// of each.
func (c *Capture) Tail(n int) (all, stderr string) {
	if c.log == nil {
		return "", ""
	}
	end := c.log.End()
	return string(c.log.Bytes(max(end-int64(n), 0), end)), string(c.log.streamTail(Stderr, n))
}
