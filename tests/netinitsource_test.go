//go:build container

package tests

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// source serves descriptions, over TCP and over a unix socket.
type source struct {
	*httptest.Server
	socket   string
	requests atomic.Int32
	answer   atomic.Pointer[http.HandlerFunc]
}

func newSource(t testing.TB, answer http.HandlerFunc) *source {
	t.Helper()
	s := &source{socket: filepath.Join(t.TempDir(), "agent.sock")}
	s.answers(answer)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		(*s.answer.Load())(w, r)
	})
	l, err := net.Listen("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	local := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler}}
	local.Start()
	s.Server = httptest.NewServer(handler)
	t.Cleanup(func() {
		local.CloseClientConnections()
		s.CloseClientConnections()
		local.Close()
		s.Close()
	})
	return s
}

func (s *source) answers(answer http.HandlerFunc) { s.answer.Store(&answer) }

// text is an answer.
func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

// code is an answer without a description.
func code(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", status) }
}

// dribble sends bytes until the client leaves.
func dribble(every time.Duration, size int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		block := []byte(strings.Repeat("#", size-1) + "\n")
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			if _, err := w.Write(block); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	}
}

// The kinds of failure of a source have their exit codes and end in time, and nothing is applied.
func TestNetinitSourceFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer  http.HandlerFunc
		code    int
		text    string
		least   time.Duration // 0: it does not wait for the deadline
		retried bool
	}{
		"404":          {code(404), netinitNoSource, "status 404", 0, false},
		"403":          {code(403), netinitNoSource, "status 403", 0, false},
		"500":          {code(500), netinitNoSource, "status 500", 2 * time.Second, true},
		"429":          {code(429), netinitNoSource, "status 429", 2 * time.Second, true},
		"silent":       {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, netinitNoSource, "", 2 * time.Second, false},
		"slow":         {dribble(100*time.Millisecond, 2), netinitNoSource, "", 2 * time.Second, false},
		"endless":      {dribble(time.Microsecond, 64<<10), netinitBadInput, "", 0, false},
		"garbage":      {text("\x00\x01\xff{[}"), netinitBadInput, "", 0, false},
		"HTML":         {text("<html><body>login</body></html>"), netinitBadInput, "", 0, false},
		"empty":        {text(""), netinitBadInput, "", 0, false},
		"other format": {text(`{"version": 2, "ethernets": {"eth0": {"dhcp4": true}}}`), netinitBadInput, "dhcp4", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			guest := newNetwork(t)
			s := newSource(t, test.answer)
			before, wait := guest.state(), "3s"
			if test.least == 0 {
				wait = "1h"
			}
			o := guest.try("apply", "unix:"+s.socket, "--wait", wait)
			o.ends(t, test.code, test.text)
			if o.took < test.least || o.took > 30*time.Second {
				t.Errorf("it took %v", o.took)
			}
			if n := s.requests.Load(); test.retried != (n > 1) {
				t.Errorf("there were %d requests", n)
			}
			guest.unchanged(before)
			// The same over TCP, where nothing has to be applied.
			plan := finish(guest.plan(s.URL+"/network", "--wait", wait))
			plan.ends(t, test.code, test.text)
			if plan.stdout != "" {
				t.Errorf("there is a plan: %s", plan.stdout)
			}
		})
	}
}

