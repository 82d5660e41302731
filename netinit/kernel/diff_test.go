package kernel

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/netinit"
	"golang.org/x/sys/unix"
)

// diffCase is a state and a plan, and what diff makes of them.
type diffCase struct {
	plan    netinit.Plan
	state   state
	record  Record
	options Options
	want    []string // changes, and "later:", "refused:" and "warning:" with a part of the text
}

// ready is a state with the link eth0, which is up.
func ready(more ...link) state {
	return state{links: append([]link{
		{index: 1, name: "lo", up: true, mtu: 65536}, {index: 2, name: "eth0", mac: "02:00:00:00:00:02", up: true, ethernet: true, mtu: 1500},
	}, more...)}
}

func (s state) with(change func(*state)) state {
	change(&s)
	return s
}

func eth0(change func(*netinit.Link)) netinit.Plan {
	l := netinit.Link{ID: "a", Match: netinit.Match{Name: "eth0"}}
	change(&l)
	return netinit.Plan{Links: []netinit.Link{l}}
}

func withVLAN(v netinit.Link) netinit.Plan {
	p := eth0(func(*netinit.Link) {})
	p.Links = append(p.Links, v)
	return p
}

func diffCases() map[string]diffCase {
	other := func(p string, ours bool, flags uint32) address {
		return address{index: 2, prefix: netip.MustParsePrefix(p), ours: ours, flags: flags}
	}
	ours := func(p string) address { return other(p, true, 0) }
	to := func(to, via string, index int, proto uint8) route {
		r := netinit.Route{To: netip.MustParsePrefix(to)}
		if via != "" {
			r.Via = netip.MustParseAddr(via)
		}
		return route{Route: normalRoute(r), index: index, proto: proto}
	}
	vlan5 := link{index: 3, parent: 2, name: "eth0.5", kind: "vlan", vlan: 5, up: true, alias: alias, mac: "02:00:00:00:00:02"}
	return map[string]diffCase{
		"nothing": {plan: eth0(func(*netinit.Link) {}), state: ready()},
		"lo is down": {
			plan: netinit.Plan{}, state: ready().with(func(s *state) { s.links[0].up = false }), want: []string{"set link up of lo"},
		},
		"new before stale": {
			plan:  eth0(func(l *netinit.Link) { l.Addresses = prefixes("192.0.2.2/24") }),
			state: ready().with(func(s *state) { s.addresses = append(s.addresses, ours("192.0.2.1/24")) }),
			want:  []string{"add address 192.0.2.2/24 of eth0", "remove address 192.0.2.1/24 of eth0"},
		},
		"IPv6 with another prefix length": {
			plan:  eth0(func(l *netinit.Link) { l.Addresses = prefixes("2001:db8::1/64") }),
			state: ready().with(func(s *state) { s.addresses = append(s.addresses, ours("2001:db8::1/128")) }),
			want:  []string{"remove address 2001:db8::1/128 of eth0", "add address 2001:db8::1/64 of eth0"},
		},
		"an MTU that removes an address of others": {
			plan:  eth0(func(l *netinit.Link) { l.MTU = 1200 }),
			state: ready().with(func(s *state) { s.addresses = append(s.addresses, other("2001:db8::1/64", false, 0)) }),
			want:  []string{"later: set link mtu 1200 (was 1500) of eth0", "refused: 2001:db8::1/64, which stoker has not added"},
		},
		"an MTU too small for IPv6": {
			plan:  eth0(func(l *netinit.Link) { l.Addresses = prefixes("2001:db8::1/64") }),
			state: ready().with(func(s *state) { s.links[1].mtu = 1200 }),
			want:  []string{"later: add address 2001:db8::1/64 of eth0", "refused: its MTU is 1200"},
		},
		"the same, of others": {
			plan:  eth0(func(l *netinit.Link) { l.Addresses = prefixes("2001:db8::1/64") }),
			state: ready().with(func(s *state) { s.addresses = append(s.addresses, other("2001:db8::1/128", false, 0)) }),
			want:  []string{"later: add address 2001:db8::1/64 of eth0", "refused: cannot add address 2001:db8::1/64 to link \"eth0\": it has 2001:db8::1/128"},
		},
		"a duplicate is tried again": {
			plan:  eth0(func(l *netinit.Link) { l.Addresses = prefixes("2001:db8::1/64") }),
			state: ready().with(func(s *state) { s.addresses = append(s.addresses, other("2001:db8::1/64", true, unix.IFA_F_DADFAILED)) }),
			want:  []string{"add address 2001:db8::1/64 (again: another host had it) of eth0"},
		},
		"without IFA_PROTO the record decides": {
			plan: eth0(func(*netinit.Link) {}),
			state: ready().with(func(s *state) {
				s.addresses = append(s.addresses, other("192.0.2.1/24", false, 0), other("192.0.2.2/24", false, 0))
			}),
			record: Record{Addresses: []RecordedAddress{{Link: "old0", MAC: "02:00:00:00:00:02", Prefix: netip.MustParsePrefix("192.0.2.1/24")}}},
			want:   []string{"remove address 192.0.2.1/24 of eth0"},
		},
		"with IFA_PROTO the mark decides": {
			plan: eth0(func(*netinit.Link) {}),
			state: ready().with(func(s *state) {
				s.addresses, s.marks = append(s.addresses, other("192.0.2.1/24", false, 0)), true
			}),
			record: Record{Addresses: []RecordedAddress{{Link: "eth0", Prefix: netip.MustParsePrefix("192.0.2.1/24")}}},
		},
		"another next hop": {
			plan: eth0(func(l *netinit.Link) { l.Routes = []netinit.Route{to("0.0.0.0/0", "192.0.2.1", 2, 0).Route} }),
			state: ready().with(func(s *state) {
				s.routes = append(s.routes, to("0.0.0.0/0", "192.0.2.9", 2, protocol), to("10.0.0.0/8", "", 2, protocol), to("10.1.0.0/16", "", 2, unix.RTPROT_STATIC))
			}),
			want: []string{"set route default via 192.0.2.1 (was default via 192.0.2.9 dev eth0) of eth0", "remove route 10.0.0.0/8 of eth0"},
		},
		"a conflict": {
			plan:  eth0(func(l *netinit.Link) { l.Routes = []netinit.Route{to("::/0", "fe80::1", 2, 0).Route} }),
			state: ready().with(func(s *state) { s.routes = append(s.routes, to("::/0", "fe80::9", 2, unix.RTPROT_STATIC)) }),
			want:  []string{"later: add route ::/0 via fe80::1 of eth0", "refused: there is ::/0 via fe80::9 dev eth0"},
		},
		"no conflict with advertisements that are off": {
			plan: eth0(func(l *netinit.Link) {
				l.AcceptRA, l.Routes = netinit.AcceptRAOff, []netinit.Route{to("::/0", "fe80::1", 2, 0).Route}
			}),
			state: ready().with(func(s *state) { s.routes = append(s.routes, to("::/0", "fe80::9", 2, unix.RTPROT_RA)) }),
			want:  []string{"remove route ::/0 via fe80::9 of eth0", "add route ::/0 via fe80::1 of eth0"},
		},
		"what others added has attributes of its own": {
			plan: eth0(func(l *netinit.Link) { l.Routes = []netinit.Route{to("10.0.0.0/8", "", 2, 0).Route} }),
			state: ready().with(func(s *state) {
				r := to("10.0.0.0/8", "", 2, unix.RTPROT_KERNEL)
				r.Source, r.MTU = netip.MustParseAddr("10.0.0.1"), 1400
				s.routes = append(s.routes, r)
			}),
		},
		"what we added has not": {
			plan: eth0(func(l *netinit.Link) { l.Routes = []netinit.Route{to("10.0.0.0/8", "", 2, 0).Route} }),
			state: ready().with(func(s *state) {
				r := to("10.0.0.0/8", "", 2, protocol)
				r.MTU = 1400
				s.routes = append(s.routes, r)
			}),
			want: []string{"set route 10.0.0.0/8 (was 10.0.0.0/8 mtu 1400 dev eth0) of eth0"},
		},
		"rules": {
			plan: netinit.Plan{Rules: []netinit.Rule{{Priority: 1, Table: 7}, {Priority: 1, Table: 7, IPv6: true}}},
			state: ready().with(func(s *state) {
				s.rules = []rule{{Rule: netinit.Rule{Priority: 1, Table: 7}, odd: true}, {Rule: netinit.Rule{Priority: 9, Table: 7}, ours: true},
					{Rule: netinit.Rule{Priority: 1, Table: 7, IPv6: true}}}
			}),
			want: []string{"add rule priority 1 table 7", "remove rule priority 9 table 7"},
		},
		"a new VLAN": {
			plan: withVLAN(netinit.Link{ID: "v", VLAN: &netinit.VLAN{ID: 5, Parent: "a"}, Addresses: prefixes("192.0.2.1/24")}), state: ready(),
			want: []string{"add link vlan 5 on eth0 of eth0.5", "later: add address 192.0.2.1/24 of eth0.5"},
		},
		"the VLAN is there": {
			plan: withVLAN(netinit.Link{ID: "v", VLAN: &netinit.VLAN{ID: 5, Parent: "a", MAC: "02:00:00:00:00:05"}}), state: ready(vlan5),
			want: []string{"set link MAC address 02:00:00:00:00:05 (was 02:00:00:00:00:02) of eth0.5"},
		},
		"another number": {
			plan: withVLAN(netinit.Link{ID: "v", VLAN: &netinit.VLAN{ID: 6, Parent: "a"}, Rename: "eth0.5"}),
			state: ready(vlan5).with(func(s *state) {
				s.addresses = append(s.addresses, other("192.0.2.1/24", true, 0))
				s.addresses[0].index = 3
			}),
			want: []string{"remove link vlan 5 of eth0.5", "add link vlan 6 on eth0 of eth0.5"},
		},
		"numbers exchanged": {
			plan: netinit.Plan{Links: []netinit.Link{{ID: "a", Match: netinit.Match{Name: "eth0"}},
				{ID: "v", VLAN: &netinit.VLAN{ID: 6, Parent: "a"}, Rename: "eth0.5"}, {ID: "w", VLAN: &netinit.VLAN{ID: 5, Parent: "a"}, Rename: "eth0.6"}}},
			state: ready(vlan5),
			want:  []string{"later: add link vlan 6 on eth0 of eth0.5", "set link name eth0.6 (was eth0.5) of eth0.6"},
		},
		"the VLAN is not wanted": {
			plan: eth0(func(*netinit.Link) {}), state: ready(vlan5), want: []string{"remove link vlan 5 of eth0.5"},
		},
		"a VLAN of others": {
			plan:  withVLAN(netinit.Link{ID: "v", VLAN: &netinit.VLAN{ID: 5, Parent: "a"}, Rename: "v0"}),
			state: ready(vlan5).with(func(s *state) { s.links[2].alias = "" }),
			want:  []string{"later: add link vlan 5 of v0", "refused: link \"eth0.5\", which stoker has not added"},
		},
		"killed before the alias": {
			plan:  withVLAN(netinit.Link{ID: "v", VLAN: &netinit.VLAN{ID: 5, Parent: "a"}}),
			state: ready(vlan5).with(func(s *state) { s.links[2].alias = "" }), record: Record{Links: []string{"eth0.5"}},
			want: []string{"set link alias stoker of eth0.5"},
		},
		"optional": {
			plan: netinit.Plan{Links: []netinit.Link{
				{ID: "x", Match: netinit.Match{Name: "x0"}, Optional: true, Addresses: prefixes("192.0.2.1/24")},
				{ID: "v", VLAN: &netinit.VLAN{ID: 5, Parent: "x"}, Optional: true}}},
			state: ready(), want: []string{"warning: optional link \"x\" is absent", "warning: optional link \"v\" is absent"},
		},
		"settings": {
			plan: eth0(func(*netinit.Link) {}),
			state: ready().with(func(s *state) {
				s.settings = []setting{{2, "ipv6", "accept_ra", "1", "0", false}, {2, "ipv6", "accept_ra", "1", "0", true}, {2, "ipv6", "disable_ipv6", "1", "0", true}}
			}),
			want: []string{"set sysctl accept_ra 0 (was 1) of eth0", "later: set sysctl disable_ipv6 0 (was 1) of eth0", "refused: cannot enable IPv6", "warning: cannot set sysctl accept_ra 0"},
		},
		"files": {
			plan:    netinit.Plan{DNS: netinit.DNS{Search: []string{"example.org"}}, Hostname: "app1"},
			options: Options{Files: netinit.Files{ResolvConf: "/r", HostsFile: "/h", Hostname: true}},
			state:   ready().with(func(s *state) { s.hostname = "old" }),
			want:    []string{"set file /r", "set hostname app1 (was old)"},
		},
		"the original resolv.conf": {
			options: Options{Files: netinit.Files{ResolvConf: "/r"}},
			record:  Record{Resolv: &SavedFile{Path: "/r", Original: "old", Written: []string{"new"}}},
			state:   ready().with(func(s *state) { s.resolv = "new" }), want: []string{"set file /r"},
		},
		"written by others since": {
			options: Options{Files: netinit.Files{ResolvConf: "/r"}},
			record:  Record{Resolv: &SavedFile{Path: "/r", Original: "old", Written: []string{"new"}}},
			state:   ready().with(func(s *state) { s.resolv = "newer" }),
		},
	}
}

