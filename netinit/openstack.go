package netinit

import (
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// openStackDocument is network_data.json of nova's metadata service and of a config drive. It has what nova emits (get_network_metadata in
// nova/virt/netutils.py), and what cloud-init reads beyond that, since other programs write it for cloud-init. Numbers are texts here:
// some write them in quotes.
type openStackDocument struct {
	Links    []openStackLink    `yaml:"links"`
	Networks []openStackNetwork `yaml:"networks"`
	Services []openStackService `yaml:"services"`
}

type openStackLink struct {
	ID       string `yaml:"id"`   // of nova: the name of the tap device on the host
	Name     string `yaml:"name"` // not of nova
	Type     string `yaml:"type"`
	MAC      string `yaml:"ethernet_mac_address"`
	MTU      string `yaml:"mtu"` // null where a subnet has DHCP; 0: not known
	VIF      string `yaml:"vif_id"`
	VLANID   string `yaml:"vlan_id"`
	VLANLink string `yaml:"vlan_link"`
	VLANMAC  string `yaml:"vlan_mac_address"`
}

type openStackNetwork struct {
	ID        string             `yaml:"id"`
	Link      string             `yaml:"link"`
	Type      string             `yaml:"type"`
	NetworkID string             `yaml:"network_id"`
	Address   string             `yaml:"ip_address"` // also with /LENGTH
	Netmask   string             `yaml:"netmask"`
	Routes    []openStackRoute   `yaml:"routes"`
	Services  []openStackService `yaml:"services"`
	// Not of nova:
	Gateway string   `yaml:"gateway"`
	Servers []string `yaml:"dns_nameservers"`
	Search  []string `yaml:"dns_search"`
}

type openStackRoute struct {
	Network  string             `yaml:"network"`
	Netmask  string             `yaml:"netmask"`
	Gateway  string             `yaml:"gateway"`
	Metric   string             `yaml:"metric"` // not of nova
	Services []openStackService `yaml:"services"`
}

type openStackService struct {
	Type    string `yaml:"type"`
	Address string `yaml:"address"`
}

// openStackFields are the words for what finish checks.
var openStackFields = map[string]string{"match": "ethernet_mac_address", "vlan.id": "vlan_id", "vlan.parent": "vlan_link", "rename": "name",
	"to": "network", "via": "gateway"}

func detectOpenStack(k keys) bool {
	return k.has("links") && k.has("networks", "services") && !k.has("version", "port", "ports")
}

func readOpenStack(name string, data []byte) (*Plan, *input, error) {
	doc, in, err := decode[openStackDocument](name, data, `{"links": [], "networks": [], "services": []}`)
	if err != nil {
		return nil, nil, err
	}
	r := openStackReader{input: in, plan: &Plan{}, links: map[string]int{}}
	for i, l := range doc.Links {
		r.link(layeredyaml.Index("links", i), l)
	}
	for i, n := range doc.Networks {
		r.network(layeredyaml.Index("networks", i), n)
	}
	r.services("services", doc.Services)
	for i := range r.plan.Links {
		in.dropOwnGateways(&r.plan.Links[i])
	}
	in.notEmpty(r.plan, "links")
	return r.plan, in, nil
}

type openStackReader struct {
	*input
	plan  *Plan
	links map[string]int // by ID, in plan
}

func (r *openStackReader) link(path string, l openStackLink) {
	link := Link{ID: l.ID, path: path, MTU: r.number(path+".mtu", l.MTU)}
	if l.ID == "" {
		r.Missing(path+".id", "", "is missing: networks refer to it")
	}
	name := r.name(path+".name", l.Name)
	switch {
	case l.Type == "bond":
		r.Bad(path, "give the container one link, with the bond on the host", "is a bond: stoker makes none")
	case l.Type == "vlan" || l.VLANID != "" || l.VLANLink != "":
		if l.Type != "vlan" {
			r.Bad(path+".type", "write vlan", "%s is not the type of a VLAN", layeredyaml.Quote(path, l.Type))
		}
		link.Rename = name
		link.VLAN = &VLAN{ID: r.number(path+".vlan_id", l.VLANID), Parent: l.VLANLink, MAC: r.mac(path+".vlan_mac_address", l.VLANMAC)}
		if l.VLANID == "" {
			r.Missing(path+".vlan_id", "", "is missing: the link is a VLAN")
		}
		if l.VLANLink == "" {
			r.Missing(path+".vlan_link", "", "is missing: the link is a VLAN")
		}
	default:
		// As for cloud-init, each other type is that of a link that exists already. Its id is its name on the host, which says nothing here.
		link.Match.MAC = r.mac(path+".ethernet_mac_address", l.MAC)
		if l.MAC == "" {
			link.Match.Name = name
		} else {
			link.Rename = name
		}
		if l.MAC == "" && l.Name == "" {
			r.Missing(path+".ethernet_mac_address", "", "is missing: nothing else says which link is meant")
		}
	}
	if _, twice := r.links[l.ID]; !twice {
		r.links[l.ID] = len(r.plan.Links)
	}
	r.plan.Links = append(r.plan.Links, link)
}

// openStackDHCP are the types of networks whose addresses come from DHCP.
var openStackDHCP = []string{"ipv4_dhcp", "ipv6_dhcp", "ipv6_dhcpv6-stateful", "ipv6_dhcpv6-stateless"}

func (r *openStackReader) network(path string, n openStackNetwork) {
	link := &Link{} // of no plan
	if i, exists := r.links[n.Link]; exists {
		link = &r.plan.Links[i]
	} else if n.Link == "" {
		r.Missing(path+".link", "", "is missing: it is the id of a link")
	} else {
		r.Bad(path+".link", "describe it in links", "no link has the id %s", layeredyaml.Quote(path, n.Link))
	}
	ipv6, slaac := strings.HasPrefix(n.Type, "ipv6") || n.Type == "static6", n.Type == "ipv6_slaac"
	switch {
	case slices.Contains(openStackDHCP, n.Type):
		r.Bad(path+".type", "use a subnet without DHCP, whose addresses are in the metadata", "%q needs a DHCP client: stoker has none", n.Type)
		return
	case slaac:
		link.AcceptRA = AcceptRAOn
	case slices.Contains([]string{"ipv4", "static", "ipv6", "static6"}, n.Type):
		r.static(path, n, link, ipv6)
	case n.Type == "":
		r.Missing(path+".type", "write ipv4, ipv6 or ipv6_slaac", "is missing")
		return
	default:
		r.Bad(path+".type", "there are: ipv4, ipv6, ipv6_slaac", "%s is an unknown type", layeredyaml.Quote(path, n.Type))
		return
	}
	if gateway := r.gateway(path+".gateway", n.Gateway, ipv6); gateway.IsValid() && !slaac {
		link.Routes = append(link.Routes, Route{To: defaultRoute(gateway), Via: gateway, path: path})
	}
	for i, route := range n.Routes {
		r.route(layeredyaml.Index(path+".routes", i), route, link, ipv6, slaac)
	}
	r.services(path+".services", n.Services)
	r.servers(&r.plan.DNS, path+".dns_nameservers", n.Servers)
	r.domains(&r.plan.DNS, path+".dns_search", n.Search)
}

// static adds the address of a network to its link. Router advertisements would bring more than what is described, so they are off.
func (r *openStackReader) static(path string, n openStackNetwork, link *Link, ipv6 bool) {
	if ipv6 && link.AcceptRA == "" {
		link.AcceptRA = AcceptRAOff
	}
	if n.Address == "" {
		r.Missing(path+".ip_address", "", "is missing: the network has the type %s", n.Type)
		return
	}
	address := r.masked(path+".ip_address", n.Address, path+".netmask", n.Netmask)
	if r.family(path+".ip_address", address.Addr(), ipv6) {
		link.Addresses, link.addressPaths = append(link.Addresses, address), append(link.addressPaths, path+".ip_address")
	}
}

// route adds a route. For SLAAC, nova says what the default route is that router advertisements bring.
func (r *openStackReader) route(path string, route openStackRoute, link *Link, ipv6, slaac bool) {
	r.services(path+".services", route.Services)
	if route.Network == "" {
		r.Missing(path+".network", "", "is missing")
		return
	}
	to := r.masked(path+".network", route.Network, path+".netmask", route.Netmask)
	if to != to.Masked() {
		r.Warn(path+".network", "", "%s has bits of a host; %s is used", to, to.Masked())
	}
	if route.Gateway == "" {
		r.Missing(path+".gateway", "write "+unspecified(ipv6).String()+" for a destination on the link", "is missing")
	}
	via := r.gateway(path+".gateway", route.Gateway, ipv6)
	if !r.family(path+".network", to.Addr(), ipv6) || slaac && to.Bits() == 0 {
		return
	}
	link.Routes = append(link.Routes, Route{To: to.Masked(), Via: via, Metric: r.number(path+".metric", route.Metric), path: path,
		metricSet: route.Metric != ""})
}

func (r *openStackReader) services(path string, services []openStackService) {
	for i, s := range services {
		at := layeredyaml.Index(path, i)
		switch {
		case s.Type != "dns":
			r.Warn(at+".type", "", "%s is an unknown service; it is ignored", layeredyaml.Quote(at, s.Type))
		case s.Address == "":
			r.Missing(at+".address", "", "is missing")
		default:
			r.server(&r.plan.DNS, at+".address", s.Address)
		}
	}
}
