package output

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// capture moves at most n bytes from the pipe to the file, or discards them if they cannot
// be kept. The error is unix.EAGAIN if the pipe is empty. 0 bytes without an error: it has ended.
func (s *Stream) capture(fd int, n int64) (int64, error) {
	s.moving.Lock()
	defer s.moving.Unlock()
	if s.ended {
		return 0, nil
	}
	n = min(n, chunkSize)
	if s.file == nil {
		if ready, err := readable(fd); !ready {
			return 0, err
		}
		if s.open(os.O_CREATE|os.O_EXCL) != nil {
			return s.copy(fd, n, false)
		}
	}
	if s.room() <= 0 && s.trim() != nil {
		return s.copy(fd, n, false)
	}
	n = min(n, s.room())
	if s.noSplice {
		return s.copy(fd, n, true)
	}
	offset := s.info.Bytes
	moved, err := unix.Splice(fd, nil, int(s.file.Fd()), &offset, int(n), unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
	switch err {
	case nil, unix.EAGAIN, unix.EINTR:
		s.advance(max(moved, 0), 0)
		return max(moved, 0), err
	case unix.EINVAL, unix.ENOSYS:
		s.noSplice = true
		return s.copy(fd, n, true)
	}
	return s.copy(fd, n, false) // no space, a limit on the size of files, a broken disk
}

// copy reads and, if they are to be kept, writes at most n bytes. A kill between the two
// loses what was read. What is not written is lost: the job must not stall because of it.
func (s *Stream) copy(fd int, n int64, keep bool) (int64, error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	got, err := unix.Read(fd, (*buf)[:n])
	if got <= 0 {
		return 0, err
	}
	written := 0
	if keep {
		written, _ = unix.Pwrite(int(s.file.Fd()), (*buf)[:got], s.info.Bytes)
		written = max(written, 0)
	}
	s.advance(int64(written), int64(got-written))
	return int64(got), nil
}

// buffers are for what is not spliced: streams need none otherwise.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, chunkSize)
	return &b
}}

// readable reports whether a pipe has bytes to read. The error is unix.EAGAIN if it has none
// now, nil if it has ended.
func readable(fd int) (ready bool, err error) {
	ends := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	_, err = unix.Poll(ends, 0)
	got := ends[0].Revents
	if err == nil && got&(unix.POLLIN|unix.POLLHUP) == 0 {
		err = unix.EAGAIN
	}
	return got&unix.POLLIN != 0, err
}

// open opens or makes the file. What is in it says what an earlier supervisor has kept.
func (s *Stream) open(flags int) error {
	f, err := os.OpenFile(s.path, os.O_RDWR|unix.O_NOFOLLOW|flags, 0o600)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return err
	}
	s.file = f
	if s.punch(blockDown(size)+blockSize, blockSize) != nil { // behind its end
		s.slack = 0
	}
	if size == 0 {
		return nil
	}
	s.info = Info{Bytes: size}
	switch hole := seekTo(f, s.half, unix.SEEK_HOLE, size); {
	case size <= 2*s.half:
	case s.slack == 0:
		s.info = Info{Bytes: size, Head: 2 * s.half, Tail: size, Lost: size - 2*s.half}
	case hole == s.half:
		s.info.Head, s.info.Tail = s.half, seekTo(f, hole, unix.SEEK_DATA, size)
		s.punched = blockDown(s.info.Tail)
	}
	for at := int64(0); at < size; { // other holes are what was lost
		hole := seekTo(f, at, unix.SEEK_HOLE, size)
		at = seekTo(f, hole, unix.SEEK_DATA, size)
		if hole < s.info.Head || hole >= s.info.Tail {
			s.info.Lost += at - hole
		}
	}
	return nil
}

// seekTo finds the next hole, or data, at an offset or behind it: end at most. A file system
// that knows no holes has one at the end.
func seekTo(f *os.File, offset int64, what int, end int64) int64 {
	at, err := f.Seek(offset, what)
	switch {
	case err == nil:
		return min(at, end)
	case what == unix.SEEK_DATA && !errors.Is(err, unix.ENXIO):
		return min(offset, end)
	}
	return end
}

// room is how much may be written until the middle has to be freed.
func (s *Stream) room() int64 { return s.slack + s.half + s.punched - s.info.Bytes }

// trim frees what is neither of the first nor of the last half of the limit.
func (s *Stream) trim() error {
	if s.slack == 0 {
		return unix.EOPNOTSUPP
	}
	tail := blockDown(s.info.Bytes - s.half)
	if tail <= s.punched {
		return nil
	}
	s.mu.Lock()
	s.info.Head, s.info.Tail = s.half, tail // first, so that nothing is read there
	s.mu.Unlock()
	if err := s.punch(s.punched, tail-s.punched); err != nil {
		return err
	}
	s.punched = tail
	return nil
}

// punch makes a hole.
func (s *Stream) punch(offset, n int64) error {
	for {
		err := unix.Fallocate(int(s.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, n)
		if err != unix.EINTR {
			return err
		}
	}
}

// advance counts what was taken from the pipe. What was lost becomes a hole, so that a later
// supervisor continues behind it.
func (s *Stream) advance(kept, lost int64) {
	s.mu.Lock()
	s.info.Bytes += kept + lost
	s.info.Lost += lost
	if s.slack == 0 && s.info.Bytes > 2*s.half {
		s.info.Head, s.info.Tail = 2*s.half, s.info.Bytes
	}
	if kept+lost > 0 {
		s.notify()
	}
	s.mu.Unlock()
	if lost > 0 && s.file != nil {
		_ = unix.Ftruncate(int(s.file.Fd()), s.info.Bytes) // where it cannot be, the next write makes the hole
	}
}
