package netinit

import (
	"errors"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// refusal is a change of a document that makes it wrong.
type refusal struct {
	old, with  string
	path, says string // of one of the problems
}

// checkRefusals parses base, which is right, with each of the changes.
func checkRefusals(t *testing.T, format Format, base string, cases []refusal) {
	t.Helper()
	if _, err := Parse(format, "base", []byte(base)); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.with, func(t *testing.T) {
			if strings.Count(base, c.old) != 1 {
				t.Fatalf("%q is %d times in the document", c.old, strings.Count(base, c.old))
			}
			plan, err := Parse(format, "net", []byte(strings.Replace(base, c.old, c.with, 1)))
			var problems layeredyaml.Problems
			if !errors.As(err, &problems) || plan != nil {
				t.Fatalf("got the plan %+v and the error %v", plan, err)
			}
			for _, p := range problems {
				if p.Path == c.path && strings.Contains(p.String(), c.says) {
					return
				}
			}
			t.Errorf("no problem is of %q and says %q:\n%v", c.path, c.says, err)
		})
	}
}

func TestOpenStackRefuses(t *testing.T) {
	base := `{
"links": [
  {"id": "a", "type": "ovs", "ethernet_mac_address": "02:00:5e:00:00:01", "mtu": 1500},
  {"id": "v", "type": "vlan", "vlan_link": "a", "vlan_id": 5, "vlan_mac_address": "02:00:5e:00:00:02"}],
"networks": [
  {"id": "n0", "type": "ipv4", "link": "a", "ip_address": "192.0.2.2", "netmask": "255.255.255.0",
   "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}]},
  {"id": "n1", "type": "ipv6", "link": "v", "ip_address": "2001:db8::2", "netmask": "ffff:ffff:ffff:ffff::", "routes": []}],
"services": [{"type": "dns", "address": "192.0.2.53"}]}`
	checkRefusals(t, OpenStack, base, []refusal{
		{`"type": "ipv4"`, `"type": "ipv4_dhcp"`, "networks[0].type", "needs a DHCP client: stoker has none"},
		{`"type": "ipv6"`, `"type": "ipv6_dhcp"`, "networks[1].type", "needs a DHCP client"},
		{`"type": "ipv6"`, `"type": "ipv6_dhcpv6-stateful"`, "networks[1].type", "needs a DHCP client"},
		{`"type": "ipv6"`, `"type": "ipv6_dhcpv6-stateless"`, "networks[1].type", "needs a DHCP client"},
		{`"type": "ipv4"`, `"type": "ipx"`, "networks[0].type", `"ipx" is an unknown type (there are: ipv4`},
		{`"type": "ipv4"`, `"type": null`, "networks[0].type", "is missing"},
		{`"type": "ovs"`, `"type": "bond", "bond_links": [], "bond_mode": "802.3ad", "bond_new": {"x": 1}`, "links[0]", "is a bond: stoker makes none"},
		{`"type": "ovs"`, `"type": "phy", "bond_mode": "4"`, "links[0].bond_mode", "unknown key"},
		{`"link": "a", "ip`, `"link": "b", "ip`, "networks[0].link", `no link has the id "b"`},
		{`"link": "a", "ip`, `"ip`, "networks[0].link", "is missing"},
		{`"vlan_link": "a"`, `"vlan_link": "c"`, "links[1].vlan_link", `there is no link "c"`},
		{`"vlan_link": "a"`, `"vlan_link": ""`, "links[1].vlan_link", "is missing"},
		{`"vlan_id": 5`, `"vlan_id": "x"`, "links[1].vlan_id", `"x" is not a whole number`},
		{`"vlan_id": 5, `, ``, "links[1].vlan_id", "is missing"},
		{`"type": "vlan"`, `"type": "phy"`, "links[1].type", `"phy" is not the type of a VLAN (write vlan)`},
		{`{"id": "a", "ty`, `{"ty`, "links[0].id", "is missing"},
		{`"02:00:5e:00:00:01"`, `null`, "links[0].ethernet_mac_address", "is missing: nothing else says which link"},
		{`"02:00:5e:00:00:01"`, `"02:00:5e:00:00"`, "links[0].ethernet_mac_address", "is not a MAC address"},
		{`"mtu": 1500`, `"mtu": "big"`, "links[0].mtu", `"big" is not a whole number`},
		{`"mtu": 1500`, `"mut": 1500`, "links[0].mut", `unknown key (did you mean "mtu"?)`},
		{`"255.255.255.0"`, `"255.0.255.0"`, "networks[0].netmask", "its ones are not in one piece"},
		{`"255.255.255.0"`, `"33"`, "networks[0].netmask", "33 is more than 32 bits"},
		{`"255.255.255.0"`, `null`, "networks[0].netmask", "is missing: 192.0.2.2 has no prefix length"},
		{`"ffff:ffff:ffff:ffff::"`, `"ffff:ffff:ffff:ffff::1"`, "networks[1].netmask", "not in one piece"},
		{`"ffff:ffff:ffff:ffff::"`, `"255.255.255.0"`, "networks[1].netmask", "other family"},
		{`"2001:db8::2"`, `"2001:db8::2/48"`, "networks[1].netmask", "is not the mask of 2001:db8::2/48"},
		{`"2001:db8::2"`, `"fe80::2%eth0"`, "networks[1].ip_address", "has a zone"},
		{`"2001:db8::2"`, `"192.0.2.9/24"`, "networks[1].ip_address", "is no IPv6 address"},
		{`"2001:db8::2", "netmask": "ffff:ffff:ffff:ffff::"`, `null`, "networks[1].ip_address", "is missing: the network has the type ipv6"},
		{`"192.0.2.2"`, `"192.0.2.256"`, "networks[0].ip_address", "is not an address"},
		{`"gateway": "192.0.2.1"`, `"gateway": "2001:db8::1"`, "networks[0].routes[0].gateway", "is no IPv4 address"},
		{`, "gateway": "192.0.2.1"`, ``, "networks[0].routes[0].gateway", "is missing (write 0.0.0.0 for a destination on the link)"},
		{`{"network": "0.0.0.0", `, `{`, "networks[0].routes[0].network", "is missing"},
		{`"network": "0.0.0.0", "netmask": "0.0.0.0"`, `"network": "::", "netmask": "::"`, "networks[0].routes[0].network", "is no IPv4 address"},
		{`"routes": []`, `"routes": [{"network": "2001:db8:3::/48"}]`, "networks[1].routes[0].gateway", "is missing (write :: for a destination"},
		{`"routes": []`, `"gateway": "192.0.2.1"`, "networks[1].gateway", "is no IPv6 address"},
		{`"routes": []`, `"dns_nameservers": ["dns.example.org"]`, "networks[1].dns_nameservers[0]", "is not an address"},
		{`"192.0.2.53"`, `"192.0.2.53\nnameserver 198.51.100.1"`, "services[0].address", `"192.0.2.53\nnameserver 198.51.100.1" is not an address`},
		{`"address": "192.0.2.53"`, `"address": null`, "services[0].address", "is missing"},
		{`"services"`, `"srevices"`, "srevices", "unknown key"},
		// Of finish:
		{`"id": "v"`, `"id": "a"`, "links[1].id", `"a" is used twice, first by links[0]`},
		{`"type": "vlan", "vlan_link": "a", "vlan_id": 5, "vlan_mac_address": "02:00:5e:00:00:02"`,
			`"type": "tap", "ethernet_mac_address": "02:00:5E:00:00:01"`, "links[1].ethernet_mac_address", "is used twice"},
		{`"vlan_id": 5`, `"vlan_id": 4095`, "links[1].vlan_id", "4095 is not the number of a VLAN"},
		{`"mtu": 1500`, `"mtu": 60`, "links[0].mtu", "60 is not between 68 and 65535"},
		{`"192.0.2.2"`, `"192.0.2.0"`, "networks[0].ip_address", "is the address of the network"},
		{`"192.0.2.2"`, `"224.0.0.1"`, "networks[0].ip_address", "is a multicast address"},
		{`"gateway": "192.0.2.1"`, `"gateway": "192.0.2.2"`, "networks[0].routes[0].gateway", "192.0.2.2 is the own address at networks[0].ip_address"},
		{`"routes": []`, `"gateway": "2001:db8::2"`, "networks[1].gateway", "is the own address"},
		{`"address": "192.0.2.53"`, `"address": "0.0.0.0"`, "services[0].address", "0.0.0.0 is no address of a server"},
		{`"routes": []`, `"dns_search": ["a b"]`, "networks[1].dns_search[0]", `"a b" is not a domain`},
	})
}

