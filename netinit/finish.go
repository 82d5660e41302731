package netinit

import (
	"cmp"
	"net/netip"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// finisher makes a plan of a draft.
type finisher struct {
	*input
	plan   *Plan
	fields map[string]string // of the format
	broken map[string]bool   // paths that have a problem at or below them
	ids    map[string]int    // of plan.Links
	names  map[string]int    // the names that links will have
	own    map[ownKey]ownAddress
}

// ownKey is an address, and for a link-local one of IPv6 the link, since others may have it too; -1 otherwise.
type ownKey struct {
	addr netip.Addr
	link int
}

func keyOf(a netip.Addr, link int) ownKey {
	if a.Is6() && a.IsLinkLocalUnicast() {
		return ownKey{a, link}
	}
	return ownKey{a, -1}
}

// ownAddress is an address of the plan.
type ownAddress struct {
	link   int // in plan.Links
	prefix netip.Prefix
	path   string
}

// finish checks a draft and makes it a plan: it normalises values, orders links and routes, and chooses metrics and on-link flags. What
// has a problem already is left out of further checks, which would only repeat it.
func finish(in *input, plan *Plan, fields map[string]string) {
	f := &finisher{input: in, plan: plan, fields: fields, broken: map[string]bool{}, ids: map[string]int{}, names: map[string]int{},
		own: map[ownKey]ownAddress{}}
	for _, p := range in.layers.Problems() {
		f.broken[p.Path] = true
		for _, path := range layeredyaml.Ancestors(p.Path) {
			f.broken[path] = true
		}
	}
	f.links()
	for i := range plan.Links {
		f.addresses(i)
	}
	for i := range plan.Links {
		f.mtu(&plan.Links[i])
		f.routes(i)
	}
	f.metrics()
	for i := range plan.Links {
		f.gateways(&plan.Links[i])
	}
	f.orderLinks()
	f.rules()
	f.dns()
	f.hosts()
	if err := checkHostname(plan.Hostname); plan.Hostname != "" && err != nil {
		f.Bad("hostname", "", "%s is not a hostname: %s", layeredyaml.Quote("hostname", plan.Hostname), err)
	}
	if plan.Links == nil {
		plan.Links = []Link{}
	}
}

// at is the path of a field of the link, route or rule at path, by the own format's word for it.
func (f *finisher) at(path, field string) string { return path + "." + cmp.Or(f.fields[field], field) }

// rules checks the rules of policy routing.
func (f *finisher) rules() {
	var out []Rule
	seen := map[Rule]bool{}
	for _, r := range f.plan.Rules {
		if f.broken[r.path] {
			continue
		}
		f.rule(&r)
		r.path, r.ipv4 = "", false
		if !seen[r] {
			seen[r] = true
			out = append(out, r)
		}
	}
	f.plan.Rules = out
}

// rule checks a rule. A network of all addresses is no condition.
func (f *finisher) rule(r *Rule) {
	r.From, r.To, r.Table = r.From.Masked(), r.To.Masked(), cmp.Or(r.Table, MainTable)
	for _, p := range []*netip.Prefix{&r.From, &r.To} {
		if !p.IsValid() {
			continue
		}
		is6 := p.Addr().Is6()
		if is6 && r.ipv4 || !is6 && r.IPv6 {
			f.Bad(r.path, "", "%s is of another family than the rule", p)
		}
		r.IPv6, r.ipv4 = is6, !is6
		if p.Bits() == 0 {
			*p = netip.Prefix{}
		}
	}
	if r.Priority < 1 || r.Priority > maxNumber {
		f.Bad(f.at(r.path, "priority"), "the kernel's rule for main has 32766; lower ones come first", "%d is not a priority from 1 to %d",
			r.Priority, maxNumber)
	}
	if r.Table < 0 || r.Table > maxNumber {
		f.Bad(f.at(r.path, "table"), "", "%d is no routing table", r.Table)
	}
}

// hosts checks the lines of the hosts file.
func (f *finisher) hosts() {
	for i, h := range f.plan.Hosts {
		path := layeredyaml.Index("hosts", i)
		switch ip := path + ".ip"; {
		case !h.Address.IsValid():
			f.Bad(ip, "", "is missing")
		case h.Address.Zone() != "":
			f.Bad(ip, "", "%s has a zone", h.Address)
		}
		if len(h.Names) == 0 {
			f.Bad(path+".names", "", "are missing")
		}
		for k, name := range h.Names {
			if at := layeredyaml.Index(path+".names", k); checkDomain(name) != nil {
				f.Bad(at, "", "%s is not a host name: %s", layeredyaml.Quote(at, name), checkDomain(name))
			}
		}
	}
}

// LastAddr returns the last address of a network: for IPv4 that of broadcasts.
func LastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(b); bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// defaultRoute is 0.0.0.0/0 or ::/0.
func defaultRoute(family netip.Addr) netip.Prefix {
	if family.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}
