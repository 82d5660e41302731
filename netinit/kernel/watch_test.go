package kernel

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// watching runs Watch until the test ends, and returns a function that ends it and waits.
func watching(t *testing.T, changed func()) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	// It ends with ctx.
	go func() { done <- Watch(ctx, changed) }()
	end = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil // for the second call
	}
	t.Cleanup(end)
	return end
}

func TestWatch(t *testing.T) {
	newPeer(t)
	own := machine{}
	calls := make(chan time.Time, 100)
	watching(t, func() { calls <- time.Now() })
	var last time.Time
	// called waits for a call that was caused by the command; before, there are none.
	called := func(command string) {
		t.Helper()
		for {
			select {
			case <-calls:
				continue // from what came before
			case <-time.After(2 * watchPause):
			}
			break
		}
		own.ip(t, command)
		select {
		case at := <-calls:
			if since := at.Sub(last); since < watchPause {
				t.Errorf("%s: a call %s after the one before", command, since)
			}
			last = at
		case <-time.After(5 * time.Second):
			t.Errorf("%s: no call", command)
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
		called(command)
	}
}

// A burst blocks nothing, and its last change is seen.
func TestWatchBurst(t *testing.T) {
	newPeer(t)
	link, err := netlink.LinkByName("near0")
	must(t, err)
	const last = "198.51.100.1/32"
	blocked, proceed, seen := make(chan struct{}), make(chan struct{}), make(chan struct{})
	calls := 0
	end := watching(t, func() {
		if calls++; calls == 1 {
			close(blocked)
			<-proceed
			return // the next call must follow
		}
		all, err := netlink.AddrList(link, netlink.FAMILY_V4)
		if err == nil && len(all) == 1 && all[0].IPNet.String() == last && !closed(seen) {
			close(seen)
		}
	})
	for mtu := 1400; !closed(blocked) && mtu < 1450; mtu++ { // until Watch has started
		must(t, netlink.LinkSetMTU(link, mtu))
		select {
		case <-blocked:
		case <-time.After(2 * watchPause):
		}
	}
	if !closed(blocked) {
		t.Fatal("Watch does not call")
	}
	burst(t, link)
	address, err := netlink.ParseAddr(last)
	must(t, err)
	must(t, netlink.AddrAdd(link, address))
	close(proceed)
	select {
	case <-seen:
	case <-time.After(10 * time.Second):
		t.Error("the last change was not seen")
	}
	end()
	if calls > 100 {
		t.Errorf("%d calls", calls)
	}
	if stacks := goroutines(); strings.Contains(stacks, "kernel.subscribe") || strings.Contains(stacks, "kernel.Watch") {
		t.Errorf("goroutines are left:\n%s", stacks)
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
func TestSubscribeOverflow(t *testing.T) {
	newPeer(t)
	link, err := netlink.LinkByName("near0")
	must(t, err)
	must(t, netlink.LinkSetUp(link))
	socket, err := openNotifications()
	must(t, err)
	burst(t, link)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	changes := follow(ctx, socket)
	for mtu := 1400; mtu < 1403; mtu++ {
		must(t, netlink.LinkSetMTU(link, mtu))
		if _, open := <-changes; !open {
			t.Fatal("the notifications have ended")
		}
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// goroutines are the stacks of all goroutines.
func goroutines() string {
	stacks := make([]byte, 1<<20)
	return string(stacks[:runtime.Stack(stacks, true)])
}

func TestSubscribeEnds(t *testing.T) {
	isolated(t)
	ctx, cancel := context.WithCancel(t.Context())
	changes, err := subscribe(ctx)
	must(t, err)
	cancel()
	for range changes { // it is closed
	}
}
