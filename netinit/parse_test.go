package netinit

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// parse returns the plan of a description in the own format that is right.
func parse(t *testing.T, input string) *Plan {
	t.Helper()
	plan, err := Parse(Own, "net.yaml", []byte(input))
	if err != nil {
		t.Fatalf("%s\n%v", input, err)
	}
	checkPlan(t, plan)
	return plan
}

func TestDetect(t *testing.T) {
	for input, want := range map[string]string{
		"version: 1\nlinks: []":                     "own",
		`{"version": 1, "hostname": "a"}`:           "own",
		"\xef\xbb\xbfversion: 1\ndns: {}":           "own",
		"version: 2\nethernets: {}":                 "netplan",
		"network: {version: 2}":                     "netplan",
		`{"links": [], "networks": []}`:             "openstack",
		`{"cniVersion": "1.1.0", "dns": {}}`:        "cni",
		`{"ports": [], "networks": []}`:             "neutron",
		"version: 1\nconfig: []":                    `cannot tell the format of in: no format has the keys "version", "config" (name it with --format`,
		"{}":                                        "cannot tell the format of in: it has no keys",
		"version: 1\nlinks: []\ncniVersion: 1.1.0":  `are those of `,
		strings.Repeat("a", 99) + ": 1":             "...",
		"":                                          "cannot read in: it is empty",
		"[1]":                                       "in:1:1: is a list, not a section of keys",
		"<html><body>502 Bad Gateway</body></html>": "not a section of keys",
		"{":       "in:1",
		"\x00":    "NUL byte",
		"a: \xff": "not UTF-8",
	} {
		format, err := Detect("in", []byte(input))
		if err == nil && string(format) != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want %s", input, format, err, want)
		}
		if _, parsed := Parse(Auto, "in", []byte(input)); err != nil && (parsed == nil || parsed.Error() != err.Error()) {
			t.Errorf("%q: Parse says %v, Detect %v", input, parsed, err)
		}
	}
}

// The version is all that the own format needs.
func TestDetectVersionAlone(t *testing.T) {
	for text, want := range map[string]Format{"version: 1": Own, "version: 2": Own, "version: 1\nother: 2": ""} {
		if format, err := Detect("in", []byte(text)); format != want {
			t.Errorf("%q: %q, %v; want %q", text, format, err, want)
		}
	}
}

func TestParseRefusesDocuments(t *testing.T) {
	if _, err := Parse("toml", "in", nil); err == nil || !strings.Contains(err.Error(), `unknown format "toml" (there are: own, `) {
		t.Error(err)
	}
	if _, err := Parse(Own, "in", make([]byte, MaxInput+1)); err == nil || !strings.Contains(err.Error(), "cannot read in: it has more than 1024 KiB") {
		t.Error(err)
	}
}

func TestNullIsAbsent(t *testing.T) {
	plan := parse(t, `{"version": 1, "hostname": null, "dns": null, "hosts": null, "rules": null, "links": [{"match": {"name": "eth0", "mac": null},
		"mtu": null, "vlan": null, "rename": null, "optional": null, "accept_ra": null, "addresses": null,
		"routes": [{"to": "10.0.0.0/8", "via": null, "metric": null, "table": null}]}]}`)
	want := []Link{{ID: "eth0", Match: Match{Name: "eth0"}, Routes: []Route{{To: netip.MustParsePrefix("10.0.0.0/8"), Table: MainTable}}}}
	if !reflect.DeepEqual(plan.Links, want) || !plan.DNS.IsZero() {
		t.Errorf("%+v", plan)
	}
}

