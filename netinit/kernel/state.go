package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/stoker-init/stoker/netinit"
	"golang.org/x/sys/unix"
)

// protocol marks the addresses, routes and rules of stoker in the kernel, alias its links.
const (
	protocol = 115
	alias    = "stoker"
)

// state is what the kernel and the files contain. It is a plain value.
type state struct {
	links     []link
	addresses []address
	marks     bool // the kernel has IFA_PROTO: it reports that of an address, at least of one that it has added to lo itself
	routes    []route
	rules     []rule
	settings  []setting
	resolv    string // the content of resolv.conf
	hosts     string // the content of the hosts file
	hostname  string
	// hostnameLocked: it cannot be set.
	hostnameLocked bool
}

// link is a network interface.
type link struct {
	index, parent, master int // parent is that of a VLAN, macvlan or ipvlan in this network namespace; 0: none
	name, mac, kind       string
	alias                 string
	vlan                  int
	mtu                   int
	up, running, ethernet bool // running: it has its carrier
}

// address is an address of a link.
type address struct {
	index  int
	prefix netip.Prefix // with the host's bits
	peer   netip.Addr   // zero, or the other end of a point-to-point address
	flags  uint32
	ours   bool
	raw    []byte // the message that adds or removes it
}

// route is a route, in the normal form of normalRoute. An odd one has several next hops, or one that a plan cannot express.
type route struct {
	netinit.Route
	index int // of its link; 0 for a blackhole and the like
	odd   bool
	proto uint8
	raw   []byte
}

// rule is a rule. An odd one has conditions or actions that a plan cannot express.
type rule struct {
	netinit.Rule
	odd  bool
	ours bool
	raw  []byte
}

// read reads the links, addresses, routes and rules of the kernel.
func (c *conn) read() (*state, error) {
	s := &state{}
	header := attribute(make([]byte, unix.SizeofIfInfomsg), unix.IFLA_EXT_MASK, number32(skipStats))
	for _, of := range []struct {
		what  string
		kind  uint16
		size  int // of the header
		body  []byte
		parse func([]byte)
	}{
		{"links", unix.RTM_GETLINK, unix.SizeofIfInfomsg, header, s.parseLink},
		{"addresses", unix.RTM_GETADDR, unix.SizeofIfAddrmsg, make([]byte, unix.SizeofIfAddrmsg), s.parseAddress},
		{"routes", unix.RTM_GETROUTE, unix.SizeofRtMsg, make([]byte, unix.SizeofRtMsg), s.parseRoute},
		{"rules", unix.RTM_GETRULE, sizeofRuleHeader, make([]byte, sizeofRuleHeader), s.parseRule},
	} {
		list, err := c.dump(of.kind, of.body)
		noRules := of.kind == unix.RTM_GETRULE && errors.Is(err, unix.EOPNOTSUPP) // in this kernel
		if err != nil && !noRules {
			return nil, fmt.Errorf("cannot list the %s of the kernel: %w", of.what, err)
		}
		for _, m := range list {
			if len(m) >= of.size {
				of.parse(m)
			}
		}
	}
	return s, nil
}

func (s *state) parseLink(m []byte) {
	flags := binary.NativeEndian.Uint32(m[8:])
	l := link{
		index:    int(binary.NativeEndian.Uint32(m[4:])),
		up:       flags&unix.IFF_UP != 0,
		running:  flags&unix.IFF_RUNNING != 0,
		ethernet: binary.NativeEndian.Uint16(m[2:]) == unix.ARPHRD_ETHER,
	}
	elsewhere := false // the parent, or the peer of a veth
	for kind, v := range attributes(m[unix.SizeofIfInfomsg:]) {
		switch kind {
		case unix.IFLA_IFNAME:
			l.name = unix.ByteSliceToString(v)
		case unix.IFLA_ADDRESS:
			l.mac = net.HardwareAddr(v).String()
		case unix.IFLA_MTU:
			l.mtu = int(readNumber(v))
		case unix.IFLA_LINK:
			l.parent = int(readNumber(v))
		case unix.IFLA_LINK_NETNSID:
			elsewhere = true
		case unix.IFLA_MASTER:
			l.master = int(readNumber(v))
		case unix.IFLA_IFALIAS:
			l.alias = unix.ByteSliceToString(v)
		case unix.IFLA_LINKINFO:
			l.parseInfo(v)
		}
	}
	if elsewhere || l.kind == "veth" {
		l.parent = 0
	}
	s.links = append(s.links, l)
}

