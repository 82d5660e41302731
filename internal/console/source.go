package console

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// source is where the output of a stream comes from.
type source struct {
	file *os.File // a pipe, or the master side of a terminal, which belongs to the process
	raw  syscall.RawConn
	// pipe is between a terminal and the ring: splice(2) needs one. The fd store keeps it, with what is in it. -1: there is none.
	pipe [2]int
}

func newSource(f *os.File, pipe [2]int) (*source, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &source{file: f, raw: raw, pipe: pipe}, nil
}

// terminalMove is the most that a terminal returns at once.
const terminalMove = 4 << 10

// move moves what is there into the ring, without waiting. 0 bytes without an error, or EIO: there will be no more.
func (c *source) move(r *ring, k, fd int, limit int64) (int, error) {
	if c.pipe[0] < 0 {
		return r.fill(k, fd, limit)
	}
	n, err := r.fill(k, c.pipe[0], limit) // what an earlier supervisor has left, or what did not fit before the ring's end
	if err != unix.EAGAIN || r.noSplice {
		return n, err
	}
	for !r.noSplice {
		n, err := unix.Splice(fd, nil, c.pipe[1], nil, terminalMove, unix.SPLICE_F_NONBLOCK)
		switch {
		case err == unix.EINTR:
		case err == unix.EINVAL || err == unix.ENOSYS:
			r.noSplice = true
		case err != nil || n == 0:
			return 0, err
		default:
			return r.fill(k, c.pipe[0], limit)
		}
	}
	return r.read(k, fd, limit)
}

// fdOf is the descriptor of a file that stays open.
func fdOf(f *os.File) (fd int) {
	fd = -1
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(p uintptr) { fd = int(p) }) // fails if it is closed
	}
	return fd
}

// close closes everything but the terminal.
func (c *source) close() {
	if c.pipe[0] < 0 && c.file != nil {
		c.file.Close()
		return
	}
	unix.Close(c.pipe[0])
	unix.Close(c.pipe[1])
}

// Flow control: while a client has the keyboard, output waits for it when it is window bytes behind, until it is half of that.
const window = 64 << 10

// errFull says that output has to wait for the holder of the keyboard.
var errFull = errors.New("the client is behind")

// reopenPause is when a terminal is read again that no process had open: one may have opened it by its name.
const reopenPause = 100 * time.Millisecond

// pump moves the output of a stream into the ring until it ends.
func (s *Session) pump(k int) {
	defer s.pumps.Done()
	c := s.sources[k]
	for {
		var n int
		var err error
		closed := c.raw.Read(func(fd uintptr) bool {
			n, err = s.move(c, k, int(fd))
			return err != unix.EAGAIN
		})
		switch {
		case closed != nil:
			return // the time for output is over
		case n > 0:
			s.record(k)
		case err == errFull:
			<-s.room[k]
		case err == unix.EIO && !s.isExited():
			select {
			case <-s.proc.Exited():
			case <-time.After(reopenPause):
			}
		case err != unix.EINTR:
			return
		}
	}
}

// move moves some output into the ring and wakes the links.
func (s *Session) move(c *source, k, fd int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := s.space(k)
	if limit <= 0 {
		return 0, errFull
	}
	n, err := c.move(s.ring, k, fd, limit)
	if n > 0 {
		s.touch()
		s.wakeLinks()
	}
	return n, err
}

// space is how much output may be moved now; mu is held. Without a holder, and when time is over, the oldest is overwritten; what a
// holder needs that is expected back is not. When the process has ended, all that is on its way fits before what the holder may not
// have.
func (s *Session) space(k int) int64 {
	h := s.ring.h
	switch {
	case s.forced, s.holder == nil && h.held == 0:
		return maxMove
	case s.holder == nil, s.exited:
		return h.size - (h.end[k] - h.need[k])
	}
	behind := h.end[k] - s.holder.next[k]
	if behind > window/2 {
		return 0
	}
	return window - behind
}

// record gives new output of a stream to the recording. Only the stream's pump writes to that part of the ring.
func (s *Session) record(k int) {
	h := s.ring.h
	for s.recording != nil && h.recorded[k] < h.end[k] {
		h.recorded[k] = max(h.recorded[k], s.ring.start(k))
		part := s.ring.part(k, h.recorded[k], h.end[k])
		if err := s.recording.Output(part); err != nil {
			s.End(err.Error())
		}
		h.recorded[k] += int64(len(part))
	}
}
