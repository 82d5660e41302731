// Package fdready reports that a descriptor has something to read, and leaves the reading
// to a loop.
package fdready

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Notifier sends on Ready each time that its descriptor is readable, and then not again
// until Resume. A nil Notifier is never ready.
type Notifier struct {
	ready chan struct{}
	again chan struct{}
	done  chan struct{}
}

// New watches a descriptor that Go's poller knows. Its goroutine ends with Close.
func New(raw syscall.RawConn) *Notifier {
	n := &Notifier{ready: make(chan struct{}), again: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		for {
			if raw.Read(readable) != nil {
				return
			}
			select {
			case n.ready <- struct{}{}:
			case <-n.done:
				return
			}
			select {
			case <-n.again:
			case <-n.done:
				return
			}
		}
	}()
	return n
}

// readable reports whether a read would not block.
func readable(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return n > 0 || (err != nil && err != unix.EINTR)
}

// Ready receives when the descriptor is readable.
func (n *Notifier) Ready() <-chan struct{} {
	if n == nil {
		return nil
	}
	return n.ready
}

// Resume makes the notifier watch again.
func (n *Notifier) Resume() {
	if n == nil {
		return
	}
	select {
	case n.again <- struct{}{}:
	default:
	}
}

// Close ends the notifier. The descriptor is closed by its owner, after this.
func (n *Notifier) Close() {
	if n != nil {
		close(n.done)
	}
}
