package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// link is one connection to a session.
type link struct {
	conn *websocket.Conn
	down chan struct{}
	once sync.Once

	// What the server knows on this link; guarded by Session.mu.
	acked     [streams]int64
	size      *message
	eof, left bool

	frame [1 + inputFrame]byte
}

func newLink(conn *websocket.Conn) *link {
	l := &link{conn: conn, down: make(chan struct{})}
	conn.SetReadLimit(maxMessage)
	pong := conn.PingHandler()
	conn.SetPingHandler(func(data string) error {
		if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		return pong(data)
	})
	return l
}

func (l *link) close() {
	l.once.Do(func() { close(l.down) })
	_ = l.conn.Close() // a link that ends has nothing to save
}

func (l *link) isDown() bool {
	select {
	case <-l.down:
		return true
	default:
		return false
	}
}

// read returns the next message.
func (l *link) read() (kind int, data []byte, err error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return 0, nil, err
	}
	return l.conn.ReadMessage()
}

// message is one JSON object of either side.
type message struct {
	Type    string `json:"type"`
	Stream  int    `json:"stream,omitempty"`
	Offset  int64  `json:"offset,omitempty"`
	Bytes   int64  `json:"bytes,omitempty"`
	Rows    uint16 `json:"rows,omitempty"`
	Columns uint16 `json:"columns,omitempty"`
	Signal  string `json:"signal,omitempty"`
	Code    int    `json:"code,omitempty"`
	OOM     bool   `json:"oom,omitempty"`
	Message string `json:"message,omitempty"`
}

func (m message) exit() Exit {
	return Exit{Code: m.Code, Signal: m.Signal, OOM: m.OOM, Message: m.Message}
}

// serve uses a link until it ends, or the command has.
func (s *Session) serve(l *link, written <-chan error) (ended *Exit, err error) {
	s.mu.Lock()
	l.acked = s.got
	s.mu.Unlock()
	var both sync.WaitGroup
	defer both.Wait()
	defer s.change(s.room.Broadcast) // readLink may wait for room
	defer l.close()
	read, broken := make(chan error, 1), make(chan error, 1)
	both.Go(func() { // ends with the connection
		read <- guard(func() (err error) {
			ended, err = s.readLink(l)
			return err
		})
	})
	both.Go(func() { broken <- guard(func() error { return s.writeLink(l) }) }) // ends with the connection, or when it cannot be written to
	for {
		select {
		case err := <-read:
			return ended, err
		case err := <-broken: // the other side may have said why it closed the connection
			if errors.Is(err, errPanic) {
				return nil, err
			}
			defer time.AfterFunc(lastWords, l.close).Stop()
			broken = nil
		case err := <-written:
			return nil, err
		case <-s.ctx.Done():
			return nil, s.ctx.Err()
		}
	}
}

// readLink takes what the server sends. An Exit is the last of it.
func (s *Session) readLink(l *link) (*Exit, error) {
	for {
		kind, data, err := l.read()
		if err != nil {
			return nil, err
		}
		if kind == websocket.BinaryMessage {
			if err := s.receive(l, data); err != nil {
				return nil, err
			}
			continue
		}
		var m message
		if err := json.Unmarshal(data, &m); err != nil {
			return nil, fmt.Errorf("cannot read a message of the server: %w", err)
		}
		switch m.Type {
		case "gap":
			if m.Stream != 1 && m.Stream != 2 || m.Bytes < 0 {
				return nil, fmt.Errorf("cannot read a gap of %d bytes of stream %d", m.Bytes, m.Stream)
			}
			s.mu.Lock()
			s.push(output{stream: m.Stream, gap: m.Bytes})
			s.mu.Unlock()
		case "stdin":
			s.mu.Lock()
			s.in.taken(m.Offset)
			s.room.Broadcast()
			s.mu.Unlock()
			s.wakeWriter()
		case "exit":
			return new(m.exit()), nil
		}
	}
}

// receive queues output. It waits while a reader of the output has too much to do.
func (s *Session) receive(l *link, data []byte) error {
	if len(data) < 2 { // an empty message means nothing
		return nil
	}
	if data[0] != 1 && data[0] != 2 {
		return fmt.Errorf("cannot read channel %d", data[0])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.queued > outputRoom && !s.closed && !l.isDown() {
		s.room.Wait()
	}
	if l.isDown() {
		return errors.New("the connection is closed")
	}
	s.push(output{stream: int(data[0]), data: data[1:]})
	return nil
}

// writeLink sends what there is to send.
func (s *Session) writeLink(l *link) error {
	for {
		kind, data, err := s.next(l)
		switch {
		case err != nil:
			return err
		case kind == 0:
			select {
			case <-s.wake:
			case <-l.down:
				return nil
			}
			continue
		}
		if err := l.conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
			return err
		}
		if err := l.conn.WriteMessage(kind, data); err != nil {
			return err
		}
	}
}

// next returns the next message for the server: its kind, 0 for none, and its data, which are valid until the next call.
func (s *Session) next(l *link) (kind int, data []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := message{}
	switch in := s.in.unsent(); {
	case s.done[1]-l.acked[1] >= ackStep:
		m = s.ack(l, 1)
	case s.done[2]-l.acked[2] >= ackStep:
		m = s.ack(l, 2)
	case s.size != l.size:
		l.size, m = s.size, *s.size
	case len(s.sends) > 0:
		m, s.sends = s.sends[0], s.sends[1:]
	case len(in) > 0:
		n := copy(l.frame[1:], in)
		s.in.sent += int64(n)
		return websocket.BinaryMessage, l.frame[:1+n], nil
	case s.in.allSent() && !l.eof:
		l.eof, m.Type = true, "eof"
	case s.leave != "" && !l.left:
		l.left, m.Type = true, s.leave
	default:
		return 0, nil, nil
	}
	data, err = json.Marshal(m)
	return websocket.TextMessage, data, err
}

func (s *Session) ack(l *link, stream int) message {
	l.acked[stream] = s.done[stream]
	return message{Type: "ack", Stream: stream, Offset: s.done[stream]}
}

func (s *Session) wakeWriter() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// guard makes an error of a panic: the caller may have a terminal to put back in order.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanic, p, debug.Stack())
		}
	}()
	return f()
}