func TestDiff(t *testing.T) {
	for name, c := range diffCases() {
		t.Run(name, func(t *testing.T) {
			found, missing, err := resolve(&c.plan, &c.state, nil, &Record{})
			if err != nil || len(missing) > 0 {
				t.Fatal(missing, err)
			}
			d := diff(&c.plan, found, &c.state, &c.record, c.options)
			var got []string
			for _, change := range d.changes {
				text := change.String()
				if change.later {
					text = "later: " + text
				} else if change.do == nil {
					t.Errorf("%s has no step", text)
				}
				got = append(got, text)
			}
			for _, r := range d.refusals {
				got = append(got, "refused: "+r.Error())
			}
			for _, w := range d.warnings {
				got = append(got, "warning: "+w)
			}
			fits := func(got, want string) bool {
				kind, part, special := strings.Cut(want, ": ")
				return got == want || special && strings.HasPrefix(got, kind+": ") && strings.Contains(got, part)
			}
			if !slices.EqualFunc(got, c.want, fits) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	other := link{index: 4, name: "eth1", mac: "02:00:00:00:00:04", ethernet: true}
	swapping := link{index: 4, name: "stoker4", mac: other.mac, ethernet: true}
	twin := link{index: 4, name: "eth1", mac: "02:00:00:00:00:02", ethernet: true}
	child := link{index: 5, parent: 2, name: "mv0", mac: "02:00:00:00:00:02", ethernet: true, kind: "macvlan"}
	byMAC, byName := netinit.Match{MAC: "02:00:00:00:00:02"}, netinit.Match{Name: "eth0"}
	for name, c := range map[string]struct {
		l       netinit.Link
		state   state
		known   targets
		renamed RenamedLink
		want    string
	}{
		"by MAC address":                {l: netinit.Link{Match: byMAC}, state: ready(child), want: "eth0"},
		"two of them":                   {l: netinit.Link{Match: byMAC}, state: ready(twin), want: "more than one link matches: eth0, eth1"},
		"both":                          {l: netinit.Link{Match: netinit.Match{MAC: twin.mac, Name: "eth1"}}, state: ready(twin), want: "eth1"},
		"found before":                  {l: netinit.Link{Match: byMAC}, state: ready(twin), known: targets{4}, want: "eth1"},
		"found before, and removed":     {l: netinit.Link{Match: byMAC}, state: ready(), known: targets{4}, want: "eth0"},
		"absent":                        {l: netinit.Link{Match: netinit.Match{Name: "x"}}, state: ready(), want: "missing"},
		"renamed":                       {l: netinit.Link{Match: netinit.Match{Name: "x"}, Rename: "eth0"}, state: ready(), want: "eth0"},
		"renamed, and a new one":        {l: netinit.Link{Match: byName, Rename: "eth1"}, state: ready(other), renamed: RenamedLink{"eth1", 4, other.mac}, want: "eth1"},
		"renamed, and another now":      {l: netinit.Link{Match: byName, Rename: "eth1"}, state: ready(other), renamed: RenamedLink{"eth1", 4, "02:00:00:00:00:09"}, want: "eth0"},
		"not renamed yet":               {l: netinit.Link{Match: byName, Rename: "eth1"}, state: ready(other), renamed: RenamedLink{"eth1", 2, "02:00:00:00:00:02"}, want: "eth0"},
		"killed while it was renamed":   {l: netinit.Link{Match: netinit.Match{MAC: other.mac, Name: "eth0"}, Rename: "eth1"}, state: ready(swapping), want: "stoker4"},
		"to be renamed, a name is used": {l: netinit.Link{Match: byName, Rename: "eth1"}, state: ready(twin), want: "eth0"},
		"renamed, by MAC address":       {l: netinit.Link{Match: byMAC, Rename: "eth0"}, state: ready(child), want: "eth0"},
	} {
		t.Run(name, func(t *testing.T) {
			found, missing, err := resolve(&netinit.Plan{Links: []netinit.Link{c.l}}, &c.state, c.known, &Record{Renamed: []RenamedLink{c.renamed}})
			got := "missing"
			switch {
			case err != nil:
				got = err.Error()
			case len(missing) == 0:
				got = c.state.link(found[0]).name
			}
			if !strings.HasSuffix(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
