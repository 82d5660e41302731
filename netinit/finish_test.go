package netinit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// eth returns a description with one link, whose keys follow its match.
func eth(keys string) string { return "version: 1\nlinks:\n- {match: {name: eth0}, " + keys + "}\n" }

// routes returns one with routes on a link with 192.0.2.10/24 and 2001:db8::10/64.
func routes(list ...string) string {
	return eth(`addresses: [192.0.2.10/24, "2001:db8::10/64"], routes: [` + strings.Join(list, ", ") + "]")
}

// two returns one with a second link.
func two(keys, second string) string { return eth(keys) + "- {" + second + "}\n" }

func top(keys string) string { return "version: 1\n" + keys }

// refusals are descriptions with what is reported of them: "path: part of the message", one or more.
var refusals = []struct {
	input string
	want  []string
}{
	// The document.
	{"links: []", []string{"version: is missing"}},
	{"version: 2\nlinks: []", []string{`version: "2" is not one of 1`}},
	{top("link: []"), []string{`link: unknown key (did you mean "links"?)`}},
	{top("dns: {servers: []}\ndns: {}"), []string{"dns: is set twice, first on line 2"}},
	{top("hosts: {}"), []string{"hosts: is a section of keys, not a list"}},
	{top("links: [null]"), []string{"links[0].match: does not say which link is meant"}},
	{top("dns: {servers: [null]}"), []string{"dns.servers[0]: has no value"}},
	// Links.
	{top(`links: [{match: {mac: "02:00:5e:aa:0b"}}]`), []string{`links[0].match.mac: "02:00:5e:aa:0b" is not a MAC address`}},
	{top(`links: [{match: {mac: "02:00:5e:00:00:00:00:01"}}]`), []string{"links[0].match.mac: "}},
	{top(`links: [{match: {mac: "01:00:5e:aa:0b:01"}}]`), []string{"links[0].match.mac: 01:00:5e:aa:0b:01 is the MAC address of a group"}},
	{top(`links: [{match: {mac: "00:00:00:00:00:00"}}]`), []string{"links[0].match.mac: "}},
	{top(`links: [{match: {mac: "02:00:5e:aa:0b:01"}}, {match: {mac: "02-00-5E-AA-0B-01"}}]`),
		[]string{"links[1].match: the MAC address 02:00:5e:aa:0b:01 is used twice, first by links[0]"}},
	{two("mtu: 1500", "match: {name: eth0}"), []string{"links[1].match: the name eth0 is used twice, first by links[0]"}},
	{two("mtu: 1500", "match: {name: eth1}, rename: eth0"), []string{"links[1].rename: the name eth0 is used twice"}},
	{two("id: a", "id: a, match: {name: eth1}"), []string{`links[1].id: "a" is used twice, first by links[0]`}},
	{two("rename: eth1", "match: {name: eth1}, rename: eth0"), []string{"links[0].match: the name eth0 is for links[1]",
		"links[1].match: the name eth1 is for links[0]: afterwards it would mean another link (match the link by its MAC address)"}},
	{two("mtu: 1500", "match: {name: eth0}, rename: eth1"), []string{"links[1].match: the name eth0 is for links[0]"}},
	{eth("rename: eth0123456789abc"), []string{"links[0].rename: ", "more than 15 bytes"}},
	{eth("rename: a/b"), []string{"links[0].rename: "}},
	{eth(`rename: "a:b"`), []string{"links[0].rename: "}},
	{eth(`rename: "a b"`), []string{"links[0].rename: "}},
	{eth(`rename: "a\u00a0b"`), []string{"links[0].rename: "}},
	{eth("rename: .."), []string{"links[0].rename: "}},
	{eth("rename: all"), []string{"links[0].rename: "}},
	{eth(`rename: "eth%d"`), []string{"links[0].rename: "}},
	{top("links: [{match: {name: lo}, rename: lo0}]"), []string{"links[0].rename: lo keeps its name"}},
	{eth("accept_ra: maybe"), []string{`links[0].accept_ra: "maybe" is not one of on, off, leave`}},
	{eth("mtu: 67"), []string{"links[0].mtu: 67 is not between 68 and 65535"}},
	{eth("mtu: 65536"), []string{"links[0].mtu: "}},
	{eth("mtu: -1"), []string{"links[0].mtu: "}},
	{eth(`mtu: 1279, addresses: ["2001:db8::1/64"]`), []string{"links[0].mtu: 1279 is less than 1280"}},
	{eth(`mtu: 1279, routes: [{to: "2001:db8::/32"}]`), []string{"links[0].mtu: 1279 is less than 1280"}},
	{eth(`mtu: 1279, accept_ra: on`), []string{"links[0].mtu: 1279 is less than 1280"}},
	// VLANs.
	{two("mtu: 1500", "vlan: {id: 0, parent: eth0}"), []string{"links[1].vlan.id: 0 is not the number of a VLAN"}},
	{two("mtu: 1500", "vlan: {id: 4095, parent: eth0}"), []string{"links[1].vlan.id: "}},
	{two("mtu: 1500", "vlan: {}"), []string{"links[1].vlan.parent: is missing"}},
	{two("mtu: 1500", "vlan: {id: 5}"), []string{"links[1].vlan.parent: is missing"}},
	{two("mtu: 1500", "vlan: {id: 5, parent: eth1}"), []string{`links[1].vlan.parent: there is no link "eth1"`}},
	{two("mtu: 1500", "match: {name: eth0.5}, vlan: {id: 5, parent: eth0}"), []string{"links[1].match: is set for a VLAN"}},
	{two("mtu: 1500", "mtu: 1501, vlan: {id: 5, parent: eth0}"), []string{`links[1].mtu: 1501 is more than 1500 of "eth0"`}},
	{two("mtu: 1500", "vlan: {id: 5, parent: eth0}}\n- {id: x, rename: x, vlan: {id: 5, parent: eth0}"),
		[]string{`links[2].vlan.id: VLAN 5 of "eth0" is used twice, first by links[1]`}},
	{two("mtu: 1500", "vlan: {id: 5, parent: eth0}}\n- {match: {name: eth0.5}"), []string{"links[1].vlan.id: the name eth0.5 is used twice", "links[2].id: "}},
	{top("links: [{match: {name: a-long-name12}}, {vlan: {id: 1000, parent: a-long-name12}}]"),
		[]string{"links[1].vlan.id: the name would be a-long-name12.1000: it has more than 15 bytes (give the VLAN a name with rename)"}},
	{two("mtu: 1500", "id: a, vlan: {id: 5, parent: b}}\n- {id: b, vlan: {id: 6, parent: a}"), []string{`vlan.parent: "a" is on top of itself`}},
	// Addresses.
	{eth("addresses: [192.0.2.1]"), []string{"links[0].addresses[0]: has no prefix length (write 192.0.2.1/LENGTH, such as 192.0.2.1/24)"}},
	{eth("addresses: [192.0.2.1/33]"), []string{"links[0].addresses[0]: "}},
	{eth("addresses: [192.0.2.010/24]"), []string{"links[0].addresses[0]: "}},
	{eth(`addresses: ["fe80::1%eth0/64"]`), []string{"links[0].addresses[0]: "}},
	{eth(`addresses: ["192.0.2.1/24\nx"]`), []string{"links[0].addresses[0]: "}},
	{eth(`addresses: [""]`), []string{"links[0].addresses[0]: has no address"}},
	{eth(`addresses: ["::ffff:192.0.2.1/120"]`), []string{"links[0].addresses[0]: ", "IPv4 address in IPv6 form"}},
	{eth("addresses: [224.0.0.1/24]"), []string{"links[0].addresses[0]: 224.0.0.1 is a multicast address"}},
	{eth(`addresses: ["ff02::1/64"]`), []string{"links[0].addresses[0]: ff02::1 is a multicast address"}},
	{eth(`addresses: ["::/64"]`), []string{"links[0].addresses[0]: :: is no address of a host"}},
	{eth("addresses: [0.0.0.0/24]"), []string{"links[0].addresses[0]: 0.0.0.0 is no address of a host"}},
	{eth("addresses: [127.0.0.2/8]"), []string{"links[0].addresses[0]: 127.0.0.2 is an address of lo only"}},
	{eth(`addresses: ["::1/128"]`), []string{"links[0].addresses[0]: ::1 is an address of lo only"}},
	{eth("addresses: [192.0.2.0/24]"), []string{"links[0].addresses[0]: 192.0.2.0 is the address of the network 192.0.2.0/24"}},
	{eth("addresses: [192.0.2.255/24]"), []string{"links[0].addresses[0]: 192.0.2.255 is the broadcast address of 192.0.2.0/24"}},
	{eth("addresses: [192.0.2.3/30]"), []string{"links[0].addresses[0]: "}},
	{eth("addresses: [255.255.255.255/32]"), []string{"links[0].addresses[0]: "}},
	{eth("addresses: [192.0.2.1/0]"), []string{"links[0].addresses[0]: "}},
	{eth("addresses: [192.0.2.1/24, 192.0.2.1/25]"), []string{"links[0].addresses[1]: links[0].addresses[0] is here with another prefix length"}},
	{two("addresses: [192.0.2.1/24]", "match: {name: eth1}, addresses: [192.0.2.1/32]"),
		[]string{`links[1].addresses[0]: 192.0.2.1 is an address of "eth0" too, at links[0].addresses[0]`}},
	// Routes.
	{routes("{via: 192.0.2.1}"), []string{"links[0].routes[0].to: is missing"}},
	{routes("{to: default}"), []string{`links[0].routes[0].to: "default" has no family without via`}},
	{routes("{to: 10.0.0.0/33}"), []string{"links[0].routes[0].to: "}},
	{routes(`{to: "::ffff:10.0.0.0/104"}`), []string{"links[0].routes[0].to: "}},
	{routes("{to: default, via: 192.0.2.300}"), []string{`links[0].routes[0].via: "192.0.2.300" is not an address`}},
	{routes("{to: default, via: 192.0.2.1/24}"), []string{"links[0].routes[0].via: ", "write it without the part from / on"}},
	{routes(`{to: 0.0.0.0/0, via: "2001:db8::1"}`), []string{"links[0].routes[0].via: 2001:db8::1 is of another family than 0.0.0.0/0"}},
	{routes(`{to: "::/0", via: 192.0.2.1}`), []string{"links[0].routes[0].via: "}},
	{routes(`{to: "::/0", source: 192.0.2.10}`), []string{"links[0].routes[0].source: 192.0.2.10 is of another family than ::/0"}},
	{routes("{to: default, via: 192.0.2.1, source: 192.0.2.11}"), []string{"links[0].routes[0].source: 192.0.2.11 is no address of a link here"}},
	{routes("{to: default, via: 192.0.2.10}"), []string{"links[0].routes[0].via: 192.0.2.10 is the own address at links[0].addresses[0]"}},
	{eth(`addresses: ["fe80::1/64"], routes: [{to: default, via: "fe80::1"}]`), []string{"links[0].routes[0].via: fe80::1 is the own address"}},
	{routes(`{to: default, via: "fe80::1%eth0"}`), []string{"links[0].routes[0].via: fe80::1%eth0 has a zone"}},
	{routes("{to: default, via: 224.0.0.1}"), []string{"links[0].routes[0].via: 224.0.0.1 is no gateway"}},
	{routes("{to: default, via: 127.0.0.1}"), []string{"links[0].routes[0].via: "}},
	{routes("{to: default, via: 255.255.255.255}"), []string{"links[0].routes[0].via: "}},
	{routes("{to: default, via: 192.0.2.255}"), []string{"links[0].routes[0].via: 192.0.2.255 is the broadcast address of 192.0.2.0/24"}},
	{routes("{to: default, via: 198.51.100.1, onlink: no}"), []string{"links[0].routes[0].via: 198.51.100.1 is in no network of the link"}},
	{routes("{to: default, via: 192.0.2.1, onlink: maybe}"), []string{"links[0].routes[0].onlink: "}},
	{routes("{to: default, via: 192.0.2.1, metric: -1}"), []string{"links[0].routes[0].metric: -1 is not between 0 and 4294967295"}},
	{routes("{to: default, via: 192.0.2.1, metric: 4294967296}"), []string{"links[0].routes[0].metric: "}},
	{routes("{to: default, via: 192.0.2.1, table: 0}"), []string{"links[0].routes[0].table: "}},
	{routes("{to: default, via: 192.0.2.1, table: blue}"), []string{"links[0].routes[0].table: ", "main, local or default"}},
	{routes("{to: default, via: 192.0.2.1, mtu: 60}"), []string{"links[0].routes[0].mtu: "}},
	{routes(`{to: default, via: "fe80::1", mtu: 1279}`), []string{"links[0].routes[0].mtu: 1279 is less than 1280"}},
	{routes("{to: default, via: 192.0.2.1, adv_mss: 70000}"), []string{"links[0].routes[0].adv_mss: "}},
	{routes("{to: default, via: 192.0.2.1, scope: link}"), []string{"links[0].routes[0].scope: is link for a route with a gateway"}},
	{routes("{to: 10.0.0.0/8, scope: site}"), []string{"links[0].routes[0].scope: "}},
	{routes("{to: 10.0.0.0/8, type: nat}"), []string{"links[0].routes[0].type: "}},
	{routes("{to: 10.0.0.0/8, via: 192.0.2.1, type: blackhole}"), []string{"links[0].routes[0].type: blackhole goes with to, metric and table only"}},
	{routes("{to: default, via: 192.0.2.1, metric: 5}", "{to: default, via: 192.0.2.2, metric: 5}"),
		[]string{"links[0].routes[1].metric: 5 to 0.0.0.0/0 is the metric of another route: links[0].routes[0]"}},
	{routes(`{to: default, via: "fe80::1", metric: 0}`, `{to: default, via: "fe80::2", metric: 1024}`),
		[]string{"links[0].routes[1].metric: 1024 to ::/0 is the metric of another route: links[0].routes[0]"}},
	{routes("{to: 192.0.2.0/24, via: 192.0.2.1, metric: 0}"),
		[]string{"links[0].routes[0].metric: 0 to 192.0.2.0/24 is the metric of another route: the route of the address 192.0.2.10/24"}},
	{two("routes: [{to: 0.0.0.0/0, metric: 7}]", "match: {name: eth1}, routes: [{to: 0.0.0.0/0, metric: 7}]"),
		[]string{"links[1].routes[0].metric: ", "links[0].routes[0]"}},
	// Rules.
	{top("rules: [{from: 10.0.0.0/8, table: 100}]"), []string{"rules[0].priority: "}},
	{top("rules: [{priority: 10, from: 10.0.0.0/8}]"), []string{"rules[0].table: is missing"}},
	{top("rules: [{priority: 10, from: 10.0.0.0/8, table: -1}]"), []string{"rules[0].table: "}},
	{top(`rules: [{priority: 10, from: 10.0.0.0/8, to: "2001:db8::/32", table: 100}]`), []string{"rules[0]: 2001:db8::/32 is of another family"}},
	{top(`rules: [{priority: 10, from: 10.0.0.0/8, family: ipv6, table: 100}]`), []string{"rules[0]: 10.0.0.0/8 is of another family"}},
	{top(`rules: [{priority: 10, from: "2001:db8::/32", family: ipv4, table: 100}]`), []string{"rules[0]: 2001:db8::/32 is of another family"}},
	{top("rules: [{priority: 10, mark: 0x1ffffffff, table: 100}]"), []string{"rules[0].mark: "}},
	{top("rules: [{priority: 10, mark: any, table: 100}]"), []string{"rules[0].mark: "}},
	// DNS, hosts, hostname.
	{top("dns: {servers: [ns1.example.org]}"), []string{"dns.servers[0]: "}},
	{top(`dns: {servers: ["192.0.2.53\nnameserver 192.0.2.66"]}`), []string{"dns.servers[0]: "}},
	{top(`dns: {servers: [""]}`), []string{"dns.servers[0]: is empty"}},
	{top(`dns: {servers: ["ff02::fb", 0.0.0.0]}`), []string{"dns.servers[0]: ff02::fb is no", "dns.servers[1]: 0.0.0.0 is no"}},
	{top(`dns: {servers: ["2001:db8::1%eth0"]}`), []string{"dns.servers[0]: "}},
	{top(`dns: {servers: ["fe80::1%eth0 x"]}`), []string{"dns.servers[0]: "}},
	{top(`dns: {search: ["example.org\noptions x"]}`), []string{"dns.search[0]: "}},
	{top(`dns: {search: ["a b", "", a..b, -a.org]}`), []string{"dns.search[0]: ", "dns.search[1]: ", "dns.search[2]: ", "dns.search[3]: "}},
	{top("dns: {search: [" + strings.Repeat("a", 64) + ".org]}"), []string{"dns.search[0]: "}},
	{top("dns: {search: [" + strings.Repeat("abcdefghi.", 26) + "org]}"), []string{"dns.search[0]: "}},
	{top("dns: {search: [\u212aelvin.org]}"), []string{"dns.search[0]: "}},
	{top(`dns: {options: ["ndots:2 edns0", ""]}`), []string{"dns.options[0]: ", "dns.options[1]: "}},
	{top("hosts: [{names: [a]}]"), []string{"hosts[0].ip: is missing"}},
	{top("hosts: [{ip: 192.0.2.1}]"), []string{"hosts[0].names: are missing"}},
	{top("hosts: [{ip: 192.0.2.1, names: [a#b, ok, a/b]}]"), []string{"hosts[0].names[0]: ", "hosts[0].names[2]: "}},
	{top(`hosts: [{ip: 192.0.2.1, names: ["a\n192.0.2.2 b"]}]`), []string{"hosts[0].names[0]: "}},
	{top(`hosts: [{ip: "fe80::1%eth0", names: [a]}]`), []string{"hosts[0].ip: fe80::1%eth0 has a zone"}},
	{top("hostname: my_app"), []string{`hostname: "my_app" is not a hostname`}},
	{top("hostname: " + strings.Repeat("abcdefg.", 9)), []string{"hostname: ", "more than 64 bytes"}},
	// All of it at once, and what is broken is not judged again.
	{two("addresses: [192.0.2.1], routes: [{to: default, via: x}, {to: 10.0.0.0/8, via: 192.0.2.254, onlink: no}]", "mtu: 5"),
		[]string{"links[0].addresses[0]: ", "links[0].routes[0].via: ", "links[1].match: ", "links[1].mtu: "}},
}

