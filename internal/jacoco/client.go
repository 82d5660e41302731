// Package jacoco asks a JaCoCo agent that listens (output=tcpserver) for its data.
// It does not analyse what the data says: JaCoCo's own tools do, with the classes.
package jacoco

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// Summary counts what a dump holds.
type Summary struct {
	Sessions []Session // at most maxSessions of them
	Classes  int
	Probes   int64
	Hit      int64 // of the probes
	Bytes    int64 // of the file
}

// Session is a run of the agent between two resets.
type Session struct {
	ID          string
	Start, Dump int64 // Unix time, milliseconds
}

// ErrBusy says that the agent answers nobody: it serves one client at a time.
var ErrBusy = errors.New("it does not answer: it serves one client at a time, and another one is connected")

// Dump asks the agent at address for its data and writes it to w as an .exec file.
// With reset the agent begins anew behind it. What was written before an error is of
// no use.
func Dump(ctx context.Context, address string, reset bool, w io.Writer) (Summary, error) {
	c, err := connect(ctx, address)
	if err != nil {
		return Summary{}, err
	}
	defer c.close()
	out := bufio.NewWriter(w)
	s, err := c.dump(reset, out)
	if err == nil {
		if err = out.Flush(); err != nil {
			err = fmt.Errorf("cannot write the data: %w", err)
		}
	}
	if err != nil {
		return s, c.explain(ctx, err)
	}
	return s, nil
}

// Reset has the agent at address forget what was covered so far.
func Reset(ctx context.Context, address string) error {
	c, err := connect(ctx, address)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.ask(false, true); err != nil {
		return c.explain(ctx, err)
	}
	s, err := newReader(c.conn, io.Discard).blocks()
	if err == nil && s.Classes > 0 {
		err = errors.New("it sent data that nobody asked for")
	}
	if err != nil {
		return c.explain(ctx, err)
	}
	return nil
}

// client is a connection to an agent.
type client struct {
	address string
	conn    net.Conn
	greeted bool // the agent has said hello
	stop    func() bool
}

// connect ends every wait when ctx is done.
func connect(ctx context.Context, address string) (*client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the JaCoCo agent at %s: %w", address, cause(ctx, err))
	}
	return &client{address: address, conn: conn, stop: context.AfterFunc(ctx, func() { conn.Close() })}, nil
}

func (c *client) close() {
	c.stop()
	c.conn.Close()
}

// ask says hello, waits for the agent's hello and sends the one command there is.
func (c *client) ask(dump, reset bool) error {
	if _, err := c.conn.Write(header()); err != nil {
		return err
	}
	if err := readHeader(c.conn); err != nil {
		return err
	}
	c.greeted = true
	_, err := c.conn.Write([]byte{blockDump, flag(dump), flag(reset)})
	return err
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// dump writes the file.
func (c *client) dump(reset bool, w io.Writer) (Summary, error) {
	if err := c.ask(true, reset); err != nil {
		return Summary{}, err
	}
	if _, err := w.Write(header()); err != nil {
		return Summary{}, err
	}
	s, err := newReader(c.conn, w).blocks()
	s.Bytes += int64(len(header()))
	return s, err
}

// lateError is the end of the time in plain words.
type lateError struct{ err error }

func (e *lateError) Error() string { return "it did not answer in time" }
func (e *lateError) Unwrap() error { return e.err }

// ended is how ctx ended.
func ended(ctx context.Context) error {
	if err := ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
		return &lateError{err}
	}
	return ctx.Err()
}

// explain says why an exchange failed.
func (c *client) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		if err = ended(ctx); !c.greeted && errors.Is(err, context.DeadlineExceeded) {
			err = ErrBusy
		}
	} else if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		err = fmt.Errorf("it ended the connection in the middle: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("cannot talk to the JaCoCo agent at %s: %w", c.address, err)
}

// cause is ctx's end rather than what came of it.
func cause(ctx context.Context, err error) error {
	var op *net.OpError
	var call *os.SyscallError
	switch {
	case ctx.Err() != nil:
		return ended(ctx)
	case errors.As(err, &call):
		return call.Err
	case errors.As(err, &op):
		return op.Err
	}
	return err
}
