//go:build container

package tests

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// withNetwork returns a configuration with a section netinit. more are further lines of the section.
func withNetwork(n *network, source, more, rest string) string {
	return fmt.Sprintf("netinit:\n  source: %q\n  state_dir: %s\n  dad: nodad\n%s\n%s", source, n.stateDir(), more, rest)
}

// idleService is a configuration of a service.
const idleService = "services:\n  web: {command: [sleep, \"1000\"]}\n"

// The network is there before init hooks and services start, the hook of its own event runs once, and a restart of the supervisor does
// not configure it again.
func TestNetinitBeforeServices(t *testing.T) {
	t.Parallel()
	host, guest := newLab(t, "veth")
	s := newSource(t, text(bothFamilies))
	see := func(name string) string {
		return fmt.Sprintf("ip -o addr show dev eth0 >%[1]s/%[2]s; echo %[2]s >>%[1]s/order", guest.dir, name)
	}
	b := newBox(t, boxOptions{dir: guest.dir, network: guest, config: withNetwork(guest, "unix:"+s.socket, "", fmt.Sprintf(`
hooks:
  init: [{name: see, command: [sh, -c, %q]}]
  network-ready: [{name: see, command: [sh, -c, %q]}]
services:
  web: {command: [sh, -c, %q]}
`, see("init"), see("ready"), see("web")+"; exec sleep 1000"))})
	b.awaitState("web", "RUNNING", patience)
	for _, name := range []string{"init", "ready", "web"} {
		await(t, patience, name, func() bool { return slices.Contains(b.lines("order"), name) })
		for _, address := range []string{"192.0.2.10/24", "2001:db8:1::10/64"} {
			if !strings.Contains(b.file(name), address) {
				t.Errorf("%s sees the addresses %s", name, b.file(name))
			}
		}
	}
	if order := b.lines("order"); order[0] != "init" {
		t.Errorf("the order was %q", order)
	}
	host.reaches("192.0.2.10", "2001:db8:1::10")
	b.killSupervisor()
	b.awaitState("web", "RUNNING", patience)
	if n := s.requests.Load(); n != 1 {
		t.Errorf("after a restart of the supervisor there were %d requests", n)
	}
	if n := strings.Count(b.file("order"), "ready"); n != 1 {
		t.Errorf("the hook of network-ready has run %d times", n)
	}
	b.signal(syscall.SIGTERM)
	if code := b.wait(patience); code != 0 {
		t.Errorf("it ends with %d", code)
	}
	same(t, "the addresses at the end", guest.addresses("eth0"), "192.0.2.10/24", "2001:db8:1::10/64")
}

// The supervisor is killed while it waits for the source: the next one goes on, and nothing starts before the network is there.
func TestNetinitSupervisorKilledMeanwhile(t *testing.T) {
	t.Parallel()
	_, guest := newLab(t, "veth")
	s := newSource(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	b := newBox(t, boxOptions{dir: guest.dir, network: guest, config: withNetwork(guest, "unix:"+s.socket, "", fmt.Sprintf(
		"services:\n  web: {command: [sh, -c, 'ip -o addr >>%s/web; exec sleep 1000']}\n", guest.dir))})
	await(t, patience, "a request", func() bool { return s.requests.Load() > 0 })
	if st := b.state("web"); st == "RUNNING" {
		t.Error("the service runs before there is a network")
	}
	before := s.requests.Load()
	b.killSupervisor()
	await(t, patience, "another request", func() bool { return s.requests.Load() > before })
	s.answers(text(onlyIPv4))
	b.killSupervisor()
	b.awaitState("web", "RUNNING", patience)
	await(t, patience, "the service's addresses", func() bool { return b.file("web") != "" })
	if seen := b.file("web"); strings.Count(seen, "192.0.2.10/24") != 1 || len(b.lines("web")) < 2 {
		t.Errorf("the service sees %s", seen)
	}
}

// A stop while the source, or a link, is waited for does not wait for it.
func TestNetinitStopMeanwhile(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"source", "link"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			guest := newNetwork(t)
			s := newSource(t, text(onlyIPv4)) // there is no link
			if what == "source" {
				s.answers(code(503))
			}
			b := newBox(t, boxOptions{network: guest, config: withNetwork(guest, "unix:"+s.socket, "", idleService)})
			await(t, patience, "a request", func() bool { return s.requests.Load() > 0 })
			await(t, patience, "a status", func() bool { _, ok := b.status(); return ok })
			from := time.Now()
			b.signal(syscall.SIGTERM)
			code := b.wait(patience)
			if took := time.Since(from); took > patience/2 || code != 0 { // the source has a minute
				t.Errorf("it ends with %d after %v", code, took)
			}
		})
	}
}

