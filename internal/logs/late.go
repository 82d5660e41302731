package logs

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// maxUnread bounds the late logs that are given up and still to be passed on. Where
// the container's output is not read more of them would pile up.
const maxUnread = 64

// openLate makes a late log. Where too many wait to be passed on it is a scratch log,
// which is not passed on and which the next supervisor does not have.
func (p *Capture) openLate() (l *Log, giveUp func(), err error) {
	r := p.registry
	if r.unread() >= maxUnread {
		r.tellUnread.Do(func() {
			r.Warn("nobody reads the container's output: that of hooks is not passed on until it is read")
		})
		l, err = NewScratchLog(p.id)
		return l, func() { l.Close() }, err
	}
	l, err = r.Open(p.id, *p.late)
	return l, func() { r.Retire(l) }, err
}

// Open is the log, which is made if there is none yet.
func (p *Capture) Open() (*Log, error) {
	p.making.Lock()
	defer p.making.Unlock()
	if l := p.log.Load(); l != nil {
		return l, nil
	}
	l, giveUp, err := p.openLate()
	if err != nil {
		if !p.toldLost {
			p.toldLost = true
			p.registry.Warn(fmt.Sprintf("the output of %s cannot be kept and is discarded: %v", p.id, err))
		}
		return nil, err
	}
	p.join(l)
	p.log.Store(l)
	p.giveUp = giveUp
	if p.given {
		giveUp()
	}
	return l, nil
}

// GiveUp gives a late log up: what it holds and what still comes is passed on,
// and nothing reads it.
func (p *Capture) GiveUp() {
	if p.late == nil {
		return
	}
	p.making.Lock()
	defer p.making.Unlock()
	if !p.given && p.giveUp != nil {
		p.giveUp()
	}
	p.given = true
}

// capture is Log.capture of an end. A late log is made for the first byte.
func (p *Capture) capture(fd, stream int, force bool) (int, error) {
	l := p.log.Load()
	if l == nil {
		if err := awaitByte(fd); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return 0, err
		}
		var err error
		if l, err = p.Open(); err != nil {
			return -1, err
		}
	}
	return l.capture(fd, stream, force)
}

// awaitByte says whether a pipe has something to read: unix.EAGAIN, not now; io.EOF,
// never again.
func awaitByte(fd int) error {
	ends := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	_, err := unix.Poll(ends, 0)
	switch got := ends[0].Revents; {
	case err != nil:
		return err
	case got&unix.POLLIN != 0:
		return nil
	case got&unix.POLLHUP != 0:
		return io.EOF
	}
	return unix.EAGAIN
}

// cast is Log.discard of an end; where there is not even a log nothing is counted.
func (p *Capture) cast(fd int, cause error) (int, error) {
	if l := p.log.Load(); l != nil {
		return l.discard(fd, cause)
	}
	return unix.Read(fd, make([]byte, chunkSize))
}

// Tail is the end of what is in a late log, and of what was written to stderr, at most
// n bytes of each; without a late log both are empty.
func (p *Capture) Tail(n int) (all, stderr string) {
	l := p.log.Load()
	if p.late == nil || l == nil {
		return "", ""
	}
	end := l.End()
	return string(l.Bytes(max(end-int64(n), 0), end)), string(l.streamTail(Stderr, n))
}

// streamTail is the end of what is kept of a stream, at most n bytes.
func (l *Log) streamTail(stream, n int) (out []byte) {
	l.mu.Lock()
	defer l.unlock()
	for from := l.ix.start(); from < l.end; {
		seg, until, ok := l.ix.find(from, l.end)
		if !ok {
			break
		}
		if int(seg.stream) == stream {
			part := make([]byte, until-from)
			got, err := unix.Pread(l.data, part, from)
			if err != nil {
				break
			}
			out = append(out, part[:got]...)
			out = out[max(len(out)-n, 0):]
		}
		from = until
	}
	return out
}

// SetLost notes how much the init discarded in total while no supervisor worked.
func (p *Capture) SetLost(bytes, lines uint64) {
	l := p.log.Load()
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	p.lost = lostOutput{bytes, lines}
	total := l.ix.lostLines
	for q := range l.pipes {
		total += q.lost.lines
	}
	if total > l.ix.notedLost { // an earlier supervisor may have told a part of it
		l.notes = append(l.notes, fmt.Sprintf("%d lines of the output of %s were discarded while no supervisor worked", total-l.ix.notedLost, l.name))
		l.ix.notedLost = total
	}
	l.wakeSinks()
}
