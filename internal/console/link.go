package console

import (
	"context"
	"io"
	"sync"
	"syscall"

	"github.com/stoker-init/stoker/internal/access"
)

// Mode is what a client wants of a session.
type Mode int

// The modes of Attach.
const (
	View Mode = iota // to see the output
	Hold             // the keyboard, unless another client has it
	Take             // the keyboard, from whoever has it
)

// String is the name of a mode as in the protocols.
func (m Mode) String() string { return [...]string{"view", "hold", "take"}[m] }

// Attach is how a client attaches.
type Attach struct {
	Mode Mode
	// From is where output begins, by stream: an offset, or -1 for all that is kept.
	From [3]int64
	// Window bounds how many bytes of a stream Next returns beyond what was acknowledged by Ack; 0: there is no bound.
	Window int64
}

// Everything is the From of an Attach that begins with all that is kept.
func Everything() [3]int64 { return [3]int64{-1, -1, -1} }

// Link is what one client has of a session. Next is for one goroutine, everything else for several.
type Link struct {
	s       *Session
	by      access.Identity
	window  int64
	wake    chan struct{} // wakes Next
	gone    chan struct{} // closed when the link has ended from either side
	notices chan Notice

	buf *[]byte // of Next; nil: it waits

	// Guarded by the session's mu:
	next   [3]int64 // offsets of what Next returns next
	acked  [3]int64
	seen   [3]int64 // next, when dropStuck looked
	last   int      // the stream of the last chunk
	told   Notice   // the latest
	closed bool     // from its own side
	ended  bool     // gone is closed
	err    error    // why it is gone
}

// end closes gone; mu is held.
func (l *Link) end() {
	if !l.ended {
		l.ended = true
		close(l.gone)
	}
}

// Chunk is a piece of output.
type Chunk struct {
	Stream int   // Stdout or Stderr
	Offset int64 // of the first byte; one that is beyond the end of the chunk before is a gap: what was there is lost to this client
	Data   []byte
}

// Notice is the state of a session that a client should know. The channel has the latest one only.
type Notice struct {
	Rows, Columns uint16
	Holder        string // the name of the identity that has the keyboard; empty: none
	Viewers       int
	Stdin         int64 // bytes of input that the process has taken
}

// Holds reports whether the link has the keyboard.
func (l *Link) Holds() bool {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.s.holder == l
}

// maxChunk is the most that Next returns.
const maxChunk = 32 << 10

// chunks has buffers of maxChunk: an idle link has none.
var chunks = sync.Pool{New: func() any {
	b := make([]byte, maxChunk)
	return &b
}}

// Next waits for output. The data is valid until the next call. The error is io.EOF when all output of all processes was returned and
// the session has ended, Err when the link was ended from the other side, and that of ctx.
func (l *Link) Next(ctx context.Context) (Chunk, error) {
	for {
		c, err := l.poll()
		if err != nil || c.Data != nil {
			return c, err
		}
		if l.buf != nil {
			chunks.Put(l.buf)
			l.buf = nil
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return Chunk{}, ctx.Err()
		}
	}
}

// poll is Next that does not wait; without data: there is none now.
func (l *Link) poll() (Chunk, error) {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case l.err != nil:
		return Chunk{}, l.err
	case l.closed || s.ring == nil:
		return Chunk{}, ErrClosed
	}
	for k := range 2 { // the other stream than the last time first
		stream := Stdout + (l.last+k)%2
		if c := l.take(stream); c.Data != nil {
			l.last = stream
			if s.holder == l {
				poke(s.room[stream])
			}
			return c, nil
		}
	}
	if s.ended && l.next[Stdout] == s.ring.h.end[Stdout] && l.next[Stderr] == s.ring.h.end[Stderr] {
		if s.holder == l {
			s.read = true
		}
		return Chunk{}, io.EOF
	}
	return Chunk{}, nil
}

// take copies what there is of a stream; mu is held.
func (l *Link) take(stream int) Chunk {
	ring := l.s.ring
	from := max(l.next[stream], ring.start(stream))
	if from > l.next[stream] {
		l.acked[stream] = from // what is lost is never acknowledged
		l.needs(stream)
	}
	limit := min(ring.h.end[stream]-from, maxChunk)
	if l.window > 0 {
		limit = min(limit, l.acked[stream]+l.window-from)
	}
	if limit <= 0 {
		return Chunk{}
	}
	if l.buf == nil {
		l.buf = chunks.Get().(*[]byte)
	}
	n, at := ring.copyTo((*l.buf)[:limit], stream, from)
	l.next[stream] = at + int64(n)
	if l.window == 0 && l.s.holder == l {
		ring.h.need[stream] = at // the caller may be killed before it has passed this on
	}
	return Chunk{stream, at, (*l.buf)[:n]}
}

