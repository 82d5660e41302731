package pid1

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// owedTime is how long a supervisor that has something to do, an exit to
// acknowledge or output to take, may be silent before it is asked.
const owedTime = 5 * time.Second

// lookAfter is how long after a supervisor's first ping the init begins to look
// whether services write: then their start is over.
const lookAfter = time.Second

// unread says that a service has begun to write, so that a supervisor that hangs
// is found out while the pipe fills. Each log pipe is looked at for one event
// (EPOLLONESHOT), and for the next one owedTime later: where nothing is written
// nothing wakes, and a flood costs a wake-up every few seconds.
type unread struct {
	*poller
	file  *os.File
	ep    int
	fired []int     // pipes that had their event
	at    time.Time // of the first of them
}

// newUnread makes one; nil: it cannot, and the watchdog sees to it later.
func newUnread() *unread {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	_ = unix.SetNonblock(ep, true) // lets Go's poller take it
	f := os.NewFile(uintptr(ep), "unread")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil
	}
	return &unread{poller: newPoller(raw), file: f, ep: ep}
}

// readable is the channel that says that something was written.
func (u *unread) readable() <-chan struct{} {
	if u == nil {
		return nil
	}
	return u.ready
}

// add looks at a pipe.
func (u *unread) add(fd int) {
	if u != nil {
		_ = unix.EpollCtl(u.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(fd)})
	}
}

// remove must come before the pipe is closed: the supervisor has the same open
// file, which would keep the entry alive.
func (u *unread) remove(fd int) {
	if u != nil {
		_ = unix.EpollCtl(u.ep, unix.EPOLL_CTL_DEL, fd, nil)
	}
}

// take notes the pipes that were written to, and says whether there are any.
func (u *unread) take(now time.Time) bool {
	var events [64]unix.EpollEvent
	n, err := unix.EpollWait(u.ep, events[:], 0)
	if err != nil {
		return false
	}
	written := false
	for _, e := range events[:max(n, 0)] {
		if e.Events&unix.EPOLLIN == 0 { // every writer is gone: that would be told for ever
			u.remove(int(e.Fd))
			continue
		}
		written = true
		if len(u.fired) == 0 {
			u.at = now
		}
		u.fired = append(u.fired, int(e.Fd))
	}
	return written
}

// rearm looks at them again.
func (u *unread) rearm() {
	for _, fd := range u.fired {
		_ = unix.EpollCtl(u.ep, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(fd)})
	}
	u.fired = u.fired[:0]
}

// written takes the word that a service writes: from now on the supervisor owes
// a sign of life.
func (i *initState) written() {
	now := time.Now()
	if i.bag.unread.take(now) {
		i.keeper.owe(now)
	}
	i.bag.unread.resume()
}

// lookDue is when the log pipes must be looked at anew; zero: not.
func (i *initState) lookDue() time.Time {
	u, k := i.bag.unread, &i.keeper
	switch {
	case !k.healthy || i.bag.pipes == 0 || !k.owed.IsZero():
		return time.Time{}
	case u == nil:
		return k.lookAt
	case len(u.fired) == 0:
		return time.Time{}
	}
	return u.at.Add(owedTime)
}

// look has the log pipes looked at anew.
func (i *initState) look(now time.Time) {
	due := i.lookDue()
	if due.IsZero() || now.Before(due) {
		return
	}
	if i.bag.unread != nil {
		i.bag.unread.rearm()
		return
	}
	if i.bag.unread = newUnread(); i.bag.unread == nil {
		i.keeper.lookAt = now.Add(owedTime)
		return
	}
	for _, it := range i.bag.items {
		for _, fd := range it.pipes {
			i.bag.unread.add(fd)
		}
	}
}
