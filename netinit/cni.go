package netinit

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// cniResult is what a CNI plugin prints for ADD, in version 0.3.0 to 1.1.0 of the specification.
type cniResult struct {
	Version    string         `yaml:"cniVersion"`
	Interfaces []cniInterface `yaml:"interfaces"` // absent from the result of an IPAM plugin
	IPs        []cniIP        `yaml:"ips"`
	Routes     []cniRoute     `yaml:"routes"`
	DNS        cniDNS         `yaml:"dns"`
	cniFailure `yaml:",inline"`
}

// cniFailure is what a plugin prints in the place of a result.
type cniFailure struct {
	Code    string `yaml:"code"`
	Message string `yaml:"msg"`
	Details string `yaml:"details"`
}

type cniInterface struct {
	Name       string `yaml:"name"`
	MAC        string `yaml:"mac"`
	MTU        string `yaml:"mtu"`     // since 1.1.0
	Sandbox    string `yaml:"sandbox"` // empty: the interface is on the host
	SocketPath string `yaml:"socketPath"`
	PCI        string `yaml:"pciID"`
}

type cniIP struct {
	Version   string `yaml:"version"` // 4 or 6, before 1.0.0
	Address   string `yaml:"address"`
	Gateway   string `yaml:"gateway"`   // of routes without one; it makes no route
	Interface string `yaml:"interface"` // index of Interfaces
}

// cniRoute is a route; the last five keys are of version 1.1.0.
type cniRoute struct {
	Destination string `yaml:"dst"`
	Gateway     string `yaml:"gw"`
	MTU         string `yaml:"mtu"`
	AdvMSS      string `yaml:"advmss"`
	Priority    string `yaml:"priority"`
	Table       string `yaml:"table"`
	Scope       string `yaml:"scope"`
}

type cniDNS struct {
	Servers []string `yaml:"nameservers"`
	Domain  string   `yaml:"domain"`
	Search  []string `yaml:"search"`
	Options []string `yaml:"options"`
}

// cniVersions are those whose results have the form of cniResult.
var cniVersions = []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}

// cniScopes are the scopes of a route by their numbers in the kernel.
var cniScopes = map[string]string{"0": "global", "253": "link", "254": "host"}

// cniDefaultName is what runtimes call the interface of a container, as CNI_IFNAME.
const cniDefaultName = "eth0"

// cniFields are the words for what finish checks.
var cniFields = map[string]string{"id": "name", "match": "name", "to": "dst", "via": "gw", "metric": "priority", "adv_mss": "advmss"}

func detectCNI(k keys) bool { return k.has("cniVersion") }

func readCNI(name string, data []byte) (*Plan, *input, error) {
	doc, in, err := decode[cniResult](name, data, `{"cniVersion": "1.1.0", "ips": []}`)
	if err != nil {
		return nil, nil, err
	}
	r := cniReader{input: in, plan: &Plan{}, links: map[int]int{}, interfaces: doc.Interfaces}
	switch {
	case doc.Version == "":
		in.Missing("cniVersion", "", "is missing")
	case !slices.Contains(cniVersions, doc.Version):
		in.Bad("cniVersion", "there are: "+strings.Join(cniVersions, ", "), "%s is an unknown version",
			layeredyaml.Quote("cniVersion", doc.Version))
	}
	if doc.Code != "" || doc.Message != "" {
		in.Bad("msg", "", "this is the error of a plugin, not a result: %s", layeredyaml.Quote("msg", doc.Message+doc.Details))
		return r.plan, in, nil
	}
	r.findLinks(doc.IPs)
	for i, ip := range doc.IPs {
		r.ip(layeredyaml.Index("ips", i), ip)
	}
	for i, route := range doc.Routes {
		r.route(layeredyaml.Index("routes", i), route)
	}
	in.servers(&r.plan.DNS, "dns.nameservers", doc.DNS.Servers)
	in.domains(&r.plan.DNS, "dns.search", doc.DNS.Search)
	if len(doc.DNS.Search) == 0 && doc.DNS.Domain != "" { // resolv.conf has one of the two
		in.domain(&r.plan.DNS, "dns.domain", doc.DNS.Domain)
	}
	in.dnsOptions(&r.plan.DNS, "dns.options", doc.DNS.Options)
	return r.plan, in, nil
}

type cniReader struct {
	*input
	plan       *Plan
	interfaces []cniInterface
	links      map[int]int // index of an interface in the sandbox: of its link in plan
	ips        []cniAddress
}

// cniAddress is an address of the plan, with the gateway of its subnet.
type cniAddress struct {
	link    int
	address netip.Prefix
	gateway netip.Addr
}

