//go:build container

package tests

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// labMAC is the MAC address of the link of a lab.
const labMAC = "02:00:00:00:00:10"

// newLab makes two networks with a link between them. In host it is called gw and has the addresses 192.0.2.1/24 and
// 2001:db8:1::1/64, and host also has 198.51.100.1 and 2001:db8:ff::1. In guest it is called eth0 and is down.
func newLab(t testing.TB, kind string) (host, guest *network) {
	t.Helper()
	host, guest = newNetwork(t), newNetwork(t)
	switch kind {
	case "veth":
		host.plug(guest.pid, "gw", "eth0", labMAC)
	case "bridge":
		host.ip("link add gw type bridge")
		host.ip("link set gw up")
		host.plug(guest.pid, "port", "eth0", labMAC)
		host.ip("link set port master gw")
	case "macvlan":
		host.ip("link add gw type veth peer name parent")
		host.ip("link set gw up")
		host.ip("link set parent up")
		host.ip("link add link parent name inside address " + labMAC + " type macvlan mode bridge")
		host.ip(fmt.Sprintf("link set inside netns %d name eth0", guest.pid))
	default:
		t.Fatalf("there is no kind of link %q", kind)
	}
	host.ip("link set lo up")
	for _, a := range []string{"192.0.2.1/24 dev gw", "2001:db8:1::1/64 dev gw nodad", "198.51.100.1/32 dev lo", "2001:db8:ff::1/128 dev lo"} {
		host.ip("addr add " + a)
	}
	return host, guest
}

const (
	onlyIPv4 = `
version: 1
links:
  - match: {mac: "02:00:00:00:00:10"}
    addresses: [192.0.2.10/24]
    routes: [{to: default, via: 192.0.2.1}]
`
	onlyIPv6 = `
version: 1
links:
  - match: {mac: "02:00:00:00:00:10"}
    addresses: ["2001:db8:1::10/64"]
    routes: [{to: default, via: "2001:db8:1::1"}]
`
	bothFamilies = `
version: 1
links:
  - match: {mac: "02:00:00:00:00:10"}
    mtu: 1400
    addresses: [192.0.2.10/24, "2001:db8:1::10/64"]
    routes:
      - {to: default, via: "2001:db8:1::1"}
      - {to: default, via: 192.0.2.1}
      - {to: 203.0.113.0/24, via: 192.0.2.1, metric: 7}
`
)

// IPv4, IPv6 and both of them on each kind of link: the addresses are as described, none of them is tentative, and the network works in
// both directions.
func TestNetinitFamilies(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"veth", "bridge", "macvlan"} {
		for _, test := range []struct{ name, description string }{{"IPv4", onlyIPv4}, {"IPv6", onlyIPv6}, {"both", bothFamilies}} {
			t.Run(kind+" "+test.name, func(t *testing.T) {
				t.Parallel()
				host, guest := newLab(t, kind)
				guest.apply(test.description)
				var addresses, ipv4, ipv6, reachable, far []string
				if test.name != "IPv6" {
					addresses, reachable, far = append(addresses, "192.0.2.10/24"), append(reachable, "192.0.2.10"), append(far, "198.51.100.1")
					ipv4 = append(ipv4, "default via 192.0.2.1 dev eth0")
				}
				if test.name != "IPv4" {
					addresses, reachable, far = append(addresses, "2001:db8:1::10/64"), append(reachable, "2001:db8:1::10"), append(far, "2001:db8:ff::1")
					ipv6 = append(ipv6, "default via 2001:db8:1::1 dev eth0")
				}
				mtu := 1500
				if test.name == "both" {
					ipv4 = slices.Insert(ipv4, 0, "203.0.113.0/24 via 192.0.2.1 dev eth0 metric 7")
					mtu = 1400
				}
				same(t, "the addresses", guest.addresses("eth0"), addresses...)
				same(t, "the routes", guest.routes("-4", "main"), ipv4...)
				same(t, "the IPv6 routes", guest.routes("-6", "main"), ipv6...)
				if link := guest.link("eth0"); link.MTU != mtu || link.State != "UP" {
					t.Errorf("the link is %s with an MTU of %d", link.State, link.MTU)
				}
				if lo := guest.link("lo"); !slices.Contains(lo.Flags, "UP") {
					t.Error("lo is down")
				}
				host.reaches(reachable...)
				guest.reaches(append(far, "127.0.0.1")...)
			})
		}
	}
}

