// Package output captures what a job writes to a stream in a file, and reads it there while
// the job runs and later. It does not know jobs.
//
// The offset of a byte in the file is its offset in the stream, so the size of the file is
// all that a later supervisor has to know: splice moves bytes out of the pipe and advances
// the size in one system call, and a kill -9 before or after it loses and doubles nothing.
// What is not kept is a hole in the file.
package output

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize lets a job write for a while when nothing reads. The kernel grants it to root,
	// and to others up to their quota.
	pipeSize = 1 << 20
	// chunkSize is the most that is moved at once.
	chunkSize = 64 << 10
	// slackSize is how much more than the limit is kept until its middle is freed.
	slackSize = 128 << 10
	// blockSize is what holes are made of.
	blockSize = 4 << 10
)

// Stream captures one stream of a job in a file: the first and the last half of a limit are
// kept, and every byte keeps its offset.
type Stream struct {
	path string
	half int64 // of the limit, in whole blocks
	pipe *os.File
	raw  syscall.RawConn

	moving   sync.Mutex // is held while bytes move; guards the following
	file     *os.File   // nil: the job has not written yet
	noSplice bool       // the file does not know it
	punched  int64      // the end of the hole that begins at half; half: there is none
	slack    int64      // 0: the middle of the file cannot be freed, and only its head is kept

	mu    sync.Mutex    // guards the following
	info  Info          // changes with moving held as well
	ended bool          // likewise
	wake  chan struct{} // is closed at the next change; nil: nothing waits
}

// New makes a pipe, whose write end is the caller's. The file is made, for stoker's user
// alone, with the first byte; it must not exist, and its folder must be stoker's alone. The
// limit is in bytes, and is rounded up to whole blocks of 4 KiB, two at least.
func New(path string, limit int64) (s *Stream, writer *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("cannot make a pipe for output: %w", err)
	}
	unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize)
	s = newStream(path, limit)
	s.openPipe(fds[0])
	return s, os.NewFile(uintptr(fds[1]), "output"), nil
}

// Adopt continues a capture with the read end that an earlier supervisor left, which has
// ended. With an error the read end stays the caller's.
func Adopt(path string, limit int64, fd int) (*Stream, error) {
	s := newStream(path, limit)
	if err := s.open(0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot continue the output %s: %w", path, err)
	}
	s.openPipe(fd)
	return s, nil
}

func newStream(path string, limit int64) *Stream {
	half := blockDown((max(limit, 1)+1)/2 + blockSize - 1)
	return &Stream{path: path, half: half, punched: half, slack: slackSize}
}

func blockDown(offset int64) int64 { return offset / blockSize * blockSize }

// openPipe takes over a read end.
func (s *Stream) openPipe(fd int) {
	unix.SetNonblock(fd, true)
	s.pipe = os.NewFile(uintptr(fd), "output")
	s.raw, _ = s.pipe.SyscallConn() // fails for nil only
}

// FD is the read end, for the fd store. It stays the stream's. -1: the capture has ended.
func (s *Stream) FD() int {
	end := -1
	_ = s.raw.Control(func(fd uintptr) { end = int(fd) }) // an error: it is closed
	return end
}

// Run captures until every writer has closed the pipe, or until Close.
func (s *Stream) Run() {
	for {
		n, err := int64(0), error(nil)
		waitErr := s.raw.Read(func(fd uintptr) bool {
			n, err = s.capture(int(fd), chunkSize)
			return err != unix.EAGAIN
		})
		if waitErr != nil || n == 0 && err != unix.EINTR {
			s.Close()
			return
		}
	}
}

// Flush takes what is in the pipe now: what a job wrote before it ended is in the file when
// Flush returns. What is written meanwhile does not delay it.
func (s *Stream) Flush() {
	_ = s.raw.Control(func(fd uintptr) { // an error: there is no more
		size, _ := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		for rest := int64(max(size, 1)); rest > 0; { // once at least, since Run may be about to count the last ones
			n, err := s.capture(int(fd), rest)
			if n == 0 && err != unix.EINTR {
				return
			}
			rest -= n
		}
	})
}

// Close ends the capture. What is still in the pipe is not kept, and once nothing else holds
// the read end, a process that writes to it gets SIGPIPE or EPIPE.
func (s *Stream) Close() {
	s.pipe.Close()
	s.moving.Lock()
	defer s.moving.Unlock()
	if s.file != nil {
		_ = s.trim() // a little more than the limit stays
		s.file.Close()
		s.file = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.notify()
}

// Info is what is kept now.
func (s *Stream) Info() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info
}

// Wait returns when there are bytes behind an offset. The error is io.EOF if the stream has
// ended there, and that of ctx if it is done before.
func (s *Stream) Wait(ctx context.Context, offset int64) error {
	for {
		s.mu.Lock()
		if s.info.Bytes > offset || s.ended {
			defer s.mu.Unlock()
			if s.info.Bytes > offset {
				return nil
			}
			return io.EOF
		}
		if s.wake == nil {
			s.wake = make(chan struct{})
		}
		wake := s.wake
		s.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// notify wakes all that wait; s.mu is held.
func (s *Stream) notify() {
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}
