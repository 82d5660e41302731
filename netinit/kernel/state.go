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
	objects   []object // the addresses, routes and permanent neighbours, also those that a plan cannot have; without the kernel's own routes
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
		{"neighbours", unix.RTM_GETNEIGH, unix.SizeofNdMsg, make([]byte, unix.SizeofNdMsg), s.parseNeighbour},
		{"routes", unix.RTM_GETROUTE, unix.SizeofRtMsg, make([]byte, unix.SizeofRtMsg), s.parseRoute},
		{"rules", unix.RTM_GETRULE, sizeofRuleHeader, make([]byte, sizeofRuleHeader), s.parseRule},
	} {
		list, err := c.dump(of.kind, of.body)
		none := (of.kind == unix.RTM_GETRULE || of.kind == unix.RTM_GETNEIGH) && errors.Is(err, unix.EOPNOTSUPP) // in this kernel
		if err != nil && !none {
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
	if a.prefix = netip.PrefixFrom(local, int(m[1])); !a.prefix.IsValid() {
		return
	}
	s.addresses = append(s.addresses, a)
	at := len(s.objects)
	if local.Is6() {
		at = 0 // the kernel lists the newest first
	}
	s.objects = slices.Insert(s.objects, at, object{
		what: "address " + a.prefix.String(), key: fmt.Sprint("address ", a.index, a.prefix, a.peer), ours: a.ours,
		links: []int{a.index}, source: local, add: message{unix.RTM_NEWADDR, newOnly, m},
	})
}

// parseNeighbour ignores the neighbours that the kernel has found.
func (s *state) parseNeighbour(m []byte) {
	index, state := int(binary.NativeEndian.Uint32(m[4:])), binary.NativeEndian.Uint16(m[8:])
	for kind, v := range attributes(m[unix.SizeofNdMsg:]) {
		if to, ok := netip.AddrFromSlice(v); ok && kind == unix.NDA_DST && state&unix.NUD_PERMANENT != 0 && m[0] == family(to) {
			s.objects = append(s.objects, object{
				what: "neighbour " + to.String(), key: fmt.Sprint("neighbour ", index, to), links: []int{index},
				add: message{unix.RTM_NEWNEIGH, newOrOther, m},
			})
		}
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

// parseRoute splits the next hops of an IPv6 route, which come and go one by one. The kernel lists all with the protocol of the first, and
// ours is the first, since it is not added to others.
func (s *state) parseRoute(m []byte) {
	flags := binary.NativeEndian.Uint32(m[8:])
	if m[0] != unix.AF_INET && m[0] != unix.AF_INET6 || flags&unix.RTM_F_CLONED != 0 {
		return
	}
	binary.NativeEndian.PutUint32(m[8:], flags&rtnhFlags)
	next := [][]byte{nil}
	for kind, v := range attributes(m[unix.SizeofRtMsg:]) {
		if kind == unix.RTA_MULTIPATH {
			if next = nextHops(v); m[0] == unix.AF_INET {
				next = [][]byte{v}
			}
		}
	}
	for i, hops := range next {
		raw := slices.Clone(m[:unix.SizeofRtMsg])
		if i > 0 && raw[5] == protocol {
			raw[5] = unix.RTPROT_UNSPEC
		}
		var expires uint32
		for kind, v := range attributes(m[unix.SizeofRtMsg:]) {
			switch kind {
			case unix.RTA_CACHEINFO:
				expires = readNumber(v[min(8, len(v)):min(12, len(v))])
				continue
			case rtaNHID: // the next hops that it stands for follow
				continue
			case unix.RTA_MULTIPATH:
				v = hops
			}
			raw = attribute(raw, kind, v)
		}
		s.addRoute(raw, int32(expires))
	}
}

// nextHops splits the struct rtnexthop of RTA_MULTIPATH, and removes the reports of the kernel from them.
func nextHops(b []byte) (list [][]byte) {
	for len(b) >= unix.SizeofRtNexthop {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtNexthop || size > len(b) {
			break
		}
		b[2] &= rtnhFlags
		list = append(list, b[:size])
		b = b[min((size+3)&^3, len(b)):]
	}
	return list
}

// addRoute adds a route, which ends in so many hundredths of a second; 0: never. Routes to this machine's addresses, and those for a type
// of service or source, are objects only: a plan can neither contain them nor come into conflict with them.
func (s *state) addRoute(m []byte, expires int32) {
	r := route{proto: m[5]}
	name, known := routeTypes()[m[7]]
	r.Type, r.Table, r.OnLink, r.Scope = name, int(m[4]), binary.NativeEndian.Uint32(m[8:])&unix.RTNH_F_ONLINK != 0, scopes()[m[6]]
	to := netip.IPv4Unspecified()
	if m[0] == unix.AF_INET6 {
		to = netip.IPv6Unspecified()
	}
	var links []int
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
			links = append(links, r.index)
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
		case unix.RTA_MULTIPATH:
			for _, h := range nextHops(v) {
				r.index = int(binary.NativeEndian.Uint32(h[4:]))
				links = append(links, r.index)
				for kind, v := range attributes(h[unix.SizeofRtNexthop:]) {
					if kind == unix.RTA_GATEWAY {
						r.Via, _ = netip.AddrFromSlice(v)
					}
				}
			}
			r.odd = r.odd || len(links) > 1
		case unix.RTA_ENCAP, unix.RTA_VIA:
			r.odd = true
		}
	}
	r.To = netip.PrefixFrom(to, int(m[1]))
	r.Route = normalRoute(r.Route)
	if r.raw = m; expires != 0 {
		r.raw = attribute(m, unix.RTA_EXPIRES, number32(uint32(max(expires, 1)+99)/100))
	}
	if r.proto != unix.RTPROT_KERNEL {
		s.objects = append(s.objects, object{
			what: "route " + describeRoute(r.Route), key: string(m), ours: r.proto == protocol, links: links, source: r.Source, to: r.To,
			add: message{unix.RTM_NEWROUTE, newNext, r.raw},
		})
	}
	if r.Type != "" {
		r.index = 0 // IPv6 has lo there
	}
	if known && m[2] == 0 && m[3] == 0 {
		s.routes = append(s.routes, r)
	}
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
