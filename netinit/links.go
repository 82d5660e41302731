package netinit

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// Bounds of an MTU in bytes, by IPv4 and the kernel.
const (
	minMTU = 68
	maxMTU = 65535
)

// MinMTUIPv6 is the smallest MTU in bytes of a link with IPv6.
const MinMTUIPv6 = 1280

// links checks which links are meant, and what they are called.
func (f *finisher) links() {
	macs := map[string]int{}
	for i := range f.plan.Links {
		l := &f.plan.Links[i]
		match := f.at(l.path, "match")
		switch {
		case f.broken[match]:
		case l.VLAN != nil && l.Match != Match{}:
			f.Bad(match, "remove it", "is set for a VLAN, which is made on top of its parent")
		case l.VLAN == nil && l.Match == Match{}:
			f.Missing(match, "give its MAC address or its name", "does not say which link is meant")
		case l.Match.MAC != "":
			unique(f, macs, l.Match.MAC, i, match, "the MAC address "+l.Match.MAC)
		}
		rename := f.at(l.path, "rename")
		switch {
		case l.Rename != "" && l.Match.Name == "lo":
			f.Bad(rename, "", "lo keeps its name")
		case l.Rename != "":
			unique(f, f.names, l.Rename, i, rename, "the name "+l.Rename)
		case l.Match.Name != "" && l.VLAN == nil:
			unique(f, f.names, l.Match.Name, i, match, "the name "+l.Match.Name)
		}
		if l.ID = cmp.Or(l.ID, l.name(), l.Match.MAC); l.ID == "" && l.VLAN != nil {
			l.ID = l.VLAN.Parent + "." + strconv.Itoa(l.VLAN.ID)
		}
		if first, has := f.ids[l.ID]; has && !f.Refused(match, rename) {
			f.Bad(f.at(l.path, "id"), "", "%s is used twice, first by %s", layeredyaml.Quote("", l.ID), f.plan.Links[first].path)
		} else if !has {
			f.ids[l.ID] = i
		}
	}
	vlans := map[VLAN]int{}
	for i := range f.plan.Links {
		l := &f.plan.Links[i]
		if other, has := f.names[l.Match.Name]; has && other != i && l.Rename != "" && l.Match.MAC == "" {
			f.Bad(f.at(l.path, "match"), "match the link by its MAC address",
				"the name %s is for %s: afterwards it would mean another link", l.Match.Name, f.plan.Links[other].path)
		}
		if l.VLAN != nil && !f.broken[f.at(l.path, "vlan.id")] && !f.broken[f.at(l.path, "vlan.parent")] {
			f.vlan(i, vlans)
		}
	}
}

// unique reports a second use of a key. seen maps those before to their links, and i is the link of this one.
func unique[K comparable](f *finisher, seen map[K]int, key K, i int, path, what string) {
	if first, has := seen[key]; has {
		f.Bad(path, "", "%s is used twice, first by %s", what, f.plan.Links[first].path)
		return
	}
	seen[key] = i
}

// vlan checks a VLAN and resolves its parent, which is an ID or a name. others are those before, without MAC addresses.
func (f *finisher) vlan(i int, others map[VLAN]int) {
	l := &f.plan.Links[i]
	v, path := l.VLAN, f.at(l.path, "vlan.id")
	if v.ID < 1 || v.ID > 4094 {
		f.Bad(path, "", "%d is not the number of a VLAN, 1 to 4094", v.ID)
		return
	}
	at, has := f.ids[v.Parent]
	if !has {
		at, has = f.names[v.Parent]
	}
	if path := f.at(l.path, "vlan.parent"); !has {
		f.Bad(path, "describe it as a link too", "there is no link %s", layeredyaml.Quote(path, v.Parent))
		return
	}
	parent := &f.plan.Links[at]
	v.Parent = parent.ID
	unique(f, others, VLAN{ID: v.ID, Parent: v.Parent}, i, path, fmt.Sprintf("VLAN %d of %q", v.ID, v.Parent))
	if parent.MTU > 0 && l.MTU > parent.MTU {
		f.Bad(f.at(l.path, "mtu"), "", "%d is more than %d of %q below the VLAN", l.MTU, parent.MTU, parent.ID)
	}
	name := parent.name()
	if l.Rename != "" || name == "" {
		return
	}
	name += "." + strconv.Itoa(v.ID)
	if err := checkLinkName(name); err != nil {
		f.Bad(path, "give the VLAN a name with rename", "the name would be %s: %s", name, err)
	} else {
		unique(f, f.names, name, i, path, "the name "+name)
	}
}