// Ack acknowledges a stream up to an offset. One that is beyond what Next has returned is cut.
func (l *Link) Ack(stream int, offset int64) {
	if stream != Stdout && stream != Stderr {
		return
	}
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.acked[stream] = max(l.acked[stream], min(offset, l.next[stream]))
	l.needs(stream)
	poke(l.wake)
	poke(l.s.room[stream])
}

// needs notes what the holder may not have yet; mu is held.
func (l *Link) needs(stream int) {
	if l.window > 0 && l.s.holder == l && l.s.ring != nil {
		l.s.ring.h.need[stream] = l.acked[stream]
	}
}

// Position returns the offsets of the bytes that Next returns next, by stream.
func (l *Link) Position() [3]int64 {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.next
}

// may returns why the link must not use the keyboard; mu is held.
func (l *Link) may() error {
	switch {
	case l.err != nil:
		return l.err
	case l.closed:
		return ErrClosed
	case l.s.holder != l:
		return ErrReadOnly
	case l.s.exited:
		return io.ErrClosedPipe
	}
	return nil
}

// Write queues input. It waits while the queue of 64 KiB has no room. The errors are ErrReadOnly, ErrClosed, Err, and io.ErrClosedPipe
// after CloseStdin, when the process reads no more, and without stdin.
func (l *Link) Write(p []byte) error {
	defer poke(l.s.in.room) // for another writer
	for len(p) > 0 {
		l.s.mu.Lock()
		err := l.may()
		n := 0
		if err == nil {
			n, err = l.s.in.put(p)
		}
		l.s.mu.Unlock()
		if err != nil {
			return err
		}
		if p = p[n:]; len(p) > 0 {
			select {
			case <-l.s.in.room:
			case <-l.gone:
			case <-l.s.done:
			}
		}
	}
	return nil
}

// Room is how much Write takes without waiting.
func (l *Link) Room() int {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return maxInput - len(l.s.in.queue)
}

// Taken is how many bytes of input the process has taken since the session began.
func (l *Link) Taken() int64 {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.s.ring == nil {
		return l.s.saved.StdinBytes
	}
	return l.s.ring.h.taken
}

// CloseStdin ends the input after what was written. To a terminal it sends the character of end-of-file.
func (l *Link) CloseStdin() {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.may() == nil {
		l.s.in.end()
	}
}

// Resize sets the size of the terminal, if the link has the keyboard. A size of 0 or 1 is ignored.
func (l *Link) Resize(rows, columns uint16) {
	if l.resize(rows, columns) && l.s.recording != nil {
		l.s.recording.Resize(rows, columns)
	}
}

func (l *Link) resize(rows, columns uint16) (changed bool) {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if rows < 2 || columns < 2 || !s.saved.TTY || l.may() != nil || rows == s.ring.h.rows && columns == s.ring.h.columns {
		return false
	}
	if s.proc.Resize(rows, columns) != nil {
		return false // the process has just ended
	}
	s.ring.h.rows, s.ring.h.columns = rows, columns
	s.notify()
	return true
}

// Signal sends a signal to the foreground process group of the terminal; without a terminal, to all processes of the session.
func (l *Link) Signal(sig syscall.Signal) error {
	l.s.mu.Lock()
	err := l.may()
	tty := l.s.saved.TTY
	l.s.mu.Unlock()
	switch {
	case err != nil:
		return err
	case tty:
		return l.s.proc.SignalForeground(sig)
	}
	return l.s.proc.SignalGroup(sig)
}

// Gone is closed when the link has ended; Err is the reason of the other side.
func (l *Link) Gone() <-chan struct{} { return l.gone }

// Err is ErrTaken or ErrRevoked; nil: the session has ended, or the link is not Gone.
func (l *Link) Err() error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.err
}

// Notices delivers changes that the client should know.
func (l *Link) Notices() <-chan Notice { return l.notices }

// Close detaches. A session with Keep 0 ends with the link that has its keyboard.
func (l *Link) Close() {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if !l.closed {
		l.closed = true
		if l.s.links[l] {
			l.s.remove(l)
		}
		l.end() // a Write that waits returns
	}
	poke(l.wake)
}
