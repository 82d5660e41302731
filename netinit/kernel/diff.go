package kernel

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/stoker-init/stoker/netinit"
	"golang.org/x/sys/unix"
)

// stage is a part of a round. The stages follow each other; what is removed comes last, so that an error before leaves it in place.
type stage int

const (
	linkStage stage = iota
	addressStage
	routeStage
	ruleStage
	fileStage
	removeStage
)

// change is a difference between the plan and the state, and how to remove it.
type change struct {
	Change
	stage  stage
	prefix netip.Prefix // the address that is added
	index  int          // of the link; 0: none
	// later: not in this round, because the link does not exist yet, or never, because it is refused.
	later bool
	// do makes the change, undo takes it back.
	do, undo step
}

// difference is the result of diff.
type difference struct {
	changes  []change
	refusals []error  // reasons to change nothing at all
	hints    []string // what to do about them
	warnings []string
}

// differ compares a plan with a state.
type differ struct {
	plan   *netinit.Plan
	found  targets
	state  *state
	record *Record // not nil
	o      Options
	difference
	names map[int]string // of the links by index, with the names that they will have
	going map[int]bool   // the links that are removed
	// done are the addresses, routes and rules of the state that are wanted, or have their change already.
	done struct{ addresses, routes, rules []bool }
}

// diff returns what has to be changed for the plan, in order. It is a pure function. A change may make others necessary or possible, which
// the next diff finds.
func diff(plan *netinit.Plan, found targets, s *state, record *Record, o Options) difference {
	d := &differ{plan: plan, found: found, state: s, record: record, o: o, names: map[int]string{}, going: map[int]bool{}}
	d.done.addresses, d.done.routes, d.done.rules = make([]bool, len(s.addresses)), make([]bool, len(s.routes)), make([]bool, len(s.rules))
	for _, l := range s.links {
		d.names[l.index] = l.name
	}
	if lo := s.linkNamed("lo"); lo != nil && !lo.up && !slices.Contains(found, lo.index) {
		d.add(change{Change: Change{"set", "link", "lo", "up"}, do: setUp(lo.index, true), undo: closing{lo.index, setUp(lo.index, false)}})
	}
	for i := range plan.Links {
		d.diffLink(i)
	}
	for i := range plan.Links {
		d.diffAddresses(i)
	}
	for i := range plan.Links {
		d.diffRoutes(i)
	}
	d.diffRules()
	d.diffFiles()
	d.removeStale()
	slices.SortStableFunc(d.changes, func(a, b change) int { return int(a.stage - b.stage) })
	return d.difference
}

func (d *differ) add(c change) { d.changes = append(d.changes, c) }

// refuse adds a change that must not be made; hint may be empty.
func (d *differ) refuse(c change, hint, format string, args ...any) {
	c.later = true
	d.add(c)
	if hint != "" {
		d.hints = append(d.hints, hint)
	}
	d.refusals = append(d.refusals, fmt.Errorf(format, args...))
}

// link returns a link of the plan and of the kernel (nil: absent), and its name. It is skipped if it is optional and absent.
func (d *differ) link(i int) (want *netinit.Link, have *link, name string, skipped bool) {
	want = &d.plan.Links[i]
	have = d.state.link(d.found[i])
	name = d.wantedName(i)
	return want, have, name, have == nil && d.absent(i)
}

// absent reports whether a link, or what it is on top of, is optional and absent.
func (d *differ) absent(i int) bool {
	l := &d.plan.Links[i]
	if l.VLAN == nil {
		return d.found[i] == 0 && l.Optional
	}
	return d.absent(position(d.plan, l.VLAN.Parent))
}

// wantedName returns the name that a link will have.
func (d *differ) wantedName(i int) string {
	l := &d.plan.Links[i]
	switch have := d.state.link(d.found[i]); {
	case l.Rename != "":
		return l.Rename
	case l.VLAN != nil:
		return d.wantedName(position(d.plan, l.VLAN.Parent)) + "." + strconv.Itoa(l.VLAN.ID)
	case have != nil:
		return have.name
	case l.Match.Name != "":
		return l.Match.Name
	}
	return l.ID
}