func TestNeutronRefuses(t *testing.T) {
	base := `{
"ports": [{"id": "p", "mac_address": "02:00:5e:00:00:01", "network_id": "n",
  "fixed_ips": [{"ip_address": "192.0.2.2", "subnet_id": "s4"}, {"ip_address": "2001:db8::2", "subnet_id": "s6"}]}],
"networks": [{"id": "n", "mtu": 1450}],
"subnets": [
  {"id": "s4", "cidr": "192.0.2.0/24", "gateway_ip": "192.0.2.1", "dns_nameservers": ["192.0.2.53"],
   "host_routes": [{"destination": "198.51.100.0/24", "nexthop": "192.0.2.9"}]},
  {"id": "s6", "cidr": "2001:db8::/64", "gateway_ip": null, "ipv6_address_mode": null}]}`
	checkRefusals(t, Neutron, base, []refusal{
		{`"mac_address": "02:00:5e:00:00:01", `, ``, "ports[0].mac_address", "is missing: it says which link is meant"},
		{`"02:00:5e:00:00:01"`, `"02:00:5e:00:00:zz"`, "ports[0].mac_address", "is not a MAC address"},
		{`"02:00:5e:00:00:01"`, `"01:00:5e:00:00:01"`, "ports[0].mac_address", "of a group"},
		{`"network_id": "n"`, `"network_id": "m"`, "ports[0].network_id", `no network has the id "m"`},
		{`"subnet_id": "s4"`, `"subnet_id": "s5"`, "ports[0].fixed_ips[0].subnet_id", `no subnet has the id "s5"`},
		{`, "subnet_id": "s6"`, ``, "ports[0].fixed_ips[1].subnet_id", `no subnet has the id`},
		{`"192.0.2.2"`, `"192.0.3.2"`, "ports[0].fixed_ips[0].ip_address", "192.0.3.2 is not in the subnet 192.0.2.0/24"},
		{`"192.0.2.2"`, `"192.0.2.2/24"`, "ports[0].fixed_ips[0].ip_address", "write it without the part from / on"},
		{`"192.0.2.2"`, `null`, "ports[0].fixed_ips[0].ip_address", "is missing"},
		{`"2001:db8::2"`, `"192.0.2.3"`, "ports[0].fixed_ips[1].ip_address", "is not in the subnet 2001:db8::/64"},
		{`{"ip_address": "192.0.2.2", `, `{"ip": "192.0.2.2", `, "ports[0].fixed_ips[0].ip", "unknown key"},
		{`[{"ip_address": "192.0.2.2", "subnet_id": "s4"}, {"ip_address": "2001:db8::2", "subnet_id": "s6"}]`, `"192.0.2.2"`, "ports[0].fixed_ips",
			"not a list"},
		{`"mtu": 1450`, `"mtu": -1`, "networks[0].mtu", "is not a whole number"},
		{`{"id": "n", "mtu": 1450}`, `{"mtu": 1450}`, "networks[0].id", "is missing"},
		{`{"id": "n", "mtu": 1450}`, `{"id": "n"}, {"id": "n"}`, "networks[1].id", `"n" is the id of two objects`},
		{`"id": "s6"`, `"id": "s4"`, "subnets[1].id", `"s4" is the id of two objects`},
		{`"cidr": "192.0.2.0/24", `, ``, "subnets[0].cidr", "is missing"},
		{`"192.0.2.0/24"`, `"192.0.2.0/33"`, "subnets[0].cidr", "is not an address with a prefix length"},
		{`"gateway_ip": "192.0.2.1"`, `"gateway_ip": "2001:db8::1"`, "subnets[0].gateway_ip", "is no IPv4 address"},
		{`"gateway_ip": "192.0.2.1"`, `"gateway_ip": "router"`, "subnets[0].gateway_ip", `"router" is not an address`},
		{`["192.0.2.53"]`, `["192.0.2.53 # x"]`, "subnets[0].dns_nameservers[0]", "is not an address"},
		{`["192.0.2.53"]`, `[null]`, "subnets[0].dns_nameservers[0]", "has no value"},
		{`"198.51.100.0/24"`, `"2001:db8:9::/48"`, "subnets[0].host_routes[0].destination", "is no IPv4 address"},
		{`"destination": "198.51.100.0/24", `, ``, "subnets[0].host_routes[0].destination", "is missing"},
		{`"nexthop": "192.0.2.9"`, `"nexthop": "fe80::1"`, "subnets[0].host_routes[0].nexthop", "is no IPv4 address"},
		{`, "nexthop": "192.0.2.9"`, ``, "subnets[0].host_routes[0].nexthop", "is missing (write 0.0.0.0 for"},
		{`, "nexthop": "192.0.2.9"`, `, "next_hop": "192.0.2.9"`, "subnets[0].host_routes[0].next_hop", "unknown key"},
		{`"ipv6_address_mode": null`, `"ipv6_address_mode": "dhcp"`, "subnets[1].ipv6_address_mode", `"dhcp" is an unknown mode`},
		{`"networks"`, `"netwroks"`, "netwroks", "unknown key"},
		// Of finish:
		{`"192.0.2.2"`, `"192.0.2.1"`, "ports[0].fixed_ips[0].ip_address", "192.0.2.1 is the gateway of its subnet"},
		{`"192.0.2.2"`, `"192.0.2.255"`, "ports[0].fixed_ips[0].ip_address", "is the broadcast address"},
		{`"mtu": 1450`, `"mtu": 1279`, "ports[0].mtu", "1279 is less than 1280"},
		{`"nexthop": "192.0.2.9"`, `"nexthop": "224.0.0.9"`, "subnets[0].host_routes[0].nexthop", "is no gateway"},
		{`"networks"`, `"port": {"mac_address": "02:00:5e:00:00:01"}, "networks"`, "ports[0].mac_address", "is used twice"},
	})
}

