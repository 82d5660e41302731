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
// log share line by line. A reader that stalls blocks only the writers; none of them
// holds another lock meanwhile.
type Sink struct {
	fd      int
	retryAt atomic.Int64 // since a write has failed: when to write again; ns since made
	made    time.Time

	mu      sync.Mutex
	owner   any       // the last writer
	midLine bool      // its last write did not end a line
	more    bool      // and more of that line follows
	torn    bool      // and another's line was already written into it
	since   time.Time // when it was written
	noSend  bool      // sendfile does not work on it
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

// retryTime is how long a sink is skipped that cannot be written to (its reader is gone, its
// disk is full). The output meanwhile is dropped and counted.
const retryTime = time.Second

// longLine is the size, in bytes, from which the beginning of a line is no prompt.
const longLine = 4 << 10

// Writers wait for the end of another's long line while more of it follows with pauses of
// at most lineQuiet, and for lineTime at most.
const (
	lineQuiet = 250 * time.Millisecond
	lineTime  = time.Second
	linePoll  = time.Millisecond
)

// skipped reports whether no write is tried now.
func (s *Sink) skipped() bool {
	at := s.retryAt.Load()
	return at != 0 && int64(time.Since(s.made)) < at
}

// failing reports whether the last write failed.
func (s *Sink) failing() bool { return s.retryAt.Load() != 0 }

// Write writes whole lines of the supervisor's own log.
func (s *Sink) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return s.pass(transfer{text: p, begins: true, ends: p[len(p)-1] == '\n'})
}

// lock locks the sink. It waits for the end of another's long line, but not for that of a
// prompt or of a torn line.
func (s *Sink) lock(owner any) {
	s.mu.Lock()
	limit := time.Now().Add(lineTime)
	for s.midLine && s.more && !s.torn && s.owner != owner && time.Since(s.since) < lineQuiet && time.Now().Before(limit) {
		s.mu.Unlock()
		<-time.After(linePoll)
		s.mu.Lock()
	}
}

// setOwner ends another's line.
func (s *Sink) setOwner(owner any) {
	if s.midLine && s.owner != owner {
		_, _ = s.writeAll([]byte{'\n'})
		s.midLine = false
	}
	s.owner = owner
}

// endLine ends the line of owner, if it is in one.
func (s *Sink) endLine(owner any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner == owner {
		s.setOwner(nil)
	}
}

// release ends the waiting for the line of owner, which writes no more.
func (s *Sink) release(owner any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner == owner {
		s.more = false
	}
}

// claim notes that an earlier supervisor was in the middle of a line of owner, whose rest
// comes first. torn: the rest is lost or repeated, so the next line ends it. It does not
// wait: if the supervisor's own log is stalled already, the line is torn.
func (s *Sink) claim(owner any, torn bool) {
	if !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	if !s.midLine {
		s.owner, s.midLine, s.more, s.torn, s.since = owner, true, !torn, torn, time.Now()
	}
}

// writeAll is write(2) until all is written, also if another process has made the
// descriptor non-blocking.
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

// retry reports whether to try again after an error, and waits if it is EAGAIN.
func (s *Sink) retry(err error) (again, fatal bool) {
	switch err {
	case nil:
		if s.failing() {
			s.retryAt.Store(0)
		}
		return false, false
	case unix.EINTR:
		return true, false
	case unix.EAGAIN:
		unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}, -1)
		return true, false
	}
	s.retryAt.Store(int64(time.Since(s.made) + retryTime))
	return false, true
}

// transfer is a write of pass.
type transfer struct {
	owner  any
	text   []byte // nil: n bytes of src, whose position advances
	src    int
	n      int
	begins bool   // it begins a line
	ends   bool   // it ends a line
	more   bool   // the rest of its last line follows at once
	resume []byte // comes first if it continues a torn line
}

// pass writes a transfer. It fails at once while nothing can be written, with os.ErrClosed.
func (s *Sink) pass(t transfer) (int, error) {
	if s.skipped() {
		return 0, os.ErrClosed
	}
	s.lock(t.owner)
	defer s.mu.Unlock()
	between := s.owner != t.owner
	s.setOwner(t.owner)
	if t.begins {
		s.torn = false
	} else if between {
		s.torn = true
	}
	s.more = t.more
	if between && !t.begins {
		t.text = append(t.resume, t.text...)
	}
	var n int
	var err error
	if t.text != nil {
		n, err = s.writeAll(t.text)
	} else {
		n, err = s.send(t.src, t.n)
	}
	if n > 0 {
		s.midLine, s.since = !t.ends || n < max(t.n, len(t.text)), time.Now()
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
		if err == unix.EINVAL || err == unix.ENOSYS { // such as a file opened with O_APPEND
			s.noSend = true
		} else if retry, fatal := s.retry(err); fatal {
			return done, err
		} else if !retry {
			break
		}
	}
	if done == n {
		s.retryAt.Store(0)
		return done, nil
	}
	// Without sendfile a kill between the write and the seek repeats these bytes.
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
