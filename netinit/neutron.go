package netinit

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// neutronDocument is what an agent on the host has of OpenStack's network API: the ports of a container, with their subnets and perhaps
// networks. Lists and single objects are those of the API, whose answers can be merged to a document.
type neutronDocument struct {
	Port     neutronPort      `yaml:"port"`
	Ports    []neutronPort    `yaml:"ports"`
	Network  neutronNetwork   `yaml:"network"`
	Networks []neutronNetwork `yaml:"networks"`
	Subnet   neutronSubnet    `yaml:"subnet"`
	Subnets  []neutronSubnet  `yaml:"subnets"`
}

type neutronPort struct {
	ID            string           `yaml:"id"`
	MAC           string           `yaml:"mac_address"`
	NetworkID     string           `yaml:"network_id"`
	FixedIPs      []neutronFixedIP `yaml:"fixed_ips"`
	neutronObject `yaml:"-"`
}

type neutronFixedIP struct {
	Address  string `yaml:"ip_address"`
	SubnetID string `yaml:"subnet_id"`
}

type neutronNetwork struct {
	ID            string `yaml:"id"`
	MTU           string `yaml:"mtu"` // 0: not known
	neutronObject `yaml:"-"`
}

type neutronSubnet struct {
	ID            string             `yaml:"id"`
	CIDR          string             `yaml:"cidr"`
	Gateway       string             `yaml:"gateway_ip"` // null: none
	Servers       []string           `yaml:"dns_nameservers"`
	Routes        []neutronHostRoute `yaml:"host_routes"`
	AddressMode   string             `yaml:"ipv6_address_mode"`
	RAMode        string             `yaml:"ipv6_ra_mode"`
	neutronObject `yaml:"-"`
}

type neutronHostRoute struct {
	Destination string `yaml:"destination"`
	NextHop     string `yaml:"nexthop"` // 0.0.0.0 or ::: the destination is on the link
}

// neutronObject has the keys of an object that do not describe addresses. Such keys are not refused, unlike those of other formats: each
// extension of the API and each vendor's driver adds some, so that no list is complete. One warning names those that are not listed in
// neutronKeys, since a key may be a misspelt one.
type neutronObject struct{ unknown []string }

// TakeKey takes every key, whatever its value is.
func (o *neutronObject) TakeKey(key string, _ layeredyaml.Value) bool {
	prefix, _, _ := strings.Cut(key, ":")
	if !slices.Contains(neutronKeys, key) && !slices.Contains(neutronPrefixes, prefix) {
		o.unknown = append(o.unknown, key)
	}
	return true
}

// neutronKeys are keys of ports, networks and subnets in the reference of the API that describe no address: DHCP among them, since what
// it would give out is in the document.
var neutronKeys = []string{"id", "name", "description", "status", "tenant_id", "project_id", "created_at", "updated_at", "revision_number",
	"tags", "admin_state_up", "port_security_enabled", "qos_policy_id", "qos_network_policy_id", "shared", "standard_attr_id",
	"network_id", "mtu", // keys of one kind of object that others have for information
	"device_id", "device_owner", "device_profile", "security_groups", "allowed_address_pairs", "extra_dhcp_opts", "dns_assignment",
	"dns_domain", "dns_name", "ip_allocation", "data_plane_status", "resource_request", "propagate_uplink_status",
	"uplink_status_propagation", "mac_learning_enabled", "numa_affinity_policy", "hardware_offload_type", "hints", "trusted",
	"availability_zones", "availability_zone_hints", "ipv4_address_scope", "ipv6_address_scope", "is_default", "vlan_transparent", "qinq",
	"l2_adjacency", "segments", "subnets",
	"ip_version", "enable_dhcp", "allocation_pools", "segment_id", "subnetpool_id", "use_default_subnetpool", "prefixlen", "service_types",
	"dns_publish_fixed_ip", "router:external"}