func TestNetplanRefuses(t *testing.T) {
	base := `network:
  version: 2
  renderer: networkd
  ethernets:
    eth0:
      match: {macaddress: "02:00:5e:00:00:01"}
      set-name: app0
      dhcp4: false
      mtu: 1500
      addresses: [192.0.2.2/24, "2001:db8::2/64"]
      gateway4: 192.0.2.1
      routes: [{to: "2001:db8:5::/48", via: "2001:db8::1", metric: 5, table: 7}]
      nameservers: {addresses: [192.0.2.53], search: [example.org]}
      routing-policy: [{from: 192.0.2.2, table: 7, priority: 10}]
      optional: false
  vlans:
    eth0.5: {id: 5, link: eth0, addresses: [198.51.100.2/24]}
`
	eth, route := "network.ethernets.eth0", "network.ethernets.eth0.routes[0]"
	vlan := `network.vlans."eth0.5"`
	checkRefusals(t, Netplan, base, []refusal{
		{"version: 2", "version: 1", "network.version", `"1" is an unknown version (write 2)`},
		{"renderer: networkd", "renderer: sriov", "network.renderer", "is not supported"},
		{"  vlans:", "  bonds: {bond0: {interfaces: [eth0]}}\n  vlans:", "network.bonds", "stoker makes no bonds"},
		{"  vlans:", "  bridges: {br0: {}}\n  vlans:", "network.bridges", "stoker makes no bridges"},
		{"  vlans:", "  wifis: {wlan0: {}}\n  vlans:", "network.wifis", "stoker makes no wifis"},
		{"  vlans:", "  tunnels: {t: {mode: gre}}\n  vlans:", "network.tunnels", "stoker makes no tunnels"},
		{"network:\n", "version: 2\nnetwork:\n", "version", "stands beside network"},
		{"  vlans:", "  vlan:", "network.vlan", `unknown key (did you mean "vlans"?)`},
		{"dhcp4: false", "dhcp4: true", eth + ".dhcp4", "stoker has no DHCP client"},
		{"dhcp4: false", "dhcp6: yes", eth + ".dhcp6", "stoker has no DHCP client"},
		{"dhcp4: false", "dhcp4: maybe", eth + ".dhcp4", `"maybe" is not true or false`},
		{"dhcp4: false", "link-local: [ipv4]", eth + ".link-local[0]", "does not choose IPv4 link-local addresses"},
		{"dhcp4: false", "link-local: [ipv5, ipv6]", eth + ".link-local[0]", "is an unknown family"},
		{"dhcp4: false", "macaddress: 02:00:5e:00:00:09", eth + ".macaddress", "does not change MAC addresses"},
		{"dhcp4: false", "ipv6-privacy: true", eth + ".ipv6-privacy", "unknown key"},
		{"dhcp4: false", "activation-mode: manual", eth + ".activation-mode", "unknown key"},
		{"dhcp4: false", "dhpc4: false", eth + ".dhpc4", `unknown key (did you mean "dhcp4"?)`},
		{`{macaddress: "02:00:5e:00:00:01"}`, `{name: "eth*"}`, eth + ".match.name", `"eth*" is a pattern`},
		{`{macaddress: "02:00:5e:00:00:01"}`, `{driver: ixgbe}`, eth + ".match.driver", "unknown key"},
		{`{macaddress: "02:00:5e:00:00:01"}`, `{}`, eth + ".match", "fits every link"},
		{`{macaddress: "02:00:5e:00:00:01"}`, `{name: null}`, eth + ".match", "fits every link"},
		{`"02:00:5e:00:00:01"`, `"02:00:5e"`, eth + ".match.macaddress", "is not a MAC address"},
		{"set-name: app0", "set-name: application-network", eth + ".set-name", "more than 15 bytes"},
		{"mtu: 1500", "mtu: large", eth + ".mtu", "is not a whole number"},
		{"[192.0.2.2/24,", "[192.0.2.2,", eth + ".addresses[0]", "has no prefix length (write 192.0.2.2/LENGTH, such as 192.0.2.2/24)"},
		{"[192.0.2.2/24,", "[192.0.2.2/24: {lifetime: 0},", eth + ".addresses[0]", `stoker does not support lifetime: "0"`},
		{"[192.0.2.2/24,", "[192.0.2.2/24: {label: maas},", eth + ".addresses[0]", `stoker does not support label: "maas"`},
		{"[192.0.2.2/24,", "[{192.0.2.2/24: {}, 192.0.2.3/24: {}},", eth + `.addresses[0]."192.0.2.3/24"`, "unknown key"},
		{"gateway4: 192.0.2.1", `gateway4: "2001:db8::1"`, eth + ".gateway4", "is no IPv4 address"},
		{"gateway4: 192.0.2.1", `gateway6: 192.0.2.1`, eth + ".gateway6", "is no IPv6 address"},
		{`to: "2001:db8:5::/48", `, ``, route + ".to", "is missing"},
		{`to: "2001:db8:5::/48", via: "2001:db8::1"`, `to: default, scope: link`, route + ".to", "default has no family without via (write 0.0.0.0/0 or ::/0)"},
		{`to: "2001:db8:5::/48"`, `to: everywhere`, route + ".to", `"everywhere" is not an address`},
		{"metric: 5", "metric: low", route + ".metric", "is not a whole number"},
		{"metric: 5", "type: multicast", route + ".type", `"multicast" is not unicast, blackhole`},
		{"metric: 5", "scope: site", route + ".scope", `"site" is not global, link or host`},
		{"metric: 5", "advertised-receive-window: 10", route + ".advertised-receive-window", "unknown key"},
		{"metric: 5", "congestion-window: 10", route + ".congestion-window", "unknown key"},
		{"metric: 5", "on-link: 2", route + ".on-link", `"2" is not true or false`},
		{"from: 192.0.2.2, table: 7", "table: 7", eth + ".routing-policy[0]", "has no network, so no family"},
		{"priority: 10", "type-of-service: 10", eth + ".routing-policy[0].type-of-service", "unknown key"},
		{"[192.0.2.53]", "[ns.example.org]", eth + ".nameservers.addresses[0]", "is not an address"},
		{"link: eth0", "link: eth1", vlan + ".link", `there is no link "eth1"`},
		{"link: eth0, ", "", vlan + ".link", "is missing"},
		{"{id: 5, ", "{", vlan + ".id", "is missing: it is the number of the VLAN"},
		{"{id: 5, ", "{id: 5, match: {name: x}, ", vlan + ".match", "a VLAN is made, not looked for"},
		// Of finish:
		{"id: 5", "id: 0", vlan + ".id", "0 is not the number of a VLAN"},
		{"link: eth0", "link: eth0.5", vlan + ".link", "is on top of itself"},
		{"gateway4: 192.0.2.1", "gateway4: 192.0.2.2", eth + ".gateway4", "192.0.2.2 is the own address"},
		{"metric: 5", "on-link: false, from: 192.0.2.2", route + ".from", "192.0.2.2 is of another family"},
		{`via: "2001:db8::1", metric: 5`, `via: "2001:db8:7::1", on-link: false`, route + ".via", "is in no network of the link"},
		{`via: "2001:db8::1", metric: 5`, `type: blackhole, scope: link`, route + ".type", "blackhole goes with to, metric and table only"},
		{"priority: 10", "priority: 0", eth + ".routing-policy[0].priority", "0 is not a priority"},
		{"[example.org]", `["example.org\nnameserver 192.0.2.66"]`, eth + ".nameservers.search[0]", "is not a domain"},
		{"    eth0.5:", "    a-vlan-with-a-long-name:", "network.vlans.a-vlan-with-a-long-name", "more than 15 bytes"},
	})
}

