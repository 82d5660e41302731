// Package client runs a command in the console of a stoker, or attaches to one of its sessions, and goes on by itself with the same
// byte of output and of input after a lost connection. It knows no terminal: its caller has one.
package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/console/wire"
)

// Bounds of a session, in bytes, but for the number of streams.
const (
	maxMessage = 1 << 20   // of the server
	ackStep    = 32 << 10  // output that is written before it is acknowledged
	outputRoom = 1 << 20   // output that was received and is not written: more than the server's window, which is 256 KiB
	inputRoom  = 256 << 10 // input that the process has not taken
	inputSent  = 64 << 10  // of it, what is on its way: as much as the server keeps
	inputFrame = 16 << 10

	streams = 3 // stdin, stdout, stderr
)

// Times of a link.
const (
	connectTime = 10 * time.Second
	writeTime   = 15 * time.Second
	silence     = 75 * time.Second // the server pings every 25 s
	lastWords   = time.Second      // for what the server sent before it closed the connection
	failureTime = 5 * time.Second  // for the end of a command whose output cannot be written
	firstPause  = 20 * time.Millisecond
	maxPause    = time.Second
	tellAfter   = time.Second
)

// Options are where a session is, and what its client does with what it hears.
type Options struct {
	Client         *api.Client
	Path           string // with the query: of /v1/exec, or of the attach route of a session
	Stdout, Stderr io.Writer
	Patience       time.Duration // how long a lost server is looked for
	Own            bool          // the command is ended if its output cannot be written; else the session is left

	Lost    func(err error)               // called once for a loss that lasts
	Resumed func()                        // called when that is over
	Gap     func(stream int, bytes int64) // called between two outputs: the server no longer has what was there
}

// Exit is how the command of a session ended.
type Exit struct {
	Code    int
	Signal  string // without SIG; empty: none
	OOM     bool   // it was killed for lack of memory
	Message string // why, if it did not end by itself
}

// TakenError is returned when another client has taken the keyboard.
type TakenError struct{ By string }

// Error says who has it.
func (e *TakenError) Error() string { return "the keyboard was taken by " + e.By }

// StartError is returned when the command could not be started.
type StartError struct{ Exit Exit }

// Error says why.
func (e *StartError) Error() string { return e.Exit.Message }

// Reasons for the end of a Session beside the end of its command.
var (
	ErrLeft       = errors.New("the session was left")
	ErrNoSession  = errors.New("the session is over, and its end is unknown")
	ErrNotAllowed = errors.New("access to the session has ended")
	ErrLost       = errors.New("the connection to the session is lost")
	ErrOutput     = errors.New("cannot write the output")
	errPanic      = errors.New("stoker has a bug")
)

// Session is one session and its present link. Its methods may be called at the same time.
type Session struct {
	opts   Options
	hello  wire.Hello
	first  *link
	cancel context.CancelFunc // ends Run
	ctx    context.Context    //nolint:containedctx // of Run; Leave may come before it
	wake   chan struct{}      // there may be something to send

	mu     sync.Mutex
	room   *sync.Cond // of in and out, and the end of both
	in     input
	out    []output
	queued int // bytes of out
	closed bool
	got    [streams]int64 // offsets of the next bytes, by stream
	done   [streams]int64 // what is written
	size   *message
	sends  []message // in order; each is sent once
	leave  string    // the request that ends it: detach or end
	failed error     // why the output was not written
}

// Open connects to a session, or has one started. The caller calls Run.
func Open(ctx context.Context, o Options) (*Session, error) {
	s := &Session{opts: o, wake: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.room = sync.NewCond(&s.mu)
	l, hello, err := s.connect(ctx, o.Path)
	if err != nil {
		return nil, cmp.Or(finalClose(err), err)
	}
	s.first, s.hello = l, hello
	s.got = [streams]int64{1: hello.Stdout, 2: hello.Stderr}
	s.done = s.got
	s.in.base, s.in.sent = hello.Stdin, hello.Stdin
	return s, nil
}

// Hello is what the server said of the session.
func (s *Session) Hello() wire.Hello { return s.hello }

// connect makes a link and reads the first message.
func (s *Session) connect(ctx context.Context, path string) (*link, wire.Hello, error) {
	var hello wire.Hello
	to := s.opts.Client.Endpoint()
	header, err := to.Header()
	if err != nil {
		return nil, hello, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	reached := false
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := to.Dial(ctx, network, address)
		reached = err == nil
		return conn, err
	}
	d := websocket.Dialer{NetDialContext: dial, TLSClientConfig: to.TLS, Subprotocols: []string{wire.Stoker},
		ReadBufferSize: 32 << 10, WriteBufferSize: inputFrame + 64}
	conn, resp, err := d.DialContext(ctx, "ws"+strings.TrimPrefix(to.URL, "http")+path, header)
	if resp != nil {
		defer resp.Body.Close()
	}
	switch {
	case errors.Is(err, websocket.ErrBadHandshake) && resp != nil:
		return nil, hello, api.ReadError(resp)
	case err != nil && !reached: // nothing was sent
		return nil, hello, fmt.Errorf("%w: %w", api.ErrNoSocket, err)
	case err != nil:
		return nil, hello, fmt.Errorf("the connection broke before the answer: %w", err)
	}
	l := newLink(conn)
	if conn.Subprotocol() != wire.Stoker {
		l.close()
		return nil, hello, fmt.Errorf("the server does not speak %s", wire.Stoker)
	}
	stop := context.AfterFunc(ctx, l.close)
	defer stop()
	kind, text, err := l.read()
	if err == nil && kind == websocket.TextMessage {
		err = json.Unmarshal(text, &hello)
	}
	switch {
	case err != nil:
	case hello.Type == "exit":
		m := message{}
		err = cmp.Or(json.Unmarshal(text, &m), error(&StartError{m.exit()}))
	case hello.Type != "session" || hello.ID == "":
		err = errors.New("the server did not begin with a session")
	}
	if err != nil {
		l.close()
		return nil, hello, err
	}
	return l, hello, nil
}

// attachPath is the route by which a lost link is replaced.
func (s *Session) attachPath(mode string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := url.Values{"mode": {mode}, "stdout": {fmt.Sprint(s.got[1])}, "stderr": {fmt.Sprint(s.got[2])}}
	return api.SessionPath(s.hello.ID) + "/attach?" + q.Encode()
}

// reconnect replaces a lost link. Its error is final.
func (s *Session) reconnect(ctx context.Context, lost error) (*link, error) {
	search, cancel := context.WithTimeout(ctx, s.opts.Patience)
	defer cancel()
	told := make(chan struct{})
	tell := time.AfterFunc(tellAfter, func() {
		defer close(told)
		s.opts.Lost(lost)
	})
	defer tell.Stop()
	mode := s.hello.Mode
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		l, hello, err := s.connect(search, s.attachPath(mode))
		if err == nil {
			if err = s.resume(hello); err != nil {
				l.close()
				return nil, err
			}
			if !tell.Stop() {
				<-told
				s.opts.Resumed()
			}
			return l, nil
		}
		var refused *api.StatusError
		if errors.As(err, &refused) && refused.Status == http.StatusConflict { // the server may not have noticed that the old link is broken
			switch holder := s.holder(search); holder {
			case s.hello.Holder:
				mode = "take"
			case "":
			default:
				return nil, &TakenError{holder}
			}
		} else if ended := final(err); ended != nil {
			return nil, ended
		}
		select {
		case <-search.Done():
			return nil, cmp.Or(ctx.Err(), fmt.Errorf("%w: %w", ErrLost, err))
		case <-time.After(pause):
		}
	}
}

