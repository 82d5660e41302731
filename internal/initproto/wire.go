package initproto

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// Version is the protocol that this binary speaks. Each side ignores messages
// and fields that it does not know. 2 added Upgrade.
const Version = 2

// SocketFD is the descriptor on which a supervisor finds its wire.
const SocketFD = 3

// MaxBlob is the largest blob that a bag item may hold, in bytes. With its
// header it fits the kernel's default socket buffer (212992 bytes) thrice.
const MaxBlob = 64 << 10

// Message types. The comment says who sends it.
const (
	Hello   = "HELLO"   // supervisor: first message
	Put     = "PUT"     // supervisor: keep an item; init: replay of one, byte for byte
	Del     = "DEL"     // supervisor: forget an item
	Ack     = "ACK"     // supervisor: everything up to Seq is in the bag
	Ping    = "PING"    // supervisor: alive; the first one also says "adopted"
	Sync    = "SYNC"    // supervisor: answer with Synced once every zombie is told; leave the log pipes to me
	Upgrade = "UPGRADE" // supervisor: start the next one from this binary
	Final   = "FINAL"   // supervisor: end the container with Code
	Welcome = "WELCOME" // init: answer to Hello
	Lost    = "LOST"    // init: output discarded while no supervisor read it
	Exited  = "EXITED"  // init: children that ended
	Signal  = "SIGNAL"  // init: a signal that reached the container
	Ready   = "READY"   // init: the replay is complete
	Synced  = "SYNCED"  // init: answer to Sync
	Check   = "CHECK"   // init: answer with a Ping, or be killed
)

// Msg is one message: a JSON header, a newline and, for Put, the blob. Which
// fields count depends on Type.
type Msg struct {
	Type    string `json:"t"`
	Version int    `json:"v,omitempty"`     // Hello, Welcome
	Name    string `json:"name,omitempty"`  // Put, Del, Lost: the bag item
	Pid     int    `json:"pid,omitempty"`   // Put: the item follows this child; Welcome: the init
	Open    bool   `json:"open,omitempty"`  // Put: an intent, a child may be born of it
	Drain   bool   `json:"drain,omitempty"` // Put: the descriptors named by Pipes are log pipes
	Pipes   []int  `json:"pipes,omitempty"` // Put: indexes into Fds
	Seq     uint64 `json:"seq,omitempty"`   // Ack: acknowledged up to here; Signal: its number
	Signal  int    `json:"sig,omitempty"`   // Signal
	Count   int    `json:"n,omitempty"`     // Signal: how often, merged
	Stop    int    `json:"stop,omitempty"`  // Welcome, Signal: stop requests so far
	Starts  int    `json:"starts,omitempty"`
	Room    int    `json:"room,omitempty"`    // Welcome: descriptors that the bag holds at most
	Code    int    `json:"code,omitempty"`    // Final: the container's exit code
	Grace   int64  `json:"grace,omitempty"`   // Final: ns between TERM and KILL of what is left
	Bytes   uint64 `json:"bytes,omitempty"`   // Lost
	Lines   uint64 `json:"lines,omitempty"`   // Lost
	Each    *Each  `json:"each,omitempty"`    // Lost: Bytes of each pipe
	Orphans uint64 `json:"orphans,omitempty"` // Exited, Welcome: ended so far, nobody's
	Exits   []Exit `json:"exits,omitempty"`   // Exited
	// Binary is what to start supervisors from (Upgrade) or what they are
	// started from (Welcome).
	Binary *Binary `json:"bin,omitempty"`

	Body []byte `json:"-"` // Put: the blob
	Fds  []int  `json:"-"` // Put, Upgrade: descriptors, close-on-exec
	// Cut says that descriptors were sent and could not be received: this
	// process has too many of them.
	Cut bool `json:"-"`
}

// Each are bytes of an item's first and second pipe.
type Each [2]uint64