func TestCNIRefuses(t *testing.T) {
	base := `{
"cniVersion": "1.1.0",
"interfaces": [
  {"name": "veth1", "mac": "02:00:5e:00:00:01"},
  {"name": "eth0", "mac": "02:00:5e:00:00:02", "mtu": 1500, "sandbox": "/run/netns/a"},
  {"name": "net1", "mac": "02:00:5e:00:00:03", "sandbox": "/run/netns/a"}],
"ips": [
  {"interface": 1, "address": "192.0.2.2/24", "gateway": "192.0.2.1"},
  {"interface": 2, "address": "198.51.100.2/24"}],
"routes": [{"dst": "0.0.0.0/0", "priority": 3, "table": 9, "scope": 0}],
"dns": {"nameservers": ["192.0.2.53"]}}`
	checkRefusals(t, CNI, base, []refusal{
		{`"1.1.0"`, `"1.2.0"`, "cniVersion", `"1.2.0" is an unknown version (there are: 0.3.0`},
		{`"1.1.0"`, `"0.2.0"`, "cniVersion", "is an unknown version"},
		{`"1.1.0"`, `null`, "cniVersion", "is missing"},
		{`"dns":`, `"code": 7, "msg": "no addresses left", "dns":`, "msg", `this is the error of a plugin, not a result: "no addresses left"`},
		{`"interface": 1`, `"interface": 3`, "ips[0].interface", "3 is no index of interfaces, which are 3"},
		{`"interface": 1`, `"interface": -1`, "ips[0].interface", "is not a whole number"},
		{`"interface": 1`, `"interface": null`, "ips[0].interface", "is missing: 2 interfaces are in the sandbox"},
		{`{"interface": 2, "ad`, `{"ad`, "ips[1].interface", "is missing"},
		{`"address": "192.0.2.2/24"`, `"address": "192.0.2.2"`, "ips[0].address", "has no prefix length"},
		{`"address": "192.0.2.2/24"`, `"address": null`, "ips[0].address", "is missing"},
		{`"address": "192.0.2.2/24"`, `"version": "6", "address": "192.0.2.2/24"`, "ips[0].version", `"6" is not the version of 192.0.2.2/24`},
		{`"192.0.2.1"`, `"2001:db8::1"`, "ips[0].gateway", "is no IPv4 address"},
		{`"name": "eth0", `, ``, "interfaces[1].name", "is missing"},
		{`"eth0"`, `"eth0:1"`, "interfaces[1].name", "is no name of a link"},
		{`"02:00:5e:00:00:02"`, `"02-00"`, "interfaces[1].mac", "is not a MAC address"},
		{`"mtu": 1500`, `"mtu": 1e3`, "interfaces[1].mtu", "is not a whole number"},
		{`"mtu": 1500`, `"vlan": 7`, "interfaces[1].vlan", "unknown key"},
		{`"dst": "0.0.0.0/0"`, `"dst": null`, "routes[0].dst", "is missing"},
		{`"dst": "0.0.0.0/0"`, `"dst": "::/0"`, "routes[0]", "no interface in the sandbox has an address of the family of ::/0"},
		{`"dst": "0.0.0.0/0"`, `"dst": "0.0.0.0/0", "gw": "fe80::1"`, "routes[0].gw", "is no IPv4 address"},
		{`"scope": 0`, `"scope": 200`, "routes[0].scope", `"200" is an unknown scope`},
		{`"priority": 3`, `"priority": "x"`, "routes[0].priority", "is not a whole number"},
		{`"table": 9`, `"table": "x"`, "routes[0].table", `"x" is no routing table`},
		{`["192.0.2.53"]`, `["192.0.2.53", "x"]`, "dns.nameservers[1]", "is not an address"},
		{`"dns":`, `"ip4": {}, "dns":`, "ip4", "unknown key"},
		{`"dns": {`, `"dns": {"domain": "a..b", `, "dns.domain", `"a..b" is not a domain: a part is empty`},
		// Of finish:
		{`"dns": {`, `"dns": {"options": ["ndots:1\nnameserver x"], `, "dns.options[0]", "is not a single word"},
		{`"net1"`, `"eth0"`, "interfaces[2].name", "the name eth0 is used twice, first by interfaces[1]"},
		{`"198.51.100.2/24"`, `"192.0.2.2/24"`, "ips[1].address", `192.0.2.2 is an address of "eth0" too`},
		{`"198.51.100.2/24"`, `"127.0.0.1/8"`, "ips[1].address", "is an address of lo only"},
		{`"192.0.2.1"`, `"192.0.2.2"`, "routes[0].gw", "192.0.2.2 is the own address at ips[0].address"},
	})
}

