package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/netinit"
	"golang.org/x/sys/unix"
)

func arpPacket(frame []byte) bool { return len(frame) >= 14 && frame[12] == 8 && frame[13] == 6 }

// advertisement reports whether a frame is a neighbor advertisement.
func advertisement(frame []byte) bool {
	return len(frame) >= 54 && frame[12] == 0x86 && frame[13] == 0xdd && frame[20] == unix.IPPROTO_ICMPV6 && frame[54] == 136
}

func TestAnnounce(t *testing.T) {
	p := newPeer(t)
	own := machine{}
	own.ip(t, "link set near0 up")
	own.ip(t, "addr add 192.0.2.10/24 dev near0")
	own.ip(t, "addr add 2001:db8::10/64 dev near0")
	packets := p.capture(t, p.Far)
	mac := own.mac(t, "near0")
	var list []Announcement
	for _, address := range []string{"192.0.2.10", "2001:db8::10"} {
		list = append(list, Announcement{index(t, "near0"), "near0", mac, netip.MustParseAddr(address)})
	}
	var log bytes.Buffer
	begin := time.Now()
	Announce(t.Context(), list, hclog.New(&hclog.LoggerOptions{Output: &log}))
	if took := time.Since(begin); took < 2*time.Second || took > 30*time.Second || log.Len() > 0 {
		t.Errorf("it took %s and logged %q", took, log.String())
	}

	ip := []byte{192, 0, 2, 10}
	broadcast := bytes.Repeat([]byte{0xff}, 6)
	head := bytes.Join([][]byte{broadcast, mac, {8, 6, 0, 1, 8, 0, 6, 4}}, nil)
	request := bytes.Join([][]byte{head, {0, 1}, mac, ip, make([]byte, 6), ip}, nil)
	reply := bytes.Join([][]byte{head, {0, 2}, mac, ip, mac, ip}, nil)
	address := netip.MustParseAddr("2001:db8::10").As16()
	message := bytes.Join([][]byte{{0x20, 0, 0, 0}, address[:], {2, 1}, mac}, nil)
	var requests, replies, advertisements int
	for {
		frame := packets.next(t, time.Second, func(f []byte) bool { return arpPacket(f) || advertisement(f) })
		switch {
		case frame == nil:
			if requests != 3 || replies != 3 || advertisements != 3 {
				t.Errorf("%d requests, %d replies, %d advertisements, want 3 of each", requests, replies, advertisements)
			}
			return
		case bytes.Equal(frame, request):
			requests++
		case bytes.Equal(frame, reply):
			replies++
		case arpPacket(frame):
			t.Errorf("ARP packet %x", frame)
		case bytes.Equal(frame[22:38], address[:]):
			advertisements++
			all := netip.MustParseAddr("ff02::1").As16()
			if frame[21] != 255 || !bytes.Equal(frame[38:54], all[:]) || !bytes.Equal(frame[:6], []byte{0x33, 0x33, 0, 0, 0, 1}) ||
				!bytes.Equal(frame[58:], message) || checksum(frame[22:]) != 0xffff {
				t.Errorf("advertisement %x, want hop limit 255, to ff02::1, %x", frame, message)
			}
		}
	}
}

// checksum sums up an ICMPv6 message after its addresses, with the pseudo header; a correct one is 0xffff.
func checksum(addressesAndMessage []byte) uint32 {
	sum := uint32(len(addressesAndMessage)-32) + unix.IPPROTO_ICMPV6
	for i := 0; i < len(addressesAndMessage); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(addressesAndMessage[i:]))
	}
	return sum>>16 + sum&0xffff
}

// The neighbours' caches are what announcements are for.
func TestAnnounceCorrectsNeighbours(t *testing.T) {
	p := newPeer(t)
	own := machine{}
	own.ip(t, "link set near0 up")
	own.ip(t, "addr add 192.0.2.10/24 dev near0")
	own.ip(t, "addr add 2001:db8::10/64 dev near0 nodad")
	p.ip(t, "addr add 192.0.2.1/24 dev far0")
	p.ip(t, "addr add 2001:db8::1/64 dev far0 nodad")
	for _, address := range []string{"192.0.2.10", "2001:db8::10"} {
		p.ip(t, "neigh replace "+address+" lladdr 02:00:00:00:00:99 dev far0 nud stale")
	}
	var list []Announcement
	for _, address := range []string{"192.0.2.10", "2001:db8::10"} {
		list = append(list, Announcement{index(t, "near0"), "near0", own.mac(t, "near0"), netip.MustParseAddr(address)})
	}
	Announce(t.Context(), list, hclog.NewNullLogger())
	for _, a := range list {
		if entries := p.ipJSON(t, "neigh show "+a.Address.String()); len(entries) != 1 || entries[0]["lladdr"] != a.MAC.String() {
			t.Errorf("the peer has %v, want %s", entries, a.MAC)
		}
		if !p.pings(t, a.Address.String()) {
			t.Errorf("the peer does not reach %s", a.Address)
		}
	}
}

