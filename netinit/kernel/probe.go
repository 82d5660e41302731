package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// An address is probed as RFC 5227 (2.1.1) says, by 3 probes, but with shorter waits, since a container should start quickly: the first
// one at once instead of within 1 s, 250 ms between two instead of 1 to 2 s, and 500 ms after the last one instead of 2 s.
const (
	probeGap  = 250 * time.Millisecond
	probeLast = 500 * time.Millisecond
)

// probe asks the neighbours of an Ethernet link for 1 s whether one of them has an IPv4 address, or is about to take it: then the error is
// ErrDuplicate and has its MAC address. Before, it waits for the link's carrier, for at most 10 s. The error is a warning if the question
// cannot be asked: without CAP_NET_RAW, or without a carrier.
func probe(ctx context.Context, linkIndex int, mac net.HardwareAddr, addr netip.Addr) error {
	c, err := dial()
	if err != nil {
		return fmt.Errorf("cannot probe: %w", err)
	}
	defer c.socket.Close()
	if err := c.waitCarrier(ctx, linkIndex); err != nil {
		return fmt.Errorf("cannot probe: %w", err)
	}
	socket, err := openARP(linkIndex)
	if err != nil {
		return fmt.Errorf("cannot probe: %w", err)
	}
	defer socket.Close()
	defer context.AfterFunc(ctx, func() { socket.Close() })() // ends a read
	question := arpFrame(arpRequest, mac, netip.IPv4Unspecified(), make(net.HardwareAddr, 6), addr)
	for _, wait := range [...]time.Duration{probeGap, probeGap, probeLast} {
		_, err := socket.Write(question)
		if err == nil {
			err = listenARP(socket, wait, mac, addr)
		}
		switch {
		case errors.Is(err, ErrDuplicate):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("cannot probe: %w", untrusted.Cause(err))
		}
	}
	return nil
}

// listenARP reads ARP packets for a time. The error is ErrDuplicate if one of them comes from a host that has addr, or probes for it.
func listenARP(socket *os.File, wait time.Duration, mac net.HardwareAddr, addr netip.Addr) error {
	if err := socket.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	var frame [1514]byte
	for {
		n, err := socket.Read(frame[:])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
		if other := arpConflict(frame[:n], mac, addr); other != nil {
			return fmt.Errorf("%w: its MAC address is %s", ErrDuplicate, other)
		}
	}
}

// arpConflict returns the MAC address of the other host that has addr or probes for it, as an Ethernet frame shows; nil if it does not.
func arpConflict(frame []byte, mac net.HardwareAddr, addr netip.Addr) net.HardwareAddr {
	if len(frame) < arpSize || !bytes.Equal(frame[14:20], arpHeader(arpRequest)[:6]) {
		return nil
	}
	sender := net.HardwareAddr(bytes.Clone(frame[22:28]))
	from, target := netip.AddrFrom4([4]byte(frame[28:32])), netip.AddrFrom4([4]byte(frame[38:42]))
	probes := from.IsUnspecified() && target == addr && binary.BigEndian.Uint16(frame[20:22]) == arpRequest
	if bytes.Equal(sender, mac) || from != addr && !probes {
		return nil
	}
	return sender
}

// Operations of ARP.
const (
	arpRequest uint16 = 1
	arpReply   uint16 = 2
)

// arpSize is the size of a frame with an ARP packet for Ethernet and IPv4.
const arpSize = 14 + 28

// arpHeader is the beginning of an ARP packet for Ethernet and IPv4 (RFC 826).
func arpHeader(operation uint16) []byte {
	return []byte{0, 1, 8, 0, 6, 4, byte(operation >> 8), byte(operation)}
}

// arpFrame is a broadcast Ethernet frame with an ARP packet.
func arpFrame(operation uint16, sender net.HardwareAddr, senderIP netip.Addr, target net.HardwareAddr, targetIP netip.Addr) []byte {
	frame := make([]byte, 0, arpSize)
	frame = append(frame, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	frame = append(frame, sender...)
	frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_ARP)
	frame = append(frame, arpHeader(operation)...)
	frame = append(append(frame, sender...), senderIP.AsSlice()...)
	return append(append(frame, target...), targetIP.AsSlice()...)
}

// openARP opens a socket for the frames with ARP packets of a link. Without CAP_NET_RAW the error is a warning.
func openARP(linkIndex int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, rawError(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ARP), Ifindex: linkIndex}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot listen for ARP packets: %w", err)
	}
	return os.NewFile(uintptr(fd), "ARP"), nil
}

// rawError is the warning that a socket for raw packets cannot be opened.
func rawError(err error) error {
	if errors.Is(err, unix.EPERM) {
		return warning{fmt.Errorf("cannot send raw packets: %w (the capability NET_RAW is missing)", err)}
	}
	return warning{fmt.Errorf("cannot send raw packets: %w", err)}
}

// networkOrder swaps the bytes of v on a little-endian machine.
func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
