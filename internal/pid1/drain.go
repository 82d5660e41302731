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

// source is a log pipe: whose, and the first or second of that item.
type source struct {
	lost *lost
	pipe int
}

// gone is what was discarded from it.
func (s source) gone(bytes, lines uint64) lost {
	l := lost{bytes: bytes, lines: lines}
	if s.pipe < len(l.each) {
		l.each[s.pipe] = bytes
	}
	return l
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
	polls, sources := []unix.PollFd{{Fd: int32(p[0]), Events: unix.POLLIN}}, []source{{}}
	for _, it := range b.items {
		for k, fd := range it.pipes {
			// A copy: the item's own may be closed, and its number given out again.
			if own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
				polls, sources = append(polls, unix.PollFd{Fd: int32(own), Events: unix.POLLIN}), append(sources, source{it.lost, k})
			}
		}
	}
	copies := slices.Clone(polls)
	b.drain = &drainer{wake: p[1], done: make(chan map[*lost]lost, 1)}
	go func(done chan<- map[*lost]lost) {
		total := discard(polls, sources)
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
func discard(polls []unix.PollFd, sources []source) map[*lost]lost {
	total := map[*lost]lost{}
	add := func(k int, bytes, lines uint64) {
		t := total[sources[k].lost]
		t.add(sources[k].gone(bytes, lines))
		total[sources[k].lost] = t
	}
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
					bytes, lines := restOfLine(polls[k].Fd, until)
					add(k, bytes, lines)
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
				add(k, uint64(n), uint64(bytes.Count(buf[:n], []byte{'\n'})))
				within[k] = buf[n-1] != '\n'
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
func restOfLine(fd int32, until time.Time) (bytes, lines uint64) {
	var b [1]byte
	for p := []unix.PollFd{{Fd: fd, Events: unix.POLLIN}}; bytes < 64<<10; {
		wait := max(time.Until(until), 0)
		if n, err := unix.Poll(p, int(wait.Milliseconds())); n <= 0 && err != unix.EINTR {
			return bytes, 1
		}
		n, err := unix.Read(int(fd), b[:])
		switch {
		case err == unix.EINTR:
		case n <= 0:
			return bytes, 0
		default:
			if bytes++; b[0] == '\n' {
				return bytes, 1
			}
		}
	}
	return bytes, 0
}