// Several links, found by their MAC addresses in any notation: what nova's metadata says of them, with an MTU of null.
func TestNetinitManyLinks(t *testing.T) {
	t.Parallel()
	host, guest := newNetwork(t), newNetwork(t)
	for k, mac := range []string{"02:00:00:00:aa:01", "02:00:00:00:aa:02", "02:00:00:00:aa:03"} {
		host.plug(guest.pid, fmt.Sprintf("gw%d", k), fmt.Sprintf("eth%d", 2-k), mac) // not in the order of the description
	}
	host.ip("addr add 192.0.2.1/24 dev gw0")
	host.ip("addr add 198.51.100.1/24 dev gw1")
	host.ip("addr add 2001:db8:3::1/64 dev gw2 nodad")
	guest.apply(`{
"links": [
  {"id": "tap1", "type": "ovs", "ethernet_mac_address": "02:00:00:00:AA:01", "mtu": null, "vif_id": "1"},
  {"id": "tap2", "type": "bridge", "ethernet_mac_address": "02-00-00-00-aA-02", "mtu": 1450, "vif_id": "2"},
  {"id": "tap3", "type": "phy", "ethernet_mac_address": "02:00:00:00:aa:03", "mtu": 9000, "vif_id": "3"}],
"networks": [
  {"id": "network0", "link": "tap1", "type": "ipv4", "ip_address": "192.0.2.10", "netmask": "255.255.255.0", "network_id": "n1",
   "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}]},
  {"id": "network1", "link": "tap2", "type": "ipv4", "ip_address": "198.51.100.10", "netmask": "255.255.255.0", "network_id": "n2",
   "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "198.51.100.1"}]},
  {"id": "network2", "link": "tap3", "type": "ipv6", "ip_address": "2001:db8:3::10", "netmask": "ffff:ffff:ffff:ffff::", "network_id": "n3",
   "routes": [{"network": "::", "netmask": "::", "gateway": "2001:db8:3::1"}]}],
"services": [{"type": "dns", "address": "192.0.2.53"}]}`)
	same(t, "the addresses of tap1", guest.addresses("eth2"), "192.0.2.10/24")
	same(t, "the addresses of tap2", guest.addresses("eth1"), "198.51.100.10/24")
	same(t, "the addresses of tap3", guest.addresses("eth0"), "2001:db8:3::10/64")
	for name, mtu := range map[string]int{"eth2": 1500, "eth1": 1450, "eth0": 9000} {
		if got := guest.link(name).MTU; got != mtu {
			t.Errorf("the MTU of %s is %d, want %d", name, got, mtu)
		}
	}
	// The first default route wins.
	same(t, "the routes", guest.routes("-4", "main"), "default via 192.0.2.1 dev eth2", "default via 198.51.100.1 dev eth1 metric 100")
	same(t, "the IPv6 routes", guest.routes("-6", "main"), "default via 2001:db8:3::1 dev eth0")
	guest.reaches("192.0.2.1", "198.51.100.1", "2001:db8:3::1")
}

