package pid1

import (
	"syscall"

	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// poller says that a descriptor has something to read, and no more until it is
// resumed: the loop reads.
type poller struct {
	ready chan struct{}
	again chan struct{}
	done  chan struct{}
}

// newPoller watches a descriptor that is known to Go's poller. Its goroutine
// ends with close(done).
func newPoller(raw syscall.RawConn) *poller {
	p := &poller{ready: make(chan struct{}), again: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		for {
			if raw.Read(readable) != nil {
				return
			}
			select {
			case p.ready <- struct{}{}:
			case <-p.done:
				return
			}
			select {
			case <-p.again:
			case <-p.done:
				return
			}
		}
	}()
	return p
}

// readable says whether a read would not block.
func readable(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return n > 0 || (err != nil && err != unix.EINTR)
}

// resume looks again.
func (p *poller) resume() {
	select {
	case p.again <- struct{}{}:
	default:
	}
}

// link is the init's end of the wire.
type link struct {
	*initproto.Conn
	*poller
}

// newLink takes over fd.
func newLink(fd int) (*link, error) {
	conn, err := initproto.NewConn(fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &link{Conn: conn, poller: newPoller(conn.SyscallConn())}, nil
}

// resume makes the link look again; on no link it does nothing.
func (l *link) resume() {
	if l != nil {
		l.poller.resume()
	}
}

// shut closes the wire.
func (l *link) shut() {
	close(l.done)
	l.Close()
}

// readable is the channel of the present link, nil while there is none.
func (k *keeper) readable() <-chan struct{} {
	if k.conn == nil {
		return nil
	}
	return k.conn.ready
}