// neutronPrefixes are those of extensions that describe what is outside the container.
var neutronPrefixes = []string{"binding", "provider", "router"}

// neutronFields are the words for what finish checks.
var neutronFields = map[string]string{"match": "mac_address", "to": "destination", "via": "nexthop"}

func detectNeutron(k keys) bool { return k.has("port", "ports") }

func readNeutron(name string, data []byte) (*Plan, *input, error) {
	doc, in, err := decode[neutronDocument](name, data, `{"ports": [], "subnets": []}`)
	if err != nil {
		return nil, nil, err
	}
	r := neutronReader{input: in, plan: &Plan{}, subnets: map[string]subnet{}, mtus: map[string]int{}, unknown: map[string]bool{}}
	each(in, "network", doc.Network, doc.Networks, r.network)
	each(in, "subnet", doc.Subnet, doc.Subnets, r.subnet)
	each(in, "port", doc.Port, doc.Ports, r.port)
	in.notEmpty(r.plan, "ports")
	if len(r.unknown) > 0 {
		keys := make([]string, 0, len(r.unknown))
		for _, key := range slices.Sorted(maps.Keys(r.unknown)) {
			keys = append(keys, layeredyaml.Shorten(key))
		}
		in.Warn("", "", "unknown keys are ignored: %s", strings.Join(keys[:min(len(keys), 20)], ", "))
	}
	return r.plan, in, nil
}

// each calls read for the only object of a kind, at the key kind, and for those of a list, whose key has an s at its end.
func each[T any](in *input, kind string, only T, list []T, read func(path string, object T)) {
	if in.IsSet(kind) {
		read(kind, only)
	}
	for i, object := range list {
		read(layeredyaml.Index(kind+"s", i), object)
	}
}

type neutronReader struct {
	*input
	plan    *Plan
	subnets map[string]subnet // by ID
	mtus    map[string]int    // by a network's ID; 0: not known
	unknown map[string]bool   // keys
}

// subnet is a neutronSubnet whose values were checked.
type subnet struct {
	prefix  netip.Prefix
	gateway netip.Addr
	auto    bool // addresses and the default route come from router advertisements
	routes  []Route
	servers []netip.Addr
}

func (r *neutronReader) ignore(o neutronObject) {
	for _, key := range o.unknown {
		r.unknown[key] = true
	}
}

// id checks the ID of a network or subnet, which others refer to.
func (r *neutronReader) id(path, id string, known bool) {
	if id == "" {
		r.Missing(path+".id", "", "is missing")
	}
	if known {
		r.Bad(path+".id", "", "%s is the id of two objects", layeredyaml.Quote(path, id))
	}
}

func (r *neutronReader) network(path string, n neutronNetwork) {
	r.ignore(n.neutronObject)
	_, known := r.mtus[n.ID]
	r.id(path, n.ID, known)
	r.mtus[n.ID] = r.number(path+".mtu", n.MTU)
}

func (r *neutronReader) subnet(path string, s neutronSubnet) {
	r.ignore(s.neutronObject)
	_, known := r.subnets[s.ID]
	r.id(path, s.ID, known)
	if s.CIDR == "" {
		r.Missing(path+".cidr", "", "is missing")
	}
	out := subnet{prefix: r.input.network(path+".cidr", s.CIDR)}
	// Neutron gives out the address that a host makes up itself if one of the two has such a mode (is_auto_address_subnet).
	for key, mode := range map[string]string{".ipv6_address_mode": s.AddressMode, ".ipv6_ra_mode": s.RAMode} {
		switch mode {
		case "", "dhcpv6-stateful": // the address is a fixed one
		case "slaac", "dhcpv6-stateless":
			out.auto = true
		default:
			r.Bad(path+key, "there are: slaac, dhcpv6-stateful, dhcpv6-stateless", "%s is an unknown mode", layeredyaml.Quote(path, mode))
		}
	}
	if out.prefix.IsValid() {
		out.gateway = r.gateway(path+".gateway_ip", s.Gateway, out.prefix.Addr().Is6())
		out.routes = r.hostRoutes(path+".host_routes", s.Routes, out.prefix.Addr().Is6())
	}
	if out.gateway.IsValid() && !out.auto {
		out.routes = append(out.routes, Route{To: defaultRoute(out.gateway), Via: out.gateway, path: path + ".gateway_ip"})
	}
	var dns DNS
	r.servers(&dns, path+".dns_nameservers", s.Servers)
	out.servers = dns.Servers
	r.subnets[s.ID] = out
}

