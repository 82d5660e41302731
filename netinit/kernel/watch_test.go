package kernel

import (
	"context"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// calm is longer than the kernel takes for all notifications of a change.
const calm = 200 * time.Millisecond

func TestWatch(t *testing.T) {
	newPeer(t)
	own := machine{}
	changes, err := Watch(t.Context())
	must(t, err)
	// noticed waits for a notification that was caused by the command; before, there are none.
	noticed := func(command string) {
		t.Helper()
		for {
			select {
			case <-changes:
				continue // from what came before
			case <-time.After(calm):
			}
			break
		}
		own.ip(t, command)
		select {
		case <-changes:
		case <-time.After(time.Minute):
			t.Errorf("%s is not noticed", command)
		}
	}
	for _, command := range []string{
		"link set near0 up",
		"link set near0 mtu 1400",
		"addr add 192.0.2.10/24 dev near0",
		"addr add 2001:db8::10/64 dev near0 nodad",
		"route add 198.51.100.0/24 via 192.0.2.1",
		"route add blackhole 198.51.100.0/24 table 100",
		"-6 route add 2001:db8:1::/64 via 2001:db8::1",
		"rule add from 192.0.2.10 table 100",
		"-6 rule add from 2001:db8::10 table 100",
		"rule del from 192.0.2.10 table 100",
		"-6 rule del from 2001:db8::10 table 100",
		"route flush table 100",
	} {
		noticed(command)
	}
}

// A burst is one value for a reader that is late.
func TestWatchBurst(t *testing.T) {
	newPeer(t)
	link, err := netlink.LinkByName("near0")
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	changes, err := Watch(ctx)
	must(t, err)
	burst(t, link)
	values := 0
	for quiet := false; !quiet; {
		select {
		case <-changes:
			values++
			<-time.After(calm)
		case <-time.After(calm):
			quiet = true
		}
	}
	if values < 1 || values > 10 {
		t.Errorf("%d values", values)
	}
	cancel()
	for range changes { // it is closed
	}
}

// burst makes 5,000 changes, each of which causes several notifications.
func burst(t *testing.T, link netlink.Link) {
	t.Helper()
	address, err := netlink.ParseAddr("192.0.2.10/24")
	must(t, err)
	for range 2500 {
		must(t, netlink.AddrAdd(link, address))
		must(t, netlink.AddrDel(link, address))
	}
}

// More notifications than the socket's buffer holds are a change, and not the end.
func TestWatchOverflow(t *testing.T) {
	newPeer(t)
	link, err := netlink.LinkByName("near0")
	must(t, err)
	must(t, netlink.LinkSetUp(link))
	socket, err := openNotifications()
	must(t, err)
	burst(t, link)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	changes := follow(ctx, socket)
	for mtu := 1400; mtu < 1403; mtu++ {
		must(t, netlink.LinkSetMTU(link, mtu))
		if _, open := <-changes; !open {
			t.Fatal("the notifications have ended")
		}
	}
}
