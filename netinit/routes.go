package netinit

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// maxNumber is the largest metric, table or priority.
const maxNumber = 1<<32 - 1

// addressMetricIPv6 is the metric of the route that the kernel adds for an address; metricStep is between those that are chosen.
const (
	addressMetricIPv6 = 256
	metricStep        = 100
)

// routes checks the routes of link i, and merges those that it has twice.
func (f *finisher) routes(i int) {
	l := &f.plan.Links[i]
	var out []Route
	index := map[Route]int{}
	for _, r := range l.Routes {
		if f.broken[r.path] || !f.route(&r, i) || f.isOfAddress(l, r) {
			continue
		}
		key := r
		key.path, key.metricSet, key.OnLink, key.notOnLink = "", false, false, false
		if k, has := index[key]; has {
			out[k].metricSet, out[k].OnLink = out[k].metricSet || r.metricSet, out[k].OnLink || r.OnLink
			out[k].notOnLink = out[k].notOnLink || r.notOnLink
			continue
		}
		index[key] = len(out)
		out = append(out, r)
	}
	l.Routes = out
}

// route checks and normalises a route of a link; false: it has a problem.
func (f *finisher) route(r *Route, link int) bool {
	bad := func(field, format string, args ...any) bool {
		f.Bad(f.at(r.path, field), "", format, args...)
		return false
	}
	r.Table = cmp.Or(r.Table, MainTable)
	if r.Via.IsUnspecified() {
		r.Via = netip.Addr{}
	}
	switch is6 := r.To.Addr().Is6(); {
	case !r.To.IsValid():
		return bad("to", "is missing")
	case r.Via.IsValid() && r.Via.Is6() != is6:
		return bad("via", "%s is of another family than %s", r.Via, r.To)
	case r.Source.IsValid() && r.Source.Is6() != is6:
		return bad("source", "%s is of another family than %s", r.Source, r.To)
	case r.Metric < 0 || r.Metric > maxNumber:
		return bad("metric", "%d is not between 0 and %d", r.Metric, maxNumber)
	case r.Table < 0 || r.Table > maxNumber:
		return bad("table", "%d is no routing table", r.Table)
	case r.MTU != 0 && (r.MTU < minMTU || r.MTU > maxMTU):
		return bad("mtu", "%d is not between %d and %d", r.MTU, minMTU, maxMTU)
	case r.MTU != 0 && r.MTU < MinMTUIPv6 && is6:
		return bad("mtu", "%d is less than %d, which IPv6 needs", r.MTU, MinMTUIPv6)
	case r.AdvMSS < 0 || r.AdvMSS > maxMTU:
		return bad("adv_mss", "%d is not between 0 and %d", r.AdvMSS, maxMTU)
	}
	r.To = r.To.Masked()
	return f.typed(r, bad) && f.scoped(r, bad) && f.ends(r, link, bad)
}

// typed checks the type of a route.
func (f *finisher) typed(r *Route, bad func(field, format string, args ...any) bool) bool {
	switch r.Type {
	case "", "unicast":
		r.Type = ""
	case "blackhole", "unreachable", "prohibit", "throw":
		if r.Via.IsValid() || r.Source.IsValid() || r.OnLink || r.notOnLink || r.Scope != "" || r.MTU != 0 || r.AdvMSS != 0 {
			return bad("type", "%s goes with to, metric and table only", r.Type)
		}
	default:
		return bad("type", "%s is not unicast, blackhole, unreachable, prohibit or throw", layeredyaml.Quote(r.path, r.Type))
	}
	return true
}

// scoped checks the scope of a route, and leaves it out where it follows from the rest. IPv6 has none.
func (f *finisher) scoped(r *Route, bad func(field, format string, args ...any) bool) bool {
	usual := "link"
	if r.Via.IsValid() || r.To.Addr().Is6() {
		usual = "global"
	}
	switch {
	case r.Scope != "" && r.Scope != "global" && r.Scope != "link" && r.Scope != "host":
		return bad("scope", "%s is not global, link or host", layeredyaml.Quote(r.path, r.Scope))
	case r.Scope == usual || r.To.Addr().Is6():
		r.Scope = ""
	case r.Scope != "" && r.Via.IsValid():
		return bad("scope", "is %s for a route with a gateway", r.Scope)
	}
	return true
}

// ends checks the gateway and the source of a route.
func (f *finisher) ends(r *Route, link int, bad func(field, format string, args ...any) bool) bool {
	_, ownSource := f.own[keyOf(r.Source, link)]
	switch own, isOwn := f.own[keyOf(r.Via, link)]; {
	case r.Source.IsValid() && !ownSource:
		return bad("source", "%s is no address of a link here", r.Source)
	case !r.Via.IsValid():
		r.OnLink, r.notOnLink = false, false
	case r.Via.IsMulticast() || r.Via.IsLoopback() || r.Via == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return bad("via", "%s is no gateway", r.Via)
	case r.Via.Zone() != "":
		return bad("via", "%s has a zone; a route is through its link", r.Via)
	case isOwn:
		return bad("via", "%s is the own address at %s", r.Via, own.path)
	}
	return true
}

