package proc

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Outlet is the container's stdout or stderr, which the services and our own
// log share line by line. A reader that stalls blocks its users and nobody
// else; none of them holds a lock of its own meanwhile.
type Outlet struct {
	fd      int
	mu      sync.Mutex
	owner   any  // whose bytes were last
	midLine bool // and they did not end a line
	noSend  bool // sendfile does not work on it
}

// NewOutlet makes the outlet of a descriptor, which stays the caller's.
func NewOutlet(fd int) *Outlet { return &Outlet{fd: fd} }

// Write writes whole lines of our own, for a logger behind a queue.
func (o *Outlet) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.turn(nil)
	o.midLine = len(p) > 0 && p[len(p)-1] != '\n'
	return o.writeAll(p)
}

// turn ends the line of somebody else.
func (o *Outlet) turn(owner any) {
	if o.midLine && o.owner != owner {
		_, _ = o.writeAll([]byte{'\n'})
	}
	o.owner, o.midLine = owner, false
}

// endLine ends the line that owner has begun, if it has.
func (o *Outlet) endLine(owner any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.owner == owner {
		o.turn(nil)
	}
}

// writeAll is write(2) until all is out, also where the descriptor, which we
// share with others, does not block.
func (o *Outlet) writeAll(p []byte) (int, error) {
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
func (o *Outlet) retry(err error) (again, fatal bool) {
	switch err {
	case nil:
		return false, false
	case unix.EINTR:
		return true, false
	case unix.EAGAIN:
		unix.Poll([]unix.PollFd{{Fd: int32(o.fd), Events: unix.POLLOUT}}, -1)
		return true, false
	}
	return false, true
}

// pass sends n bytes from the position of src, which it advances. ends says
// whether they end a line.
func (o *Outlet) pass(owner any, src, n int, ends bool) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.turn(owner)
	o.midLine = !ends
	done := 0
	for done < n && !o.noSend {
		got, err := unix.Sendfile(o.fd, src, nil, n-done)
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
	if done == n {
		return n, nil
	}
	return o.copy(src, n, done)
}

// copy is pass where sendfile does not work. A kill between the write and the
// seek repeats up to one chunk.
func (o *Outlet) copy(src, n, done int) (int, error) {
	buf := make([]byte, n-done)
	pos, err := unix.Seek(src, 0, 1)
	if err != nil {
		return done, err
	}
	got, err := unix.Pread(src, buf, pos)
	if got <= 0 {
		return done, err
	}
	wrote, err := o.writeAll(buf[:got])
	unix.Seek(src, pos+int64(wrote), 0)
	return done + wrote, err
}