func TestRefusals(t *testing.T) {
	for _, tc := range refusals {
		_, err := Parse(Own, "net.yaml", []byte(tc.input))
		var problems layeredyaml.Problems
		if !errors.As(err, &problems) {
			t.Errorf("%s\nis accepted: %v", tc.input, err)
			continue
		}
		paths := 0
		for _, want := range tc.want {
			if strings.Contains(want, ": ") {
				paths++
			}
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s\ngives %v\nnot %s", tc.input, err, want)
			}
		}
		if len(problems) != max(paths, 1) {
			t.Errorf("%s\ngives %d problems, want %d:\n%v", tc.input, len(problems), paths, err)
		}
	}
}

// chosen renders the routes of a plan: link, table if it is not main, what is set.
func chosen(plan *Plan) (out []string) {
	for _, l := range plan.Links {
		for _, r := range l.Routes {
			text := l.ID + " " + r.To.String()
			for _, part := range []struct {
				set  bool
				text string
			}{
				{r.Via.IsValid(), "via " + r.Via.String()}, {r.Source.IsValid(), "src " + r.Source.String()}, {r.Metric != 0, fmt.Sprint("metric ", r.Metric)},
				{r.Table != MainTable, fmt.Sprint("table ", r.Table)}, {r.Scope != "", "scope " + r.Scope}, {r.Type != "", r.Type}, {r.OnLink, "onlink"},
			} {
				if part.set {
					text += " " + part.text
				}
			}
			out = append(out, text)
		}
	}
	return out
}

