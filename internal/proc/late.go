package proc

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// lateLog makes the log of a process when that writes something for the first time:
// a log costs four memfds and five messages to the init, and most short commands
// never say a word.
type lateLog struct {
	m    *Manager
	id   string
	opts LogOptions
}

// lateLog is the process's; nil: it has none.
func (p *Process) lateLog() *lateLog {
	if p.rec.Late == nil {
		return nil
	}
	return &lateLog{m: p.m, id: p.rec.ID, opts: *p.rec.Late}
}

// maxUnread bounds the late logs that are given up and still to be passed on. Where
// nobody reads the container's output more of them would pile up.
const maxUnread = 64

// open makes it. Where too many wait to be passed on it is one that is not, and that
// a later supervisor does not have.
func (late *lateLog) open() (l *Log, giveUp func(), err error) {
	m := late.m
	if m.unread() >= maxUnread {
		m.tellUnread.Do(func() {
			m.warn("nobody reads the container's output: that of hooks is not passed on until it is read")
		})
		l, err = NewScratchLog(late.id)
		return l, func() { l.Close() }, err
	}
	l, err = m.Log(late.id, late.opts)
	return l, func() { m.Retire(l) }, err
}

// unread counts the logs that are given up and not yet gone.
func (m *Manager) unread() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.logs {
		l.mu.Lock()
		if l.retired {
			n++
		}
		l.mu.Unlock()
	}
	return n
}

// opened is the log, which is made if there is none yet.
func (p *pipes) opened() (*Log, error) {
	p.making.Lock()
	defer p.making.Unlock()
	if l := p.log.Load(); l != nil {
		return l, nil
	}
	l, giveUp, err := p.late.open()
	if err != nil {
		if !p.toldLost {
			p.toldLost = true
			p.late.m.warn(fmt.Sprintf("the output of %s cannot be kept and is discarded: %v", p.late.id, err))
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

// giveUpLog gives the late log up: what it holds and what still comes is passed on,
// and nothing reads it.
func (p *pipes) giveUpLog() {
	p.making.Lock()
	defer p.making.Unlock()
	if !p.given && p.giveUp != nil {
		p.giveUp()
	}
	p.given = true
}

// capture is Log.capture of an end. Where there is no log yet it is made for the
// first byte.
func (p *pipes) capture(fd, stream int, force bool) (int, error) {
	l := p.log.Load()
	if l == nil {
		if err := awaitByte(fd); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return 0, err
		}
		var err error
		if l, err = p.opened(); err != nil {
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
func (p *pipes) cast(fd int, cause error) (int, error) {
	if l := p.log.Load(); l != nil {
		return l.discard(fd, cause)
	}
	return unix.Read(fd, make([]byte, chunkSize))
}

// Tail is the end of what the process has written, and of what it has written to stderr,
// at most n bytes of each; of a process without a late log both are empty.
func (p *Process) Tail(n int) (all, stderr string) {
	if p.pipes == nil || p.pipes.late == nil {
		return "", ""
	}
	l := p.pipes.log.Load()
	if l == nil {
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
