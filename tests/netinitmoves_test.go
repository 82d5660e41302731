//go:build container

package tests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// twoLinks makes a host with the links gw0 and gw1, and a guest with eth0 and eth1 at their other ends.
func twoLinks(t testing.TB) (host, guest *network) {
	t.Helper()
	host, guest = newNetwork(t), newNetwork(t)
	for k := range 2 {
		host.plug(guest.pid, fmt.Sprintf("gw%d", k), fmt.Sprintf("eth%d", k), fmt.Sprintf("02:00:00:00:00:1%d", k))
	}
	host.ip("addr add 192.0.2.1/24 dev gw0")
	host.ip("addr add 198.51.100.1/24 dev gw1")
	return host, guest
}

// A description that exchanges what two links, or two routes, have is applied at once.
func TestNetinitExchanges(t *testing.T) {
	t.Parallel()
	_, guest := twoLinks(t)
	link := func(mac, number int) string {
		return fmt.Sprintf(`
  - match: {mac: "02:00:00:00:00:1%[1]d"}
    rename: net%[2]d
    addresses: [192.0.2.1%[2]d/24, "2001:db8:1::1%[2]d/64"]
    routes: [{to: default, via: 192.0.2.%[2]d, metric: 10%[2]d}, {to: default, via: "2001:db8:1::%[2]d", metric: 10%[2]d}]`, mac, number)
	}
	for _, numbers := range [][2]int{{3, 4}, {4, 3}, {3, 4}} {
		guest.apply("version: 1\nlinks:"+link(0, numbers[0])+link(1, numbers[1])+"\n", "--dad", "nodad")
		for k, n := range numbers {
			name := fmt.Sprintf("net%d", n)
			if mac := guest.link(name).MAC; mac != fmt.Sprintf("02:00:00:00:00:1%d", k) {
				t.Errorf("%s has the MAC address %s", name, mac)
			}
			same(t, "the addresses of "+name, guest.addresses(name), fmt.Sprintf("192.0.2.1%d/24", n), fmt.Sprintf("2001:db8:1::1%d/64", n))
		}
		same(t, "the routes", guest.routes("-4", "main"), "default via 192.0.2.3 dev net3 metric 103", "default via 192.0.2.4 dev net4 metric 104")
		guest.try("status", "").ends(t, 0, "")
	}
}

func sorted(list ...string) []string {
	slices.Sort(list)
	return list
}

// The first default route wins, also after the order in the description has changed, and after one of them is gone.
func TestNetinitDefaultsChange(t *testing.T) {
	t.Parallel()
	host, guest := twoLinks(t)
	link := func(k int, address, via string) string {
		return fmt.Sprintf("  - match: {name: eth%d}\n    addresses: [%s]\n    routes: [{to: default, via: %s}]\n", k, address, via)
	}
	first, second := link(0, "192.0.2.10/24", "192.0.2.1"), link(1, "198.51.100.10/24", "198.51.100.1")
	const head = "version: 1\nlinks:\n"
	guest.apply(head + first + second)
	same(t, "the routes", guest.routes("-4", "main"), "default via 192.0.2.1 dev eth0", "default via 198.51.100.1 dev eth1 metric 100")
	guest.apply(head + second + first)
	same(t, "the routes", guest.routes("-4", "main"), "default via 192.0.2.1 dev eth0 metric 100", "default via 198.51.100.1 dev eth1")
	guest.apply(head + first + strings.Replace(second, "routes: [{to: default, via: 198.51.100.1}]", "routes: []", 1))
	same(t, "the routes", guest.routes("-4", "main"), "default via 192.0.2.1 dev eth0")
	host.reaches("192.0.2.10", "198.51.100.10")
}

