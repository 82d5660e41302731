package kernel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/netinit"
	"golang.org/x/sys/unix"
)

// Announcements are sent more than once because the first one may be lost, as on macvlan and ipvlan.
const (
	announcements   = 3
	announceEvery   = time.Second
	neighborAdvert  = 136  // type of ICMPv6
	flagRouter      = 0x80 // of a neighbor advertisement
	flagOverride    = 0x20
	optionTargetMAC = 2
)

// Announcement is an address that is new on an Ethernet link.
type Announcement struct {
	Index   int    // of the link
	Link    string // its name, for messages
	MAC     net.HardwareAddr
	Address netip.Addr
}

// Announce sends the addresses to the neighbours of their links, so that those that have used them with another MAC address learn of the
// new one: three times, a second apart, as gratuitous ARP and unsolicited neighbor advertisements. For each it begins when the link has
// its carrier and duplicate address detection is over, and gives up if that takes more than 10 s each. It returns after the last, or
// when ctx ends. Failures are logged.
func Announce(ctx context.Context, list []Announcement, log hclog.Logger) {
	var all sync.WaitGroup
	var once sync.Once // the missing capability concerns every address
	for _, a := range list {
		// It ends after the announcements, or with ctx.
		all.Go(func() {
			switch err := a.announce(ctx); {
			case err == nil || ctx.Err() != nil:
			case errors.Is(err, unix.EPERM):
				once.Do(func() { log.Warn("addresses are not announced to the neighbours", "error", err) })
			default:
				log.Warn("address is not announced to the neighbours", "address", a.Address, "link", a.Link, "error", err)
			}
		})
	}
	all.Wait()
}

// announce announces one address.
func (a Announcement) announce(ctx context.Context) error {
	if err := a.waitUsable(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for i := range announcements {
		if i > 0 {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := a.send(); err != nil {
			return err
		}
	}
	return nil
}

// waitUsable waits until the address can be the source of packets.
func (a Announcement) waitUsable(ctx context.Context) error {
	c, err := dial()
	if err != nil {
		return err
	}
	defer c.socket.Close()
	if err := c.waitCarrier(ctx, a.Index); err != nil {
		return err
	}
	err = waitDAD(ctx, c, []linkAddr{{a.Index, a.Link, a.Address}}, netinit.DADWait)
	if _, isWarning := errors.AsType[warning](err); isWarning {
		return nil // it concerns another address
	}
	return err
}

// send sends one announcement.
func (a Announcement) send() error {
	if a.Address.Is4() {
		return a.sendARP()
	}
	return a.sendAdvertisement()
}

// sendARP sends a request, which is the announcement of RFC 5227, and a reply, since some hosts only learn from one of them.
func (a Announcement) sendARP() error {
	socket, err := openARP(a.Index)
	if err != nil {
		return err
	}
	defer socket.Close()
	for _, frame := range [][]byte{
		arpFrame(arpRequest, a.MAC, a.Address, make(net.HardwareAddr, 6), a.Address),
		arpFrame(arpReply, a.MAC, a.Address, a.MAC, a.Address),
	} {
		if _, err := socket.Write(frame); err != nil {
			return untrusted.Cause(err)
		}
	}
	return nil
}

// sendAdvertisement sends an unsolicited neighbor advertisement to all nodes of the link (RFC 4861, 7.2.6). The kernel adds the checksum.
func (a Announcement) sendAdvertisement() error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return rawError(err)
	}
	defer unix.Close(fd)
	from := &unix.SockaddrInet6{Addr: a.Address.As16()}
	if a.Address.IsLinkLocalUnicast() {
		from.ZoneId = uint32(a.Index)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, a.Index),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255), // others are ignored
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0),
		unix.Bind(fd, from))
	if err != nil {
		return err
	}
	allNodes := &unix.SockaddrInet6{Addr: netip.IPv6LinkLocalAllNodes().As16(), ZoneId: uint32(a.Index)}
	return unix.Sendto(fd, a.advertisement(), 0, allNodes)
}

// advertisement is the ICMPv6 message of an unsolicited neighbor advertisement.
func (a Announcement) advertisement() []byte {
	flags := byte(flagOverride)
	if forwards, err := readSysctl(a.Link, "ipv6", "forwarding"); err == nil && forwards != "0" {
		flags |= flagRouter // without it, neighbours would no longer use the container as their router
	}
	message := []byte{neighborAdvert, 0, 0, 0, flags, 0, 0, 0}
	message = append(message, a.Address.AsSlice()...)
	return append(append(message, optionTargetMAC, 1), a.MAC...)
}
