//go:build container

package tests

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// networked starts a container with the stoker under test, whose configuration has a section netinit with a unix socket of the test as
// its source.
func networked(t testing.TB, s *source, more, services, image string, flags ...string) *container {
	t.Helper()
	config := fmt.Sprintf("netinit:\n  source: unix:/run/agent/%s\n%s\n%s", filepath.Base(s.socket), more, services)
	flags = append(flags, "--volume="+stoker(t)+":/usr/bin/stoker:ro", "--volume="+filepath.Dir(s.socket)+":/run/agent", withConfig(t, config),
		"--entrypoint=/usr/bin/stoker", image, "run")
	return newContainer(t, flags...)
}

// network returns the network of a container that runs.
func (c *container) network() *network {
	c.t.Helper()
	pid, err := strconv.Atoi(c.inspect("{{.State.Pid}}"))
	if err != nil || pid == 0 {
		c.t.Fatalf("the container does not run: %v", err)
	}
	return &network{t: c.t, pid: pid}
}

// get returns the answer of an HTTP server.
func (n *network) get(host string, port int, path string) string {
	out, _ := n.command("bash", "-c", `exec 3<>"/dev/tcp/$0/$1"; printf 'GET %s HTTP/1.0\r\nHost: x\r\n\r\n' "$2" >&3; cat <&3`,
		host, strconv.Itoa(port), path).CombinedOutput()
	return string(out)
}

// A container without a network gets a link after its start, and Tomcat answers at the configured addresses; with the source down it has
// them again after a restart.
func TestNetinitTomcatInDocker(t *testing.T) {
	t.Parallel()
	needsImage(t, "stoker-demo")
	host := newNetwork(t)
	host.ip("link set lo up")
	host.ip("addr add 198.51.100.1/32 dev lo")
	s := newSource(t, text(bothFamilies+"dns: {servers: [192.0.2.53]}\nhosts: [{ip: 192.0.2.10, names: [app1.example.org]}]\n"))
	c := networked(t, s, "  wait: 30s", plainConfig, "stoker-demo", "--network=none", "--cap-add=NET_ADMIN", "--memory=1g",
		"--sysctl=net.ipv6.conf.all.disable_ipv6=0")
	serves := func() {
		t.Helper()
		inside := c.network()
		host.plug(inside.pid, "gw", "eth0", labMAC)
		host.ip("addr add 192.0.2.1/24 dev gw")
		host.ip("addr add 2001:db8:1::1/64 dev gw nodad")
		c.awaitState("tomcat", "RUNNING", 90*time.Second)
		same(t, "the addresses", inside.addresses("eth0"), "192.0.2.10/24", "2001:db8:1::10/64")
		same(t, "the routes", inside.routes("-4", "main"), "203.0.113.0/24 via 192.0.2.1 dev eth0 metric 7", "default via 192.0.2.1 dev eth0")
		for _, address := range []string{"192.0.2.10", "2001:db8:1::10"} {
			if answer := host.get(address, 8080, "/app/health"); !strings.Contains(answer, " 200 ") {
				t.Errorf("Tomcat answers at %s: %s", address, answer)
			}
		}
		for file, line := range map[string]string{"/etc/resolv.conf": "nameserver 192.0.2.53\n", "/etc/hosts": "app1.example.org\n"} {
			if text := c.must("cat", file); strings.Count(text, line) != 1 {
				t.Errorf("%s is %s", file, text)
			}
		}
	}
	serves()
	if n := s.requests.Load(); n != 1 {
		t.Errorf("there were %d requests", n)
	}
	s.answers(code(503))
	host.ip("link del gw") // now, as the kernel does it some time after the end of the container
	if out, err := exec.Command("docker", "restart", c.id).CombinedOutput(); err != nil {
		t.Fatalf("cannot restart the container: %v: %s", err, out)
	}
	serves()
	if out, _ := exec.Command("docker", "logs", c.id).CombinedOutput(); !strings.Contains(string(out), "status 503") {
		t.Error("there is no warning of the source")
	}
	c.must("/usr/bin/stoker", "netinit", "status")
	if took := c.stop(); c.exitCode() != 0 {
		t.Errorf("docker stop gives %d after %v", c.exitCode(), took)
	}
}

// Without the capability a container goes on with Docker's network, or ends if it requires the described one.
func TestNetinitInDockerWithoutNetAdmin(t *testing.T) {
	t.Parallel()
	needsImage(t, "stoker-base")
	s := newSource(t, text(linked("192.0.2.10/24", "dns: {servers: [192.0.2.53]}\n")))
	c := networked(t, s, "  required: false", idleService, "stoker-base")
	c.awaitState("web", "RUNNING", patience)
	address := c.inspect("{{.NetworkSettings.IPAddress}}/{{.NetworkSettings.IPPrefixLen}}")
	same(t, "the addresses", c.network().addresses("eth0"), address)
	if text := c.must("cat", "/etc/resolv.conf"); strings.Contains(text, "192.0.2.53") {
		t.Errorf("resolv.conf is %s", text)
	}
	logs, _ := exec.Command("docker", "logs", c.id).CombinedOutput()
	if !strings.Contains(string(logs), "NET_ADMIN") {
		t.Errorf("there is no warning that names the capability: %s", logs)
	}

	c = networked(t, s, "  required: true", idleService, "stoker-base")
	await(t, patience, "the end of the container", func() bool { return !c.alive() })
	if code := c.exitCode(); code != netinitNotPermitted {
		t.Errorf("it ends with %d", code)
	}
}

// With the capability and Docker's own network, what Docker has configured stays beside what is described. Docker's /proc/sys is
// read-only, and it has disabled IPv6: with an IPv6 address the container ends and says why.
func TestNetinitBesideDockersNetwork(t *testing.T) {
	t.Parallel()
	needsImage(t, "stoker-base")
	s := newSource(t, text(linked("192.0.2.10/24", "    accept_ra: off\n    routes: [{to: 203.0.113.0/24, via: 192.0.2.1}]\n")))
	c := networked(t, s, "", idleService, "stoker-base", "--cap-add=NET_ADMIN")
	c.awaitState("web", "RUNNING", patience)
	address := c.inspect("{{.NetworkSettings.IPAddress}}/{{.NetworkSettings.IPPrefixLen}}")
	gateway := c.inspect("{{.NetworkSettings.Gateway}}")
	same(t, "the addresses", c.network().addresses("eth0"), address, "192.0.2.10/24")
	same(t, "the routes", c.network().routes("-4", "main"), "203.0.113.0/24 via 192.0.2.1 dev eth0", "default via "+gateway+" dev eth0 proto boot")

	s.answers(text(onlyIPv6))
	host := newNetwork(t)
	c = networked(t, s, "  wait: 60s", idleService, "stoker-base", "--network=none", "--cap-add=NET_ADMIN")
	host.plug(c.network().pid, "gw", "eth0", labMAC)
	await(t, patience, "the end of the container", func() bool { return !c.alive() })
	logs, _ := exec.Command("docker", "logs", c.id).CombinedOutput()
	if code := c.exitCode(); code != netinitConflict || !strings.Contains(string(logs), "disable_ipv6") {
		t.Errorf("it ends with %d: %s", code, logs)
	}
}