// A source that is down at first is waited for, and so is one with errors; one that stays down is an error at the deadline.
func TestNetinitSourceComesLater(t *testing.T) {
	t.Parallel()
	guest := newNetwork(t)
	socket := filepath.Join(guest.dir, "absent.sock")
	o := guest.try("apply", "unix:"+socket, "--wait", "1s")
	o.ends(t, netinitNoSource, socket)
	if o.took < 900*time.Millisecond || o.took > 30*time.Second {
		t.Errorf("it took %v", o.took)
	}
	guest.try("apply", filepath.Join(guest.dir, "absent.yaml"), "--wait", "1s").ends(t, netinitNoSource, "absent.yaml")

	host, guest := newLab(t, "veth")
	s := newSource(t, nil)
	s.answers(func(w http.ResponseWriter, r *http.Request) {
		if s.requests.Load() < 3 {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		text(onlyIPv4)(w, r)
	})
	guest.apply("unix:" + s.socket)
	host.reaches("192.0.2.10")
	if n := s.requests.Load(); n != 3 {
		t.Errorf("there were %d requests", n)
	}
}

// The last good description is used while the source is down, with a warning, unless that is forbidden. One that is refused is not
// replaced by it.
func TestNetinitLastGood(t *testing.T) {
	t.Parallel()
	_, guest := newLab(t, "veth")
	s := newSource(t, text(onlyIPv4))
	guest.apply("unix:" + s.socket)
	s.answers(code(503))
	guest.ip("addr flush dev eth0")
	o := guest.apply("unix:"+s.socket, "--wait", "6s")
	if !strings.Contains(o.stderr, "status 503") {
		t.Errorf("there is no warning: %s", o.stderr)
	}
	same(t, "the addresses", guest.addresses("eth0"), "192.0.2.10/24")
	before := guest.state()
	guest.try("apply", "unix:"+s.socket, "--wait", "3s", "--require-fresh").ends(t, netinitNoSource, "status 503")
	s.answers(text(strings.Replace(onlyIPv4, "192.0.2.10/24", "192.0.2.10", 1)))
	guest.try("apply", "unix:"+s.socket).ends(t, netinitBadInput, "links[0].addresses[0]")
	guest.unchanged(before)
}

// plan runs stoker netinit plan outside of any network of the test: it touches none.
func (n *network) plan(description string, flags ...string) *exec.Cmd {
	n.t.Helper()
	return exec.Command(stoker(n.t), append([]string{"netinit", "plan", "--from", n.source(description)}, flags...)...)
}

// Nothing is applied from a description that is refused, and what is wrong is named.
func TestNetinitRefusedInput(t *testing.T) {
	t.Parallel()
	_, guest := newLab(t, "veth")
	guest.apply(bothFamilies, "--dad", "nodad")
	before := guest.state()
	for _, test := range []struct{ description, names string }{
		{linked("192.0.2.10", ""), "links[0].addresses[0]"},
		{linked("192.0.2.10/33", ""), "links[0].addresses[0]"},
		{linked("0.0.0.0/0", ""), "links[0].addresses[0]"},
		{linked("192.0.2.0/24", ""), "links[0].addresses[0]"},
		{linked("224.0.0.1/24", ""), "links[0].addresses[0]"},
		{linked(`"::ffff:192.0.2.10/120"`, ""), "links[0].addresses[0]"},
		{linked("192.0.2.10/24", "    gateway: 192.0.2.1\n"), "gateway"},
		{linked("192.0.2.10/24", "    routes: [{to: 0.0.0.0/0, via: \"fe80::1\"}]\n"), "links[0].routes[0]"},
		{linked("192.0.2.10/24", "    routes: [{to: default, via: 192.0.2.10}]\n"), "links[0].routes[0]"},
		{linked("192.0.2.10/24", "    routes: [{via: 192.0.2.1}]\n"), "links[0].routes[0].to"},
		{linked("192.0.2.10/24", "    rename: \"a/b\"\n"), "links[0].rename"},
		{linked("192.0.2.10/24", "    rename: this-is-too-long\n"), "links[0].rename"},
		{linked("192.0.2.10/24", "dns: {servers: [\"192.0.2.53\\nsearch evil.example\"]}\n"), "dns.servers[0]"},
		{linked("192.0.2.10/24", "dns: {search: [\"example.org\\nnameserver 203.0.113.1\"]}\n"), "dns.search[0]"},
		{linked("192.0.2.10/24", "dns: {options: [\"ndots:2\\nnameserver 203.0.113.1\"]}\n"), "dns.options[0]"},
		{linked("192.0.2.10/24", "hosts: [{ip: 192.0.2.9, names: [\"a\\n203.0.113.1 b\"]}]\n"), "hosts[0]"},
		{linked("192.0.2.10/24", "hostname: \"a b\"\n"), "hostname"},
		{linked("192.0.2.10/24", "  - match: {name: eth0}\n"), "links[1]"},
		{linked("192.0.2.10/24", "version: 2\n"), "version"},
		{"version: 3\nlinks: []\n", "version"},
		{linked("192.0.2.10/24", "  - match: {mac: \"02:00\"}\n"), "links[1].match.mac"},
		{linked("192.0.2.10/24", "  - vlan: {id: 4095, parent: eth0}\n"), "links[1].vlan.id"},
		{linked("192.0.2.10/24", "  - vlan: {id: 5, parent: nothing}\n"), "links[1].vlan.parent"},
		{`{"links": [{"id": "a", "type": "bond", "bond_links": []}], "networks": [], "services": []}`, "links[0]"},
		{`{"links": [], "networks": [{"id": "n", "link": "dangling", "type": "ipv4", "ip_address": "192.0.2.9", "netmask": "255.255.255.0"}], "services": []}`,
			"networks[0].link"},
		{`{"links": [{"id": "a", "type": "phy", "ethernet_mac_address": "02:00:00:00:00:10"}], "networks": [{"id": "n", "link": "a", "type": "ipv4_dhcp"}], "services": []}`,
			"networks[0].type"},
		{`{"links": [{"id": "a", "type": "phy", "ethernet_mac_address": "02:00:00:00:00:10"}], "networks": [{"id": "n", "link": "a", "type": "ipv4",
"ip_address": "192.0.2.9", "netmask": "255.0.255.0"}], "services": []}`, "networks[0].netmask"},
		{`{"network": {"version": 2, "ethernets": {"eth0": {"addresses": ["192.0.2.9/24"], "unknown": 1}}}}`, "unknown"},
		{`{"cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "sandbox": "/x"}], "ips": [{"interface": 3, "address": "192.0.2.9/24"}]}`, "ips[0].interface"},
		{`{"cniVersion": "9.9.9", "interfaces": [], "ips": []}`, "cniVersion"},
	} {
		o := guest.try("apply", test.description)
		o.ends(t, netinitBadInput, test.names)
		if t.Failed() {
			t.Logf("of %s", test.description)
		}
		guest.unchanged(before)
	}
}

// A plan needs neither privileges nor links, also one with VLANs; its JSON is what is applied.
func TestNetinitPlan(t *testing.T) {
	t.Parallel()
	n := &network{t: t, dir: t.TempDir()}
	o := finish(unprivileged(n.plan(vlans)))
	o.ends(t, 0, "")
	for _, part := range []string{`"vlan":{"id":101,"parent":"trunk"`, `"192.0.2.10/24"`, `"to":"0.0.0.0/0"`, `"format":"own"`} {
		if !strings.Contains(strings.NewReplacer(" ", "", "\n", "").Replace(o.stdout), part) {
			t.Errorf("the plan has no %s: %s", part, o.stdout)
		}
	}
}