// hostRoutes returns those of a subnet.
func (r *neutronReader) hostRoutes(path string, list []neutronHostRoute, ipv6 bool) (routes []Route) {
	for i, route := range list {
		at := layeredyaml.Index(path, i)
		if route.Destination == "" {
			r.Missing(at+".destination", "", "is missing")
		}
		if route.NextHop == "" {
			r.Missing(at+".nexthop", "write "+unspecified(ipv6).String()+" for a destination on the link", "is missing")
		}
		to, via := r.input.network(at+".destination", route.Destination), r.gateway(at+".nexthop", route.NextHop, ipv6)
		if r.family(at+".destination", to.Addr(), ipv6) {
			routes = append(routes, Route{To: to, Via: via, path: at})
		}
	}
	return routes
}

func (r *neutronReader) port(path string, p neutronPort) {
	r.ignore(p.neutronObject)
	link := Link{ID: p.ID, Match: Match{MAC: r.mac(path+".mac_address", p.MAC)}, path: path}
	if p.ID == "" {
		link.ID = link.Match.MAC
	}
	if p.MAC == "" {
		r.Missing(path+".mac_address", "", "is missing: it says which link is meant")
	}
	if mtu, known := r.mtus[p.NetworkID]; known {
		link.MTU = mtu
	} else if len(r.mtus) > 0 {
		r.Bad(path+".network_id", "add the network, or leave all networks out", "no network has the id %s",
			layeredyaml.Quote(path, p.NetworkID))
	}
	seen := map[string]bool{}
	for i, ip := range p.FixedIPs {
		r.fixedIP(layeredyaml.Index(path+".fixed_ips", i), ip, &link, seen[ip.SubnetID])
		seen[ip.SubnetID] = true
	}
	r.dropOwnGateways(&link)
	r.plan.Links = append(r.plan.Links, link)
}

// fixedIP adds an address to a link, and what its subnet has unless that was added before.
func (r *neutronReader) fixedIP(path string, ip neutronFixedIP, link *Link, again bool) {
	s, known := r.subnets[ip.SubnetID]
	if !known {
		r.Bad(path+".subnet_id", "add it to subnets", "no subnet has the id %s", layeredyaml.Quote(path, ip.SubnetID))
		return
	}
	if ip.Address == "" {
		r.Missing(path+".ip_address", "", "is missing")
	}
	a := r.addr(path+".ip_address", ip.Address)
	if a.IsValid() && s.prefix.IsValid() && !s.prefix.Contains(a) {
		r.Bad(path+".ip_address", "", "%s is not in the subnet %s", a, s.prefix)
		return
	}
	switch {
	case s.auto:
		link.AcceptRA = AcceptRAOn
	case a.IsValid() && a == s.gateway:
		r.Bad(path+".ip_address", "", "%s is the gateway of its subnet", a)
	case a.IsValid() && s.prefix.IsValid():
		link.Addresses = append(link.Addresses, netip.PrefixFrom(a, s.prefix.Bits()))
		link.addressPaths = append(link.addressPaths, path+".ip_address")
		if a.Is6() && link.AcceptRA == "" {
			link.AcceptRA = AcceptRAOff
		}
	}
	if !again {
		link.Routes = append(link.Routes, s.routes...)
		r.plan.DNS.Servers = append(r.plan.DNS.Servers, s.servers...)
	}
}
