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
	"syscall"
)

// Summary counts the contents of a dump.
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

// Errors of an agent that does not answer before the deadline.
var (
	// ErrBusy means that it does not even greet: it serves one client at a time.
	ErrBusy    = errors.New("it does not answer: it serves one client at a time, and another one is connected")
	ErrTimeout = errors.New("it did not answer in time")
)

// Dump writes the data of the agent at address to w as an .exec file, and then resets the agent if reset
// is set. After an error the file is incomplete.
func Dump(ctx context.Context, address string, reset bool, w io.Writer) (Summary, error) {
	out := bufio.NewWriter(w)
	_, _ = out.Write(header()) // an error is that of Flush
	s, err := exchange(ctx, address, []byte{blockDump, 1, flag(reset)}, out)
	s.Bytes += int64(len(header()))
	if err == nil {
		if err = out.Flush(); err != nil {
			err = fmt.Errorf("cannot write the data: %w", err)
		}
	}
	return s, err
}

// Reset resets the agent at address: nothing is covered.
func Reset(ctx context.Context, address string) error {
	s, err := exchange(ctx, address, []byte{blockDump, 0, 1}, io.Discard)
	if err == nil && s.Classes > 0 {
		err = fmt.Errorf("cannot talk to the JaCoCo agent at %s: it sent data that was not requested", address)
	}
	return err
}

// exchange sends the agent its one command, and copies the response to out.
func exchange(ctx context.Context, address string, command []byte, out io.Writer) (s Summary, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return s, fmt.Errorf("cannot reach the JaCoCo agent at %s: %w", address, cause(ctx, err, ErrTimeout))
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	late := ErrBusy
	if _, err = conn.Write(header()); err == nil {
		err = readHeader(conn)
	}
	if err == nil {
		late = ErrTimeout
		_, err = conn.Write(command)
	}
	if err == nil {
		s, err = newReader(conn, out).blocks()
	}
	if err != nil {
		err = fmt.Errorf("cannot talk to the JaCoCo agent at %s: %w", address, cause(ctx, err, late))
	}
	return s, err
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// cause is why an exchange failed; late is the error of a deadline.
func cause(ctx context.Context, err, late error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return late
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("it ended the connection in the middle: %w", io.ErrUnexpectedEOF)
	}
	return err
}
