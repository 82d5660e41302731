package netinit

import (
	"maps"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// netplanDocument is version 2 of cloud-init's network configuration, or a file of netplan, which has it below network. It is the part of
// it that stoker does: Ethernet links and VLANs with fixed addresses.
type netplanDocument struct {
	Network        netplanNetwork `yaml:"network"`
	netplanNetwork `yaml:",inline"`
}

type netplanNetwork struct {
	Version     string                   `yaml:"version"`
	Renderer    string                   `yaml:"renderer"`
	Ethernets   map[string]netplanDevice `yaml:"ethernets"`
	VLANs       map[string]netplanVLAN   `yaml:"vlans"`
	unsupported []string
}

// TakeKey takes the sections of other kinds of links. Empty ones say nothing.
func (n *netplanNetwork) TakeKey(key string, v layeredyaml.Value) bool {
	if !slices.Contains(netplanSections, key) {
		return false
	}
	for range v.Pairs() {
		n.unsupported = append(n.unsupported, key)
		break
	}
	return true
}

var netplanSections = []string{"bonds", "bridges", "wifis", "modems", "tunnels", "vrfs", "dummy-devices", "virtual-ethernets", "nm-devices",
	"openvswitch"}

type netplanDevice struct {
	Match          netplanMatch       `yaml:"match"`
	SetName        string             `yaml:"set-name"`
	Renderer       string             `yaml:"renderer"`
	DHCP4          string             `yaml:"dhcp4"`
	DHCP6          string             `yaml:"dhcp6"`
	AcceptRA       string             `yaml:"accept-ra"`
	LinkLocal      []string           `yaml:"link-local"`
	Optional       string             `yaml:"optional"`
	MTU            string             `yaml:"mtu"`
	MAC            string             `yaml:"macaddress"`
	Addresses      []netplanAddress   `yaml:"addresses"`
	Gateway4       string             `yaml:"gateway4"`
	Gateway6       string             `yaml:"gateway6"`
	Nameservers    netplanNameservers `yaml:"nameservers"`
	Routes         []netplanRoute     `yaml:"routes"`
	RoutingPolicy  []netplanRule      `yaml:"routing-policy"`
	netplanIgnored `yaml:"-"`
}

type netplanVLAN struct {
	ID            string `yaml:"id"`
	Link          string `yaml:"link"`
	netplanDevice `yaml:",inline"`
}

// netplanIgnored are the keys of a link that have no meaning here.
type netplanIgnored []string

// TakeKey takes a key that has no meaning here.
func (i *netplanIgnored) TakeKey(key string, _ layeredyaml.Value) bool {
	if !slices.Contains(netplanMeaningless, key) {
		return false
	}
	*i = append(*i, key)
	return true
}

// netplanMeaningless are options of hardware, of DHCP, which is off, and of how a system starts. One warning names them.
var netplanMeaningless = []string{"wakeonlan", "emit-lldp", "critical", "ignore-carrier", "optional-addresses", "dhcp-identifier",
	"dhcp4-overrides", "dhcp6-overrides", "receive-checksum-offload", "transmit-checksum-offload", "tcp-segmentation-offload",
	"tcp6-segmentation-offload", "generic-segmentation-offload", "generic-receive-offload", "large-receive-offload"}

type netplanMatch struct {
	Name string `yaml:"name"`
	MAC  string `yaml:"macaddress"`
}

// netplanAddress is an address, or a section with the address as its only key and options of it.
type netplanAddress struct {
	Address string `yaml:"address,short"`
	options map[string]string
}

// TakeKey takes the address.
func (a *netplanAddress) TakeKey(key string, v layeredyaml.Value) bool {
	if a.Address != "" || !strings.Contains(key, "/") {
		return false
	}
	a.Address, a.options = key, map[string]string{}
	for option, value := range v.Pairs() {
		a.options[option] = value.Text()
	}
	return true
}

type netplanNameservers struct {
	Addresses []string `yaml:"addresses"`
	Search    []string `yaml:"search"`
}

type netplanRoute struct {
	To     string `yaml:"to"`
	Via    string `yaml:"via"`
	From   string `yaml:"from"`
	Metric string `yaml:"metric"`
	OnLink string `yaml:"on-link"`
	Table  string `yaml:"table"`
	Scope  string `yaml:"scope"`
	Type   string `yaml:"type"`
	MTU    string `yaml:"mtu"`
	AdvMSS string `yaml:"advertised-mss"`
}

type netplanRule struct {
	From     string `yaml:"from"`
	To       string `yaml:"to"`
	Table    string `yaml:"table"`
	Priority string `yaml:"priority"`
	Mark     string `yaml:"mark"`
}

// netplanFields are the words for what finish checks.
var netplanFields = map[string]string{"vlan.id": "id", "vlan.parent": "link", "rename": "set-name", "source": "from",
	"adv_mss": "advertised-mss"}

func detectNetplan(k keys) bool {
	return k.has("network") && !k.has("port", "ports") || k.has("ethernets", "vlans") || k.has(netplanSections...)
}

func readNetplan(name string, data []byte) (*Plan, *input, error) {
	doc, in, err := decode[netplanDocument](name, data, "network: {version: 2, ethernets: {}}")
	if err != nil {
		return nil, nil, err
	}
	r := netplanReader{input: in, plan: &Plan{}, ignored: map[string]bool{}}
	network, path := doc.netplanNetwork, ""
	if in.IsSet("network") {
		for _, key := range append(network.unsupported, "version", "renderer", "ethernets", "vlans") {
			if in.IsSet(key) {
				in.Bad(key, "put it below network", "stands beside network")
			}
		}
		network, path = doc.Network, "network"
	}
	r.network(path, network)
	in.notEmpty(r.plan, layeredyaml.Join(path, "ethernets"))
	if len(r.ignored) > 0 {
		in.Warn("", "", "keys that have no meaning here are ignored: %s", strings.Join(slices.Sorted(maps.Keys(r.ignored)), ", "))
	}
	return r.plan, in, nil
}

type netplanReader struct {
	*input
	plan    *Plan
	ignored map[string]bool
}

func (r *netplanReader) network(path string, n netplanNetwork) {
	if n.Version != "" && n.Version != "2" {
		r.Bad(layeredyaml.Join(path, "version"), "write 2", "%s is an unknown version", layeredyaml.Quote(path, n.Version))
	}
	r.renderer(path, n.Renderer)
	for _, key := range n.unsupported {
		r.Bad(layeredyaml.Join(path, key), "describe Ethernet links and VLANs only", "stoker makes no %s", key)
	}
	ethernets, vlans := layeredyaml.Join(path, "ethernets"), layeredyaml.Join(path, "vlans")
	for _, id := range r.order(ethernets, slices.Sorted(maps.Keys(n.Ethernets))) {
		r.ethernet(layeredyaml.Join(ethernets, id), id, n.Ethernets[id])
	}
	for _, id := range r.order(vlans, slices.Sorted(maps.Keys(n.VLANs))) {
		r.vlan(layeredyaml.Join(vlans, id), id, n.VLANs[id])
	}
}

// renderer checks the program that would apply the configuration, which stoker does itself. A VLAN with another renderer is not one of the
// kernel's.
func (r *netplanReader) renderer(path, renderer string) {
	if renderer != "" && renderer != "networkd" && renderer != "NetworkManager" {
		at := layeredyaml.Join(path, "renderer")
		r.Bad(at, "remove it", "%s is not supported", layeredyaml.Quote(at, renderer))
	}
}

func (r *netplanReader) ethernet(path, id string, d netplanDevice) {
	link := Link{ID: id, path: path, Rename: r.name(path+".set-name", d.SetName)}
	link.Match = Match{Name: r.exactName(path+".match.name", d.Match.Name), MAC: r.mac(path+".match.macaddress", d.Match.MAC)}
	switch set := r.IsSet(path + ".match"); {
	case !set:
		link.Match.Name = r.exactName(path, id)
	case d.Match.Name == "" && d.Match.MAC == "":
		r.Bad(path+".match", "write macaddress or name", "fits every link")
	}
	if d.MAC != "" {
		r.Bad(path+".macaddress", "match the address that the link has", "stoker does not change MAC addresses")
	}
	r.device(path, d, &link)
	r.plan.Links = append(r.plan.Links, link)
}

// exactName is name for a place where netplan has patterns.
func (r *netplanReader) exactName(path, text string) string {
	if strings.ContainsAny(text, "*?[") {
		r.Bad(path, "write the name of one link, or match its macaddress", "%s is a pattern", layeredyaml.Quote(path, text))
	}
	return r.name(path, text)
}

func (r *netplanReader) vlan(path, id string, d netplanVLAN) {
	link := Link{ID: id, path: path, Rename: r.name(path, id)}
	link.VLAN = &VLAN{ID: r.number(path+".id", d.ID), Parent: d.Link, MAC: r.mac(path+".macaddress", d.MAC)}
	if d.ID == "" {
		r.Missing(path+".id", "", "is missing: it is the number of the VLAN")
	}
	if d.Link == "" {
		r.Missing(path+".link", "", "is missing: it is the link below the VLAN")
	}
	for _, key := range []string{"match", "set-name"} {
		if r.IsSet(path + "." + key) {
			r.Bad(path+"."+key, "the id of a VLAN is its name", "a VLAN is made, not looked for")
		}
	}
	r.device(path, d.netplanDevice, &link)
	r.plan.Links = append(r.plan.Links, link)
}

// device converts what all kinds of links have.
func (r *netplanReader) device(path string, d netplanDevice, link *Link) {
	for _, key := range d.netplanIgnored {
		r.ignored[key] = true
	}
	r.renderer(path, d.Renderer)
	for key, text := range map[string]string{".dhcp4": d.DHCP4, ".dhcp6": d.DHCP6} {
		if r.boolean(path+key, text) {
			r.Bad(path+key, "write false, and addresses", "stoker has no DHCP client")
		}
	}
	link.MTU = r.number(path+".mtu", d.MTU)
	link.Optional = r.boolean(path+".optional", d.Optional)
	if on := r.boolean(path+".accept-ra", d.AcceptRA); d.AcceptRA != "" {
		link.AcceptRA = map[bool]AcceptRA{true: AcceptRAOn, false: AcceptRAOff}[on]
	}
	r.linkLocal(path+".link-local", d.LinkLocal)
	for i, a := range d.Addresses {
		r.address(layeredyaml.Index(path+".addresses", i), a, link)
	}
	for _, g := range []struct {
		key, text string
		ipv6      bool
	}{{".gateway4", d.Gateway4, false}, {".gateway6", d.Gateway6, true}} {
		if via := r.addr(path+g.key, g.text); link.hasAddress(via) {
			r.Bad(path+g.key, "", "%s is the own address", via)
		} else if r.family(path+g.key, via, g.ipv6) {
			link.Routes = append(link.Routes, Route{To: defaultRoute(via), Via: via, path: path + g.key})
		}
	}
	for i, route := range d.Routes {
		r.route(layeredyaml.Index(path+".routes", i), route, link)
	}
	for i, rule := range d.RoutingPolicy {
		r.rule(layeredyaml.Index(path+".routing-policy", i), rule)
	}
	r.servers(&r.plan.DNS, path+".nameservers.addresses", d.Nameservers.Addresses)
	r.domains(&r.plan.DNS, path+".nameservers.search", d.Nameservers.Search)
}

// linkLocal checks link-local. The kernel makes IPv6 addresses of that kind, and stoker leaves them.
func (r *netplanReader) linkLocal(path string, families []string) {
	if r.IsSet(path) && !slices.Contains(families, "ipv6") {
		r.Warn(path, "", "the IPv6 link-local address of the kernel stays")
	}
	for i, family := range families {
		if at := layeredyaml.Index(path, i); family == "ipv4" {
			r.Bad(at, "give a fixed address", "stoker does not choose IPv4 link-local addresses")
		} else if family != "ipv6" {
			r.Bad(at, "there are: ipv6", "%s is an unknown family", layeredyaml.Quote(at, family))
		}
	}
}

func (r *netplanReader) address(path string, a netplanAddress, link *Link) {
	for _, option := range slices.Sorted(maps.Keys(a.options)) {
		if value := a.options[option]; option != "lifetime" || value != "forever" {
			r.Bad(path, "remove it", "stoker does not support %s: %s of an address", layeredyaml.Shorten(option), layeredyaml.Quote(path, value))
		}
	}
	if p := r.prefix(path, a.Address); p.IsValid() {
		link.Addresses, link.addressPaths = append(link.Addresses, p), append(link.addressPaths, path)
	}
}

// boolean parses a truth value as netplan does; an absent one is false.
func (in *input) boolean(path, text string) bool {
	switch strings.ToLower(text) {
	case "true", "yes", "on", "y":
		return true
	case "", "false", "no", "off", "n":
	default:
		in.Bad(path, "write true or false", "%s is not true or false", layeredyaml.Quote(path, text))
	}
	return false
}

func (r *netplanReader) route(path string, route netplanRoute, link *Link) {
	out := Route{Via: r.addr(path+".via", route.Via), Source: r.addr(path+".from", route.From), Metric: r.number(path+".metric", route.Metric),
		MTU: r.number(path+".mtu", route.MTU), AdvMSS: r.number(path+".advertised-mss", route.AdvMSS), Scope: route.Scope,
		Type: route.Type, Table: r.table(path+".table", route.Table), path: path, metricSet: route.Metric != ""}
	out.OnLink = r.boolean(path+".on-link", route.OnLink)
	out.notOnLink = route.OnLink != "" && !out.OnLink
	switch {
	case route.To == "":
		r.Missing(path+".to", "", "is missing")
	case route.To != "default":
		out.To = r.input.network(path+".to", route.To)
	case out.Via.IsValid():
		out.To = defaultRoute(out.Via)
	case route.Via == "":
		r.Bad(path+".to", "write 0.0.0.0/0 or ::/0", "default has no family without via")
	}
	if out.To.IsValid() {
		link.Routes = append(link.Routes, out)
	}
}

// netplanPriority is that of the first rule if it has none; later ones follow it. They come before the table main, as those that get their
// priority from the kernel, but in the order of the file.
const netplanPriority = 32000

func (r *netplanReader) rule(path string, rule netplanRule) {
	out := Rule{From: r.input.network(path+".from", rule.From), To: r.input.network(path+".to", rule.To),
		Priority: r.number(path+".priority", rule.Priority), Mark: r.mark(path+".mark", rule.Mark),
		Table: r.table(path+".table", rule.Table), path: path}
	if rule.From == "" && rule.To == "" {
		r.Missing(path, "write from or to", "has no network, so no family")
	}
	if rule.Priority == "" {
		out.Priority = netplanPriority + len(r.plan.Rules)
	}
	out.IPv6 = out.From.Addr().Is6() || out.To.Addr().Is6()
	if out.From.IsValid() || out.To.IsValid() {
		r.plan.Rules = append(r.plan.Rules, out)
	}
}