func (l *link) parseInfo(info []byte) {
	for kind, v := range attributes(info) {
		switch kind {
		case unix.IFLA_INFO_KIND:
			l.kind = unix.ByteSliceToString(v)
		case unix.IFLA_INFO_DATA:
			for kind, v := range attributes(v) {
				if l.kind == "vlan" && kind == unix.IFLA_VLAN_ID {
					l.vlan = int(readNumber(v))
				}
			}
		}
	}
}

// Constants that golang.org/x/sys lacks.
const (
	skipStats = 8  // RTEXT_FILTER_SKIP_STATS
	ifaProto  = 11 // IFA_PROTO, since Linux 5.18
	rtaNHID   = 30 // RTA_NH_ID
)

func (s *state) parseAddress(m []byte) {
	a := address{index: int(binary.NativeEndian.Uint32(m[4:])), flags: uint32(m[2]), raw: m}
	var local, other netip.Addr
	for kind, v := range attributes(m[unix.SizeofIfAddrmsg:]) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(v)
		case unix.IFA_ADDRESS:
			other, _ = netip.AddrFromSlice(v)
		case unix.IFA_FLAGS:
			a.flags = readNumber(v)
		case ifaProto:
			s.marks, a.ours = true, readNumber(v) == protocol
		}
	}
	switch {
	case !local.IsValid():
		local = other // IPv6 without a peer
	case other != local:
		a.peer = other
	}
	if a.prefix = netip.PrefixFrom(local, int(m[1])); a.prefix.IsValid() {
		s.addresses = append(s.addresses, a)
	}
}

// routeTypes are the types of a route that a plan can have, and their names.
func routeTypes() map[uint8]string {
	return map[uint8]string{unix.RTN_UNICAST: "", unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable",
		unix.RTN_PROHIBIT: "prohibit", unix.RTN_THROW: "throw"}
}

// scopes are the names of the scopes of a route.
func scopes() map[uint8]string {
	return map[uint8]string{unix.RT_SCOPE_UNIVERSE: "global", unix.RT_SCOPE_LINK: "link", unix.RT_SCOPE_HOST: "host"}
}

// rtnhFlags are the flags that a route can be added with. Others are reports of the kernel.
const rtnhFlags = unix.RTNH_F_ONLINK | unix.RTNH_F_PERVASIVE

