package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// answerLimit bounds the wait for an answer of the kernel.
const answerLimit = 10 // seconds

// maxDumps bounds how often an interrupted dump is repeated.
const maxDumps = 100

// conn is a netlink socket in this network namespace. The messages of addresses, routes and rules are built and read here and not by
// package netlink: that does not know IFA_PROTO, and what a dump contains can be sent back unchanged to restore a foreign route.
type conn struct {
	socket *nl.NetlinkSocket
	shared map[int]*nl.SocketHandle
}

func dial() (*conn, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE) // an ordinary socket, as there are no groups
	if err != nil {
		return nil, fmt.Errorf("cannot open a netlink socket: %w", err)
	}
	if err := errors.Join(socket.SetReceiveTimeout(&unix.Timeval{Sec: answerLimit}), socket.SetExtAck(true)); err != nil {
		socket.Close()
		return nil, fmt.Errorf("cannot prepare a netlink socket: %w", err)
	}
	return &conn{socket, map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}}, nil
}

// Flags of a request that adds something.
const (
	newOnly    = unix.NLM_F_CREATE | unix.NLM_F_EXCL
	newOrOther = unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	newNext    = unix.NLM_F_CREATE | unix.NLM_F_APPEND // a route behind those to the same destination
)

// message is a request to the kernel.
type message struct {
	kind  uint16 // RTM_...
	flags uint16 // NLM_F_...
	body  []byte
}

// send waits for the kernel's answer. An error contains the kernel's explanation where it gives one.
func (c *conn) send(m message) error {
	_, err := c.request(m, unix.NLM_F_ACK, 0)
	return err
}

func (c *conn) request(m message, flags, answer uint16) ([][]byte, error) {
	r := nl.NetlinkRequest{
		NlMsghdr: unix.NlMsghdr{Type: m.kind, Flags: unix.NLM_F_REQUEST | flags | m.flags},
		RawData:  m.body,
		Sockets:  c.shared,
	}
	return r.Execute(unix.NETLINK_ROUTE, answer)
}

// dump lists all objects of a kind (RTM_GET...). A dump that was interrupted by a change is repeated: it may lack objects that exist.
func (c *conn) dump(kind uint16, header []byte) ([][]byte, error) {
	for n := range maxDumps {
		list, err := c.request(message{kind: kind, body: header}, unix.NLM_F_DUMP, kind-2) // RTM_NEW...
		if err == nil || !errors.Is(err, unix.EINTR) {                                     // ErrDumpInterrupted is EINTR
			return list, err
		}
		<-time.After(time.Duration(n) * 100 * time.Microsecond)
	}
	return nil, fmt.Errorf("it was changed during each of %d attempts", maxDumps)
}

// link returns a link as it is now.
func (c *conn) link(index int) (*link, error) {
	list, err := c.request(linkMessage(unix.RTM_GETLINK, index, 0, 0), 0, unix.RTM_NEWLINK)
	if err != nil {
		return nil, err
	}
	s := &state{}
	for _, m := range list {
		s.parseLink(m)
	}
	if l := s.link(index); l != nil {
		return l, nil
	}
	return nil, unix.ENODEV
}

// attributes are those of a message behind its header, or of a nested attribute. A damaged one ends them.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			size := int(binary.NativeEndian.Uint16(b))
			if size < unix.SizeofRtAttr || size > len(b) {
				return
			}
			kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(kind, b[unix.SizeofRtAttr:size]) {
				return
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}

// attribute appends an attribute to a message.
func attribute(b []byte, kind uint16, value []byte) []byte {
	return append(b, nl.NewRtAttr(int(kind), value).Serialize()...)
}

// Values of attributes, and what reads them. A short value is zero.
func number32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
func number16(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }
func name0(s string) []byte    { return append([]byte(s), 0) }

func readNumber(v []byte) uint32 {
	switch len(v) {
	case 1:
		return uint32(v[0])
	case 2:
		return uint32(binary.NativeEndian.Uint16(v))
	case 4:
		return binary.NativeEndian.Uint32(v)
	}
	return 0
}