func (d *differ) diffLink(i int) {
	want, have, name, skipped := d.link(i)
	if skipped {
		d.warnings = append(d.warnings, fmt.Sprintf("optional link %q is absent", want.ID))
		return
	}
	if have == nil {
		d.addLink(i, name)
		return
	}
	set := func(detail string, do, undo step) {
		d.add(change{Change: Change{"set", "link", name, detail}, index: have.index, do: do, undo: undo})
	}
	if want.VLAN != nil {
		if !d.ourLink(have) && have.name != name {
			c := Change{"add", "link", name, fmt.Sprintf("vlan %d", have.vlan)}
			d.refuse(change{Change: c}, "", "cannot add link %q: link %q, which stoker has not added, has the same parent and number",
				name, have.name)
			return
		}
		if have.alias != alias && slices.Contains(d.record.Links, have.name) {
			set("alias "+alias, setAlias(have.name), nil)
		}
		if mac := want.VLAN.MAC; mac != "" && mac != have.mac {
			set(fmt.Sprintf("MAC address %s (was %s)", mac, have.mac), setMAC(have.index, mac), setMAC(have.index, have.mac))
		}
	}
	d.diffSettings(want, have)
	d.rename(have, name)
	d.diffMTU(want, have, name)
	if !have.up {
		set("up", setUp(have.index, true), closing{have.index, setUp(have.index, false)})
	}
}

// diffMTU compares the MTU of a link. With a smaller one than IPv6 needs the kernel takes the IPv6 addresses of the link away.
func (d *differ) diffMTU(want *netinit.Link, have *link, name string) {
	if want.MTU == 0 || want.MTU == have.mtu {
		return
	}
	c := change{
		Change: Change{"set", "link", name, fmt.Sprintf("mtu %d (was %d)", want.MTU, have.mtu)},
		index:  have.index, do: newMTU{have.index, want.MTU}, undo: newMTU{have.index, have.mtu},
	}
	for _, a := range d.state.addresses {
		foreign := a.index == have.index && a.prefix.Addr().Is6() && !a.prefix.Addr().IsLinkLocalUnicast() && !d.ourAddress(a)
		if foreign && want.MTU < netinit.MinMTUIPv6 {
			d.refuse(c, "", "cannot set the MTU of link %q to %d: it has %s, which stoker has not added, and IPv6 needs %d",
				name, want.MTU, a.prefix, netinit.MinMTUIPv6)
			return
		}
	}
	d.add(c)
}

// addLink adds a VLAN. Other links appear by themselves.
func (d *differ) addLink(i int, name string) {
	want := &d.plan.Links[i]
	if want.VLAN == nil {
		d.add(change{Change: Change{"add", "link", want.ID, "there is none with " + describeMatch(want)}, later: true})
		return
	}
	parent := position(d.plan, want.VLAN.Parent)
	c := change{
		Change: Change{"add", "link", name, fmt.Sprintf("vlan %d on %s", want.VLAN.ID, d.wantedName(parent))}, later: d.found[parent] == 0,
	}
	if other := d.state.linkNamed(name); other != nil {
		switch {
		case slices.Contains(d.found, other.index):
			c.later = true // it is renamed in this round
		case !d.ourLink(other):
			d.refuse(c, "give it another name", "cannot add link %q (%s): another link has its name", name, c.Detail)
			return
		default:
			d.removeLink(other, linkStage)
		}
	}
	c.do, c.undo = addVLAN(name, 0, d.found[parent], want.VLAN.ID, want.VLAN.MAC, want.MTU), deleteLink(name)
	d.add(c)
}

// ourLink reports whether a link is a VLAN that was made by stoker.
func (d *differ) ourLink(l *link) bool {
	return l.kind == "vlan" && (l.alias == alias || slices.Contains(d.record.Links, l.name))
}

// removeLink removes a VLAN, and with it its addresses and routes.
func (d *differ) removeLink(l *link, at stage) {
	d.going[l.index] = true
	again := addVLAN(l.name, l.index, l.parent, l.vlan, l.mac, l.mtu)
	if l.up {
		again = append(again, setUp(l.index, true))
	}
	d.add(change{
		Change: Change{"remove", "link", l.name, "vlan " + strconv.Itoa(l.vlan)},
		stage:  at, index: l.index, do: closing{l.index, deleteLink(l.name)}, undo: again,
	})
}