// Two links with the same MAC address are not guessed at; a name tells them apart.
func TestNetinitAmbiguousLinks(t *testing.T) {
	t.Parallel()
	host, guest := newNetwork(t), newNetwork(t)
	host.plug(guest.pid, "gw0", "eth0", labMAC)
	host.plug(guest.pid, "gw1", "eth1", labMAC)
	before := guest.state()
	o := guest.try("apply", onlyIPv4)
	o.ends(t, netinitConflict, "eth0")
	o.ends(t, netinitConflict, "eth1")
	guest.unchanged(before)
	guest.apply(strings.Replace(onlyIPv4, `{mac: "02:00:00:00:00:10"}`, `{mac: "02:00:00:00:00:10", name: eth1}`, 1))
	same(t, "the addresses of eth1", guest.addresses("eth1"), "192.0.2.10/24")
	same(t, "the addresses of eth0", guest.addresses("eth0"))
}

// The children of a link have its MAC address, and are not meant.
func TestNetinitChildrenAreNotMeant(t *testing.T) {
	t.Parallel()
	_, guest := newLab(t, "veth")
	guest.ip("link add link eth0 name child address " + labMAC + " type macvlan")
	guest.apply(onlyIPv4)
	same(t, "the addresses", guest.addresses("eth0"), "192.0.2.10/24")
}

// An MTU that is too small for IPv6 is refused, also by its sign; another MTU is set, also if IPv6 addresses are there.
func TestNetinitMTU(t *testing.T) {
	t.Parallel()
	host, guest := newLab(t, "veth")
	with := func(mtu string) string { return strings.Replace(bothFamilies, "mtu: 1400", "mtu: "+mtu, 1) }
	for _, mtu := range []string{"1279", "67", "65536", "-1", "1e3", "'1500 '"} {
		before := guest.state()
		guest.try("apply", with(mtu)).ends(t, netinitBadInput, "mtu")
		guest.unchanged(before)
	}
	for _, mtu := range []int{1280, 1500, 9000} {
		host.ip(fmt.Sprintf("link set gw mtu %d", max(mtu, 1500)))
		guest.apply(with(fmt.Sprint(mtu)))
		if got := guest.link("eth0").MTU; got != mtu {
			t.Errorf("the MTU is %d, want %d", got, mtu)
		}
		same(t, "the addresses", guest.addresses("eth0"), "192.0.2.10/24", "2001:db8:1::10/64")
		same(t, "the IPv6 routes", guest.routes("-6", "main"), "default via 2001:db8:1::1 dev eth0")
	}
	guest.apply(with("null"))
	if got := guest.link("eth0").MTU; got != 9000 {
		t.Errorf("without an MTU in the description it has become %d", got)
	}
	guest.reaches("192.0.2.1", "2001:db8:1::1")
}

// A gateway outside of the link's networks is reached on the link, in whatever order the routes come.
func TestNetinitOffLinkGateway(t *testing.T) {
	t.Parallel()
	host, guest := newLab(t, "veth")
	host.ip("route add 203.0.113.10 dev gw")
	host.ip("-6 route add 2001:db8:9::10 dev gw")
	const description = `
version: 1
links:
  - match: {name: eth0}
    addresses: [203.0.113.10/32, "2001:db8:9::10/128"]
    routes:
      - {to: 198.51.100.0/24, via: 192.0.2.77}
      - {to: default, via: 192.0.2.1}
      - {to: 192.0.2.77/32}
      - {to: default, via: "2001:db8:1::1"}
`
	guest.apply(description)
	same(t, "the routes", guest.routes("-4", "main"), "192.0.2.77 dev eth0", "198.51.100.0/24 via 192.0.2.77 dev eth0",
		"default via 192.0.2.1 dev eth0 onlink")
	same(t, "the IPv6 routes", guest.routes("-6", "main"), "default via 2001:db8:1::1 dev eth0 onlink")
	guest.reaches("192.0.2.1", "2001:db8:ff::1")
	before := guest.state()
	guest.try("apply", strings.Replace(description, "via: 192.0.2.1}", "via: 192.0.2.1, onlink: no}", 1)).ends(t, netinitBadInput, "192.0.2.1")
	guest.unchanged(before)
}

