package logs

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Sink is the container's stdout or stderr, which the services and the supervisor's own
// log share line by line. A reader that stalls blocks only its users; none of them
// holds another lock meanwhile.
type Sink struct {
	fd   int
	gone atomic.Int64 // not written to before, since a write has failed; ns since made
	made time.Time

	mu      sync.Mutex
	owner   any           // wrote last
	midLine bool          // what it wrote did not end a line
	more    bool          // more of that line is about to come
	torn    bool          // another's line was already put into it
	since   time.Time     // when it was written
	ended   chan struct{} // closed when that line ends; nil: nothing waits for it
	noSend  bool          // sendfile does not work on it
}

// StdSinks are those of the container's stdout and stderr: one and the same
// where both are the same pipe, file or terminal, so that a line of one is not
// written into the middle of a line of the other.
func StdSinks() *[2]*Sink {
	out := NewSink(1)
	var a, b unix.Stat_t
	if unix.Fstat(1, &a) == nil && unix.Fstat(2, &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino {
		return &[2]*Sink{out, out}
	}
	return &[2]*Sink{out, NewSink(2)}
}

// NewSink makes the sink of a descriptor, which stays the caller's.
func NewSink(fd int) *Sink { return &Sink{fd: fd, made: time.Now()} }

// goneFor is how long a sink is left alone that cannot be written to (its reader is
// gone, its disk is full). What comes meanwhile is dropped and counted.
const goneFor = time.Second

// longLine is how long the beginning of a line is, in bytes, that is no prompt.
const longLine = 4 << 10

// Others wait for the end of a long line for as long as more of it comes, with no
// longer pause than lineQuiet, and at most lineTime.
const (
	lineQuiet = 250 * time.Millisecond
	lineTime  = time.Second
)

// absent says whether writing is not tried at all.
func (s *Sink) absent() bool {
	until := s.gone.Load()
	return until != 0 && int64(time.Since(s.made)) < until
}

// failing says whether the last write failed.
func (s *Sink) failing() bool { return s.gone.Load() != 0 }

// Write writes whole lines of the supervisor's own, for a logger behind a queue.
func (s *Sink) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return s.pass(transfer{text: p, begins: true, ends: p[len(p)-1] == '\n'})
}

// lock takes the sink. It waits for the end of another's long line, not for that of a
// prompt or of a line that is torn already.
func (s *Sink) lock(owner any) {
	s.mu.Lock()
	for limit := (time.Time{}); s.midLine && s.more && !s.torn && s.owner != owner; {
		if limit.IsZero() {
			limit = time.Now().Add(lineTime)
		}
		wait := min(time.Until(s.since.Add(lineQuiet)), time.Until(limit))
		if wait <= 0 {
			return
		}
		if s.ended == nil {
			s.ended = make(chan struct{})
		}
		ended, timer := s.ended, time.NewTimer(wait)
		s.mu.Unlock()
		select {
		case <-ended:
		case <-timer.C:
		}
		timer.Stop()
		s.mu.Lock()
	}
}

// turn ends another's line.
func (s *Sink) turn(owner any) {
	if s.midLine && s.owner != owner {
		_, _ = s.writeAll([]byte{'\n'})
		s.wrote(true)
	}
	s.owner = owner
}

// wrote notes whether the owner's bytes ended a line.
func (s *Sink) wrote(ends bool) {
	s.midLine = !ends
	if !ends {
		s.since = time.Now()
	} else {
		s.lineEnded()
	}
}

// endLine ends the line that owner has begun, if it has.
func (s *Sink) endLine(owner any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner == owner {
		s.turn(nil)
	}
}

// leave says that nothing more comes of owner, so its line is not waited for.
func (s *Sink) leave(owner any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner == owner && s.midLine {
		s.more = false
		s.lineEnded()
	}
}

// lineEnded wakes what waits for the end of a line.
func (s *Sink) lineEnded() {
	if s.ended != nil {
		close(s.ended)
		s.ended = nil
	}
}

// claim says that an earlier supervisor was in the middle of a line of owner, whose rest
// comes first. torn says that the rest is lost or comes again: the next line ends it. It
// does not wait: where the supervisor's own log is stalled already, the line is torn.
func (s *Sink) claim(owner any, torn bool) {
	if !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	if !s.midLine {
		s.owner, s.midLine, s.more, s.torn, s.since = owner, true, !torn, torn, time.Now()
	}
}

// writeAll is write(2) until all is written, also where the descriptor, which is shared
// with others, does not block.
func (s *Sink) writeAll(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(s.fd, p[done:])
		if n > 0 {
			done += n
		}
		if retry, fatal := s.retry(err); fatal {
			return done, err
		} else if !retry && n == 0 {
			return done, os.ErrClosed
		}
	}
	return done, nil
}

// retry waits where err says so.
func (s *Sink) retry(err error) (again, fatal bool) {
	switch err {
	case nil:
		if s.failing() {
			s.gone.Store(0)
		}
		return false, false
	case unix.EINTR:
		return true, false
	case unix.EAGAIN:
		unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}, -1)
		return true, false
	}
	s.gone.Store(int64(time.Since(s.made) + goneFor))
	return false, true
}

// transfer is what pass is to write.
type transfer struct {
	owner  any
	text   []byte // nil: n bytes of src, whose position advances
	src    int
	n      int
	begins bool   // it begins a line
	ends   bool   // it ends a line
	more   bool   // what it does not end goes on at once
	resume []byte // comes first where it goes on with a line that was torn
}

// pass writes a transfer. It fails at once while nothing can be written, with os.ErrClosed.
func (s *Sink) pass(t transfer) (int, error) {
	if s.absent() {
		return 0, os.ErrClosed
	}
	s.lock(t.owner)
	defer s.mu.Unlock()
	between := s.owner != t.owner
	s.turn(t.owner)
	if t.begins {
		s.torn = false
	} else if between {
		s.torn = true
	}
	s.more = t.more
	if between && !t.begins && len(t.resume) > 0 {
		if _, err := s.writeAll(t.resume); err != nil {
			return 0, err
		}
	}
	var n int
	var err error
	if t.text != nil {
		n, err = s.writeAll(t.text)
	} else {
		n, err = s.send(t.src, t.n)
	}
	if n > 0 {
		s.wrote(t.ends && n == max(t.n, len(t.text)))
	}
	return n, err
}

// send writes the next n bytes of src.
func (s *Sink) send(src, n int) (done int, err error) {
	for done < n && !s.noSend {
		got, err := unix.Sendfile(s.fd, src, nil, n-done)
		if got > 0 {
			done += got
			continue
		}
		if err == unix.EINVAL || err == unix.ENOSYS { // a file opened with O_APPEND, for one
			s.noSend = true
		} else if retry, fatal := s.retry(err); fatal {
			return done, err
		} else if !retry {
			break
		}
	}
	if done == n {
		s.gone.Store(0)
		return done, nil
	}
	// Where sendfile does not work a kill between the write and the seek repeats a portion.
	pos, err := unix.Seek(src, 0, io.SeekCurrent)
	if err != nil {
		return done, err
	}
	buf := make([]byte, n-done)
	got, err := unix.Pread(src, buf, pos)
	if got <= 0 {
		return done, err
	}
	wrote, err := s.writeAll(buf[:got])
	unix.Seek(src, pos+int64(wrote), io.SeekStart)
	return done + wrote, err
}
