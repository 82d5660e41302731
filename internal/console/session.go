package console

import (
	"context"
	"syscall"

	"github.com/stoker-init/stoker/internal/access"
)

// Session is a process and its clients. It is safe for concurrent use.
type Session struct{}

// Streams of output, as indices and as Chunk.Stream.
const (
	Stdout = 1 // of a terminal: all its output
	Stderr = 2
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

// ID identifies the session in the API. It is no secret and no credential.
func (s *Session) ID() string { return "" }

// Info returns what the session is now.
func (s *Session) Info() Info { return Info{} }

// Attach gives a client a link. The client is the one that opened it, has the grant admin, or has exec and may run the command.
// Other errors than ErrNotAllowed are ErrHeld and ErrNoSession.
func (s *Session) Attach(by access.Identity, o Attach) (*Link, error) { return nil, ErrNoSession }

// End ends every process of the session: HUP and TERM, and KILL after 2 s. It does not wait.
func (s *Session) End(why string) {}

// Done is closed when the session has ended: all its processes are gone, and Info has the Exit.
func (s *Session) Done() <-chan struct{} { return nil }

// Link is what one client has of a session. Next is for one goroutine, everything else for several.
type Link struct{}

// Chunk is a piece of output.
type Chunk struct {
	Stream int   // Stdout or Stderr
	Offset int64 // of the first byte; one that is beyond the end of the chunk before is a gap: nobody has read what was there
	Data   []byte
}

// Notice is the state of a session that a client should know. The channel has the latest one only.
type Notice struct {
	Rows, Columns uint16
	Holder        string // the name of the identity that has the keyboard; empty: none
	Viewers       int
	Stdin         int64 // bytes of input that the process has taken
}

// Session is what the link belongs to.
func (l *Link) Session() *Session { return nil }

// Holds reports whether the link has the keyboard.
func (l *Link) Holds() bool { return false }

// Next waits for output. The data is valid until the next call. The error is io.EOF when all output of all processes was returned and
// the session has ended, Err when the link was ended from the other side, and that of ctx.
func (l *Link) Next(ctx context.Context) (Chunk, error) { return Chunk{}, ErrClosed }

// Ack acknowledges a stream up to an offset.
func (l *Link) Ack(stream int, offset int64) {}

// Position returns the offsets of the bytes that Next returns next, by stream.
func (l *Link) Position() [3]int64 { return [3]int64{} }

// Write queues input. It waits while the queue of 64 KiB has no room. The errors are ErrReadOnly, ErrClosed, Err, and io.ErrClosedPipe
// after CloseStdin or when the process reads no more.
func (l *Link) Write(p []byte) error { return ErrClosed }

// Room is how much Write takes without waiting.
func (l *Link) Room() int { return 0 }

// Taken is how many bytes of input the process has taken since the session began.
func (l *Link) Taken() int64 { return 0 }

// CloseStdin ends the input after what was written. To a terminal it sends the character of end-of-file.
func (l *Link) CloseStdin() {}

// Resize sets the size of the terminal, if the link has the keyboard. A size of 0 or 1 is ignored.
func (l *Link) Resize(rows, columns uint16) {}

// Signal sends a signal to the foreground process group of the terminal; without a terminal, to all processes of the session.
func (l *Link) Signal(sig syscall.Signal) error { return ErrClosed }

// Gone is closed when the link was ended from the other side; Err is the reason.
func (l *Link) Gone() <-chan struct{} { return nil }

// Err is ErrTaken or ErrRevoked; nil: the session has ended, or the link is not Gone.
func (l *Link) Err() error { return nil }

// Notices delivers changes that the client should know.
func (l *Link) Notices() <-chan Notice { return nil }

// Close detaches. A session with Keep 0 ends with the link that has its keyboard.
func (l *Link) Close() {}