// A link without a carrier loses no packet, and ctx ends the wait.
func TestAnnounceWithoutCarrier(t *testing.T) {
	p := newPeer(t)
	p.ip(t, "link set far0 down")
	machine{}.ip(t, "link set near0 up")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var log bytes.Buffer
	Announce(ctx, []Announcement{{index(t, "near0"), "near0", machine{}.mac(t, "near0"), netip.MustParseAddr("192.0.2.10")}},
		hclog.New(&hclog.LoggerOptions{Output: &log}))
	if ctx.Err() == nil || !strings.Contains(log.String(), "the link has no carrier") {
		t.Errorf("it did not wait for the carrier, or the reason is not in the log: %q", log.String())
	}
}

// The capability is one warning, however many addresses there are. The test executes itself without it.
func TestAnnounceWithoutCapability(t *testing.T) {
	const links = "STOKER_TEST_ANNOUNCE"
	if os.Getenv(links) != "" {
		var list []Announcement
		for _, address := range []string{"192.0.2.10", "192.0.2.11", "2001:db8::10"} {
			list = append(list, Announcement{index(t, "near0"), "near0", machine{}.mac(t, "near0"), netip.MustParseAddr(address)})
		}
		Announce(t.Context(), list, hclog.Default())
		return
	}
	newPeer(t)
	machine{}.ip(t, "link set near0 up")
	machine{}.ip(t, "addr add 2001:db8::10/64 dev near0 nodad")
	program, err := os.Executable()
	must(t, err)
	cmd := exec.Command("setpriv", "--bounding-set=-net_raw", program, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), links+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "not announced") != 1 || !strings.Contains(string(out), "NET_RAW") {
		t.Errorf("%v, output %q, want one warning that names NET_RAW", err, out)
	}
}

func TestRawPacketsNeedACapability(t *testing.T) {
	p := newPeer(t)
	machine{}.ip(t, "link set near0 up")
	machine{}.ip(t, "addr add 2001:db8::10/64 dev near0 nodad")
	withoutCapability(t, unix.CAP_NET_RAW, func() {
		err := probe(t.Context(), index(t, "near0"), machine{}.mac(t, "near0"), netip.MustParseAddr("192.0.2.9"))
		var lacks warning
		if !errors.As(err, &lacks) || !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "NET_RAW") {
			t.Errorf("probe: %v, want a warning that names NET_RAW", err)
		}
		for _, address := range []string{"192.0.2.10", "2001:db8::10"} {
			a := Announcement{index(t, "near0"), "near0", p.mac(t, "far0"), netip.MustParseAddr(address)}
			if err := a.send(); !errors.As(err, &lacks) || !errors.Is(err, unix.EPERM) {
				t.Errorf("announcement of %s: %v, want a warning", address, err)
			}
		}
	})
}

