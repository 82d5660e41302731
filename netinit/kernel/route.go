package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/stoker-init/stoker/netinit"
	"golang.org/x/sys/unix"
)

func (d *differ) diffRoutes(i int) {
	want, have, _, skipped := d.link(i)
	if skipped {
		return
	}
	if have != nil && want.AcceptRA == netinit.AcceptRAOff {
		for k, r := range d.state.routes {
			if r.index == have.index && r.proto == unix.RTPROT_RA {
				d.removeRoute(k, routeStage)
			}
		}
	}
	for _, r := range want.Routes {
		d.diffRoute(normalRoute(r), have, i)
	}
}

// diffRoute looks for a route among those with the same key, of which the kernel normally has one.
func (d *differ) diffRoute(want netinit.Route, have *link, i int) {
	name := d.wantedName(i)
	c := change{Change: Change{"add", "route", name, describeRoute(want)}, stage: routeStage}
	if c.later = have == nil && want.Type == ""; c.later {
		d.add(c)
		return
	}
	if want.Type == "" {
		c.index = have.index
	}
	replaced, other := -1, -1
	for k, r := range d.state.routes {
		if d.done.routes[k] || r.To != want.To || r.Table != want.Table || r.Metric != want.Metric {
			continue
		}
		ours := r.proto == protocol
		switch {
		case r.sameAs(want, c.index, ours):
			d.done.routes[k] = true
			return
		case ours:
			replaced = k
		default:
			other = k
		}
	}
	if other >= 0 {
		r := d.state.routes[other]
		d.refuse(c, "give it another metric, or ip "+map[bool]string{true: "-6 "}[r.To.Addr().Is6()]+"route del "+describeKey(r.Route),
			"cannot add route %s of link %q: there is %s, which stoker has not added", c.Detail, name, describeRoute(r.Route)+d.through(r))
		return
	}
	body := routeBody(want, c.index)
	c.do, c.undo = message{unix.RTM_NEWROUTE, newOnly, body}, message{unix.RTM_DELROUTE, 0, body}
	if replaced >= 0 {
		was := d.state.routes[replaced]
		d.done.routes[replaced] = true
		c.Verb, c.Detail = "set", c.Detail+" (was "+describeRoute(was.Route)+d.through(was)+")"
		c.do, c.undo = message{unix.RTM_NEWROUTE, newOrOther, body},
			message{unix.RTM_NEWROUTE, newOrOther, was.raw}
	}
	d.add(c)
}

// sameAs reports whether a route of the kernel is the wanted one, whose key it has. Where the plan leaves an attribute open, a route of
// others may have any.
func (r *route) sameAs(want netinit.Route, index int, ours bool) bool {
	open := func(unset bool) bool { return unset && !ours }
	return !r.odd && r.index == index && r.Type == want.Type && r.Via == want.Via && r.Scope == want.Scope &&
		(r.Source == want.Source || open(!want.Source.IsValid())) &&
		(r.MTU == want.MTU || open(want.MTU == 0)) && (r.AdvMSS == want.AdvMSS || open(want.AdvMSS == 0))
}

func (d *differ) removeRoute(k int, at stage) {
	r := d.state.routes[k]
	d.done.routes[k] = true
	d.add(change{
		Change: Change{"remove", "route", d.names[r.index], describeRoute(r.Route)}, stage: at, index: r.index,
		do: message{unix.RTM_DELROUTE, 0, r.raw}, undo: message{unix.RTM_NEWROUTE, newNext, r.raw},
	})
}

// through names the link of a route.
func (d *differ) through(r route) string {
	if name := d.names[r.index]; name != "" {
		return " dev " + name
	}
	return ""
}

// describeKey describes the destination, metric and table of a route, as ip route does.
func describeKey(r netinit.Route) string {
	s := r.To.String()
	if r.To.Bits() == 0 {
		s = "default"
	}
	if r.Metric != 0 && (r.Metric != netinit.DefaultMetricIPv6 || r.To.Addr().Is4()) {
		s += fmt.Sprintf(" metric %d", r.Metric)
	}
	if r.Table != netinit.MainTable {
		s += fmt.Sprintf(" table %d", r.Table)
	}
	return s
}

// describeRoute also describes where it leads.
func describeRoute(r netinit.Route) string {
	s := describeKey(r)
	if r.Type != "" {
		s = r.Type + " " + s
	}
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	if r.Source.IsValid() {
		s += " src " + r.Source.String()
	}
	if r.MTU != 0 {
		s += fmt.Sprintf(" mtu %d", r.MTU)
	}
	if r.AdvMSS != 0 {
		s += fmt.Sprintf(" advmss %d", r.AdvMSS)
	}
	return s
}