// name is the name that a link will have as far as the input says it.
func (l *Link) name() string { return cmp.Or(l.Rename, l.Match.Name) }

// HasIPv6 reports whether a link has IPv6 addresses or routes.
func (l *Link) HasIPv6() bool {
	return slices.ContainsFunc(l.Addresses, func(p netip.Prefix) bool { return p.Addr().Is6() }) ||
		slices.ContainsFunc(l.Routes, func(r Route) bool { return r.To.Addr().Is6() })
}

// addresses checks the addresses of link i and merges those that it has twice.
func (f *finisher) addresses(i int) {
	l := &f.plan.Links[i]
	var out []netip.Prefix
	for k, p := range l.Addresses {
		path := l.path
		if k < len(l.addressPaths) {
			path = l.addressPaths[k]
		}
		before, has := f.own[keyOf(p.Addr(), i)]
		switch problem := addressProblem(p, l.Match.Name == "lo"); {
		case f.broken[path]:
		case problem != "":
			f.Bad(path, "", "%s", problem)
		case has && before.link == i && before.prefix == p:
		case has && before.link == i:
			f.Bad(path, "", "%s is here with another prefix length: %s", before.path, before.prefix)
		case has:
			f.Bad(path, "", "%s is an address of %q too, at %s", p.Addr(), f.plan.Links[before.link].ID, before.path)
		default:
			f.own[keyOf(p.Addr(), i)] = ownAddress{i, p, path}
			out = append(out, p)
		}
	}
	l.Addresses, l.addressPaths = out, nil
}

// addressProblem is what is wrong with an address of a link; empty: nothing.
func addressProblem(p netip.Prefix, isLo bool) string {
	a := p.Addr()
	switch {
	case !p.IsValid():
		return "has no address"
	case a.IsUnspecified():
		return a.String() + " is no address of a host"
	case a.IsMulticast():
		return a.String() + " is a multicast address"
	case a.IsLoopback() && !isLo:
		return a.String() + " is an address of lo only"
	case p.Bits() == 0:
		return p.String() + " has a prefix of no bits"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || isBroadcast(p):
		return a.String() + " is the broadcast address of " + p.Masked().String()
	case a.Is4() && p.Bits() < 31 && a == p.Masked().Addr():
		return a.String() + " is the address of the network " + p.String()
	}
	return ""
}

// isBroadcast reports whether the address of an IPv4 subnet is its last one.
func isBroadcast(p netip.Prefix) bool {
	return p.Addr().Is4() && p.Bits() < 31 && p.Addr() == LastAddr(p)
}

// mtu checks the MTU of a link against what it carries.
func (f *finisher) mtu(l *Link) {
	path := f.at(l.path, "mtu")
	switch {
	case l.MTU == 0:
	case l.MTU < minMTU || l.MTU > maxMTU:
		f.Bad(path, "", "%d is not between %d and %d", l.MTU, minMTU, maxMTU)
	case l.MTU < MinMTUIPv6 && (l.HasIPv6() || l.AcceptRA == AcceptRAOn):
		f.Bad(path, "", "%d is less than %d, which IPv6 needs", l.MTU, MinMTUIPv6)
	}
}

// orderLinks puts the parent of each VLAN before it. A VLAN of an optional link is optional.
func (f *finisher) orderLinks() {
	var out []Link
	done, open := map[int]bool{}, map[int]bool{}
	var add func(i int)
	add = func(i int) {
		l := f.plan.Links[i]
		if l.VLAN != nil && !done[i] {
			if open[i] {
				f.Bad(f.at(l.path, "vlan.parent"), "", "%q is on top of itself", l.ID)
				return
			}
			open[i] = true
			if parent, has := f.ids[l.VLAN.Parent]; has {
				add(parent)
				l.Optional = l.Optional || f.plan.Links[parent].Optional
				f.plan.Links[i].Optional = l.Optional
			}
		}
		if !done[i] {
			done[i], l.path = true, ""
			out = append(out, l)
		}
	}
	for i := range f.plan.Links {
		add(i)
	}
	f.plan.Links = out
}
