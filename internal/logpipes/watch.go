package logpipes

import (
	"os"
	"time"

	"github.com/stoker-init/stoker/internal/fdready"
	"golang.org/x/sys/unix"
)

// Watch reports that a service has begun to write, so that a supervisor that hangs is
// found out while the pipe fills. Each pipe is watched for one event (EPOLLONESHOT) until
// Rearm: where nothing is written nothing wakes, and a flood costs one wake-up. The
// methods of a nil Watch do nothing.
type Watch struct {
	*fdready.Notifier
	file  *os.File
	ep    int
	fired []int     // pipes that had their event
	since time.Time // of the first of them
}

// NewWatch makes one; nil: there is no descriptor for it.
func NewWatch() *Watch {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	_ = unix.SetNonblock(ep, true) // lets Go's poller take it
	f := os.NewFile(uintptr(ep), "log-pipes")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil
	}
	return &Watch{Notifier: fdready.New(raw), file: f, ep: ep}
}

// Written receives when a service has written, for Take.
func (w *Watch) Written() <-chan struct{} {
	if w == nil {
		return nil
	}
	return w.Ready()
}

// Add watches a pipe.
func (w *Watch) Add(fd int) {
	if w != nil {
		_ = unix.EpollCtl(w.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(fd)})
	}
}

// Remove must come before the pipe is closed: the supervisor has the same open file, which
// would keep the entry alive.
func (w *Watch) Remove(fd int) {
	if w != nil {
		_ = unix.EpollCtl(w.ep, unix.EPOLL_CTL_DEL, fd, nil)
	}
}

// Take notes the pipes that were written to, and reports whether there are any.
func (w *Watch) Take(now time.Time) bool {
	var events [64]unix.EpollEvent
	n, err := unix.EpollWait(w.ep, events[:], 0)
	if err != nil {
		return false
	}
	written := false
	for _, e := range events[:max(n, 0)] {
		if e.Events&unix.EPOLLIN == 0 { // every writer is gone, which would be reported again and again
			w.Remove(int(e.Fd))
			continue
		}
		written = true
		if len(w.fired) == 0 {
			w.since = now
		}
		w.fired = append(w.fired, int(e.Fd))
	}
	return written
}

// Fired is when the first pipe was written to that is not watched again; zero: all are
// watched.
func (w *Watch) Fired() time.Time {
	if len(w.fired) == 0 {
		return time.Time{}
	}
	return w.since
}

// Rearm watches them again.
func (w *Watch) Rearm() {
	for _, fd := range w.fired {
		_ = unix.EpollCtl(w.ep, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(fd)})
	}
	w.fired = w.fired[:0]
}
