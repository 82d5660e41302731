package initproto

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Conn is one end of the connection: a SOCK_SEQPACKET socket, so that a message and its
// descriptors arrive whole or not at all. Several goroutines may call Send, one Recv.
type Conn struct {
	file *os.File
	raw  syscall.RawConn
	fd   int
	buf  []byte
	oob  []byte
}

// NewConn takes over fd, a connected SOCK_SEQPACKET socket.
func NewConn(fd int) (*Conn, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot use descriptor %d as the init's socket: %w", fd, err)
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "init-socket")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot use descriptor %d as the init's socket: %w", fd, err)
	}
	return &Conn{file: f, raw: raw, fd: fd, buf: make([]byte, MaxBlob+64<<10), oob: make([]byte, unix.CmsgSpace(4*64))}, nil
}

// SyscallConn is for polling the socket.
func (c *Conn) SyscallConn() syscall.RawConn { return c.raw }

// Close closes the socket.
func (c *Conn) Close() error { return c.file.Close() }

// TrySend sends a packet without blocking; unix.EAGAIN: the peer's queue is full.
func (c *Conn) TrySend(packet []byte, fds []int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for {
		err := unix.Sendmsg(c.fd, packet, oob, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}

// Send sends m and waits while the peer's queue is full.
func (c *Conn) Send(m *Msg) error {
	packet, err := Encode(m)
	if err != nil {
		return err
	}
	var sendErr error
	err = c.raw.Write(func(uintptr) bool {
		sendErr = c.TrySend(packet, m.Fds)
		return sendErr != unix.EAGAIN
	})
	if err == nil {
		err = sendErr
	}
	if err != nil {
		return fmt.Errorf("cannot send %s to the init: %w", m.Type, err)
	}
	return nil
}

// TryRecv reads one message, and returns its packet too, without blocking. io.EOF: the peer
// is gone and nothing is left; unix.EAGAIN: there is no message now. A peer that died with
// unread messages gives ECONNRESET once, before what it had still sent. A packet that
// cannot be decoded is a message without a type.
func (c *Conn) TryRecv() (*Msg, []byte, error) {
	for {
		n, oobn, flags, _, err := unix.Recvmsg(c.fd, c.buf, c.oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		switch {
		case err == unix.EINTR || err == unix.ECONNRESET:
			continue
		case err != nil:
			return nil, nil, err
		case n == 0:
			return nil, nil, io.EOF
		}
		fds := parseRights(c.oob[:oobn])
		m, err := Decode(c.buf[:n])
		if err != nil || m.Type == "" || flags&unix.MSG_TRUNC != 0 {
			CloseAll(fds)
			return new(Msg), nil, nil //nolint:nilerr // a message of a newer peer is skipped
		}
		m.Fds, m.FdsCut = fds, flags&unix.MSG_CTRUNC != 0
		return m, c.buf[:n], nil
	}
}

// Recv waits for the next message. io.EOF: the peer is gone.
func (c *Conn) Recv() (*Msg, error) {
	var m *Msg
	var recvErr error
	err := c.raw.Read(func(uintptr) bool {
		m, _, recvErr = c.TryRecv()
		return recvErr != unix.EAGAIN
	})
	if err == nil {
		err = recvErr
	}
	return m, err
}

// CloseAll closes descriptors.
func CloseAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// parseRights returns the descriptors of a control message.
func parseRights(oob []byte) []int {
	cmsgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	var fds []int
	for i := range cmsgs {
		if got, err := unix.ParseUnixRights(&cmsgs[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}
