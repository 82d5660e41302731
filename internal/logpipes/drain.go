package logpipes

import (
	"bytes"
	"slices"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// Lost counts output that was discarded.
type Lost struct {
	Bytes, Lines uint64
	PipeBytes    initproto.PipeBytes // Bytes of each pipe
}

// Pipe is the read end of a log pipe.
type Pipe struct {
	FD    int
	Index int   // among the pipes of its service
	Lost  *Lost // of its service
}

// MostlyFull reports whether the pipe is more than half full.
func (p Pipe) MostlyFull() bool {
	n, err := unix.IoctlGetInt(p.FD, unix.TIOCINQ)
	size, sizeErr := unix.FcntlInt(uintptr(p.FD), unix.F_GETPIPE_SZ, 0)
	return err == nil && sizeErr == nil && n > size/2
}

// Drainer discards what is written to log pipes, and counts it.
type Drainer struct {
	wake  int // write end of a pipe; closing it ends the goroutine
	pipes []Pipe
	done  chan []count
}

// count is what was discarded from a pipe.
type count struct{ bytes, lines uint64 }

// Drain starts a drainer; nil: no descriptor is free.
func Drain(pipes []Pipe) *Drainer {
	wake := make([]int, 2)
	if unix.Pipe2(wake, unix.O_CLOEXEC) != nil {
		return nil
	}
	d := &Drainer{wake: wake[1], done: make(chan []count, 1)}
	polls := []unix.PollFd{{Fd: int32(wake[0]), Events: unix.POLLIN}}
	for _, p := range pipes {
		// A duplicate: the pipe may be closed meanwhile, and its number reused.
		if own, err := unix.FcntlInt(uintptr(p.FD), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			d.pipes, polls = append(d.pipes, p), append(polls, unix.PollFd{Fd: int32(own), Events: unix.POLLIN})
		}
	}
	copies := slices.Clone(polls)
	go func() { // ends with Stop
		counts := discard(polls)
		for _, c := range copies {
			unix.Close(int(c.Fd))
		}
		d.done <- counts
	}()
	return d
}

// Stop ends the drainer and adds what it discarded to Lost of each pipe.
func (d *Drainer) Stop() {
	unix.Close(d.wake)
	for k, c := range <-d.done {
		p := d.pipes[k]
		p.Lost.Bytes += c.bytes
		p.Lost.Lines += c.lines
		if p.Index < len(p.Lost.PipeBytes) {
			p.Lost.PipeBytes[p.Index] += c.bytes
		}
	}
}

// discard reads from polls[1:] until polls[0] hangs up, and then to the end of each
// incomplete line: the next reader gets whole lines.
func discard(polls []unix.PollFd) []count {
	counts := make([]count, len(polls)-1)
	add := func(k int, bytes, lines uint64) {
		counts[k-1].bytes += bytes
		counts[k-1].lines += lines
	}
	buf := make([]byte, 64<<10)
	inLine := make([]bool, len(polls))
	for {
		if _, err := unix.Poll(polls, -1); err != nil && err != unix.EINTR {
			return counts
		}
		if polls[0].Revents != 0 {
			until := time.Now().Add(lineTime)
			for k, in := range inLine {
				if in {
					bytes, lines := restOfLine(polls[k].Fd, until)
					add(k, bytes, lines)
				}
			}
			return counts
		}
		for k := 1; k < len(polls); k++ {
			if polls[k].Revents == 0 {
				continue
			}
			n, err := unix.Read(int(polls[k].Fd), buf)
			if n > 0 {
				add(k, uint64(n), uint64(bytes.Count(buf[:n], []byte{'\n'})))
				inLine[k] = buf[n-1] != '\n'
			} else if err != unix.EAGAIN && err != unix.EINTR {
				polls[k].Fd = -1 // every writer has closed: poll would always return at once
			}
		}
	}
}

// lineTime is how long discard waits for the rest of a line, whose writer may have been
// blocked by the full pipe.
const lineTime = 5 * time.Millisecond

// restOfLine discards the rest of a line that arrives in time, and counts the line. It reads
// single bytes, since the next line must stay in the pipe.
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