func TestLinks(t *testing.T) {
	plan := parse(t, two(`mtu: 1500, accept_ra: leave, addresses: [192.0.2.1/24, 192.0.2.1/24, "fe80::1/64"]`,
		`match: {mac: 02-00-5E-AA-0B-02}, optional: true, accept_ra: on, rename: "", addresses: ["fe80::1/64", 10.0.0.1/31]}`+"\n"+
			`- {id: inner, rename: inner, vlan: {id: 7, parent: outer}}`+"\n"+
			`- {id: outer, vlan: {id: 6, parent: "02:00:5e:aa:0b:02", mac: "02:00:5E:AA:0B:02"}, mtu: 9000`))
	want := []Link{
		{ID: "eth0", Match: Match{Name: "eth0"}, MTU: 1500, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("fe80::1/64")}},
		{ID: "02:00:5e:aa:0b:02", Match: Match{MAC: "02:00:5e:aa:0b:02"}, Optional: true, AcceptRA: AcceptRAOn,
			Addresses: []netip.Prefix{netip.MustParsePrefix("fe80::1/64"), netip.MustParsePrefix("10.0.0.1/31")}},
		{ID: "outer", VLAN: &VLAN{6, "02:00:5e:aa:0b:02", "02:00:5e:aa:0b:02"}, Optional: true, MTU: 9000},
		{ID: "inner", VLAN: &VLAN{ID: 7, Parent: "outer"}, Optional: true, Rename: "inner"},
	}
	if !reflect.DeepEqual(plan.Links, want) {
		t.Errorf("%+v", plan.Links)
	}
	// The parent by the name that it will have.
	plan = parse(t, top("links: [{id: a, match: {name: eth0}, rename: lan}, {vlan: {id: 5, parent: lan}}, {match: {name: lo}, addresses: [127.0.0.2/8]}]"))
	if l := plan.Links[1]; l.ID != "lan.5" || l.VLAN.Parent != "a" {
		t.Errorf("%+v", l)
	}
}

func TestRules(t *testing.T) {
	plan := parse(t, top(`rules:
- {priority: 10, from: 10.0.0.1/8, table: main, mark: 0x10}
- {priority: 10, from: 10.0.0.0/8, table: 254, mark: 16}
- {priority: 11, to: "::/0", table: 100}
- {priority: 12, family: ipv6, table: 100}
- {priority: 4294967295, table: 100}
`))
	want := []Rule{
		{Priority: 10, From: netip.MustParsePrefix("10.0.0.0/8"), Mark: 16, Table: 254},
		{Priority: 11, Table: 100, IPv6: true}, {Priority: 12, Table: 100, IPv6: true}, {Priority: maxNumber, Table: 100},
	}
	if !slices.Equal(plan.Rules, want) {
		t.Errorf("%+v", plan.Rules)
	}
	if len(plan.Warnings) != 1 || plan.Warnings[0] != "net.yaml:3:24: rules[0].from: 10.0.0.1/8 has bits of a host; 10.0.0.0/8 is used" {
		t.Errorf("%q", plan.Warnings)
	}
}

func TestDNS(t *testing.T) {
	plan := parse(t, top(`dns: {servers: [192.0.2.53, "2001:DB8::53", 192.0.2.53, "fe80::53%eth0"], search: [example.org, Example.ORG, my_app.],
		options: [ndots:2, trust-ad, ndots:2, no-such-option]}`))
	want := "# written by stoker netinit\nsearch example.org my_app.\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nnameserver fe80::53%eth0\n" +
		"options ndots:2 trust-ad no-such-option\n"
	if got := ResolvConf(plan.DNS); got != want || len(plan.Warnings) > 0 {
		t.Errorf("%s%q", got, plan.Warnings)
	}
	if got := ResolvConf(DNS{}); got != "" {
		t.Errorf("nothing gives %q", got)
	}
}

func TestDNSWarnings(t *testing.T) {
	names := func(n int) string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprintf("a%d", i))
		}
		return strings.Join(out, ", ")
	}
	long := strings.Repeat("abcdefghi.", 24) // 240 bytes
	for input, want := range map[string]string{
		"{servers: [192.0.2.1, 192.0.2.2, 192.0.2.3]}":            "",
		"{servers: [192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4]}": "4 servers: glibc and musl use the first 3",
		"{search: [" + names(6) + "]}":                            "",
		"{search: [" + names(7) + "]}":                            "7 search domains of 20 bytes: glibc before 2.26 uses at most 6, and 256 bytes",
		"{search: [" + names(33) + "]}":                           "33 search domains: Kubernetes allows 32, and glibc before 2.26 uses the first 6",
		"{search: [example.org, .]}":                              `the search domain ".": musl then finds no name without a dot`,
		"{search: [" + long + "example]}":                         "",                                                               // a line of 254 bytes
		"{search: [" + long + "examples]}":                        `the line "search ..." has more than 255 bytes: musl ignores it`, // of 255, and its end
		"{options: [" + strings.Repeat("x", 247) + "]}":           `the line "options ..." has more than 255 bytes: musl ignores it`,
	} {
		plan := parse(t, top("dns: "+input))
		if got := strings.Join(plan.Warnings, "\n"); want == "" && got != "" || !strings.HasSuffix(got, want) {
			t.Errorf("%s: %q, want %q", input, got, want)
		}
	}
}

