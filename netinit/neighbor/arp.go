// Package neighbor makes, reads and sends the packets by which hosts learn the MAC addresses of their neighbors: ARP (RFC 826) and neighbor
// advertisements (RFC 4861).
package neighbor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// ARPConflict returns the MAC address of the other host that has addr or probes for it, as an Ethernet frame shows; nil if it does not.
// own are the MAC addresses that do not count.
func ARPConflict(frame []byte, addr netip.Addr, own ...net.HardwareAddr) net.HardwareAddr {
	if len(frame) < size || !bytes.Equal(frame[14:20], header(ARPRequest)[:6]) {
		return nil
	}
	sender := net.HardwareAddr(bytes.Clone(frame[22:28]))
	from, target := netip.AddrFrom4([4]byte(frame[28:32])), netip.AddrFrom4([4]byte(frame[38:42]))
	probes := from.IsUnspecified() && target == addr && binary.BigEndian.Uint16(frame[20:22]) == ARPRequest
	ours := slices.ContainsFunc(own, func(mac net.HardwareAddr) bool { return bytes.Equal(sender, mac) })
	if ours || from != addr && !probes {
		return nil
	}
	return sender
}

// Operations of ARP.
const (
	ARPRequest uint16 = 1
	ARPReply   uint16 = 2
)

// size is the size of a frame with an ARP packet for Ethernet and IPv4.
const size = 14 + 28

// header is the beginning of an ARP packet for Ethernet and IPv4 (RFC 826).
func header(operation uint16) []byte {
	return []byte{0, 1, 8, 0, 6, 4, byte(operation >> 8), byte(operation)}
}

// ARPFrame is a broadcast Ethernet frame with an ARP packet.
func ARPFrame(operation uint16, sender net.HardwareAddr, senderIP netip.Addr, target net.HardwareAddr, targetIP netip.Addr) []byte {
	frame := make([]byte, 0, size)
	frame = append(frame, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	frame = append(frame, sender...)
	frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_ARP)
	frame = append(frame, header(operation)...)
	frame = append(append(frame, sender...), senderIP.AsSlice()...)
	return append(append(frame, target...), targetIP.AsSlice()...)
}

// OpenARP opens a socket for the frames with ARP packets of a link. It needs CAP_NET_RAW.
func OpenARP(linkIndex int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSocket, err)
	}
	protocol := binary.NativeEndian.Uint16([]byte{unix.ETH_P_ARP >> 8, unix.ETH_P_ARP & 0xff}) // in network order
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: linkIndex}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot listen for ARP packets: %w", err)
	}
	return os.NewFile(uintptr(fd), "ARP"), nil
}
