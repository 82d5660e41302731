package neighbor

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
)

func TestARPConflict(t *testing.T) {
	own, second, other := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 3}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	none, addr, more := netip.IPv4Unspecified(), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for _, c := range []struct {
		name  string
		frame []byte
		want  net.HardwareAddr
	}{
		{"a reply", ARPFrame(ARPReply, other, addr, own, none), other},
		{"an announcement", ARPFrame(ARPRequest, other, addr, own, addr), other},
		{"another host probes", ARPFrame(ARPRequest, other, none, own, addr), other},
		{"our own probe comes back", ARPFrame(ARPRequest, own, none, other, addr), nil},
		{"our own announcement comes back", ARPFrame(ARPRequest, own, addr, other, addr), nil},
		{"another link of this namespace", ARPFrame(ARPReply, second, addr, own, none), nil},
		{"a question for the address", ARPFrame(ARPRequest, other, more, own, addr), nil},
		{"a reply to 0.0.0.0", ARPFrame(ARPReply, other, none, own, addr), nil},
		{"another address", ARPFrame(ARPReply, other, more, own, none), nil},
		{"cut", ARPFrame(ARPReply, other, addr, own, none)[:41], nil},
		{"not IPv4", append(append(ARPFrame(ARPReply, other, addr, own, none)[:16], 0x86, 0xdd), ARPFrame(ARPReply, other, addr, own, none)[18:]...), nil},
	} {
		if got := ARPConflict(c.frame, addr, own, second); !bytes.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