func TestProbe(t *testing.T) {
	p := newPeer(t)
	p.ip(t, "addr add 192.0.2.1/24 dev far0")
	machine{}.ip(t, "link set near0 up")
	mac := machine{}.mac(t, "near0")
	packets := p.capture(t, "far0")

	err := probe(t.Context(), index(t, "near0"), mac, netip.MustParseAddr("192.0.2.1"), mac)
	if !errors.Is(err, ErrDuplicate) || !strings.Contains(err.Error(), p.mac(t, "far0").String()) {
		t.Errorf("an address of the peer: %v", err)
	}
	broadcast := bytes.Repeat([]byte{0xff}, 6)
	want := bytes.Join([][]byte{broadcast, mac, {8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, mac, make([]byte, 4), make([]byte, 6), {192, 0, 2, 1}}, nil)
	if frame := packets.next(t, time.Second, arpPacket); !bytes.Equal(frame, want) {
		t.Errorf("probe\n%x, want\n%x", frame, want)
	}

	begin := time.Now()
	if err := probe(t.Context(), index(t, "near0"), mac, netip.MustParseAddr("192.0.2.9"), mac); err != nil {
		t.Errorf("a free address: %v", err)
	}
	if took := time.Since(begin); took < 900*time.Millisecond || took > 30*time.Second {
		t.Errorf("the probe of a free address took %s", took)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := probe(ctx, index(t, "near0"), mac, netip.MustParseAddr("192.0.2.9")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the end of ctx: %v", err)
	}
}

func dialed(t *testing.T) *conn {
	t.Helper()
	c, err := dial()
	must(t, err)
	t.Cleanup(c.socket.Close)
	return c
}

// addresses are those of near0 as waitDAD wants them.
func addresses(t *testing.T, list ...string) (out []linkAddr) {
	t.Helper()
	for _, a := range list {
		out = append(out, linkAddr{index(t, "near0"), "near0", netip.MustParseAddr(a)})
	}
	return out
}

// binds reports whether a socket can have the address.
func binds(address string) error {
	l, err := net.ListenPacket("udp", net.JoinHostPort(address, "0"))
	if err == nil {
		l.Close()
	}
	return err
}

func TestWaitDAD(t *testing.T) {
	for _, c := range []struct {
		policy netinit.DAD
		flags  string
	}{{netinit.DADWait, ""}, {netinit.DADNone, "nodad"}, {netinit.DADOptimistic, "optimistic"}} {
		t.Run(string(c.policy), func(t *testing.T) {
			newPeer(t)
			own := machine{}
			own.setting(t, "ipv6/neigh/near0/retrans_time_ms", "2000")
			if c.policy != netinit.DADWait {
				own.setting(t, "ipv6/neigh/near0/retrans_time_ms", "60000") // of the link-local address
			}
			if c.policy == netinit.DADOptimistic {
				own.setting(t, "ipv6/conf/near0/optimistic_dad", "1")
				own.setting(t, "ipv6/conf/near0/use_optimistic", "1")
			}
			own.ip(t, "link set near0 up")
			own.ip(t, "addr add 192.0.2.10/24 dev near0")
			own.ip(t, "addr add 2001:db8::10/64 dev near0 "+c.flags)
			tentative := binds("2001:db8::10") != nil
			if want := c.policy == netinit.DADWait; tentative != want {
				t.Errorf("tentative at first: %v, want %v", tentative, want)
			}
			begin := time.Now()
			must(t, waitDAD(t.Context(), dialed(t), addresses(t, "2001:db8::10", "192.0.2.10"), c.policy))
			if took := time.Since(begin); !tentative && took > 30*time.Second {
				t.Errorf("it waited for %s", took)
			}
			must(t, binds("2001:db8::10"))
			if c.policy == netinit.DADWait {
				for _, a := range own.ipJSON(t, "-6 addr show dev near0 tentative") {
					if a["addr_info"] != nil {
						t.Errorf("still tentative: %v", a["addr_info"])
					}
				}
			}
		})
	}
}

// A route through a link-local gateway needs the link's own link-local address.
func TestWaitDADWaitsForTheLinkLocalAddress(t *testing.T) {
	newPeer(t)
	own := machine{}
	own.setting(t, "ipv6/neigh/near0/retrans_time_ms", "2000")
	own.ip(t, "link set near0 up")
	own.ip(t, "addr add 2001:db8::10/64 dev near0 nodad")
	if out := own.ip(t, "-6 addr show dev near0 scope link tentative"); !strings.Contains(out, "fe80") {
		t.Fatalf("the link-local address is not tentative at first: %q", out)
	}
	must(t, waitDAD(t.Context(), dialed(t), addresses(t, "2001:db8::10"), netinit.DADWait))
	if out := own.ip(t, "-6 addr show dev near0 scope link -tentative"); !strings.Contains(out, "fe80") {
		t.Error("there is no usable link-local address on return")
	}
}

func TestWaitDADFindsDuplicates(t *testing.T) {
	p := newPeer(t)
	own := machine{}
	persistent(t, "near0")
	p.ip(t, "addr add 2001:db8::10/64 dev far0 nodad")
	own.ip(t, "link set near0 up")
	own.ip(t, "addr add 2001:db8::10/64 dev near0")
	err := waitDAD(t.Context(), dialed(t), addresses(t, "2001:db8::10"), netinit.DADWait)
	if !errors.Is(err, ErrDuplicate) || !strings.Contains(err.Error(), "2001:db8::10 of near0") {
		t.Errorf("%v, want a duplicate that names the address and the link", err)
	}
}

// A link-local address that is not in the plan does not make it fail.
func TestWaitDADDuplicateLinkLocal(t *testing.T) {
	p := newPeer(t)
	own := machine{}
	own.ip(t, "link set near0 address 02:00:00:00:00:01")
	persistent(t, "near0")
	p.ip(t, "addr add fe80::ff:fe00:1/64 dev far0 nodad")
	own.ip(t, "link set near0 up")
	own.ip(t, "addr add 2001:db8::10/64 dev near0")
	err := waitDAD(t.Context(), dialed(t), addresses(t, "2001:db8::10"), netinit.DADWait)
	var warns warning
	if !errors.As(err, &warns) || !strings.Contains(err.Error(), "fe80::ff:fe00:1 of near0") {
		t.Errorf("%v, want a warning", err)
	}
	must(t, binds("2001:db8::10"))
}

func TestWaitDADWithoutCarrier(t *testing.T) {
	p := newPeer(t)
	own := machine{}
	p.ip(t, "link set far0 down")
	own.ip(t, "link set near0 up")
	own.ip(t, "addr add 2001:db8::10/64 dev near0")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := waitDAD(ctx, dialed(t), addresses(t, "2001:db8::10"), netinit.DADWait)
	if !errors.Is(err, ErrTentative) || !strings.Contains(err.Error(), "2001:db8::10 of near0") || !strings.Contains(err.Error(), "carrier") {
		t.Errorf("%v, want that the link has no carrier", err)
	}

	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	if err := waitDAD(ctx, dialed(t), addresses(t, "2001:db8::10"), netinit.DADWait); !errors.Is(err, ErrInterrupted) {
		t.Errorf("%v, want that it was interrupted", err)
	}

	done, c, list := make(chan error), dialed(t), addresses(t, "2001:db8::10")
	go func() { // it ends with the carrier
		done <- waitDAD(t.Context(), c, list, netinit.DADWait)
	}()
	p.ip(t, "link set far0 up")
	must(t, <-done)
	must(t, binds("2001:db8::10"))
}

func TestWaitDADAddressRemoved(t *testing.T) {
	p := newPeer(t)
	own := machine{}
	p.ip(t, "link set far0 down")
	own.ip(t, "link set near0 up")
	own.ip(t, "addr add 2001:db8::10/64 dev near0")
	done, c, list := make(chan error), dialed(t), addresses(t, "2001:db8::10")
	go func() { // it ends with the address
		done <- waitDAD(t.Context(), c, list, netinit.DADWait)
	}()
	own.ip(t, "addr del 2001:db8::10/64 dev near0")
	if err := <-done; err == nil || !strings.Contains(err.Error(), "removed") {
		t.Errorf("%v, want that the address was removed", err)
	}
}

// A link that disappears meanwhile is what the error is about.
func TestWaitDADLinkDisappears(t *testing.T) {
	p := newPeer(t)
	own := machine{}
	p.ip(t, "link set far0 down")
	own.ip(t, "link set near0 up")
	own.ip(t, "addr add 2001:db8::10/64 dev near0")
	c, list := dialed(t), addresses(t, "2001:db8::10")
	own.ip(t, "link del near0")
	if err := waitDAD(t.Context(), c, list, netinit.DADWait); !errors.Is(err, ErrNoLink) || !strings.Contains(err.Error(), "near0") {
		t.Errorf("%v, want that there is no link near0", err)
	}
}

// TestDuplicateIsRepaired adds an address again that another host had for a time.
func TestDuplicateIsRepaired(t *testing.T) {
	b := newBench(t)
	b.mustApply()
	b.ip(t, "addr add 2001:db8:1::10/64 dev far0 nodad")
	own := machine{}
	own.setting(t, "ipv6/conf/near0/keep_addr_on_down", "1")
	own.ip(t, "link set near0 down")
	own.ip(t, "link set near0 up")
	failed := func() (bool, error) {
		return strings.Contains(own.ip(t, "-6 addr show dev near0 dadfailed"), "2001:db8:1::10"), nil
	}
	must(t, await(t.Context(), failed))
	if _, err := b.apply(); !errors.Is(err, ErrDuplicate) {
		t.Errorf("while the other host has it: %v", err)
	}
	must(t, await(t.Context(), failed))
	b.ip(t, "addr del 2001:db8:1::10/64 dev far0")
	b.mustApply()
	must(t, binds("2001:db8:1::10"))
}

// An address that is removed between two announcements, as by a link flap, is not worth a warning.
func TestAnnounceRemovedAddress(t *testing.T) {
	p := newPeer(t)
	own := machine{}
	own.ip(t, "link set near0 up")
	own.ip(t, "addr add 2001:db8::10/64 dev near0 nodad")
	packets := p.capture(t, "far0")
	a := Announcement{index(t, "near0"), "near0", own.mac(t, "near0"), netip.MustParseAddr("2001:db8::10")}
	var log bytes.Buffer
	done := make(chan struct{})
	go func() { // it ends with the address
		Announce(t.Context(), []Announcement{a}, hclog.New(&hclog.LoggerOptions{Output: &log}))
		close(done)
	}()
	if packets.next(t, time.Minute, func(f []byte) bool { return advertisement(f) && bytes.Equal(f[22:38], a.Address.AsSlice()) }) == nil {
		t.Fatal("it is not announced")
	}
	own.ip(t, "addr del 2001:db8::10/64 dev near0")
	<-done
	if log.Len() > 0 {
		t.Errorf("the log has %q", log.String())
	}
}
