package netinit

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// ownDocument is stoker's own format.
type ownDocument struct {
	Version  string    `yaml:"version" check:"required oneof 1"`
	Hostname string    `yaml:"hostname"`
	Links    []ownLink `yaml:"links"`
	Rules    []ownRule `yaml:"rules"`
	DNS      struct {
		Servers []string `yaml:"servers"`
		Search  []string `yaml:"search"`
		Options []string `yaml:"options"`
	} `yaml:"dns"`
	Hosts []struct {
		IP    string   `yaml:"ip" check:"required"`
		Names []string `yaml:"names"`
	} `yaml:"hosts"`
}

type ownLink struct {
	ID    string `yaml:"id"` // empty: its name, or MAC address
	Match struct {
		MAC  string `yaml:"mac"`
		Name string `yaml:"name"`
	} `yaml:"match"`
	VLAN struct {
		ID     int    `yaml:"id"`
		Parent string `yaml:"parent"` // its id, or name
		MAC    string `yaml:"mac"`
	} `yaml:"vlan"`
	Optional  bool       `yaml:"optional"`
	Rename    string     `yaml:"rename"`
	MTU       int        `yaml:"mtu"`
	AcceptRA  string     `yaml:"accept_ra" check:"oneof on off leave"`
	Addresses []string   `yaml:"addresses"`
	Routes    []ownRoute `yaml:"routes"`
}

type ownRoute struct {
	To     string `yaml:"to" check:"required"` // a network, an address, or default
	Via    string `yaml:"via"`
	Source string `yaml:"source"`
	Metric *int   `yaml:"metric"`
	MTU    int    `yaml:"mtu"`
	AdvMSS int    `yaml:"adv_mss"`
	Table  string `yaml:"table"` // a number, or main, local, default
	Scope  string `yaml:"scope" check:"oneof global link host"`
	Type   string `yaml:"type" check:"oneof unicast blackhole unreachable prohibit throw"`
	OnLink string `yaml:"onlink" check:"oneof auto yes no"`
}

type ownRule struct {
	Priority int    `yaml:"priority"`
	Family   string `yaml:"family" check:"oneof ipv4 ipv6"` // empty: that of From or To, else ipv4
	From     string `yaml:"from"`
	To       string `yaml:"to"`
	Mark     string `yaml:"mark"`
	Table    string `yaml:"table" check:"required"`
}

func detectOwn(k keys) bool {
	return k.has("version") && !k.has("networks", "ethernets", "vlans", "config") &&
		(len(k) == 1 || k.has("links", "rules", "dns", "hosts", "hostname"))
}

// readOwn converts a description in the own format.
func readOwn(name string, data []byte) (*Plan, *input, error) {
	doc, in, err := decode[ownDocument](name, data, "version: 1")
	if err != nil {
		return nil, nil, err
	}
	in.CheckTags(doc, "", nil)
	plan := &Plan{Hostname: doc.Hostname}
	for i, l := range doc.Links {
		plan.Links = append(plan.Links, in.ownLink(layeredyaml.Index("links", i), l))
	}
	for i, r := range doc.Rules {
		plan.Rules = append(plan.Rules, in.ownRule(layeredyaml.Index("rules", i), r))
	}
	in.servers(&plan.DNS, "dns.servers", doc.DNS.Servers)
	in.domains(&plan.DNS, "dns.search", doc.DNS.Search)
	in.dnsOptions(&plan.DNS, "dns.options", doc.DNS.Options)
	for i, h := range doc.Hosts {
		plan.Hosts = append(plan.Hosts, Host{in.addr(layeredyaml.Index("hosts", i)+".ip", h.IP), h.Names})
	}
	return plan, in, nil
}

// ownLink converts a link.
func (in *input) ownLink(path string, l ownLink) Link {
	out := Link{
		ID: l.ID, Match: Match{in.mac(path+".match.mac", l.Match.MAC), in.name(path+".match.name", l.Match.Name)},
		Optional: l.Optional, Rename: in.name(path+".rename", l.Rename), MTU: l.MTU, AcceptRA: AcceptRA(l.AcceptRA), path: path,
	}
	if out.AcceptRA == "leave" {
		out.AcceptRA = ""
	}
	if at := path + ".vlan"; in.IsSet(at) {
		out.VLAN = &VLAN{ID: l.VLAN.ID, Parent: l.VLAN.Parent, MAC: in.mac(at+".mac", l.VLAN.MAC)}
		if l.VLAN.Parent == "" {
			in.Missing(at+".parent", "write the id or the name of a link", "is missing")
		}
	}
	for i, text := range l.Addresses {
		at := layeredyaml.Index(path+".addresses", i)
		out.Addresses, out.addressPaths = append(out.Addresses, in.prefix(at, text)), append(out.addressPaths, at)
	}
	for i, r := range l.Routes {
		out.Routes = append(out.Routes, in.ownRoute(layeredyaml.Index(path+".routes", i), r))
	}
	return out
}

// ownRoute converts a route.
func (in *input) ownRoute(path string, r ownRoute) Route {
	out := Route{
		Via: in.addr(path+".via", r.Via), Source: in.addr(path+".source", r.Source), MTU: r.MTU, AdvMSS: r.AdvMSS,
		Table: in.table(path+".table", r.Table), Scope: r.Scope, Type: r.Type, OnLink: r.OnLink == "yes", notOnLink: r.OnLink == "no",
		path: path,
	}
	if r.Metric != nil {
		out.Metric, out.metricSet = *r.Metric, true
	}
	if r.To != "default" {
		out.To = in.network(path+".to", r.To)
		return out
	}
	switch near := cmp.Or(out.Via, out.Source); {
	case near.IsValid():
		out.To = defaultRoute(near)
	case !in.Refused(path+".via", path+".source"):
		in.Bad(path+".to", "write 0.0.0.0/0 or ::/0", `"default" has no family without via`)
	}
	return out
}

// ownRule converts a rule of policy routing.
func (in *input) ownRule(path string, r ownRule) Rule {
	return Rule{
		Priority: r.Priority, From: in.network(path+".from", r.From), To: in.network(path+".to", r.To), Mark: in.mark(path+".mark", r.Mark),
		Table: in.table(path+".table", r.Table), IPv6: r.Family == "ipv6", ipv4: r.Family == "ipv4", path: path,
	}
}

// table parses a routing table: a number, or one of the names that every machine has. An empty text is the table main.
func (in *input) table(path, text string) int {
	switch text {
	case "", "main":
		return MainTable
	case "local":
		return 255
	case "default":
		return 253
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 {
		in.Bad(path, "", "%s is no routing table: a number from 1 to 4294967295, main, local or default", layeredyaml.Quote(path, text))
		return 0
	}
	return int(n)
}

// mark parses a packet mark, decimal or with 0x.
func (in *input) mark(path, text string) uint32 {
	digits, base := text, 10
	if hex, ok := strings.CutPrefix(text, "0x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if text != "" && (err != nil || n == 0) {
		in.Bad(path, "", "%s is not a mark from 1 to 0xffffffff", layeredyaml.Quote(path, text))
		return 0
	}
	return uint32(n)
}
