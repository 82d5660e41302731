package console

import (
	"io"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxInput bounds the input that a process has not taken.
const maxInput = 64 << 10

// endOfFile is the character that ends the input of a terminal, unless its program has chosen another.
const endOfFile = 4

// input is what the process has not read yet. Its fields but the channels are guarded by the session's mu.
type input struct {
	file  *os.File // a pipe or the terminal; nil: there is no input
	raw   syscall.RawConn
	pipe  *os.File // file, if it is a pipe that is open
	queue []byte
	ended bool  // nothing follows the queue
	last  byte  // of what was taken
	err   error // why nothing is taken any more
	wake  chan struct{}
	room  chan struct{} // there may be room in the queue
}

func newInput(file *os.File, isPipe bool) (*input, error) {
	in := &input{file: file, wake: make(chan struct{}, 1), room: make(chan struct{}, 1), last: '\n'}
	if file == nil {
		in.err = io.ErrClosedPipe
		return in, nil
	}
	if isPipe {
		in.pipe = file
	}
	var err error
	in.raw, err = file.SyscallConn()
	return in, err
}

// put queues what there is room for.
func (in *input) put(p []byte) (int, error) {
	switch {
	case in.err != nil:
		return 0, in.err
	case in.ended:
		return 0, io.ErrClosedPipe
	}
	n := min(len(p), maxInput-len(in.queue))
	in.queue = append(in.queue, p[:n]...)
	poke(in.wake)
	return n, nil
}

// clear drops the queue: the client that sends it is gone, and sends again what was not taken.
func (in *input) clear() {
	in.queue, in.ended = nil, in.ended && in.err != nil
	poke(in.room)
}

// end ends the input after the queue.
func (in *input) end() {
	in.ended = true
	poke(in.wake)
}

// feed gives the queue to the process until the input has ended.
func (s *Session) feed() {
	in := s.in
	if in.pipe != nil {
		defer in.file.Close()
	}
	for {
		var sent []byte
		var done bool
		closed := in.raw.Write(func(fd uintptr) (proceed bool) {
			sent, done, proceed = s.give(int(fd))
			return proceed
		})
		if len(sent) > 0 && s.recording != nil {
			s.recording.Input(sent)
		}
		if done || closed != nil {
			return
		}
		if len(sent) == 0 {
			select {
			case <-in.wake:
			case <-s.done:
				return
			}
		}
	}
}

// give writes some of the queue, without waiting. proceed is false if the process takes nothing now.
func (s *Session) give(fd int) (sent []byte, done, proceed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.in
	if s.exited || s.ring == nil {
		return nil, true, true
	}
	if len(in.queue) == 0 {
		if in.ended && in.err == nil {
			s.closeInput(fd)
		}
		return nil, in.err != nil, true
	}
	// Counted before the write: behind it the kernel runs the reader at once, and a kill there would have the client send it twice.
	want := min(len(in.queue), terminalMove)
	s.ring.h.taken += int64(want)
	n, err := unix.Write(fd, in.queue[:want])
	for err == unix.EINTR {
		n, err = unix.Write(fd, in.queue[:want])
	}
	s.ring.h.taken -= int64(want - max(n, 0))
	switch {
	case err == unix.EAGAIN:
		return nil, false, false
	case err != nil:
		in.err = io.ErrClosedPipe // the process reads no more
		s.dropInput()
		return nil, true, true
	}
	if s.recording != nil {
		sent = slices.Clone(in.queue[:n])
	} else {
		sent = in.queue[:n:n]
	}
	in.last = in.queue[n-1]
	if in.queue = in.queue[n:]; len(in.queue) == 0 {
		in.queue = nil
	}
	s.touch()
	poke(in.room)
	s.notify()
	return sent, false, true
}

// closeInput ends the input of the process; mu is held.
func (s *Session) closeInput(fd int) {
	in := s.in
	if in.pipe != nil {
		in.err = io.ErrClosedPipe
		s.dropInput()
		return
	}
	eof := []byte{endOfFile}
	if in.last != '\n' {
		eof = append(eof, endOfFile) // in the middle of a line the first one only sends the line
	}
	_, _ = unix.Write(fd, eof) // fails without room: the program reads nothing
	in.ended = false
}

// dropInput takes the pipe out of the fd store, so that the process sees its end when feed has closed it; mu is held.
func (s *Session) dropInput() {
	in := s.in
	in.queue = nil
	poke(in.room)
	if in.pipe == nil {
		return
	}
	in.pipe = nil
	if err := s.store(); err != nil {
		s.m.opts.Log.Error("the process does not see the end of its input", "session", s.id, "error", err)
	}
}