// TestRefusedAsAWhole is of documents that are not a change of another one away from being right.
func TestRefusedAsAWhole(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{`{"cniVersion": "1.0.0", "interfaces": [{"name": "veth1"}], "ips": [{"interface": 0, "address": "192.0.2.2/24"}]}`,
			"ips[0].interface: the address is for an interface, but none is in the sandbox of a container (give interfaces with their sandbox)"},
		{`{"cniVersion": "1.0.0"}`, "ips: no address is described, and no interface in the sandbox of a container"},
		{`{"links": [], "networks": [], "services": []}`, "links: no link is described"},
		{`{"port": null, "subnets": []}`, "ports: no link is described"},
		{`{"network": {"version": 2, "bonds": {}}}`, "network.ethernets: no link is described"},
		{`{"version": 2, "vlans": null}`, "ethernets: no link is described"},
		{`{"network": {"version": 1, "config": []}}`, `network.version: "1" is an unknown version (write 2)`},
		{`{"version": 1, "config": []}`, `cannot tell the format of net: no format has the keys "version", "config"`},
	} {
		if plan, err := Parse(Auto, "net", []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s\ngot the plan %+v and the error %v, not %s", c.text, plan, err, c.says)
		}
	}
}

// TestTooManyValues describes 30,000 links: only that is the problem, and not what is missing from the rest.
func TestTooManyValues(t *testing.T) {
	_, err := Parse(Own, "net.yaml", []byte("links: ["+strings.Repeat("{match: {name: eth0}, mtu: 1500}, ", 30_000)+"]\n"))
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "100000 values") {
		t.Errorf("%.500s", err)
	}
}