// The prefix length of an address changes.
func TestNetinitPrefixChanges(t *testing.T) {
	t.Parallel()
	host, guest := newLab(t, "veth")
	const more = "\n    routes: [{to: default, via: 192.0.2.1}, {to: default, via: \"2001:db8:1::1\"}]\n"
	for _, bits := range [][2]int{{24, 64}, {26, 80}, {24, 64}} {
		guest.apply(linked(fmt.Sprintf("192.0.2.10/%d, \"2001:db8:1::10/%d\"", bits[0], bits[1]), more), "--dad", "nodad")
		same(t, "the addresses", guest.addresses("eth0"), fmt.Sprintf("192.0.2.10/%d", bits[0]), fmt.Sprintf("2001:db8:1::10/%d", bits[1]))
		same(t, "the routes", guest.routes("-4", "main"), "default via 192.0.2.1 dev eth0")
		same(t, "the IPv6 routes", guest.routes("-6", "main"), "default via 2001:db8:1::1 dev eth0")
		host.reaches("192.0.2.10", "2001:db8:1::10")
	}
	// An IPv6 address of another program with another length is a conflict.
	guest.apply(linked("192.0.2.10/24", ""))
	guest.ip("addr add 2001:db8:1::10/80 dev eth0 nodad")
	before := guest.state()
	guest.try("apply", onlyIPv6, "--dad", "nodad").ends(t, netinitConflict, "2001:db8:1::10")
	guest.unchanged(before)
}

// A link with an MTU below 1280 has no IPv6: such an MTU does not take the IPv6 addresses of others away, and one that is there
// is named as the reason why an IPv6 address cannot be added.
func TestNetinitSmallMTU(t *testing.T) {
	t.Parallel()
	_, guest := newLab(t, "veth")
	guest.ip("link set eth0 up")
	guest.ip("addr add 2001:db8:1::200/64 dev eth0 nodad")
	before := guest.state()
	guest.try("apply", linked("192.0.2.10/24", "    mtu: 1200\n")).ends(t, netinitConflict, "2001:db8:1::200")
	guest.unchanged(before)
	guest.ip("link set eth0 mtu 1200")
	before = guest.state()
	guest.try("apply", onlyIPv6, "--dad", "nodad").ends(t, netinitConflict, "1200")
	guest.unchanged(before)
	guest.ip("link set eth0 mtu 1500")
	guest.apply(onlyIPv6, "--dad", "nodad")
}

// Without a place for the record there is a warning, and what was added is recognised by its marks.
func TestNetinitWithoutRecord(t *testing.T) {
	t.Parallel()
	_, guest := newLab(t, "veth")
	guest.ip("link set eth0 up")
	guest.ip("addr add 192.0.2.200/24 dev eth0")
	write(t, guest.stateDir(), "a file", 0o644)
	o := guest.apply(bothFamilies, "--dad", "nodad")
	if strings.Count(o.stderr, guest.stateDir()) == 0 {
		t.Errorf("there is no warning: %s", o.stderr)
	}
	guest.apply(onlyIPv4)
	same(t, "the addresses", sorted(guest.addresses("eth0")...), "192.0.2.10/24", "192.0.2.200/24")
	same(t, "the routes", guest.routes("-4", "main"), "default via 192.0.2.1 dev eth0")
	same(t, "the IPv6 routes", guest.routes("-6", "main"))
}

// The record of another network namespace, as after a restart of a container, makes nothing ours; neither does a broken one.
func TestNetinitRecordOfAnotherNetwork(t *testing.T) {
	t.Parallel()
	_, first := newLab(t, "veth")
	first.apply(bothFamilies, "--dad", "nodad")
	_, guest := newLab(t, "veth")
	if err := os.CopyFS(guest.stateDir(), os.DirFS(first.stateDir())); err != nil {
		t.Fatal(err)
	}
	guest.ip("link set eth0 up")
	guest.ip("addr add 192.0.2.10/24 dev eth0")
	guest.ip("route add default via 192.0.2.1")
	guest.apply(linked("192.0.2.11/24", ""))
	same(t, "the addresses", guest.addresses("eth0"), "192.0.2.10/24", "192.0.2.11/24")
	same(t, "the routes", guest.routes("-4", "main"), "default via 192.0.2.1 dev eth0 proto boot")

	for _, content := range []string{"", "{", `{"plan": 7}`, strings.Repeat("[", 100000), "\x00\xff"} {
		write(t, guest.stateDir()+"/applied.json", content, 0o600)
		guest.apply(linked("192.0.2.12/24", ""))
		same(t, "the addresses", guest.addresses("eth0"), "192.0.2.10/24", "192.0.2.12/24")
		guest.apply(linked("192.0.2.11/24", ""))
	}
}