// What is taken away comes back, also after a restart of the supervisor, or is reported.
func TestNetinitDrift(t *testing.T) {
	t.Parallel()
	t.Run("repair", func(t *testing.T) {
		t.Parallel()
		_, guest := newLab(t, "veth")
		b := newBox(t, boxOptions{network: guest,
			config: withNetwork(guest, guest.source(bothFamilies), "  drift: {every: 1h, then: repair}", idleService)})
		b.awaitState("web", "RUNNING", patience)
		before := guest.state()
		for k, change := range []string{
			"addr del 192.0.2.10/24 dev eth0", // and with it the routes through its network
			"link set eth0 mtu 1500",
			"link set eth0 down", // and with it all routes, and the IPv6 addresses
			"-6 addr flush dev eth0 scope global",
		} {
			guest.ip(change)
			if !eventually(patience, 50*time.Millisecond, func() bool { return len(guest.changes(before)) == 0 }) {
				t.Errorf("after %s", change)
				guest.unchanged(before)
			}
			if k == 1 {
				b.killSupervisor()
			}
		}
		guest.ip("addr add 192.0.2.99/24 dev eth0") // of another program
		if !holds(1500*time.Millisecond, func() bool { return slices.Contains(guest.addresses("eth0"), "192.0.2.99/24") }) {
			t.Error("the address of another program was removed")
		}
	})
	t.Run("report", func(t *testing.T) {
		t.Parallel()
		_, guest := newLab(t, "veth")
		b := newBox(t, boxOptions{network: guest,
			config: withNetwork(guest, guest.source(bothFamilies), "  drift: {every: 1h, then: report}", idleService)})
		b.awaitState("web", "RUNNING", patience)
		guest.ip("addr del 192.0.2.10/24 dev eth0")
		await(t, patience, "a report", func() bool { return b.stderr.count("192.0.2.10/24") > 0 })
		if !holds(1500*time.Millisecond, func() bool { return !slices.Contains(guest.addresses("eth0"), "192.0.2.10/24") }) {
			t.Error("it was repaired")
		}
	})
}

// A reload takes the new description. A refused one changes nothing, and neither does a source without one.
func TestNetinitReload(t *testing.T) {
	t.Parallel()
	_, guest := newLab(t, "veth")
	s := newSource(t, text(onlyIPv4))
	b := newBox(t, boxOptions{network: guest, config: withNetwork(guest, "unix:"+s.socket, "  wait: 6s", idleService)})
	b.awaitState("web", "RUNNING", patience)
	st, _ := b.status()
	web, _ := st.service("web")
	s.answers(text(strings.Replace(onlyIPv4, "192.0.2.10", "192.0.2.11", 1)))
	b.signal(syscall.SIGHUP)
	await(t, patience, "the new address", func() bool { return slices.Equal(guest.addresses("eth0"), []string{"192.0.2.11/24"}) })
	same(t, "the routes", guest.routes("-4", "main"), "default via 192.0.2.1 dev eth0")
	for name, answer := range map[string]http.HandlerFunc{"gibberish": text("gibberish"), "500": code(500)} {
		before, requests := guest.state(), s.requests.Load()
		s.answers(answer)
		b.signal(syscall.SIGHUP)
		await(t, patience, "a request", func() bool { return s.requests.Load() > requests })
		if !holds(4*time.Second, func() bool { return len(guest.changes(before)) == 0 }) { // it is given up after half of the wait
			t.Errorf("%s has changed the network to\n%s", name, guest.state())
		}
	}
	st, _ = b.status()
	if now, _ := st.service("web"); now.Pid != web.Pid || now.State != "RUNNING" {
		t.Errorf("the service was restarted: %+v", now)
	}
}

// A container that restarts while the source is down keeps its address. Without a last good description it ends.
func TestNetinitRestartWithoutSource(t *testing.T) {
	t.Parallel()
	host, guest := newLab(t, "veth")
	s := newSource(t, text(onlyIPv4))
	config := func(more string) string {
		return withNetwork(guest, "unix:"+s.socket, "  wait: 6s\n"+more, idleService)
	}
	for k := range 2 {
		b := newBox(t, boxOptions{network: guest, config: config("")})
		b.awaitState("web", "RUNNING", patience)
		host.reaches("192.0.2.10")
		b.signal(syscall.SIGTERM)
		if code := b.wait(patience); code != 0 {
			t.Errorf("it ends with %d", code)
		}
		if warned := b.stderr.count("status 503") > 0; warned != (k == 1) {
			t.Errorf("run %d: a warning of the source: %v", k+1, warned)
		}
		s.answers(code(503))
		guest.ip("addr flush dev eth0")
		guest.ip("link set eth0 down")
	}
	if code := newBox(t, boxOptions{network: guest, config: config("  require_fresh: true")}).wait(patience); code != netinitNoSource {
		t.Errorf("with require_fresh it ends with %d", code)
	}
	b := newBox(t, boxOptions{network: guest, config: config("  require_fresh: true\n  required: false")})
	b.awaitState("web", "RUNNING", patience)
	same(t, "the addresses", guest.addresses("eth0"))
}

// Without CAP_NET_ADMIN a container that requires its network ends, and another one goes on.
func TestNetinitWithoutNetAdmin(t *testing.T) {
	t.Parallel()
	for _, required := range []bool{true, false} {
		t.Run(fmt.Sprintf("required %v", required), func(t *testing.T) {
			t.Parallel()
			_, guest := newLab(t, "veth")
			program := filepath.Join(guest.dir, "stoker")
			write(t, program, "#!/bin/sh\nexec setpriv --bounding-set=-net_admin --inh-caps=-net_admin -- "+stoker(t)+" \"$@\"\n", 0o755)
			before := guest.state()
			b := newBox(t, boxOptions{network: guest, program: program, config: withNetwork(guest, guest.source(onlyIPv4),
				fmt.Sprintf("  required: %v", required), fmt.Sprintf(
					"hooks:\n  network-ready: [{name: note, command: [touch, %s/noted]}]\n%s", guest.dir, idleService))})
			if required {
				if code := b.wait(patience); code != netinitNotPermitted {
					t.Errorf("it ends with %d", code)
				}
			} else {
				b.awaitState("web", "RUNNING", patience)
				await(t, patience, "network-ready", func() bool { _, err := os.Stat(guest.dir + "/noted"); return err == nil })
			}
			if b.stderr.count("NET_ADMIN") == 0 {
				t.Errorf("it does not name the capability: %s", b.stderr.String())
			}
			guest.unchanged(before)
		})
	}
}
