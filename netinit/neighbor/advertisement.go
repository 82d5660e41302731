package neighbor

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// ErrSocket means that no raw socket could be opened, as without CAP_NET_RAW.
var ErrSocket = errors.New("cannot open a raw socket")

// Parts of a neighbor advertisement.
const (
	advertisement   = 136 // type of ICMPv6
	flagRouter      = 0x80
	flagOverride    = 0x20
	optionTargetMAC = 2
)

// Advertise sends an unsolicited neighbor advertisement of an address to all nodes of a link (RFC 4861, 7.2.6). Without the flag router
// neighbors would no longer use the host as their router. The kernel adds the checksum.
func Advertise(linkIndex int, mac net.HardwareAddr, addr netip.Addr, router bool) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSocket, err)
	}
	defer unix.Close(fd)
	from := &unix.SockaddrInet6{Addr: addr.As16()}
	if addr.IsLinkLocalUnicast() {
		from.ZoneId = uint32(linkIndex)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, linkIndex),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255), // others are ignored
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0),
		unix.Bind(fd, from))
	if err != nil {
		return err
	}
	flags := byte(flagOverride)
	if router {
		flags |= flagRouter
	}
	message := append([]byte{advertisement, 0, 0, 0, flags, 0, 0, 0}, addr.AsSlice()...)
	message = append(append(message, optionTargetMAC, 1), mac...)
	allNodes := &unix.SockaddrInet6{Addr: netip.IPv6LinkLocalAllNodes().As16(), ZoneId: uint32(linkIndex)}
	return unix.Sendto(fd, message, 0, allNodes)
}
