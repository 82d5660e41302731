package logs

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Outlet is the container's stdout or stderr, which the services and our own
// log share line by line. A reader that stalls blocks its users and nobody
// else; none of them holds a lock of its own meanwhile.
type Sink struct {
	fd   int
	gone atomic.Int64 // nothing can be written, and it is not tried again before; ns since made
	made time.Time

	mu      sync.Mutex
	owner   any           // whose bytes were last
	midLine bool          // and they did not end a line
	more    bool          // of which more is about to come
	torn    bool          // and which somebody else's has been put into already
	since   time.Time     // when they came
	ended   chan struct{} // closed when that line ends; nil: nobody waits for it
	noSend  bool          // sendfile does not work on it
}

// StdOutlets are those of the container's stdout and stderr: one and the same
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

// NewOutlet makes the outlet of a descriptor, which stays the caller's.
func NewSink(fd int) *Sink { return &Sink{fd: fd, made: time.Now()} }

// goneFor is how long an outlet that cannot be written (its reader is gone, its
// disk is full) is left alone: what comes meanwhile is counted and costs no
// system call.
const goneFor = time.Second

// longLine is how long the beginning of a line is, in bytes, that is no prompt.
const longLine = 4 << 10

// Others wait for the end of a long line for as long as more of it comes, with no
// longer pause than lineQuiet, and at most lineTime.
const (
	lineQuiet = 250 * time.Millisecond
	lineTime  = time.Second
)

// absent says whether it is not even tried to write.
func (o *Sink) absent() bool {
	until := o.gone.Load()
	return until != 0 && int64(time.Since(o.made)) < until
}

// failing says whether the last write failed.
func (o *Sink) failing() bool { return o.gone.Load() != 0 }

// Write writes whole lines of our own, for a logger behind a queue. While nobody
// can be written to it gives os.ErrClosed at once.
func (o *Sink) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if o.absent() {
		return 0, os.ErrClosed
	}
	o.lock(nil)
	defer o.mu.Unlock()
	o.turn(nil)
	n, err := o.writeAll(p)
	if n > 0 {
		o.wrote(p[n-1] == '\n')
	}
	return n, err
}

// lock takes the outlet. Where somebody else is within a long line, its end is
// waited for; not for a prompt's, and not where the line is torn anyway.
func (o *Sink) lock(owner any) {
	o.mu.Lock()
	for limit := (time.Time{}); o.midLine && o.more && !o.torn && o.owner != owner; {
		if limit.IsZero() {
			limit = time.Now().Add(lineTime)
		}
		wait := min(time.Until(o.since.Add(lineQuiet)), time.Until(limit))
		if wait <= 0 {
			return
		}
		if o.ended == nil {
			o.ended = make(chan struct{})
		}
		ended, timer := o.ended, time.NewTimer(wait)
		o.mu.Unlock()
		select {
		case <-ended:
		case <-timer.C:
		}
		timer.Stop()
		o.mu.Lock()
	}
}

// turn ends the line of somebody else.
func (o *Sink) turn(owner any) {
	if o.midLine && o.owner != owner {
		_, _ = o.writeAll([]byte{'\n'})
		o.wrote(true)
	}
	o.owner = owner
}

// wrote notes whether the owner's bytes ended a line.
func (o *Sink) wrote(ends bool) {
	o.midLine = !ends
	if !ends {
		o.since = time.Now()
	} else {
		o.tell()
	}
}

// endLine ends the line that owner has begun, if it has.
func (o *Sink) endLine(owner any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.owner == owner {
		o.turn(nil)
	}
}

// leave says that nothing more comes of owner: nobody need wait for its line's end.
func (o *Sink) leave(owner any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.owner == owner && o.midLine {
		o.more = false
		o.tell()
	}
}

// tell wakes those who wait for the end of a line.
func (o *Sink) tell() {
	if o.ended != nil {
		close(o.ended)
		o.ended = nil
	}
}

// claim says that an earlier supervisor was in the middle of a line of owner. It
// does not wait: where our own log is stalled already, the line is torn.
func (o *Sink) claim(owner any) {
	if !o.mu.TryLock() {
		return
	}
	defer o.mu.Unlock()
	if !o.midLine {
		o.owner, o.midLine, o.more, o.torn, o.since = owner, true, true, false, time.Now()
	}
}

// writeAll is write(2) until all is out, also where the descriptor, which we
// share with others, does not block.
func (o *Sink) writeAll(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(o.fd, p[done:])
		if n > 0 {
			done += n
		}
		if retry, fatal := o.retry(err); fatal {
			return done, err
		} else if !retry && n == 0 {
			return done, os.ErrClosed
		}
	}
	return done, nil
}

// retry waits where err says so.
func (o *Sink) retry(err error) (again, fatal bool) {
	switch err {
	case nil:
		if o.failing() {
			o.gone.Store(0)
		}
		return false, false
	case unix.EINTR:
		return true, false
	case unix.EAGAIN:
		unix.Poll([]unix.PollFd{{Fd: int32(o.fd), Events: unix.POLLOUT}}, -1)
		return true, false
	}
	o.gone.Store(int64(time.Since(o.made) + goneFor))
	return false, true
}

// passing is what pass is to send.
type passing struct {
	owner  any
	src    int    // its position advances
	n      int    // bytes from there
	begins bool   // they begin a line
	ends   bool   // they end a line
	more   bool   // what they do not end goes on at once
	resume []byte // comes first where they go on with a line that was torn
}

// pass sends bytes.
func (o *Sink) pass(p passing) (int, error) {
	o.lock(p.owner)
	defer o.mu.Unlock()
	between := o.owner != p.owner
	o.turn(p.owner)
	if p.begins {
		o.torn = false
	} else if between {
		o.torn = true
	}
	o.more = p.more
	if between && !p.begins && len(p.resume) > 0 {
		if _, err := o.writeAll(p.resume); err != nil {
			return 0, err
		}
	}
	n, err := o.send(p)
	if n > 0 {
		o.wrote(p.ends && n == p.n)
	}
	return n, err
}

func (o *Sink) send(p passing) (int, error) {
	done := 0
	for done < p.n && !o.noSend {
		got, err := unix.Sendfile(o.fd, p.src, nil, p.n-done)
		if got > 0 {
			done += got
			continue
		}
		if err == unix.EINVAL || err == unix.ENOSYS { // a file opened with O_APPEND, for one
			o.noSend = true
		} else if retry, fatal := o.retry(err); fatal {
			return done, err
		} else if !retry {
			break
		}
	}
	if done == p.n {
		if o.failing() {
			o.gone.Store(0)
		}
		return p.n, nil
	}
	return o.copy(p.src, p.n, done)
}

// copy is send where sendfile does not work. A kill between the write and the
// seek repeats up to one chunk.
func (o *Sink) copy(src, n, done int) (int, error) {
	buf := make([]byte, min(n-done, chunkSize))
	for done < n {
		pos, err := unix.Seek(src, 0, 1)
		if err != nil {
			return done, err
		}
		got, err := unix.Pread(src, buf[:min(n-done, len(buf))], pos)
		if got <= 0 {
			return done, err
		}
		wrote, err := o.writeAll(buf[:got])
		unix.Seek(src, pos+int64(wrote), 0)
		if done += wrote; err != nil {
			return done, err
		}
	}
	return done, nil
}