func TestHostsBlock(t *testing.T) {
	plan := parse(t, top(`hosts: [{ip: 192.0.2.10, names: [app1.example.org, my_app]}, {ip: "2001:db8::10", names: [app1]}]`))
	want := "# begin stoker netinit\n192.0.2.10\tapp1.example.org my_app\n2001:db8::10\tapp1\n# end stoker netinit\n"
	if got := HostsBlock(plan.Hosts); got != want {
		t.Errorf("%s", got)
	}
	if got := HostsBlock(nil); got != "" {
		t.Errorf("nothing gives %q", got)
	}
}

// values has no problem: what is asked of it is in the tests.
type values struct {
	A string `yaml:"a"`
	B string `yaml:"b"`
}

func TestInputNetmask(t *testing.T) {
	for _, tc := range []struct {
		text, addr string
		want       int
		wrong      string
	}{
		{"255.255.255.0", "192.0.2.1", 24, ""}, {"24", "192.0.2.1", 24, ""}, {"0.0.0.0", "192.0.2.1", 0, ""}, {"255.255.255.255", "192.0.2.1", 32, ""},
		{"ffff:ffff:ffff:ffff::", "2001:db8::1", 64, ""}, {"::", "::", 0, ""}, {"128", "2001:db8::1", 128, ""}, {"", "192.0.2.1", 0, ""},
		{"255.0.255.0", "192.0.2.1", 0, "not in one piece"}, {"0.0.0.255", "192.0.2.1", 0, "not in one piece"}, {"ffff::1", "2001:db8::1", 0, "not in one piece"},
		{"33", "192.0.2.1", 0, "33 is more than 32 bits"}, {"-1", "192.0.2.1", 0, "is not a network mask"}, {"255.255.255", "192.0.2.1", 0, "is not a network mask"},
		{"ffff::", "192.0.2.1", 0, "the other family"}, {"255.255.255.0", "2001:db8::1", 0, "the other family"}, {"300", "2001:db8::1", 0, "is not a network mask"},
	} {
		_, in, err := decode[values]("in", []byte("a: 1\nb: 1"), "")
		if err != nil {
			t.Fatal(err)
		}
		got := in.netmask("a", tc.text, netip.MustParseAddr(tc.addr))
		problems := in.layers.Problems().Error()
		if got != tc.want || (problems == "") != (tc.wrong == "") || !strings.Contains(problems, tc.wrong) {
			t.Errorf("%q of %s: %d, %s", tc.text, tc.addr, got, problems)
		}
	}
}

func TestInputNumbersAndOrder(t *testing.T) {
	_, in, err := decode[values]("in", []byte("b: 1\na: 2"), "")
	if err != nil {
		t.Fatal(err)
	}
	if got := in.order("", []string{"a", "b"}); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("order %v", got)
	}
	if got := []int{in.number("a", ""), in.number("a", "0"), in.number("a", "4294967295")}; !slices.Equal(got, []int{0, 0, maxNumber}) {
		t.Errorf("numbers %v", got)
	}
	if problems := in.layers.Problems(); len(problems) > 0 {
		t.Error(problems)
	}
	for _, text := range []string{"-1", "4294967296", "1.0", "0x10", "x", "+1"} {
		_, in, _ := decode[values]("in", []byte("a: 1"), "")
		if in.number("a", text); len(in.layers.Problems()) != 1 {
			t.Errorf("%q is a number", text)
		}
	}
}
