package access

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	tokens := func(c Config) Config { c.Tokens = "/t"; return c }
	tls := TLS{Certificate: "/c", Key: "/k"}
	for _, tc := range []struct {
		name string
		c    Config
		want string // field: part of the reason
	}{
		{"off", Config{}, ""},
		{"loopback", tokens(Config{Listen: "127.0.0.1:9443"}), ""},
		{"loopback 6", tokens(Config{Listen: "[::1]:9443"}), ""},
		{"localhost", tokens(Config{Listen: "localhost:9443"}), ""},
		{"all without TLS", tokens(Config{Listen: ":9443"}), "listen: other machines can connect"},
		{"0.0.0.0 without TLS", tokens(Config{Listen: "0.0.0.0:9443"}), "listen: other machines can connect"},
		{"mapped without TLS", tokens(Config{Listen: "[::ffff:10.0.0.1]:9443"}), "listen: other machines can connect"},
		{"all with TLS", tokens(Config{Listen: ":9443", TLS: tls}), ""},
		{"no credential", Config{Listen: "127.0.0.1:9443"}, "listen: no client could have a credential"},
		{"no credential with TLS", Config{Listen: ":9443", TLS: tls}, "listen: no client could have a credential"},
		{"certificates alone", Config{Listen: ":9443", TLS: TLS{"/c", "/k", "/ca"}, Certificates: map[string][]string{"a": {"job"}}}, ""},
		{"certificates without authority", tokens(Config{Listen: ":9443", TLS: tls, Certificates: map[string][]string{"a": {"job"}}}),
			"certificates: client certificates cannot be checked"},
		{"bad grant", Config{Listen: ":9443", TLS: TLS{"/c", "/k", "/ca"}, Certificates: map[string][]string{"a": {"root"}}},
			`certificates: of "a": there is no grant "root"`},
		{"no key", tokens(Config{Listen: "127.0.0.1:1", TLS: TLS{Certificate: "/c"}}), "tls: is not complete"},
		{"no port", tokens(Config{Listen: "127.0.0.1"}), "listen: is not the address"},
		{"port 0", tokens(Config{Listen: "127.0.0.1:0"}), "listen: is not the address"},
		{"name", tokens(Config{Listen: "ops.example:1", TLS: tls}), "listen: is not the address"},
		{"without listen", tokens(Config{}), "tokens: has no effect without api.listen"},
		{"any origin", tokens(Config{Listen: "[::1]:1", Origins: []string{"*"}}), "origins[0]: is not an exact origin"},
		{"origin null", tokens(Config{Listen: "[::1]:1", Origins: []string{"null"}}), "origins[0]: is not an exact origin"},
		{"origin with path", tokens(Config{Listen: "[::1]:1", Origins: []string{"https://a", "https://a/"}}), "origins[1]: is not an exact origin"},
		{"wildcard host", tokens(Config{Listen: "[::1]:1", Hosts: []string{"*.example"}}), "hosts[0]: is not a host name"},
		{"host with scheme", tokens(Config{Listen: "[::1]:1", Hosts: []string{"https://a"}}), "hosts[0]: is not a host name"},
		{"names", tokens(Config{Listen: "[::1]:1", Hosts: []string{"a.example:1", "[::1]:1", "b"}, Origins: []string{"https://A.example:1"}}), ""},
	} {
		var got []string
		for _, p := range tc.c.Validate() {
			got = append(got, p.Field+": "+p.Why)
		}
		if text := strings.Join(got, "; "); len(got) > 1 || !strings.HasPrefix(text, tc.want) || tc.want == "" && text != "" {
			t.Errorf("%s: %s, want %s", tc.name, text, tc.want)
		}
	}
}

