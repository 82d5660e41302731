// Package jacoco gets the data of a JaCoCo agent that listens (output=tcpserver). It does not analyse
// the data: JaCoCo's own tools do, with the classes.
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

// Summary counts what a dump has.
type Summary struct {
	Sessions []Session // at most maxSessions
	Classes  int
	Probes   int64
	Hit      int64 // of the probes
	Bytes    int64 // of the file
}

// Session is the time between two resets of the agent.
type Session struct {
	ID          string
	Start, Dump int64 // Unix time, milliseconds
}

// ErrBusy means that the agent does not answer: it serves one client at a time.
var ErrBusy = errors.New("it does not answer: it serves one client at a time, and another one is connected")

// Dump writes the data of the agent at address to w as an .exec file, and then resets the agent if reset
// is set. After an error the file is incomplete.
func Dump(ctx context.Context, address string, reset bool, w io.Writer) (s Summary, err error) {
	out := bufio.NewWriter(w)
	err = exchange(ctx, address, true, reset, func(conn net.Conn) error {
		if _, err := out.Write(header()); err != nil {
			return err
		}
		s, err = newReader(conn, out).blocks()
		s.Bytes += int64(len(header()))
		if err == nil {
			if err = out.Flush(); err != nil {
				err = fmt.Errorf("cannot write the data: %w", err)
			}
		}
		return err
	})
	return s, err
}

// Reset resets the agent at address: nothing is covered.
func Reset(ctx context.Context, address string) error {
	return exchange(ctx, address, false, true, func(conn net.Conn) error {
		s, err := newReader(conn, io.Discard).blocks()
		if err == nil && s.Classes > 0 {
			err = errors.New("it sent data that was not requested")
		}
		return err
	})
}

// exchange sends the agent its one command, and calls read for the response.
func exchange(ctx context.Context, address string, dump, reset bool, read func(net.Conn) error) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("cannot reach the JaCoCo agent at %s: %w", address, connectCause(ctx, err))
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	greeted := false
	if _, err = conn.Write(header()); err == nil {
		err = readHeader(conn)
	}
	if err == nil {
		greeted = true
		_, err = conn.Write([]byte{blockDump, flag(dump), flag(reset)})
	}
	if err == nil {
		err = read(conn)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && !greeted:
		err = ErrBusy
	case ctx.Err() != nil:
		err = contextCause(ctx)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET):
		err = fmt.Errorf("it ended the connection in the middle: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("cannot talk to the JaCoCo agent at %s: %w", address, err)
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// timeoutError is a deadline in plain words.
type timeoutError struct{ error }

func (timeoutError) Error() string   { return "it did not answer in time" }
func (e timeoutError) Unwrap() error { return e.error }

// contextCause is why ctx is done.
func contextCause(ctx context.Context) error {
	if err := ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
		return timeoutError{err}
	}
	return ctx.Err()
}

// connectCause is the shortest error that says why there is no connection.
func connectCause(ctx context.Context, err error) error {
	var op *net.OpError
	var call *os.SyscallError
	switch {
	case ctx.Err() != nil:
		return contextCause(ctx)
	case errors.As(err, &call):
		return call.Err
	case errors.As(err, &op):
		return op.Err
	}
	return err
}