// parseRoute ignores what a plan can neither contain nor come into conflict with: routes to this machine's addresses, and those for a
// type of service or source.
func (s *state) parseRoute(m []byte) {
	family, bits, sourceBits, tos, flags := m[0], int(m[1]), m[2], m[3], binary.NativeEndian.Uint32(m[8:])
	name, known := routeTypes()[m[7]]
	if family != unix.AF_INET && family != unix.AF_INET6 || !known || sourceBits != 0 || tos != 0 || flags&unix.RTM_F_CLONED != 0 {
		return
	}
	binary.NativeEndian.PutUint32(m[8:], flags&rtnhFlags)
	r := route{proto: m[5], raw: m}
	r.Type, r.Table, r.OnLink, r.Scope = name, int(m[4]), flags&unix.RTNH_F_ONLINK != 0, scopes()[m[6]]
	to := netip.IPv4Unspecified()
	if family == unix.AF_INET6 {
		to = netip.IPv6Unspecified()
	}
	for kind, v := range attributes(m[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_DST:
			to, _ = netip.AddrFromSlice(v)
		case unix.RTA_GATEWAY:
			r.Via, _ = netip.AddrFromSlice(v)
		case unix.RTA_PREFSRC:
			r.Source, _ = netip.AddrFromSlice(v)
		case unix.RTA_OIF:
			r.index = int(readNumber(v))
		case unix.RTA_PRIORITY:
			r.Metric = int(readNumber(v))
		case unix.RTA_TABLE:
			r.Table = int(readNumber(v))
		case unix.RTA_METRICS:
			for kind, v := range attributes(v) {
				switch kind {
				case unix.RTAX_MTU:
					r.MTU = int(readNumber(v))
				case unix.RTAX_ADVMSS:
					r.AdvMSS = int(readNumber(v))
				}
			}
		case unix.RTA_MULTIPATH, rtaNHID, unix.RTA_ENCAP, unix.RTA_VIA:
			r.odd = true
		}
	}
	r.To = netip.PrefixFrom(to, bits)
	if r.Route = normalRoute(r.Route); r.Type != "" {
		r.index = 0 // IPv6 has lo there
	}
	s.routes = append(s.routes, r)
}

// normalRoute replaces what a plan may leave to the kernel by what the kernel makes of it.
func normalRoute(r netinit.Route) netinit.Route {
	if r.Table == 0 {
		r.Table = netinit.MainTable
	}
	r.Via = r.Via.WithZone("") // the link is known
	switch {
	case r.To.Addr().Is6():
		r.Scope = "" // IPv6 has none
		if r.Metric == 0 {
			r.Metric = netinit.DefaultMetricIPv6
		}
	case r.Scope == "" && r.Type == "" && !r.Via.IsValid():
		r.Scope = "link"
	case r.Scope == "":
		r.Scope = "global"
	}
	return r
}

// sizeofRuleHeader is the size of struct fib_rule_hdr, whose fields are those of struct rtmsg.
const sizeofRuleHeader = 12

func (s *state) parseRule(m []byte) {
	family, toBits, fromBits, tos, action, flags := m[0], int(m[1]), int(m[2]), m[3], m[7], binary.NativeEndian.Uint32(m[8:])
	if family != unix.AF_INET && family != unix.AF_INET6 {
		return
	}
	r := rule{raw: m, odd: action != unix.FR_ACT_TO_TBL || tos != 0 || flags&unix.FIB_RULE_INVERT != 0}
	r.IPv6, r.Table = family == unix.AF_INET6, int(m[4])
	for kind, v := range attributes(m[sizeofRuleHeader:]) {
		switch kind {
		case unix.FRA_DST:
			a, _ := netip.AddrFromSlice(v)
			r.To = netip.PrefixFrom(a, toBits)
		case unix.FRA_SRC:
			a, _ := netip.AddrFromSlice(v)
			r.From = netip.PrefixFrom(a, fromBits)
		case unix.FRA_PRIORITY:
			r.Priority = int(readNumber(v))
		case unix.FRA_FWMARK:
			r.Mark = readNumber(v)
		case unix.FRA_TABLE:
			r.Table = int(readNumber(v))
		case unix.FRA_PROTOCOL:
			r.ours = readNumber(v) == protocol
		case unix.FRA_FWMASK, unix.FRA_SUPPRESS_PREFIXLEN:
			r.odd = r.odd || readNumber(v) != 0xffffffff
		case unix.FRA_PAD:
		default:
			r.odd = true
		}
	}
	s.rules = append(s.rules, r)
}

// link returns the link with an index, or nil.
func (s *state) link(index int) *link {
	if i := slices.IndexFunc(s.links, func(l link) bool { return l.index == index }); i >= 0 {
		return &s.links[i]
	}
	return nil
}

// linkNamed returns the link with a name, or nil.
func (s *state) linkNamed(name string) *link {
	if i := slices.IndexFunc(s.links, func(l link) bool { return l.name == name }); i >= 0 {
		return &s.links[i]
	}
	return nil
}
