package logs

import (
	"errors"
	"fmt"
	"io"
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

// Source says where captured output goes: to Log, or with Late to a log that is made when
// the process writes something for the first time (a log costs three memfds and messages
// to the init, and most short commands write nothing).
type Source struct {
	ID   string // of the process, and of its late log
	Log  *Log
	Late *Options
}

// Capture reads one process's stdout and stderr, or the one pipe of both. The
// write ends may be held by descendants long after it. The zero value has no pipes.
type Capture struct {
	registry *Registry
	source   Source
	log      atomic.Pointer[Log] // nil: late, and nothing was written yet
	ends     []*os.File
	raw      []syscall.RawConn
	lost     amount      // by the init, in total; guarded by log.mu
	freed    atomic.Bool // it never waits for the reader of the output

	mu    sync.Mutex // guards what follows
	open  int        // ends that have not ended
	after func()     // called when none is left

	// opening guards what follows, and the making of log. With mu held the ends are
	// closed, which waits for the goroutine that makes it.
	opening    sync.Mutex
	scratch    bool // the late log is not in the registry
	givenUp    bool // the late log was given up, or is to be once it is made
	warnedLost bool // that it cannot be made
}

// pipeSize lets a service write for a while when nothing reads: 100 ms at 10
// MB/s. The kernel grants it to root, and to others up to their quota.
const pipeSize = 1 << 20

// NewCapture makes one pipe or two, and returns the child's ends.
func (r *Registry) NewCapture(s Source, count int) (c *Capture, writers []*os.File, err error) {
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
	c, err = r.capture(s, readers)
	return c, writers, err
}

// OpenCapture takes over read ends from the store.
func (r *Registry) OpenCapture(s Source, fds []int) (*Capture, error) {
	c, err := r.capture(s, fds)
	if err == nil && s.Log != nil {
		c.join(s.Log)
	}
	return c, err
}

// capture reads from pipes.
func (r *Registry) capture(s Source, fds []int) (*Capture, error) {
	c := &Capture{registry: r, source: s, open: len(fds)}
	c.log.Store(s.Log)
	for _, fd := range fds {
		unix.SetNonblock(fd, true)
		end := os.NewFile(uintptr(fd), "output")
		raw, err := end.SyscallConn()
		if err != nil {
			return nil, err
		}
		c.ends, c.raw = append(c.ends, end), append(c.raw, raw)
	}
	return c, nil
}

// Fds are the read ends, for the store. They stay the capture's.
func (c *Capture) Fds() []int {
	out := make([]int, len(c.ends))
	for k := range c.ends {
		c.raw[k].Control(func(fd uintptr) { out[k] = int(fd) })
	}
	return out
}

// Inodes are the names of the pipes; none when they have ended.
func (c *Capture) Inodes() (out []string) {
	if c.AtEnd() {
		return nil
	}
	for k := range c.ends {
		_ = c.raw[k].Control(func(fd uintptr) { // an error: closed meanwhile
			var st unix.Stat_t
			if unix.Fstat(int(fd), &st) == nil {
				out = append(out, fmt.Sprintf("pipe:[%d]", st.Ino))
			}
		})
	}
	return out
}

// Run captures until every writer is gone.
func (c *Capture) Run() {
	if l := c.log.Load(); l != nil {
		c.join(l)
	}
	for k := range c.ends {
		go c.runEnd(k) // ends with the writers, or with Close
	}
}

func (c *Capture) runEnd(k int) {
	for {
		n, err := 0, error(nil)
		waitErr := c.raw[k].Read(func(fd uintptr) bool {
			n, err = c.capture(int(fd), k+1, c.freed.Load())
			return err != unix.EAGAIN
		})
		if err == unix.EINTR {
			continue
		}
		if err == errFull && waitErr == nil {
			c.awaitRoom()
			continue
		}
		if n == chunkSize { // a flood: forward has its turn, else most of it would be dropped
			runtime.Gosched()
		}
		if waitErr == nil && err != nil {
			err = c.discard(k, err)
		}
		if waitErr != nil || n == 0 && err == nil || err != nil {
			break
		}
	}
	c.ended()
}

// join makes the pipes some of those that the log is filled from.
func (c *Capture) join(l *Log) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pipes[c] = true
	l.warnedLost = false
}

// capture is Log.capture of an end. A late log is made for the first byte.
func (c *Capture) capture(fd, stream int, force bool) (int, error) {
	l := c.log.Load()
	if l == nil {
		if ready, err := hasByte(fd); !ready {
			return 0, err
		}
		var err error
		if l, err = c.Open(); err != nil {
			return -1, err
		}
	}
	return l.capture(fd, stream, force)
}

// hasByte says whether a pipe has something to read. The error is unix.EAGAIN if it has
// nothing now, nil if it has ended.
func hasByte(fd int) (ready bool, err error) {
	ends := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	_, err = unix.Poll(ends, 0)
	got := ends[0].Revents
	if err == nil && got&(unix.POLLIN|unix.POLLHUP) == 0 {
		err = unix.EAGAIN
	}
	return got&unix.POLLIN != 0, err
}

// discard discards what an end has. nil says that there may be more.
func (c *Capture) discard(k int, cause error) error {
	var n int
	var err error
	if ctlErr := c.raw[k].Control(func(fd uintptr) { n, err = c.discardFrom(int(fd), cause) }); ctlErr != nil {
		return ctlErr
	}
	if err == unix.EAGAIN {
		return nil
	}
	if err != nil || n == 0 {
		return io.EOF
	}
	return nil
}