func TestHosts(t *testing.T) {
	tls := TLS{Certificate: "/c", Key: "/k"}
	for _, tc := range []struct {
		c     Config
		local string // address that the client connected to
		host  string
		want  bool
	}{
		{Config{Listen: "127.0.0.1:9443"}, "127.0.0.1:9443", "127.0.0.1:9443", true},
		{Config{Listen: "127.0.0.1:9443"}, "127.0.0.1:9443", "localhost:9443", true},
		{Config{Listen: "127.0.0.1:9443"}, "127.0.0.1:9443", "LocalHost:9443", true},
		{Config{Listen: "127.0.0.1:9443"}, "127.0.0.1:9443", "localhost", false},
		{Config{Listen: "127.0.0.1:9443"}, "127.0.0.1:9443", "localhost:9444", false},
		{Config{Listen: "127.0.0.1:9443"}, "127.0.0.1:9443", "evil.example:9443", false},
		{Config{Listen: "127.0.0.1:9443"}, "127.0.0.1:9443", "localhost.evil.example:9443", false},
		{Config{Listen: "127.0.0.1:9443"}, "127.0.0.1:9443", "", false},
		{Config{Listen: ":9443", TLS: tls}, "10.1.2.3:9443", "10.1.2.3:9443", true},
		{Config{Listen: ":9443", TLS: tls}, "10.1.2.3:9443", "localhost:9443", true},
		{Config{Listen: ":9443", TLS: tls}, "[::ffff:10.1.2.3]:9443", "10.1.2.3:9443", true},
		{Config{Listen: ":9443", TLS: tls}, "[fd00::1]:9443", "[fd00::1]:9443", true},
		{Config{Listen: ":443", TLS: tls}, "10.1.2.3:443", "10.1.2.3", true},
		{Config{Listen: ":9443", TLS: tls, Hosts: []string{"ops.example"}}, "10.1.2.3:9443", "ops.example:443", true},
		{Config{Listen: ":9443", TLS: tls, Hosts: []string{"ops.example"}}, "10.1.2.3:9443", "ops.example", true},
		{Config{Listen: ":9443", TLS: tls, Hosts: []string{"ops.example"}}, "10.1.2.3:9443", "10.1.2.3:9443", false},
		{Config{Listen: ":9443", TLS: tls, Hosts: []string{"ops.example:9443"}}, "10.1.2.3:9443", "OPS.example:9443", true},
		{Config{Listen: ":9443", TLS: tls, Hosts: []string{"ops.example:9443"}}, "10.1.2.3:9443", "ops.example", false},
	} {
		local, err := net.ResolveTCPAddr("tcp", tc.local)
		if err != nil {
			t.Fatal(err)
		}
		if got := tc.c.hostAllowed(tc.host, local); got != tc.want {
			t.Errorf("%s of %+v at %s: %v", tc.host, tc.c.Hosts, tc.local, got)
		}
	}
}

func TestOrigins(t *testing.T) {
	c := Config{Listen: "127.0.0.1:9443", Origins: []string{"https://Ops.example", "http://a.example:8080"}}
	for origin, want := range map[string]bool{
		"http://localhost:9443": true, "https://localhost:9443": false, "http://127.0.0.1:9443": false, // another one than the page's
		"https://ops.example": true, "https://ops.example:443": true, "http://ops.example": false, "https://ops.example:444": false,
		"http://a.example:8080": true, "http://a.example": false, "https://evil.ops.example": false, "https://ops.example.evil": false,
		"null": false, "": false, "*": false, "https://ops.example/": false, "https://u@ops.example": false, "file://": false,
	} {
		if got := c.originAllowed(origin, "localhost:9443"); got != want {
			t.Errorf("%q: %v", origin, got)
		}
	}
	if c.originAllowed("http://stoker", "") || !c.originAllowed("https://ops.example", "") {
		t.Error("the origins at the unix socket are not those of the list")
	}
}

func TestURLs(t *testing.T) {
	tls := TLS{Certificate: "/c", Key: "/k"}
	for _, tc := range []struct {
		c    Config
		want string
	}{
		{Config{Listen: "127.0.0.1:9443"}, "[http://localhost:9443]"},
		{Config{Listen: "10.1.2.3:443", TLS: tls}, "[https://10.1.2.3]"},
		{Config{Listen: ":9443", TLS: tls, Hosts: []string{"a:9443", "b"}}, "[https://a:9443 https://b]"},
	} {
		if got := fmt.Sprint(tc.c.urls()); got != tc.want {
			t.Errorf("%+v: %s, want %s", tc.c, got, tc.want)
		}
	}
	if got := (Config{Listen: ":9443", TLS: tls}).urls(); got[len(got)-1] != "https://localhost:9443" {
		t.Errorf("%q", got)
	}
}

func TestGrantNames(t *testing.T) {
	for _, g := range []Grants{0, View, Admin, Job, Exec, View | Exec, All} {
		back, err := ParseGrants(g.Names())
		if err != nil || back != g {
			t.Errorf("%s is %s, %v", g, back, err)
		}
	}
	if !View.Has(View|Known) || !Grants(0).Has(Known) || View.Has(View|Exec) || All.Has(1<<5) {
		t.Error("Has is wrong")
	}
}
