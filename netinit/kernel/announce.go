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
	"github.com/stoker-init/stoker/netinit/neighbor"
	"golang.org/x/sys/unix"
)

// Announcements are sent more than once because the first one may be lost, as on macvlan and ipvlan.
const (
	announcements = 3
	announceEvery = time.Second
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
// when ctx ends. Failures are logged, unless ctx is canceled.
func Announce(ctx context.Context, list []Announcement, log hclog.Logger) {
	var all sync.WaitGroup
	var once sync.Once // the missing capability concerns every address
	for _, a := range list {
		// It ends after the announcements, or with ctx.
		all.Go(func() {
			switch err := a.announce(ctx); {
			case err == nil || errors.Is(ctx.Err(), context.Canceled):
			case errors.Is(err, unix.EADDRNOTAVAIL): // it was removed since
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
				return nil // one announcement at least was sent
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
	socket, err := neighbor.OpenARP(a.Index)
	if err != nil {
		return rawError(err)
	}
	defer socket.Close()
	for _, frame := range [][]byte{
		neighbor.ARPFrame(neighbor.ARPRequest, a.MAC, a.Address, make(net.HardwareAddr, 6), a.Address),
		neighbor.ARPFrame(neighbor.ARPReply, a.MAC, a.Address, a.MAC, a.Address),
	} {
		if _, err := socket.Write(frame); err != nil {
			return untrusted.Cause(err)
		}
	}
	return nil
}

// sendAdvertisement sends an unsolicited neighbor advertisement.
func (a Announcement) sendAdvertisement() error {
	forwards, err := readSysctl(a.Link, "ipv6", "forwarding")
	err = neighbor.Advertise(a.Index, a.MAC, a.Address, err == nil && forwards != "0")
	if errors.Is(err, neighbor.ErrSocket) {
		return rawError(err)
	}
	return err
}