// An interrupted apply is undone, and two of them at the same time do not disturb each other.
func TestNetinitInterrupted(t *testing.T) {
	t.Parallel()
	_, guest := newLab(t, "veth")
	guest.ip("link set lo up")
	guest.ip("link set eth0 up")
	guest.ip("addr add 192.0.2.200/24 dev eth0")
	before := guest.state()
	guest.run("sh", "-c", "echo 8000 >/proc/sys/net/ipv6/neigh/eth0/retrans_time_ms") // its IPv6 address is tentative for 8 seconds
	cmd := guest.netinit("apply", bothFamilies)
	ended := make(chan outcome, 1)
	go func() { ended <- finish(cmd) }() // ends with the command
	await(t, patience, "the IPv6 address", func() bool { return strings.Contains(guest.ip("-6 addr"), "2001:db8:1::10") })
	cmd.Process.Signal(syscall.SIGTERM)
	if o := <-ended; o.code == 0 || o.took > patience {
		t.Errorf("it ends with %d after %v: %s%s", o.code, o.took, o.stdout, o.stderr)
	}
	guest.unchanged(before)

	var both sync.WaitGroup
	for k := range 6 {
		both.Go(func() { // ends with the command
			o := guest.try("apply", []string{bothFamilies, onlyIPv4}[k%2], "--dad", "nodad")
			o.ends(t, 0, "")
		})
	}
	both.Wait()
	guest.apply(bothFamilies, "--dad", "nodad").ends(t, 0, "")
	same(t, "the addresses", sorted(guest.addresses("eth0")...), "192.0.2.10/24", "192.0.2.200/24", "2001:db8:1::10/64")
}

// A link that is taken away and comes again, as another device with the same MAC address, is configured again.
func TestNetinitLinkReplaced(t *testing.T) {
	t.Parallel()
	host, guest := newLab(t, "veth")
	b := newBox(t, boxOptions{network: guest, config: withNetwork(guest, guest.source(bothFamilies), "  drift: {every: 1h}", idleService)})
	b.awaitState("web", "RUNNING", patience)
	host.ip("link del gw")
	pass(1500 * time.Millisecond) // it is missed meanwhile
	host.plug(guest.pid, "gw", "other0", labMAC)
	host.ip("addr add 192.0.2.1/24 dev gw")
	configured := func() bool {
		return slices.Contains(guest.addresses("other0"), "192.0.2.10/24") && len(guest.routes("-4", "main")) == 2
	}
	if !eventually(patience, 50*time.Millisecond, configured) {
		t.Fatalf("the new link was not configured:\n%s", guest.state())
	}
	host.reaches("192.0.2.10")
	if b.state("web") != "RUNNING" {
		t.Error("the service does not run any more")
	}
}

// Random changes of what was configured, and kills of the supervisor between them, end in the described network.
func TestNetinitDisturbed(t *testing.T) {
	t.Parallel()
	_, guest := newLab(t, "veth")
	b := newBox(t, boxOptions{network: guest, config: withNetwork(guest, guest.source(bothFamilies), "  drift: {every: 1h}", idleService)})
	b.awaitState("web", "RUNNING", patience)
	before := guest.state()
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	changes := []string{"addr flush dev eth0", "addr del 192.0.2.10/24 dev eth0", "-6 addr flush dev eth0", "route flush proto 115",
		"-6 route flush proto 115", "route del default", "link set eth0 down", "link set eth0 mtu 1280", "link set eth0 mtu 68", "link set eth0 up",
		"route replace default via 192.0.2.1 proto 115 metric 5", "addr add 192.0.2.10/25 dev eth0"}
	var done []string
	for range number(t, "STOKER_NETINIT_CHANGES", 40) {
		change := changes[random.IntN(len(changes))]
		done = append(done, change)
		guest.command(append([]string{"ip"}, strings.Fields(change)...)...).Run() // it may be undone already, or not yet repaired
		if random.IntN(15) == 0 {
			done = append(done, "kill")
			b.killSupervisor()
		}
		pass(time.Duration(random.IntN(100)) * time.Millisecond)
	}
	guest.command("ip", "addr", "del", "192.0.2.10/25", "dev", "eth0").Run() // is not ours
	// Repairs that do not last come less often, up to once a minute.
	if !eventually(time.Minute+patience, 100*time.Millisecond, func() bool { return len(guest.changes(before)) == 0 }) {
		guest.unchanged(before)
		t.Logf("seed %d: %q", seed, done)
	}
}
