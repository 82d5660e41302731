package netinit

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// The rest of input: what several of the formats of other programs share.

func unspecified(ipv6 bool) netip.Addr {
	if ipv6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// family reports an address of the other family. It returns whether there is an address, of the right one.
func (in *input) family(path string, a netip.Addr, ipv6 bool) bool {
	if a.IsValid() && a.Is6() != ipv6 {
		in.Bad(path, "", "%s is no %s address", a, map[bool]string{true: "IPv6", false: "IPv4"}[ipv6])
		return false
	}
	return a.IsValid()
}

// gateway parses the address of a router. 0.0.0.0 and :: say that there is none: OpenStack uses them for a destination on the link.
func (in *input) gateway(path, text string, ipv6 bool) netip.Addr {
	if a := in.addr(path, text); in.family(path, a, ipv6) && !a.IsUnspecified() {
		return a
	}
	return netip.Addr{}
}

// masked parses an address whose prefix length is behind it, or in a mask of its own.
func (in *input) masked(path, text, maskPath, mask string) netip.Prefix {
	if strings.Contains(text, "/") {
		p := in.prefix(path, text)
		if n := in.netmask(maskPath, mask, p.Addr()); p.IsValid() && mask != "" && n != p.Bits() {
			in.Bad(maskPath, "", "%s is not the mask of %s", layeredyaml.Quote(maskPath, mask), p)
		}
		return p
	}
	a := in.addr(path, text)
	if mask == "" && a.IsValid() {
		in.Missing(maskPath, "", "is missing: %s has no prefix length", a)
	}
	n := in.netmask(maskPath, mask, a)
	if a.Zone() != "" {
		in.Bad(path, "", "%s has a zone", a)
	}
	if !a.IsValid() || in.Refused(path, maskPath) {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, n)
}

// notEmpty refuses a description without a link: an agent that was asked for a wrong container gives one. Applying it would remove all
// that was applied before.
func (in *input) notEmpty(plan *Plan, path string) {
	if len(plan.Links) == 0 {
		in.Missing(path, "", "no link is described")
	}
}

// dropOwnGateways removes routes through the link's own addresses. OpenStack gives the routes of a subnet to all its hosts, also to that
// which is the router.
func (in *input) dropOwnGateways(link *Link) {
	link.Routes = slices.DeleteFunc(link.Routes, func(r Route) bool {
		own := r.To.Bits() > 0 && link.hasAddress(r.Via)
		if own {
			in.Warn(r.path, "", "the route to %s is through %s, the own address; it is left out", r.To, r.Via)
		}
		return own
	})
}

func (l *Link) hasAddress(a netip.Addr) bool {
	return slices.ContainsFunc(l.Addresses, func(p netip.Prefix) bool { return p.Addr() == a })
}

// server adds a DNS server.
func (in *input) server(dns *DNS, path, text string) {
	switch a := in.addr(path, text); {
	case text == "":
		in.Missing(path, "", "is empty")
	case a.IsUnspecified() || a.IsMulticast():
		in.Bad(path, "", "%s is no address of a server", a)
	case a.Zone() != "" && (!a.IsLinkLocalUnicast() || checkLinkName(a.Zone()) != nil):
		in.Bad(path, "", "%s has a zone that is no link's, or is not link-local", layeredyaml.Quote(path, text))
	case a.IsValid():
		dns.Servers = append(dns.Servers, a)
	}
}

// servers adds the DNS servers of a list.
func (in *input) servers(dns *DNS, path string, addresses []string) {
	for i, text := range addresses {
		in.server(dns, layeredyaml.Index(path, i), text)
	}
}

// domain adds a search domain.
func (in *input) domain(dns *DNS, path, text string) {
	if err := checkDomain(text); err != nil && text != "." {
		in.Bad(path, "", "%s is not a domain: %s", layeredyaml.Quote(path, text), err)
		return
	}
	dns.Search = append(dns.Search, text)
}

// domains adds the search domains of a list.
func (in *input) domains(dns *DNS, path string, domains []string) {
	for i, text := range domains {
		in.domain(dns, layeredyaml.Index(path, i), text)
	}
}

// dnsOptions adds the options of a list.
func (in *input) dnsOptions(dns *DNS, path string, options []string) {
	for i, option := range options {
		at := layeredyaml.Index(path, i)
		if option == "" || strings.ContainsFunc(option, func(r rune) bool { return r <= ' ' || r > '~' }) {
			in.Bad(at, "one word an item", "%s is not a single word", layeredyaml.Quote(at, option))
		}
	}
	dns.Options = options
}
