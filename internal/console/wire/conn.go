package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stoker-init/stoker/internal/console"
	"golang.org/x/sys/unix"
)

const (
	maxMessage = 64<<10 + 1 // a channel and its data
	frameSize  = 32 << 10   // of output in a message
	sendBuffer = 32 << 10   // SO_SNDBUF: what a client that reads slowly still gets after it has pressed ^C
	window     = 256 << 10  // of output that stoker.v1 has not acknowledged

	pingTime   = 25 * time.Second
	deadTime   = 75 * time.Second        // without a sign of life
	tick       = 2500 * time.Millisecond // between the checks, and between the pongs while input is stuck
	closeTime  = 30 * time.Second        // for the client to answer the close frame
	lingerTime = time.Second             // for a client that is cut off to read why
)

// input is what a client does to a session.
type input interface {
	Room() int
	Write(p []byte) error
	CloseStdin()
	Resize(rows, columns uint16)
	Signal(sig syscall.Signal) error
}

// output is what a client gets of a session.
type output interface {
	Next(ctx context.Context) (console.Chunk, error)
	Ack(stream int, offset int64)
	Notices() <-chan console.Notice
	Position() [3]int64
	Taken() int64
}

// link is a *console.Link.
type link interface {
	input
	output
	Holds() bool
	Close()
}

// protocol is a subprotocol. The methods are called by one goroutine each.
type protocol interface {
	// begin sends what the client gets first.
	begin() error
	// send sends output.
	send(console.Chunk) error
	// receive handles a message of the client. The error is a *closeError where the client is to blame or wants to leave.
	receive(kind int, r io.Reader) error
	// notify sends what has changed.
	notify(console.Notice) error
	// end sends the last message. err is io.EOF after the session's exit. It returns how the connection is closed.
	end(err error) *closeError
}

// closeError ends a connection with a close frame.
type closeError struct {
	code   int
	reason string
}

func (e *closeError) Error() string { return e.reason }

// conn is the connection of one client to a link.
type conn struct {
	ws       *websocket.Conn
	link     link
	protocol protocol
	begun    time.Time
	alive    atomic.Int64   // the latest sign of life, after begun
	writing  atomic.Int64   // when the write began that has not ended, after begun; 0: there is none
	stuck    atomic.Bool    // whether input waits for the process
	pongs    chan string    // what the latest ping had
	mu       sync.Mutex     // guards last, and the order of messages
	last     bool           // the last message was sent
	piece    [16 << 10]byte // of input
}

// serve connects a client to a link until one of them ends. The link is closed then.
func (c *conn) serve(ctx context.Context) {
	own, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer func() {
		cancel()
		c.cut()
		running.Wait()
	}()
	c.ws.SetReadLimit(maxMessage)
	c.ws.SetPingHandler(func(data string) error {
		select {
		case <-c.pongs: // RFC 6455, 5.5.3: only the latest ping needs an answer
		default:
		}
		c.pongs <- data
		return nil
	})
	running.Go(func() { c.watch(own) }) // ends with own
	if c.protocol.begin() != nil {
		return
	}
	running.Go(func() { c.control(own) }) // ends with own, or with the connection
	running.Go(func() {                   // ends with own, the link or the connection
		err := c.send(own)
		if ctx.Err() != nil {
			err = errLeaving
		}
		if own.Err() == nil || ctx.Err() != nil {
			c.end(err)
		}
	})
	if c.receive() {
		cancel() // nothing follows the close frame
		c.linger()
	}
}

// receive handles messages until the connection ends. It reports whether it is to be closed politely.
func (c *conn) receive() bool {
	for {
		kind, r, err := c.ws.NextReader()
		if err == nil {
			err = c.protocol.receive(kind, r)
		}
		if err == nil {
			continue
		}
		var closing *closeError
		var closed *websocket.CloseError
		var network net.Error
		switch {
		case errors.As(err, &closing):
		case errors.As(err, &closed), errors.As(err, &network), errors.Is(err, io.EOF):
			return false
		case errors.Is(err, websocket.ErrReadLimit):
			closing = &closeError{websocket.CloseMessageTooBig, fmt.Sprintf("a message has at most %d bytes", maxMessage)}
		default:
			closing = &closeError{websocket.CloseProtocolError, err.Error()}
		}
		// The library may have sent one, and the client may be gone.
		_ = c.ws.WriteControl(websocket.CloseMessage, closing.frame(), time.Now().Add(lingerTime))
		return true
	}
}

// linger lets the client read the close frame: what is unread when a connection is closed resets it, and the client loses
// what is on the way.
func (c *conn) linger() {
	c.link.Close()
	_ = c.ws.NetConn().SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.Copy(io.Discard, io.LimitReader(c.ws.NetConn(), 1<<20))
}

// cut ends the connection and the link at once.
func (c *conn) cut() {
	c.link.Close()
	_ = c.ws.Close() // it may be closed
}

// send sends output until there is no more.
func (c *conn) send(ctx context.Context) error {
	for {
		chunk, err := c.link.Next(ctx)
		if err != nil {
			return err
		}
		for part := range slices.Chunk(chunk.Data, frameSize) {
			if err := c.protocol.send(console.Chunk{Stream: chunk.Stream, Offset: chunk.Offset, Data: part}); err != nil {
				return err
			}
			chunk.Offset += int64(len(part))
		}
	}
}

