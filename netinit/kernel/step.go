package kernel

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"

	"github.com/stoker-init/stoker/netinit"
	"golang.org/x/sys/unix"
)

// step is an action of a change.
type step interface{ run(a *applier) error }

func (m message) run(a *applier) error { return a.conn.send(m) }

// sequence is several steps. The first error ends it.
type sequence []step

func (s sequence) run(a *applier) error {
	for _, step := range s {
		if err := step.run(a); err != nil {
			return err
		}
	}
	return nil
}

// linkMessage is a request for the link with an index; 0: that of IFLA_IFNAME.
func linkMessage(kind uint16, index int, flags, mask uint32) message {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], mask)
	return message{kind: kind, body: b}
}

func (m message) with(attr uint16, value []byte) message {
	m.body = attribute(m.body, attr, value)
	return m
}

func setUp(index int, up bool) message {
	var flags uint32
	if up {
		flags = unix.IFF_UP
	}
	return linkMessage(unix.RTM_NEWLINK, index, flags, unix.IFF_UP)
}

// closing is a request for a link that removes addresses, routes and neighbours: it goes down, is deleted, or gets another MAC address or
// an MTU under that of IPv6. What was not there before the first change is meant to go.
type closing struct {
	index int
	message
}

func (c closing) run(a *applier) error {
	return a.protect(c.message, func(o object, _ *state) bool { return o.of(c.index) && a.first.has(o) })
}

// newMTU sets the MTU of a link.
type newMTU struct{ index, mtu int }

func (n newMTU) run(a *applier) error {
	m := linkMessage(unix.RTM_NEWLINK, n.index, 0, 0).with(unix.IFLA_MTU, number32(uint32(n.mtu)))
	l := a.first.link(n.index)
	if n.mtu >= netinit.MinMTUIPv6 || l == nil || l.mtu < netinit.MinMTUIPv6 {
		return m.run(a)
	}
	had := a.changedSettings(n.index)
	err := closing{n.index, m}.run(a)
	if err == nil {
		a.lose(had)
	}
	return err
}

func setMAC(index int, mac string) step {
	return closing{index, linkMessage(unix.RTM_NEWLINK, index, 0, 0).with(unix.IFLA_ADDRESS, macBytes(mac))}
}

// macBytes returns the bytes of a MAC address, which is checked when the plan is made.
func macBytes(mac string) []byte {
	b, _ := net.ParseMAC(mac)
	return b
}

func setAlias(name string) message {
	return linkMessage(unix.RTM_SETLINK, 0, 0, 0).with(unix.IFLA_IFNAME, name0(name)).with(unix.IFLA_IFALIAS, []byte(alias))
}

func deleteLink(name string) message {
	return linkMessage(unix.RTM_DELLINK, 0, 0, 0).with(unix.IFLA_IFNAME, name0(name))
}

// addVLAN makes a link, and marks it then: the kernel takes no alias of a link that does not exist yet. An index of 0, a MAC address of ""
// and an MTU of 0 leave these to the kernel.
func addVLAN(name string, index, parent, vlan int, mac string, mtu int) sequence {
	data := attribute(nil, unix.IFLA_VLAN_ID, number16(uint16(vlan)))
	info := attribute(attribute(nil, unix.IFLA_INFO_KIND, []byte("vlan")), unix.IFLA_INFO_DATA, data)
	m := linkMessage(unix.RTM_NEWLINK, index, 0, 0).with(unix.IFLA_IFNAME, name0(name)).
		with(unix.IFLA_LINK, number32(uint32(parent))).with(unix.IFLA_LINKINFO, info)
	if mac != "" {
		m = m.with(unix.IFLA_ADDRESS, macBytes(mac))
	}
	if mtu != 0 {
		m = m.with(unix.IFLA_MTU, number32(uint32(mtu)))
	}
	m.flags = newOnly
	return sequence{m, setAlias(name)}
}

// rename names a link. Kernels before 6.2 rename none that is up, so it is down for a moment.
type rename struct {
	index int
	name  string
}

func (r rename) run(a *applier) error {
	m := linkMessage(unix.RTM_NEWLINK, r.index, 0, 0).with(unix.IFLA_IFNAME, name0(r.name))
	err := a.conn.send(m)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	up := setUp(r.index, true)
	err = a.protect(sequence{setUp(r.index, false), m, up}, func(o object, _ *state) bool { return o.of(r.index) })
	if err != nil {
		err = errors.Join(err, up.run(a))
	}
	return err
}

func addressBody(index int, prefix netip.Prefix, dad netinit.DAD) []byte {
	addr := prefix.Addr()
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0], b[1] = family(addr), byte(prefix.Bits())
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	if addr.IsLoopback() {
		b[3] = unix.RT_SCOPE_HOST
	}
	b = attribute(b, unix.IFA_LOCAL, addr.AsSlice())
	b = attribute(b, unix.IFA_ADDRESS, addr.AsSlice())
	switch {
	case addr.Is6() && dad == netinit.DADNone:
		b[2] = unix.IFA_F_NODAD
	case addr.Is6() && dad == netinit.DADOptimistic:
		b[2] = unix.IFA_F_OPTIMISTIC
	case addr.Is4() && prefix.Bits() < 31:
		b = attribute(b, unix.IFA_BROADCAST, netinit.LastAddr(prefix).AsSlice())
	}
	return attribute(b, ifaProto, []byte{protocol})
}

func addAddress(index int, prefix netip.Prefix, dad netinit.DAD) message {
	return message{unix.RTM_NEWADDR, newOnly, addressBody(index, prefix, dad)}
}

func removeAddress(index int, prefix netip.Prefix) step {
	return dropAddress{unix.RTM_DELADDR, 0, addressBody(index, prefix, "")}
}

// dropAddress removes an address. The kernel also removes routes with it as their source, or to its IPv6 prefix; the others of the same
// IPv4 subnet if it is the first (primary) one by now; and all IPv4 routes and neighbours of the link if no IPv4 address is left.
type dropAddress message

func (d dropAddress) run(a *applier) error {
	var x state
	x.parseAddress(d.body)
	gone, index, prefix := x.objects[0], x.addresses[0].index, x.addresses[0].prefix.Masked()
	ipv4 := func(a address) bool { return a.index == index && a.prefix.Addr().Is4() }
	return a.protect(message(d), func(o object, after *state) bool {
		all := gone.source.Is4() && !slices.ContainsFunc(after.addresses, ipv4)
		with := o.source == gone.source || o.source.Is4() && prefix.Contains(o.source)
		return o.key != gone.key && (o.ours || with || o.of(index) && (all || o.to == prefix))
	})
}

// setting is a setting of a link in /proc/sys.
type setting struct {
	index        int
	family, name string
	have, want   string
	locked       bool // it cannot be written
}

// to returns the step that changes a setting.
func (s setting) to(value string) step {
	s.want = value
	return s
}

func (s setting) run(a *applier) error {
	l, err := a.conn.link(s.index)
	if err == nil {
		err = writeSysctl(l.name, s.family, s.name, s.want)
	}
	return err
}