// discardFrom is Log.discard of an end; where there is not even a log nothing is counted.
func (c *Capture) discardFrom(fd int, cause error) (int, error) {
	if l := c.log.Load(); l != nil {
		return l.discard(fd, cause)
	}
	return unix.Read(fd, make([]byte, chunkSize))
}

// awaitRoom lets the pipe fill, and so the service wait, until the reader of the
// output has read or is gone, or Free is called.
func (c *Capture) awaitRoom() {
	l := c.log.Load()
	l.mu.Lock()
	if c.freed.Load() || l.closed || !l.full() {
		l.mu.Unlock()
		return
	}
	if l.room == nil {
		l.room = make(chan struct{})
	}
	room := l.room
	l.mu.Unlock()
	<-room // closed by makeRoom and by Free
}

// Free ends all waiting for the reader of the output: from now on lines
// are dropped rather than that their writer is held up.
func (c *Capture) Free() {
	c.freed.Store(true)
	l := c.log.Load()
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.room != nil { // a capture that still has to wait makes another
		close(l.room)
		l.room = nil
	}
}

// ended notes that one end has no writer left. After the last one the ends are closed, and
// what was lost is moved into the log's own count.
func (c *Capture) ended() {
	c.mu.Lock()
	c.open--
	var after func()
	if c.open == 0 {
		after = c.after
		for _, f := range c.ends {
			f.Close()
		}
		if l := c.log.Load(); l != nil {
			c.leave(l)
		}
	}
	c.mu.Unlock()
	if after != nil {
		after()
	}
}

func (c *Capture) leave(l *Log) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ix.lostBytes += c.lost.bytes
	l.ix.lostLines += c.lost.lines
	c.lost = amount{}
	delete(l.pipes, c)
	if l.closed && len(l.pipes) == 0 {
		l.release()
	}
	if l.retired {
		notify(l.wake) // forward may be waiting for it
	}
}

// AtEnd says whether every writer is gone.
func (c *Capture) AtEnd() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open == 0
}

// WhenEnded calls f once every writer is gone.
func (c *Capture) WhenEnded(f func()) {
	c.mu.Lock()
	if c.open > 0 {
		c.after, f = f, nil
	}
	c.mu.Unlock()
	if f != nil {
		f()
	}
}

// Flush takes what is in the pipes now: what a process wrote before it ended is
// in the log before its exit is reported. A descendant that goes on writing cannot
// hold this up for more than a pipe's worth. What cannot be kept is counted.
func (c *Capture) Flush() {
	for k := range c.ends {
		c.raw[k].Control(func(fd uintptr) {
			for total := 0; total < 2*pipeSize; {
				n, err := c.capture(int(fd), k+1, true)
				if n <= 0 && err != nil && err != unix.EAGAIN && err != unix.EINTR {
					n, err = c.discardFrom(int(fd), err)
				}
				if n <= 0 || err != nil {
					return
				}
				total += n
			}
		})
	}
}

// Close closes the read ends.
func (c *Capture) Close() {
	c.Free()
	for _, f := range c.ends {
		f.Close()
	}
}

// SetLost notes how much the init discarded in total while no supervisor worked.
func (c *Capture) SetLost(bytes, lines uint64) {
	if l := c.log.Load(); l != nil {
		l.noteLost(c, amount{bytes, lines})
	}
}

// maxUnread bounds the late logs that are given up and still to be forwarded. Where
// the container's output is not read more of them would pile up.
const maxUnread = 64

// Open returns the log, and makes a late one. Where too many wait to be forwarded it is a
// scratch log.
func (c *Capture) Open() (*Log, error) {
	c.opening.Lock()
	defer c.opening.Unlock()
	if l := c.log.Load(); l != nil {
		return l, nil
	}
	if c.source.Late == nil {
		return nil, errors.New("nothing is captured")
	}
	r := c.registry
	var l *Log
	var err error
	if c.scratch = r.unread() >= maxUnread; c.scratch {
		r.warnUnread.Do(func() {
			r.Warn("the container's output is not read: that of hooks is not forwarded until it is")
		})
		l, err = NewScratch(c.source.ID)
	} else {
		l, err = r.Open(c.source.ID, *c.source.Late)
	}
	if err != nil {
		if !c.warnedLost {
			c.warnedLost = true
			r.Warn(fmt.Sprintf("the output of %s cannot be kept and is discarded: %v", c.source.ID, err))
		}
		return nil, err
	}
	c.join(l)
	c.log.Store(l)
	if c.givenUp {
		c.retire(l)
	}
	return l, nil
}

// GiveUp gives a late log up: what it holds and what still comes is forwarded, and is
// not wanted otherwise.
func (c *Capture) GiveUp() {
	if c.source.Late == nil {
		return
	}
	c.opening.Lock()
	defer c.opening.Unlock()
	if l := c.log.Load(); l != nil && !c.givenUp {
		c.retire(l)
	}
	c.givenUp = true
}

func (c *Capture) retire(l *Log) {
	if c.scratch {
		l.Close()
	} else {
		c.registry.Retire(l)
	}
}

// Tail is the end of what is in a late log, and of what was written to stderr, at most
// n bytes of each; without a late log both are empty.
func (c *Capture) Tail(n int) (all, stderr string) {
	l := c.log.Load()
	if c.source.Late == nil || l == nil {
		return "", ""
	}
	end := l.End()
	return string(l.Bytes(max(end-int64(n), 0), end)), string(l.streamTail(Stderr, n))
}