// rename gives a link its name. The link that has it is renamed first: to a name of its own if the plan wants another name for it, and
// then that is its name of the next round.
func (d *differ) rename(have *link, name string) {
	if d.names[have.index] == name {
		return
	}
	for index, taken := range d.names {
		if taken != name {
			continue
		}
		other := slices.Index(d.found, index)
		if other < 0 || d.wantedName(other) == name {
			d.refuse(change{Change: nameChange(have.name, name)}, "", "cannot rename link %q to %q: another link has this name", have.name, name)
			return
		}
		d.renameTo(index, temporaryName(index))
	}
	d.renameTo(have.index, name)
}

// temporaryName is that of a link whose name is for another one, and whose own is not free yet.
func temporaryName(index int) string { return fmt.Sprintf("stoker%d", index) }

func (d *differ) renameTo(index int, name string) {
	was := d.names[index]
	d.names[index] = name
	d.add(change{
		Change: nameChange(was, name),
		index:  index, do: rename{index, name}, undo: rename{index, was},
	})
}

func nameChange(was, name string) Change {
	return Change{"set", "link", name, fmt.Sprintf("name %s (was %s)", name, was)}
}

// diffSettings compares the settings of a link in /proc/sys.
func (d *differ) diffSettings(want *netinit.Link, have *link) {
	for _, s := range d.state.settings {
		if s.index != have.index || s.want == s.have {
			continue
		}
		c := Change{"set", "sysctl", have.name, fmt.Sprintf("%s %s (was %s)", s.name, s.want, s.have)}
		switch {
		case !s.locked:
			d.add(change{Change: c, index: have.index, do: s.to(s.want), undo: s.to(s.have)})
		case s.name == "disable_ipv6":
			d.refuse(change{Change: c}, "start the container with --sysctl net.ipv6.conf.all.disable_ipv6=0",
				"cannot enable IPv6 on link %q: /proc/sys cannot be written", want.ID)
		default:
			d.warnings = append(d.warnings, fmt.Sprintf("cannot %s: /proc/sys cannot be written", c))
		}
	}
}

func (d *differ) diffAddresses(i int) {
	want, have, name, skipped := d.link(i)
	if skipped {
		return
	}
	for _, prefix := range want.Addresses {
		c := change{Change: Change{"add", "address", name, prefix.String()}, stage: addressStage, prefix: prefix, later: have == nil}
		if have == nil {
			d.add(c)
			continue
		}
		add, remove := addAddress(have.index, prefix, d.o.DAD), removeAddress(have.index, prefix)
		c.index, c.do, c.undo = have.index, add, remove
		exists := false
		for k, a := range d.state.addresses {
			if a.index != have.index || a.prefix.Addr() != prefix.Addr() || a.peer.IsValid() {
				continue
			}
			switch ours := d.ourAddress(a); {
			case a.prefix == prefix && ours && a.flags&unix.IFA_F_DADFAILED != 0:
				c.Detail += " (again: another host had it)"
				c.do, c.undo = sequence{remove, add}, nil
				d.done.addresses[k] = true
			case a.prefix == prefix:
				d.done.addresses[k] = true
				exists = true
			case prefix.Addr().Is4(): // the kernel allows both
			case ours:
				d.removeAddress(k, addressStage)
			default:
				d.refuse(c, fmt.Sprintf("ip address del %s dev %s", a.prefix, have.name),
					"cannot add address %s to link %q: it has %s, which stoker has not added", prefix, name, a.prefix)
				exists = true
			}
		}
		switch {
		case exists:
		case prefix.Addr().Is6() && want.MTU == 0 && have.mtu < netinit.MinMTUIPv6:
			d.refuse(c, "mtu: 1500 in the description", "cannot add address %s to link %q: its MTU is %d, and IPv6 needs %d",
				prefix, name, have.mtu, netinit.MinMTUIPv6)
		default:
			d.add(c)
		}
	}
}

// removeAddress removes the address k of the state.
func (d *differ) removeAddress(k int, at stage) {
	a := d.state.addresses[k]
	d.done.addresses[k] = true
	name := d.names[a.index]
	d.add(change{
		Change: Change{"remove", "address", name, a.prefix.String()}, stage: at, index: a.index,
		do:   dropAddress{unix.RTM_DELADDR, 0, a.raw},
		undo: message{unix.RTM_NEWADDR, newOnly, a.raw},
	})
}

// ourAddress reports whether an address was added by stoker.
func (d *differ) ourAddress(a address) bool {
	if a.ours || d.state.marks {
		return a.ours
	}
	l := d.state.link(a.index)
	return l != nil && d.record.hasAddress(l, a.prefix)
}