// holder asks which identity has the keyboard; empty: it is not known.
func (s *Session) holder(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	info, _ := s.opts.Client.Session(ctx, s.hello.ID)
	return info.Holder
}

// resume goes on with a new link where the old one ended.
func (s *Session) resume(h wire.Hello) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.ID != s.hello.ID {
		return fmt.Errorf("the server answered with session %q instead of %q", h.ID, s.hello.ID)
	}
	if !s.in.resume(h.Stdin) {
		return fmt.Errorf("cannot go on with the input: the server has byte %d next, and we have %d to %d", h.Stdin, s.in.base, s.in.end())
	}
	for stream, next := range map[int]int64{1: h.Stdout, 2: h.Stderr} {
		missing := next - s.got[stream]
		if missing < 0 {
			return fmt.Errorf("cannot go on with the output: the server has byte %d of stream %d next, and we want %d", next, stream, s.got[stream])
		}
		if missing > 0 {
			s.push(output{stream: stream, gap: missing})
		}
	}
	return nil
}

// Run passes output and input on until the command has ended or the session has to be left.
func (s *Session) Run(ctx context.Context) (exit Exit, err error) {
	defer s.cancel()
	defer context.AfterFunc(ctx, s.cancel)()
	written := make(chan error, 1)
	go func() { written <- guard(s.writeOutput) }() // ends when the session has
	defer s.stop()
	for l := s.first; ; {
		ended, err := s.serve(l, written)
		switch {
		case ended != nil:
			return *ended, cmp.Or(s.drain(written), s.failure())
		case s.ctx.Err() == nil && final(err) == nil && s.leaving() == "":
			l, err = s.reconnect(s.ctx, err)
		}
		switch {
		case err == nil:
		case s.leaving() != "":
			return exit, cmp.Or(s.failure(), ErrLeft)
		case ctx.Err() != nil:
			return exit, ctx.Err()
		default:
			return exit, cmp.Or(final(err), err)
		}
	}
}

// drain waits until all output is written.
func (s *Session) drain(written <-chan error) error {
	s.stop()
	select {
	case err := <-written:
		return err
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// stop ends the queues: writeOutput after the rest, Write at once.
func (s *Session) stop() {
	s.change(func() {
		s.closed = true
		s.room.Broadcast()
	})
}

func (s *Session) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (s *Session) leaving() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leave
}

// final returns the error for the end of a link after which no other is made; nil: it was lost.
func final(err error) error {
	var refused *api.StatusError
	switch {
	case errors.Is(err, errPanic):
		return err
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
		return ErrNoSession
	case errors.As(err, &refused) && refused.Status != http.StatusServiceUnavailable && refused.Status != http.StatusTooManyRequests:
		return err
	}
	return finalClose(err)
}

// finalClose is final for a close frame.
func finalClose(err error) error {
	var closed *websocket.CloseError
	if !errors.As(err, &closed) {
		return nil
	}
	switch closed.Code {
	case wire.CloseTaken:
		return &TakenError{closed.Text}
	case wire.CloseRevoked:
		return fmt.Errorf("%w: %s", ErrNotAllowed, closed.Text)
	case wire.CloseNoSession:
		return ErrNoSession
	case websocket.CloseProtocolError, websocket.CloseUnsupportedData, websocket.CloseInvalidFramePayloadData, websocket.ClosePolicyViolation,
		websocket.CloseMessageTooBig, websocket.CloseInternalServerErr:
		return fmt.Errorf("the server ended the connection: %s (close code %d)", closed.Text, closed.Code)
	}
	return nil
}
