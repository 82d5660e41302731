package logpipes

import (
	"os"
	"time"

	"github.com/stoker-init/stoker/internal/fdready"
	"golang.org/x/sys/unix"
)

// Watch reports that a service has begun to write, so that a supervisor that hangs is
// detected while the pipe fills. Each pipe is watched for one event (EPOLLONESHOT) until
// Rearm: idle services cause no wake-up, and a flood causes one. The methods of a nil Watch
// do nothing.
type Watch struct {
	*fdready.Notifier
	file  *os.File
	ep    int
	fired []int     // pipes with an event since Rearm
	since time.Time // time of the first of these events
}

// NewWatch returns nil if no descriptor is free.
func NewWatch() *Watch {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	_ = unix.SetNonblock(ep, true) // required by Go's poller
	f := os.NewFile(uintptr(ep), "log-pipes")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil
	}
	return &Watch{Notifier: fdready.New(raw), file: f, ep: ep}
}

// Written receives when a service has written; Take has the details.
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

// Remove must be called before the pipe is closed: the entry belongs to the open file, which
// the supervisor has too.
func (w *Watch) Remove(fd int) {
	if w != nil {
		_ = unix.EpollCtl(w.ep, unix.EPOLL_CTL_DEL, fd, nil)
	}
}

// Take records the pipes that were written to, and reports whether there are any.
func (w *Watch) Take(now time.Time) bool {
	var events [64]unix.EpollEvent
	n, err := unix.EpollWait(w.ep, events[:], 0)
	if err != nil {
		return false
	}
	written := false
	for _, e := range events[:max(n, 0)] {
		if e.Events&unix.EPOLLIN == 0 { // every writer has closed, which would be reported repeatedly
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

// Fired is the time of the first event since Rearm; zero: all pipes are watched.
func (w *Watch) Fired() time.Time {
	if len(w.fired) == 0 {
		return time.Time{}
	}
	return w.since
}

// Rearm watches all pipes again.
func (w *Watch) Rearm() {
	for _, fd := range w.fired {
		_ = unix.EpollCtl(w.ep, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(fd)})
	}
	w.fired = w.fired[:0]
}