// routeBody is the message of a route in normal form.
func routeBody(r netinit.Route, index int) []byte {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[1], b[4], b[5] = family(r.To.Addr()), byte(r.To.Bits()), byte(r.Table), protocol
	if r.Table > 255 {
		b[4] = unix.RT_TABLE_UNSPEC
	}
	b[6], b[7] = code(scopes(), r.Scope), code(routeTypes(), r.Type)
	if r.OnLink {
		binary.NativeEndian.PutUint32(b[8:], unix.RTNH_F_ONLINK)
	}
	b = attribute(b, unix.RTA_TABLE, number32(uint32(r.Table)))
	if r.To.Bits() > 0 {
		b = attribute(b, unix.RTA_DST, r.To.Addr().AsSlice())
	}
	if r.Via.IsValid() {
		b = attribute(b, unix.RTA_GATEWAY, r.Via.AsSlice())
	}
	if r.Source.IsValid() {
		b = attribute(b, unix.RTA_PREFSRC, r.Source.AsSlice())
	}
	if index != 0 {
		b = attribute(b, unix.RTA_OIF, number32(uint32(index)))
	}
	if r.Metric != 0 {
		b = attribute(b, unix.RTA_PRIORITY, number32(uint32(r.Metric)))
	}
	var metrics []byte
	if r.MTU != 0 {
		metrics = attribute(metrics, unix.RTAX_MTU, number32(uint32(r.MTU)))
	}
	if r.AdvMSS != 0 {
		metrics = attribute(metrics, unix.RTAX_ADVMSS, number32(uint32(r.AdvMSS)))
	}
	if metrics != nil {
		b = attribute(b, unix.RTA_METRICS, metrics)
	}
	return b
}

// code returns the number of a name. An empty or unknown one is global, or unicast.
func code(names map[uint8]string, name string) uint8 {
	for number, n := range names {
		if n == name {
			return number
		}
	}
	return 0
}

func family(a netip.Addr) byte {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func (d *differ) diffRules() {
	for _, want := range d.plan.Rules {
		at := slices.IndexFunc(d.state.rules, func(r rule) bool { return !r.odd && sameRule(r.Rule, want) })
		if at >= 0 {
			d.done.rules[at] = true
			continue
		}
		body := ruleBody(want)
		d.add(change{
			Change: Change{"add", "rule", "", describeRule(want)}, stage: ruleStage,
			do: message{unix.RTM_NEWRULE, newOnly, body}, undo: message{unix.RTM_DELRULE, 0, body},
		})
	}
}

func sameRule(a, b netinit.Rule) bool {
	return a.Priority == b.Priority && a.From == b.From && a.To == b.To && a.Mark == b.Mark && a.Table == b.Table && a.IPv6 == b.IPv6
}

func describeRule(r netinit.Rule) string {
	s := fmt.Sprintf("priority %d", r.Priority)
	if r.From.IsValid() {
		s += " from " + r.From.String()
	}
	if r.To.IsValid() {
		s += " to " + r.To.String()
	}
	if r.Mark != 0 {
		s += fmt.Sprintf(" mark %#x", r.Mark)
	}
	if s += fmt.Sprintf(" table %d", r.Table); r.IPv6 {
		s += " (IPv6)"
	}
	return s
}

func ruleBody(r netinit.Rule) []byte {
	b := make([]byte, sizeofRuleHeader)
	b[0], b[7] = unix.AF_INET, unix.FR_ACT_TO_TBL
	if r.IPv6 {
		b[0] = unix.AF_INET6
	}
	b = attribute(b, unix.FRA_PRIORITY, number32(uint32(r.Priority)))
	b = attribute(b, unix.FRA_TABLE, number32(uint32(r.Table)))
	b = attribute(b, unix.FRA_PROTOCOL, []byte{protocol})
	if r.From.IsValid() {
		b[2] = byte(r.From.Bits())
		b = attribute(b, unix.FRA_SRC, r.From.Addr().AsSlice())
	}
	if r.To.IsValid() {
		b[1] = byte(r.To.Bits())
		b = attribute(b, unix.FRA_DST, r.To.Addr().AsSlice())
	}
	if r.Mark != 0 {
		b = attribute(b, unix.FRA_FWMARK, number32(r.Mark))
	}
	return b
}

// removeStale removes what is ours and not wanted any more. The routes and addresses of a link that is removed go with it.
func (d *differ) removeStale() {
	for k := range d.state.links {
		if l := &d.state.links[k]; d.ourLink(l) && !slices.Contains(d.found, l.index) && !d.going[l.index] {
			d.removeLink(l, removeStage)
		}
	}
	for k, r := range d.state.rules {
		if r.ours && !d.done.rules[k] {
			d.add(change{
				Change: Change{"remove", "rule", "", describeRule(r.Rule)}, stage: removeStage,
				do: message{unix.RTM_DELRULE, 0, r.raw}, undo: message{unix.RTM_NEWRULE, newOnly, r.raw},
			})
		}
	}
	for k, r := range d.state.routes {
		if r.proto == protocol && !d.done.routes[k] && !d.going[r.index] {
			d.removeRoute(k, removeStage)
		}
	}
	for k, a := range d.state.addresses {
		if !d.done.addresses[k] && !d.going[a.index] && d.ourAddress(a) {
			d.removeAddress(k, removeStage)
		}
	}
}