func TestRoutes(t *testing.T) {
	for name, tc := range map[string]struct {
		input string
		want  []string
	}{
		"order": {routes("{to: default, via: 10.1.0.1}", "{to: 10.0.0.0/8, via: 192.0.2.1}", "{to: 10.1.0.0/24}", "{to: 10.9.0.0/16, type: throw}",
			"{to: 10.2.0.0/16, via: 192.0.2.2}", "{to: 10.3.0.0/24}"),
			[]string{"eth0 10.9.0.0/16 throw", "eth0 10.1.0.0/24", "eth0 10.3.0.0/24", "eth0 10.0.0.0/8 via 192.0.2.1",
				"eth0 10.2.0.0/16 via 192.0.2.2", "eth0 0.0.0.0/0 via 10.1.0.1"}},
		"on-link": {routes("{to: default, via: 198.51.100.1}", "{to: 10.0.0.0/8, via: 192.0.2.1, onlink: yes}", "{to: 10.1.0.0/16, via: 192.0.2.1, onlink: no}",
			`{to: default, via: "fe80::1"}`, `{to: "2001:db8:5::/48", via: "2001:db8:1::1"}`, "{to: 10.2.0.0/16, onlink: yes}"),
			[]string{"eth0 10.2.0.0/16", "eth0 10.0.0.0/8 via 192.0.2.1 onlink", "eth0 10.1.0.0/16 via 192.0.2.1",
				"eth0 2001:db8:5::/48 via 2001:db8:1::1 onlink", "eth0 0.0.0.0/0 via 198.51.100.1 onlink", "eth0 ::/0 via fe80::1"}},
		"near by a route": {routes("{to: default, via: 198.51.100.1}", "{to: 198.51.100.1}"),
			[]string{"eth0 198.51.100.1/32", "eth0 0.0.0.0/0 via 198.51.100.1"}},
		"near in another table": {routes("{to: default, via: 198.51.100.1, table: 5}", "{to: 198.51.100.1, table: 5}", "{to: default, via: 198.51.100.1}",
			"{to: 0.0.0.0/0, via: 192.0.2.1, table: 6}"),
			[]string{"eth0 198.51.100.1/32 table 5", "eth0 0.0.0.0/0 via 198.51.100.1 table 5", "eth0 0.0.0.0/0 via 198.51.100.1 onlink",
				"eth0 0.0.0.0/0 via 192.0.2.1 table 6"}},
		"not near by a route of scope global": {routes("{to: default, via: 198.51.100.1}", "{to: 198.51.100.1, scope: global}"),
			[]string{"eth0 198.51.100.1/32 scope global", "eth0 0.0.0.0/0 via 198.51.100.1 onlink"}},
		"metrics": {two(`addresses: [192.0.2.10/24], routes: [{to: default, via: 192.0.2.1}, {to: default, via: 192.0.2.2}, {to: default, via: "fe80::1"}]`,
			`match: {name: eth1}, routes: [{to: default, via: 10.0.0.1}, {to: default, via: "fe80::1"}, {to: default, via: "fe80::2"},
			{to: default, via: 10.0.0.1, table: 7}]`),
			[]string{"eth0 0.0.0.0/0 via 192.0.2.1", "eth0 0.0.0.0/0 via 192.0.2.2 metric 100", "eth0 ::/0 via fe80::1",
				"eth1 0.0.0.0/0 via 10.0.0.1 metric 200 onlink", "eth1 ::/0 via fe80::1 metric 1124", "eth1 ::/0 via fe80::2 metric 1224",
				"eth1 0.0.0.0/0 via 10.0.0.1 table 7 onlink"}},
		"given metrics": {routes("{to: default, via: 192.0.2.1}", "{to: default, via: 192.0.2.2, metric: 0}", "{to: default, via: 192.0.2.3, metric: 100}",
			`{to: default, via: "fe80::1"}`, `{to: default, via: "fe80::2", metric: 1024}`),
			[]string{"eth0 0.0.0.0/0 via 192.0.2.1 metric 200", "eth0 0.0.0.0/0 via 192.0.2.2", "eth0 0.0.0.0/0 via 192.0.2.3 metric 100",
				"eth0 ::/0 via fe80::1 metric 1124", "eth0 ::/0 via fe80::2 metric 1024"}},
		"the first of the input, not of the plan": {
			top("links: [{vlan: {id: 5, parent: eth0}, routes: [{to: 0.0.0.0/0}]}, {match: {name: eth0}, routes: [{to: 0.0.0.0/0}]}]"),
			[]string{"eth0 0.0.0.0/0 metric 100", "eth0.5 0.0.0.0/0"}},
		"merged": {routes("{to: default, via: 192.0.2.1}", "{to: 0.0.0.0/0, via: 192.0.2.1, onlink: auto}", "{to: 10.0.0.0/8}", "{to: 10.0.0.0/8, scope: link}"),
			[]string{"eth0 10.0.0.0/8", "eth0 0.0.0.0/0 via 192.0.2.1"}},
		"the kernel's own": {routes("{to: 192.0.2.0/24}", `{to: "2001:db8::/64"}`, "{to: 192.0.2.0/24, via: 0.0.0.0}", "{to: 192.0.2.0/24, source: 192.0.2.10}",
			"{to: 192.0.2.0/24, table: 9}"),
			[]string{"eth0 192.0.2.0/24 src 192.0.2.10 metric 100", "eth0 192.0.2.0/24 table 9"}},
		"scope": {routes("{to: default, via: 192.0.2.1, scope: global}", "{to: 10.0.0.0/8, scope: host}", `{to: "2001:db8:5::/48", scope: link}`),
			[]string{"eth0 10.0.0.0/8 scope host", "eth0 2001:db8:5::/48", "eth0 0.0.0.0/0 via 192.0.2.1"}},
		"names of tables": {routes("{to: 10.1.0.0/16, table: main, type: unicast}", "{to: 10.2.0.0/16, table: local}", "{to: 10.3.0.0/16, table: default}",
			"{to: 10.4.0.0/16, table: 4294967295}"),
			[]string{"eth0 10.1.0.0/16", "eth0 10.2.0.0/16 table 255", "eth0 10.3.0.0/16 table 253", "eth0 10.4.0.0/16 table 4294967295"}},
		"a gateway with the link-local address of another link": {
			two(`routes: [{to: default, via: "fe80::1"}]`, `match: {name: eth1}, addresses: ["fe80::1/64"]`), []string{"eth0 ::/0 via fe80::1"}},
		"bits of a host": {routes("{to: 10.1.2.3/16}", "{to: 10.9.9.9}"), []string{"eth0 10.1.0.0/16", "eth0 10.9.9.9/32"}},
	} {
		plan, err := Parse(Own, "net.yaml", []byte(tc.input))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := chosen(plan); !slices.Equal(got, tc.want) {
			t.Errorf("%s:\n%s\nwant:\n%s", name, strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
		}
		checkPlan(t, plan)
	}
}