// end sends how the link ended, and gives the client time to answer.
func (c *conn) end(err error) {
	closing := c.protocol.end(err)
	_ = c.ws.WriteControl(websocket.CloseMessage, closing.frame(), time.Time{}) // the client may be gone; watch bounds the wait
	_ = c.ws.NetConn().SetReadDeadline(time.Now().Add(closeTime))
	c.link.Close()
}

// control sends pings, pongs and notices until ctx is done. None of it is sent by the goroutine that reads, which so goes on while
// the client reads nothing. While input is stuck it also sends pongs that no ping has asked for: the client's pings are behind its
// input, and it gives up after a minute without a pong.
func (c *conn) control(ctx context.Context) {
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	var err error
	for n := 0; err == nil; {
		select {
		case <-ctx.Done():
			return
		case data := <-c.pongs:
			err = c.ws.WriteControl(websocket.PongMessage, []byte(data), time.Time{})
		case notice := <-c.link.Notices():
			err = c.protocol.notify(notice)
		case <-ticks.C:
			if c.stuck.Load() {
				err = c.ws.WriteControl(websocket.PongMessage, nil, time.Time{})
			}
			if n++; err == nil && n%int(pingTime/tick) == 0 {
				err = c.ws.WriteControl(websocket.PingMessage, nil, time.Time{})
			}
		}
	}
	if !errors.Is(err, websocket.ErrCloseSent) && !errors.Is(err, errLast) { // else the client still reads
		c.cut()
	}
}

// watch cuts a client off that shows no sign of life, or that leaves while nothing is read, until ctx is done.
func (c *conn) watch(ctx context.Context) {
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			if c.dead() || c.stuck.Load() && hungUp(c.ws.NetConn()) {
				c.cut()
			}
		}
	}
}

// dead reports whether there was no sign of life for too long: bytes from the client, or output that it has made room for. While
// input is stuck nothing is read, and that the pongs can be sent is the sign (TCP_USER_TIMEOUT ends a connection whose bytes are
// not acknowledged).
func (c *conn) dead() bool {
	limit := int64(time.Since(c.begun) - deadTime)
	began := c.writing.Load()
	blocked := began != 0 && began < limit
	return c.alive.Load() < limit && (blocked || !c.stuck.Load())
}

// touch notes a sign of life.
func (c *conn) touch() { c.alive.Store(int64(time.Since(c.begun))) }

// errLast is returned for a message after the last one.
var errLast = errors.New("the last message was sent")

// write sends a message. The lock is held while the client makes room: messages are whole.
func (c *conn) write(kind int, last bool, head, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last {
		return errLast
	}
	c.last = last
	began := time.Since(c.begun)
	c.writing.Store(int64(began) + 1)
	defer c.writing.Store(0)
	w, err := c.ws.NextWriter(kind)
	if err != nil {
		return err
	}
	_, err = w.Write(head)
	if err == nil {
		_, err = w.Write(data)
	}
	if err = errors.Join(err, w.Close()); err == nil && time.Since(c.begun)-began > time.Second {
		c.touch() // it was blocked, and the client has made room
	}
	return err
}

// input hands a stream of input to the process. Errors are of the session, whose end the client gets.
func (c *conn) input(r io.Reader) error {
	for {
		n, err := r.Read(c.piece[:])
		if n > 0 {
			if c.link.Room() < n {
				c.stuck.Store(true)
			}
			_ = c.link.Write(c.piece[:n])
			if c.stuck.Load() {
				c.touch()
				c.stuck.Store(false)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// netConn notes when bytes arrive.
type netConn struct {
	net.Conn
	touch func()
}

// NetConn is the connection below.
func (n *netConn) NetConn() net.Conn { return n.Conn }

func (n *netConn) Read(p []byte) (int, error) {
	count, err := n.Conn.Read(p)
	if count > 0 {
		n.touch()
	}
	return count, err
}

// hijacker is a ResponseWriter whose connection is wrapped.
type hijacker struct {
	http.ResponseWriter
	touch func()
}

// Hijack takes the connection over.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	tune(c)
	return &netConn{c, h.touch}, rw, nil
}

// tune sets the options of the socket below a connection, where there is one.
func tune(c net.Conn) {
	control(c, func(fd int) {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadTime.Milliseconds())) // not of a unix socket
	})
}

// hungUp reports whether the client has closed its side of a connection, whatever is still to be read.
func hungUp(c net.Conn) (yes bool) {
	control(c, func(fd int) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}, 0)
		yes = n > 0 && err == nil
	})
	return yes
}

// control calls f with the socket below a connection, if there is one.
func control(c net.Conn, f func(fd int)) {
	for {
		at, ok := c.(interface{ NetConn() net.Conn }) // *tls.Conn, for example
		if !ok {
			break
		}
		c = at.NetConn()
	}
	socket, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := socket.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// frame is the body of the close frame.
func (e *closeError) frame() []byte {
	return websocket.FormatCloseMessage(e.code, cutText(e.reason, 120))
}

// cutText cuts a text at the end of a character.
func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}
