package client

import (
	"fmt"
	"os"
	"time"
)

// input is what the process has not taken yet, as far as is known.
type input struct {
	base   int64 // offset of data[0]
	data   []byte
	sent   int64 // offset behind what was sent on the present link
	closed bool  // nothing follows
}

func (in *input) end() int64 { return in.base + int64(len(in.data)) }

// unsent returns what may be sent now.
func (in *input) unsent() []byte {
	return in.data[in.sent-in.base : min(in.end(), in.base+inputSent)-in.base]
}

// allSent reports whether nothing follows what was sent.
func (in *input) allSent() bool { return in.closed && in.sent == in.end() }

// taken forgets what the process has taken. An offset that makes no sense is ignored: it is no input of this link.
func (in *input) taken(offset int64) {
	if offset > in.base && offset <= in.sent {
		in.data = in.data[offset-in.base:]
		in.base = offset
	}
}

// resume sends again from an offset, and reports whether that is possible.
func (in *input) resume(offset int64) bool {
	if offset < in.base || offset > in.end() {
		return false
	}
	in.sent = offset
	in.taken(offset)
	return true
}

// output is a part of what the process wrote, or says that bytes are missing.
type output struct {
	stream int
	data   []byte
	gap    int64
}

// push queues output. The caller has the mutex.
func (s *Session) push(o output) {
	s.got[o.stream] += int64(len(o.data)) + o.gap
	s.queued += len(o.data)
	s.out = append(s.out, o)
	s.room.Broadcast()
}

// pop returns the next output; not ok: there will be none.
func (s *Session) pop() (o output, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.out) == 0 && !s.closed {
		s.room.Wait()
	}
	if len(s.out) == 0 {
		return o, false
	}
	o, s.out = s.out[0], s.out[1:]
	return o, true
}

// writeOutput passes output on, until one cannot be written; what follows is thrown away, so that the session can end. What is done is
// acknowledged, so that the server sends no more than a window beyond that.
func (s *Session) writeOutput() error {
	for {
		o, ok := s.pop()
		if !ok {
			return nil
		}
		if s.failure() == nil {
			if err := s.writeOne(o); err != nil {
				s.change(func() { s.failed = fmt.Errorf("%w: %w", ErrOutput, err) })
				if s.opts.Own {
					s.End(failureTime)
				} else {
					s.Detach(failureTime)
				}
			}
		}
		s.change(func() {
			s.done[o.stream] += int64(len(o.data)) + o.gap
			s.queued -= len(o.data)
			s.room.Broadcast()
		})
	}
}

func (s *Session) writeOne(o output) (err error) {
	if o.gap > 0 {
		s.opts.Gap(o.stream, o.gap)
		return nil
	}
	if o.stream == 1 {
		_, err = s.opts.Stdout.Write(o.data)
	} else {
		_, err = s.opts.Stderr.Write(o.data)
	}
	return err
}

// Write sends input. It waits while the process does not take it.
func (s *Session) Write(p []byte) (n int, err error) {
	for len(p) > n {
		s.mu.Lock()
		for len(s.in.data) >= inputRoom && !s.closed {
			s.room.Wait()
		}
		if s.closed || s.in.closed {
			s.mu.Unlock()
			return n, os.ErrClosed
		}
		part := p[n:min(len(p), n+inputRoom-len(s.in.data))]
		s.in.data = append(s.in.data, part...)
		n += len(part)
		s.mu.Unlock()
		s.wakeWriter()
	}
	return n, nil
}

// CloseWrite ends the input behind what was written.
func (s *Session) CloseWrite() {
	s.change(func() { s.in.closed = true })
}

// Resize sets the size of the terminal.
func (s *Session) Resize(rows, columns uint16) {
	s.change(func() { s.size = &message{Type: "resize", Rows: rows, Columns: columns} })
}

// Signal sends a signal, such as INT, to the processes in the foreground.
func (s *Session) Signal(name string) {
	s.change(func() { s.sends = append(s.sends, message{Type: "signal", Signal: name}) })
}

// Detach leaves the session as it is, and has Run return ErrLeft, after at most a time.
func (s *Session) Detach(within time.Duration) { s.depart("detach", within) }

// End has the command ended, and Run return its exit, or ErrLeft after at most a time.
func (s *Session) End(within time.Duration) { s.depart("end", within) }

func (s *Session) depart(request string, within time.Duration) {
	s.change(func() { s.leave = request })
	time.AfterFunc(within, s.cancel)
}

func (s *Session) change(f func()) {
	s.mu.Lock()
	f()
	s.mu.Unlock()
	s.wakeWriter()
}