// isOfAddress reports whether a route is the one that the kernel adds itself for an address of the link.
func (f *finisher) isOfAddress(l *Link, r Route) bool {
	plain := Route{To: r.To, Table: MainTable, path: r.path, metricSet: r.metricSet}
	return r == plain && slices.ContainsFunc(l.Addresses, func(p netip.Prefix) bool { return p.Masked() == r.To && !p.IsSingleIP() })
}

// routeKey is what the kernel allows once.
type routeKey struct {
	table  int
	to     netip.Prefix
	metric int
}

// metrics chooses metrics for routes that have none: the first to a destination gets the kernel's default, the others more in steps.
func (f *finisher) metrics() {
	used := map[routeKey]string{}
	for _, l := range f.plan.Links {
		for _, p := range l.Addresses {
			metric := 0
			if p.Addr().Is6() {
				metric = addressMetricIPv6
			}
			if p.Addr().Is6() || !p.IsSingleIP() {
				used[routeKey{MainTable, p.Masked(), metric}] = "the route of the address " + p.String()
			}
		}
	}
	each := func(explicit bool, do func(r *Route, key routeKey)) {
		for i := range f.plan.Links {
			for k := range f.plan.Links[i].Routes {
				if r := &f.plan.Links[i].Routes[k]; r.metricSet == explicit {
					key := routeKey{r.Table, r.To, r.Metric}
					if r.Metric == 0 && r.To.Addr().Is6() {
						key.metric = DefaultMetricIPv6
					}
					do(r, key)
				}
			}
		}
	}
	each(true, func(r *Route, key routeKey) {
		if other, has := used[key]; has {
			f.Bad(f.at(r.path, "metric"), "give one of them another", "%d to %s is the metric of another route: %s", key.metric, r.To, other)
			return
		}
		used[key] = r.path
	})
	next := map[routeKey]int{} // by the key without a metric of its own
	each(false, func(r *Route, key routeKey) {
		first := key
		key.metric = max(key.metric, next[first])
		for _, has := used[key]; has; _, has = used[key] {
			key.metric += metricStep
		}
		if key.metric != first.metric {
			r.Metric = key.metric
		}
		used[key], next[first] = r.path, key.metric+metricStep
	})
}

// place is a network in a table.
type place struct {
	table int
	to    netip.Prefix
}

// gateways checks the gateways of a link and orders its routes.
func (f *finisher) gateways(l *Link) {
	near := map[place]bool{} // what is on the link; true: by an address
	for _, r := range l.Routes {
		if !r.Via.IsValid() && r.Type == "" && r.Scope != "global" {
			near[place{r.Table, r.To}] = false
		}
	}
	for _, p := range l.Addresses {
		near[place{MainTable, p.Masked()}] = true
	}
	for i := range l.Routes {
		r := &l.Routes[i]
		if r.Via.IsValid() {
			f.gateway(r, near, f.broken[l.path])
		}
		r.path, r.metricSet, r.notOnLink = "", false, false
	}
	slices.SortStableFunc(l.Routes, func(a, b Route) int { return a.turn() - b.turn() })
}

// gateway sets OnLink if the gateway of a route cannot be reached without it. A link with problems may be near to more.
func (f *finisher) gateway(r *Route, near map[place]bool, broken bool) {
	reachable := r.Via.Is6() && r.Via.IsLinkLocalUnicast()
	for bits := 0; bits <= r.Via.BitLen(); bits++ {
		p, _ := r.Via.Prefix(bits)
		ofAddress, has := near[place{MainTable, p}]
		if ofAddress && isBroadcast(netip.PrefixFrom(r.Via, bits)) {
			f.Bad(f.at(r.path, "via"), "", "%s is the broadcast address of %s", r.Via, p)
		}
		_, own := near[place{r.Table, p}]
		reachable = reachable || has || own
	}
	if reachable || r.OnLink {
		return
	}
	if r.OnLink = !r.notOnLink; !r.OnLink && !broken {
		f.Bad(f.at(r.path, "via"), "remove onlink, or add a route to it without via", "%s is in no network of the link, and onlink is no", r.Via)
	}
}

// turn is the place of a route in an order that the kernel accepts: a gateway is reached through the routes before.
func (r *Route) turn() int {
	switch {
	case r.Type != "":
		return 0
	case !r.Via.IsValid():
		return 1
	case r.To.Bits() > 0:
		return 2
	}
	return 3
}