// Binary says from which executable supervisors are started.
type Binary struct {
	Version string `json:"version,omitempty"` // what it calls itself
	Path    string `json:"path,omitempty"`    // where it was found; Welcome: empty for the init's own
	By      string `json:"by,omitempty"`      // Upgrade: who asked for it
	Init    string `json:"init,omitempty"`    // Welcome: the version of the init
	Count   int    `json:"n,omitempty"`       // Welcome: upgrades so far
	Failed  string `json:"failed,omitempty"`  // Welcome: the version that the latest upgrade was undone of
	Why     string `json:"why,omitempty"`     // Welcome: and the reason
}

// Exit is the end of one child of the init.
type Exit struct {
	Seq    uint64 `json:"seq"`
	Pid    int    `json:"pid"`
	Status uint32 `json:"st"`            // as wait4 gives it
	At     int64  `json:"at"`            // CLOCK_BOOTTIME, ns
	CPU    int64  `json:"cpu,omitempty"` // user and system time, ns
	RSS    int64  `json:"rss,omitempty"` // largest resident set, bytes
	// Stat is the zombie's /proc/PID/stat. It is filled in only while an intent is open: a
	// supervisor then has to find out whether the child is the one it meant to start.
	Stat *procfs.Stat `json:"stat,omitempty"`
}

// WaitStatus is the status in the form of package syscall.
func (e Exit) WaitStatus() syscall.WaitStatus { return syscall.WaitStatus(e.Status) }

// Conn is one end of the wire: a SOCK_SEQPACKET socket, so that a message and
// its descriptors arrive whole or not at all. Send may be called by several
// goroutines, Recv by one.
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
		return nil, fmt.Errorf("cannot use descriptor %d as the init's socket: %w", fd, err)
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "init-socket")
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("cannot use descriptor %d as the init's socket: %w", fd, err)
	}
	return &Conn{file: f, raw: raw, fd: fd, buf: make([]byte, MaxBlob+64<<10), oob: make([]byte, unix.CmsgSpace(4*64))}, nil
}

// SyscallConn is for a poll of the socket.
func (c *Conn) SyscallConn() syscall.RawConn { return c.raw }

// Close closes the socket.
func (c *Conn) Close() error { return c.file.Close() }

// Encode gives the packet of m.
func Encode(m *Msg) ([]byte, error) {
	if len(m.Body) > MaxBlob {
		return nil, fmt.Errorf("cannot keep %q: %d bytes are more than the bag's %d", m.Name, len(m.Body), MaxBlob)
	}
	head, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return append(append(head, '\n'), m.Body...), nil
}

// Decode reads a packet. The blob is a copy.
func Decode(p []byte) (*Msg, error) {
	head, body, ok := bytes.Cut(p, []byte{'\n'})
	if !ok {
		return nil, errors.New("a message without an end of its header")
	}
	m := new(Msg)
	if err := json.Unmarshal(head, m); err != nil {
		return nil, err
	}
	if len(body) > 0 {
		m.Body = bytes.Clone(body)
	}
	return m, nil
}

// decodeOrNothing gives a message without a type for what is none.
func decodeOrNothing(p []byte) *Msg {
	if m, err := Decode(p); err == nil {
		return m
	}
	return new(Msg)
}

// TrySend sends an encoded message without blocking; unix.EAGAIN says that the peer's
// queue is full.
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

// TryRecv reads one message, and gives its packet too, without blocking. io.EOF: the peer is gone and
// nothing is left; unix.EAGAIN: nothing is there now. A peer that died with
// unread messages gives ECONNRESET once, before what it had still sent. What is
// no message of ours is one without a type.
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
		m := decodeOrNothing(c.buf[:n])
		if m.Type == "" || flags&unix.MSG_TRUNC != 0 {
			CloseAll(fds)
			return new(Msg), nil, nil // not ours to understand: a newer peer
		}
		m.Fds, m.Cut = fds, flags&unix.MSG_CTRUNC != 0
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

// parseRights gives the descriptors of a control message.
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

// BootNow is CLOCK_BOOTTIME in nanoseconds: the clock of every time on the
// wire. It is not moved with the wall clock and goes on while the machine sleeps.
func BootNow() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0
	}
	return ts.Nano()
}