// Rules and tables, a rename, and types of routes.
func TestNetinitOwnFormat(t *testing.T) {
	t.Parallel()
	host, guest := newLab(t, "veth")
	// What others have added survives the rename.
	for _, args := range []string{"link set eth0 up", "addr add 192.0.2.200/24 dev eth0", "addr add 2001:db8:1::200/64 dev eth0 nodad",
		"route add 10.0.0.0/8 via 192.0.2.1"} {
		guest.ip(args)
	}
	hostname := guest.run("hostname")
	description := `
version: 1
hostname: app1
links:
  - match: {mac: "02:00:00:00:00:10"}
    rename: service0
    addresses: [192.0.2.10/24, 192.0.2.11/24, "2001:db8:1::10/64"]
    routes:
      - {to: default, via: 192.0.2.1, table: 100}
      - {to: default, via: 192.0.2.1, metric: 50, mtu: 1300}
rules:
  - {from: 192.0.2.11/32, table: 100, priority: 1000}
`
	guest.apply(description, "--dad", "nodad")
	if got := guest.run("hostname"); got != hostname {
		t.Errorf("the hostname was set to %s though that was not allowed", got)
	}
	guest.apply(description, "--dad", "nodad", "--hostname")
	if got := guest.run("hostname"); got != "app1\n" {
		t.Errorf("the hostname is %s", got)
	}
	same(t, "the addresses", sorted(guest.addresses("service0")...), "192.0.2.10/24", "192.0.2.11/24", "192.0.2.200/24",
		"2001:db8:1::10/64", "2001:db8:1::200/64")
	same(t, "the routes", guest.routes("-4", "main"), "10.0.0.0/8 via 192.0.2.1 dev service0 proto boot",
		"default via 192.0.2.1 dev service0 metric 50 mtu 1300")
	same(t, "the routes of table 100", guest.routes("-4", "100"), "default via 192.0.2.1 dev service0")
	if rules := guest.ip("rule"); !strings.Contains(rules, "1000:\tfrom 192.0.2.11 lookup 100 proto 115") {
		t.Errorf("the rules are %s", rules)
	}
	host.reaches("192.0.2.11", "2001:db8:1::10")
	guest.apply(onlyIPv4)
	if rules := guest.ip("rule"); strings.Contains(rules, "1000:") {
		t.Errorf("the rules still are %s", rules)
	}
	same(t, "the routes of table 100", guest.routes("-4", "100"))
}

// An IPv6 address that another host has is an error, and everything is as before; also an IPv4 address that was asked for.
func TestNetinitDuplicateAddress(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, address string }{{"IPv4", "192.0.2.1/24"}, {"IPv6", "2001:db8:1::1/64"}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, guest := newLab(t, "veth")
			guest.apply(onlyIPv4)
			before := guest.addresses("eth0")
			o := guest.try("apply", fmt.Sprintf("version: 1\nlinks: [{match: {name: eth0}, addresses: [%q]}]\n", test.address), "--probe")
			o.ends(t, netinitLate, strings.Split(test.address, "/")[0])
			same(t, "the addresses", guest.addresses("eth0"), before...)
			same(t, "the routes", guest.routes("-4", "main"), "default via 192.0.2.1 dev eth0")
		})
	}
}

// The neighbours learn of new addresses: what they had remembered of another host is replaced.
func TestNetinitAnnounces(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"veth", "macvlan"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			host, guest := newLab(t, kind)
			addresses := []string{"192.0.2.10", "2001:db8:1::10"}
			for _, a := range addresses {
				host.ip("neigh replace " + a + " lladdr 02:00:00:00:00:99 dev gw nud stale")
			}
			finish(guest.command(stoker(t), "netinit", "apply", "--from", guest.source(bothFamilies), "--state-dir", guest.stateDir())).ends(t, 0, "")
			for _, a := range addresses {
				if got := host.ip("neigh show " + a + " dev gw"); !strings.Contains(got, labMAC) {
					t.Errorf("the neighbour remembers %s", got)
				}
			}
		})
	}
}
