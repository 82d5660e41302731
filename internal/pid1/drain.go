package pid1

import (
	"bytes"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// How long a log pipe may stay unread: longer than a supervisor needs to come
// back, shorter than anybody's patience with a stalled service. One that has
// asked for the bag gets a moment more to take the pipes over.
const (
	drainAfter = time.Second
	adoptTime  = 300 * time.Millisecond
)

// drainer empties log pipes while no supervisor does. Its goroutine ends when
// wake is closed.
type drainer struct {
	wake int // write end of a pipe; closing it ends the goroutine
	done chan map[*lost]lost
}

// canDrain says whether there is a pipe to empty and nobody at it yet.
func (b *bag) canDrain() bool { return b.drain == nil && b.pipes > 0 }

// behind says whether a log pipe is more than half full: nobody reads it.
func (b *bag) behind() bool {
	for _, it := range b.items {
		for _, fd := range it.pipes {
			n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
			size, sizeErr := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
			if err == nil && sizeErr == nil && n > size/2 {
				return true
			}
		}
	}
	return false
}

// startDraining begins to discard, and to count, what services write. False: it
// cannot now.
func (b *bag) startDraining() bool {
	p := make([]int, 2)
	if unix.Pipe2(p, unix.O_CLOEXEC) != nil {
		return false
	}
	polls, owners := []unix.PollFd{{Fd: int32(p[0]), Events: unix.POLLIN}}, []*lost{nil}
	for _, it := range b.items {
		for _, fd := range it.pipes {
			// A copy: the item's own may be closed, and its number given out again.
			if own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
				polls, owners = append(polls, unix.PollFd{Fd: int32(own), Events: unix.POLLIN}), append(owners, it.lost)
			}
		}
	}
	copies := slices.Clone(polls)
	b.drain = &drainer{wake: p[1], done: make(chan map[*lost]lost, 1)}
	go func(done chan<- map[*lost]lost) {
		total := discard(polls, owners)
		for _, c := range copies { // and p[0], the first
			unix.Close(int(c.Fd))
		}
		done <- total
	}(b.drain.done)
	return true
}

// stopDraining ends it and adds up what was discarded.
func (b *bag) stopDraining() {
	if b.drain == nil {
		return
	}
	unix.Close(b.drain.wake)
	for sum, n := range <-b.drain.done {
		sum.add(n)
	}
	b.drain = nil
}

// discard reads from polls[1:] until polls[0] hangs up, and then to the end of the
// lines that it is in: a supervisor gets whole ones.
func discard(polls []unix.PollFd, owners []*lost) map[*lost]lost {
	total := map[*lost]lost{}
	buf := make([]byte, 64<<10)
	within := make([]bool, len(polls)) // a line
	for {
		if _, err := unix.Poll(polls, -1); err != nil && err != unix.EINTR {
			return total
		}
		if polls[0].Revents != 0 {
			until := time.Now().Add(lineTime)
			for k, in := range within {
				if in {
					t := total[owners[k]]
					t.add(restOfLine(polls[k].Fd, until))
					total[owners[k]] = t
				}
			}
			return total
		}
		for k := 1; k < len(polls); k++ {
			if polls[k].Revents == 0 {
				continue
			}
			n, err := unix.Read(int(polls[k].Fd), buf)
			if n > 0 {
				t := total[owners[k]]
				t.add(lost{uint64(n), uint64(bytes.Count(buf[:n], []byte{'\n'}))})
				total[owners[k]], within[k] = t, buf[n-1] != '\n'
			} else if err != unix.EAGAIN && err != unix.EINTR {
				polls[k].Fd = -1 // every writer is gone: poll would return at once for ever
			}
		}
	}
}

// lineTime is how long the rest of a line may take that a writer, whom the full
// pipe had stopped, is just about to write.
const lineTime = 5 * time.Millisecond

// restOfLine takes what is left of a line, as far as it comes until then, and counts
// the line: what comes later is only its end. A byte at a time: what is behind it must
// stay.
func restOfLine(fd int32, until time.Time) (gone lost) {
	var b [1]byte
	for p := []unix.PollFd{{Fd: fd, Events: unix.POLLIN}}; gone.bytes < 64<<10; {
		wait := max(time.Until(until), 0)
		if n, err := unix.Poll(p, int(wait.Milliseconds())); n <= 0 && err != unix.EINTR {
			gone.lines++
			return gone
		}
		n, err := unix.Read(int(fd), b[:])
		switch {
		case err == unix.EINTR:
		case n <= 0:
			return gone
		default:
			if gone.bytes++; b[0] == '\n' {
				gone.lines++
				return gone
			}
		}
	}
	return gone
}
