// Package netinit turns a description of a container's network, in one of several formats, into a plan. It is pure: package source
// fetches descriptions, and package kernel compares a plan with the kernel and applies it.
package netinit

import "net/netip"

// Format is the format of a description.
type Format string

// Formats.
const (
	Auto      Format = "auto"      // found out from the content
	OpenStack Format = "openstack" // network_data.json of nova's metadata
	Neutron   Format = "neutron"   // ports, networks and subnets of OpenStack's network API
	Netplan   Format = "netplan"   // version 2 of cloud-init, a subset
	CNI       Format = "cni"       // the result of a CNI plugin, 0.3.0 to 1.1.0
	Own       Format = "own"       // stoker's own, docs/reference/netinit.md
)

// Plan is the network configuration of a container. Every format is converted to it, and its JSON is what stoker netinit plan prints.
// A plan that Parse returned is complete: routes are in an order that the kernel accepts, with metrics and on-link flags.
type Plan struct {
	Format   Format   `json:"format"`
	Hostname string   `json:"hostname,omitempty"` // empty: left alone
	Links    []Link   `json:"links"`              // in the order of the input; a VLAN follows its parent
	Rules    []Rule   `json:"rules,omitempty"`
	DNS      DNS      `json:"dns,omitzero"`
	Hosts    []Host   `json:"hosts,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// Link is a network interface.
type Link struct {
	ID    string `json:"id"` // how the input calls it, for messages; unique in a plan
	Match Match  `json:"match,omitzero"`
	VLAN  *VLAN  `json:"vlan,omitempty"` // nil: the link exists, or will appear
	// Optional: an absent link is no error.
	Optional  bool           `json:"optional,omitempty"`
	Rename    string         `json:"rename,omitempty"` // empty: not renamed
	MTU       int            `json:"mtu,omitempty"`    // 0: left alone
	AcceptRA  AcceptRA       `json:"accept_ra,omitempty"`
	Addresses []netip.Prefix `json:"addresses,omitempty"` // with the host's bits
	Routes    []Route        `json:"routes,omitempty"`
	// Of the input, empty in a plan:
	path         string
	addressPaths []string // of Addresses, where a format knows them
}

// Match says which link is meant: all that is set must fit. It is empty for a VLAN.
type Match struct {
	MAC  string `json:"mac,omitempty"` // lower case, with colons
	Name string `json:"name,omitempty"`
}

// VLAN is a link that is made on top of another one (802.1Q). Its name is Rename, or PARENT.ID if that is empty.
type VLAN struct {
	ID     int    `json:"id"`            // 1 to 4094
	Parent string `json:"parent"`        // the ID of a link
	MAC    string `json:"mac,omitempty"` // empty: that of the parent
}

// AcceptRA says whether a link takes addresses and routes from IPv6 router advertisements; empty: left alone.
type AcceptRA string

// Values of AcceptRA.
const (
	AcceptRAOn  AcceptRA = "on"
	AcceptRAOff AcceptRA = "off"
)

// MainTable is the number of the routing table main.
const MainTable = 254

// DefaultMetricIPv6 is the metric of an IPv6 route without one.
const DefaultMetricIPv6 = 1024

// Route is a route through the link that it belongs to.
type Route struct {
	To     netip.Prefix `json:"to"`                // without the host's bits; 0.0.0.0/0 and ::/0 are default routes
	Via    netip.Addr   `json:"via,omitzero"`      // zero: the destination is on the link
	Source netip.Addr   `json:"source,omitzero"`   // the preferred source address
	Metric int          `json:"metric,omitempty"`  // 0: the kernel's default, which is 0 for IPv4 and 1024 for IPv6
	MTU    int          `json:"mtu,omitempty"`     // 0: that of the link
	AdvMSS int          `json:"adv_mss,omitempty"` // 0: the kernel's choice
	Table  int          `json:"table"`
	Scope  string       `json:"scope,omitempty"` // global, link or host; empty: link without Via for IPv4, else global
	Type   string       `json:"type,omitempty"`  // blackhole, unreachable, prohibit, throw; empty: unicast
	OnLink bool         `json:"on_link,omitempty"`
	// Of the input, empty in a plan:
	path      string
	metricSet bool // it has a metric, perhaps 0
	notOnLink bool // the gateway must be reachable without OnLink; else that is set where it is needed
}

// Rule is a policy routing rule.
type Rule struct {
	Priority int          `json:"priority"`
	From     netip.Prefix `json:"from,omitzero"`
	To       netip.Prefix `json:"to,omitzero"`
	Mark     uint32       `json:"mark,omitempty"` // 0: any
	Table    int          `json:"table"`
	// IPv6 is the family, also of a rule without From and To.
	IPv6 bool `json:"ipv6,omitempty"`
	// Of the input, empty in a plan:
	path string
	ipv4 bool // the family is given
}

// DNS is the content of resolv.conf; without servers, search domains and options the file is left alone.
type DNS struct {
	Servers []netip.Addr `json:"servers,omitempty"`
	Search  []string     `json:"search,omitempty"`
	Options []string     `json:"options,omitempty"`
}

// IsZero reports whether there is nothing to write.
func (d DNS) IsZero() bool { return len(d.Servers)+len(d.Search)+len(d.Options) == 0 }

// Host is a line of the hosts file.
type Host struct {
	Address netip.Addr `json:"address"`
	Names   []string   `json:"names"`
}
