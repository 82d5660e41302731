package pid1

import (
	"golang.org/x/sys/unix"
)

// link is the init's end of the wire. Like waiter, it only says that there is
// something to read; the loop reads.
type link struct {
	*Conn
	fd    int
	ready chan struct{}
	again chan struct{}
	done  chan struct{}
}

// newLink takes over fd. Its goroutine ends when the link is shut.
func newLink(fd int) (*link, error) {
	conn, err := NewConn(fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	l := &link{Conn: conn, fd: fd, ready: make(chan struct{}), again: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		for {
			if l.raw.Read(readable) != nil {
				return
			}
			select {
			case l.ready <- struct{}{}:
			case <-l.done:
				return
			}
			select {
			case <-l.again:
			case <-l.done:
				return
			}
		}
	}()
	return l, nil
}

// readable says whether a read would not block.
func readable(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return n > 0 || (err != nil && err != unix.EINTR)
}

// resume makes the link look again; on no link it does nothing.
func (l *link) resume() {
	if l == nil {
		return
	}
	select {
	case l.again <- struct{}{}:
	default:
	}
}

// shut closes the wire.
func (l *link) shut() {
	close(l.done)
	l.file.Close()
}

// readable is the channel of the present link, nil while there is none.
func (k *keeper) readable() <-chan struct{} {
	if k.conn == nil {
		return nil
	}
	return k.conn.ready
}