// findLinks makes a link of each interface in the sandbox. A result without one is that of an IPAM plugin, or of a plugin that names the
// host's side only: then the container has one interface.
func (r *cniReader) findLinks(ips []cniIP) {
	inSandbox := map[string]int{} // MAC addresses
	for _, iface := range r.interfaces {
		if iface.Sandbox != "" {
			inSandbox[strings.ToLower(iface.MAC)]++
		}
	}
	for i, iface := range r.interfaces {
		path := layeredyaml.Index("interfaces", i)
		if iface.Sandbox == "" {
			continue
		}
		if iface.Name == "" {
			r.Missing(path+".name", "", "is missing")
		}
		link := Link{ID: iface.Name, path: path, MTU: r.number(path+".mtu", iface.MTU), Match: Match{Name: r.name(path+".name", iface.Name)}}
		// ipvlan gives several interfaces the address of one on the host.
		if mac := r.mac(path+".mac", iface.MAC); inSandbox[mac] == 1 {
			link.Match.MAC = mac
		}
		r.links[i] = len(r.plan.Links)
		r.plan.Links = append(r.plan.Links, link)
	}
	if len(r.links) > 0 {
		return
	}
	if len(ips) == 0 {
		r.Missing("ips", "", "no address is described, and no interface in the sandbox of a container")
	}
	for i, ip := range ips {
		if ip.Interface != "" {
			r.Bad(layeredyaml.Index("ips", i)+".interface", "give interfaces with their sandbox",
				"the address is for an interface, but none is in the sandbox of a container")
			return
		}
	}
	r.Warn("", "give interfaces with their sandbox", "no interface is in the sandbox of a container: the addresses are for %s",
		cniDefaultName)
	r.plan.Links = append(r.plan.Links, Link{ID: cniDefaultName, Match: Match{Name: cniDefaultName}, path: "interfaces"})
}

func (r *cniReader) ip(path string, ip cniIP) {
	link, ok := r.linkOf(path+".interface", ip.Interface)
	if !ok {
		r.Warn(path+".interface", "", "%s is an address of the host, and is not used", ip.Address)
		return
	}
	if ip.Address == "" {
		r.Missing(path+".address", "", "is missing")
	}
	address, gateway := r.prefix(path+".address", ip.Address), r.addr(path+".gateway", ip.Gateway)
	if !address.IsValid() {
		return
	}
	ipv6 := address.Addr().Is6()
	if version := map[bool]string{false: "4", true: "6"}[ipv6]; ip.Version != "" && ip.Version != version {
		r.Bad(path+".version", "write "+version, "%s is not the version of %s", layeredyaml.Quote(path, ip.Version), address)
	}
	r.family(path+".gateway", gateway, ipv6)
	l := &r.plan.Links[link]
	l.Addresses, l.addressPaths = append(l.Addresses, address), append(l.addressPaths, path+".address")
	r.ips = append(r.ips, cniAddress{link, address, gateway})
}

// linkOf returns the link of the interface with an index; ok is false if the interface is on the host.
func (r *cniReader) linkOf(path, index string) (link int, ok bool) {
	if index == "" {
		if len(r.plan.Links) != 1 {
			r.Missing(path, "write the index of an interface", "is missing: %d interfaces are in the sandbox", len(r.plan.Links))
		}
		return 0, len(r.plan.Links) > 0
	}
	i := r.number(path, index)
	if i >= len(r.interfaces) {
		r.Bad(path, "", "%d is no index of interfaces, which are %d", i, len(r.interfaces))
	}
	link, ok = r.links[i]
	return link, ok
}

func (r *cniReader) route(path string, route cniRoute) {
	if route.Destination == "" {
		r.Missing(path+".dst", "", "is missing")
	}
	to, via := r.network(path+".dst", route.Destination), r.addr(path+".gw", route.Gateway)
	if !to.IsValid() || route.Gateway != "" && !r.family(path+".gw", via, to.Addr().Is6()) {
		return
	}
	scope, known := cniScopes[route.Scope]
	if route.Scope != "" && !known {
		r.Bad(path+".scope", "there are: 0 (global), 253 (link), 254 (host)", "%s is an unknown scope", layeredyaml.Quote(path, route.Scope))
	}
	link, via, ok := r.linkFor(to, via, scope == "link" || scope == "host")
	if !ok {
		r.Bad(path, "", "no interface in the sandbox has an address of the family of %s", to)
		return
	}
	if route.Table == "0" { // of the kernel: not given
		route.Table = ""
	}
	out := Route{To: to, Via: via, Scope: scope, MTU: r.number(path+".mtu", route.MTU), AdvMSS: r.number(path+".advmss", route.AdvMSS),
		Metric: r.number(path+".priority", route.Priority), metricSet: route.Priority != "", Table: r.table(path+".table", route.Table),
		path: path}
	r.plan.Links[link].Routes = append(r.plan.Links[link].Routes, out)
}

// linkFor returns the link of a route, which a result does not say, and its gateway: that of the first subnet with one if the route has
// none and its destination is not on the link. The link is that with the subnet of the gateway, else the first with an address of the
// family.
func (r *cniReader) linkFor(to netip.Prefix, via netip.Addr, onLink bool) (link int, gateway netip.Addr, ok bool) {
	first := -1 // in r.ips, of the family
	for i, ip := range r.ips {
		if ip.address.Addr().Is6() != to.Addr().Is6() {
			continue
		}
		if first < 0 {
			first = i
		}
		switch {
		case via.IsValid() && (ip.address.Contains(via) || ip.gateway == via):
			return ip.link, via, true
		case !via.IsValid() && !onLink && ip.gateway.IsValid():
			return ip.link, ip.gateway, true
		}
	}
	if first >= 0 {
		return r.ips[first].link, via, true
	}
	return 0, via, len(r.plan.Links) == 1
}
