//go:build container

package tests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// linked returns a description of eth0 with addresses and lines of YAML after them.
func linked(addresses, more string) string {
	return fmt.Sprintf("version: 1\nlinks:\n  - match: {name: eth0}\n    addresses: [%s]\n%s", addresses, more)
}

// A description that changes between two runs: what it does not want any more is removed, what it still wants stays, and so does what
// another program has added.
func TestNetinitInputChanges(t *testing.T) {
	t.Parallel()
	host, guest := newLab(t, "veth")
	guest.apply(linked(`192.0.2.10/24, 192.0.2.11/24, 192.0.2.12/24, "2001:db8:1::10/64"`, `
    routes: [{to: default, via: 192.0.2.1}, {to: 203.0.113.0/24, via: 192.0.2.1}, {to: "2001:db8:7::/48", via: "2001:db8:1::1"}]
`), "--dad", "nodad")
	guest.ip("addr add 192.0.2.200/24 dev eth0")
	guest.ip("addr add 2001:db8:1::200/64 dev eth0 nodad")
	guest.ip("route add 10.0.0.0/8 via 192.0.2.1")
	guest.ip("route add 10.1.0.0/16 via 192.0.2.1 src 192.0.2.10")
	want := func(what string, addresses, routes, ipv6 []string) {
		t.Helper()
		same(t, what+": the addresses", slices.Sorted(slices.Values(guest.addresses("eth0"))), addresses...)
		same(t, what+": the routes", guest.routes("-4", "main"), routes...)
		same(t, what+": the IPv6 routes", guest.routes("-6", "main"), ipv6...)
	}
	want("at first", []string{"192.0.2.10/24", "192.0.2.11/24", "192.0.2.12/24", "192.0.2.200/24", "2001:db8:1::10/64", "2001:db8:1::200/64"},
		[]string{"10.0.0.0/8 via 192.0.2.1 dev eth0 proto boot", "10.1.0.0/16 via 192.0.2.1 dev eth0 src 192.0.2.10 proto boot",
			"203.0.113.0/24 via 192.0.2.1 dev eth0", "default via 192.0.2.1 dev eth0"},
		[]string{"2001:db8:7::/48 via 2001:db8:1::1 dev eth0"})

	// The primary address of the subnet goes, and its secondaries are ours and another's.
	guest.apply(linked(`192.0.2.12/24, 192.0.2.20/24, "2001:db8:1::20/64"`, `
    routes: [{to: default, via: 192.0.2.1}, {to: "2001:db8:8::/48", via: "2001:db8:1::1"}]
`), "--dad", "nodad")
	want("re-addressed", []string{"192.0.2.12/24", "192.0.2.20/24", "192.0.2.200/24", "2001:db8:1::20/64", "2001:db8:1::200/64"},
		[]string{"10.0.0.0/8 via 192.0.2.1 dev eth0 proto boot", "default via 192.0.2.1 dev eth0"},
		[]string{"2001:db8:8::/48 via 2001:db8:1::1 dev eth0"})
	host.reaches("192.0.2.12", "192.0.2.20", "192.0.2.200")

	// Another subnet, and nothing of IPv6 any more.
	guest.apply(linked("198.51.100.10/24", "\n    routes: [{to: default, via: 198.51.100.1}]\n"))
	want("in another subnet", []string{"192.0.2.200/24", "198.51.100.10/24", "2001:db8:1::200/64"},
		[]string{"10.0.0.0/8 via 192.0.2.1 dev eth0 proto boot", "default via 198.51.100.1 dev eth0"}, nil)

	// Nothing.
	guest.apply(linked("", ""))
	want("at the end", []string{"192.0.2.200/24", "2001:db8:1::200/64"}, []string{"10.0.0.0/8 via 192.0.2.1 dev eth0 proto boot"}, nil)
}

// What is there already is not ours, and is left when the description does not want it any more.
func TestNetinitForeignIsLeft(t *testing.T) {
	t.Parallel()
	_, guest := newLab(t, "veth")
	guest.ip("addr add 192.0.2.10/24 dev eth0")
	guest.ip("link set eth0 up")
	guest.ip("route add 203.0.113.0/24 via 192.0.2.1")
	const routes = "\n    routes: [{to: 203.0.113.0/24, via: 192.0.2.1}, {to: 198.51.100.0/24, via: 192.0.2.1}]\n"
	guest.apply(linked("192.0.2.10/24, 192.0.2.11/24", routes))
	same(t, "the addresses", guest.addresses("eth0"), "192.0.2.10/24", "192.0.2.11/24")
	same(t, "the routes", guest.routes("-4", "main"), "198.51.100.0/24 via 192.0.2.1 dev eth0",
		"203.0.113.0/24 via 192.0.2.1 dev eth0 proto boot")
	guest.apply(linked("", ""))
	same(t, "the addresses", guest.addresses("eth0"), "192.0.2.10/24")
	same(t, "the routes", guest.routes("-4", "main"), "203.0.113.0/24 via 192.0.2.1 dev eth0 proto boot")

	// A route of another program to the same place is a conflict before anything is changed.
	before := guest.state()
	guest.try("apply", linked("192.0.2.11/24", "\n    routes: [{to: 203.0.113.0/24, via: 192.0.2.2}]\n")).ends(t, netinitConflict, "203.0.113.0/24")
	guest.unchanged(before)
}

// A failure in the middle is undone.
func TestNetinitUndo(t *testing.T) {
	t.Parallel()
	_, guest := newLab(t, "veth")
	guest.ip("link set lo up")
	guest.apply(bothFamilies, "--dad", "nodad")
	before := guest.state()
	guest.run("mount", "-o", "remount,bind,ro", "/etc/hosts")
	// The files come last. MTU, addresses, routes and rules of both families have been changed by then.
	o := guest.try("apply", `
version: 1
links:
  - match: {name: eth0}
    rename: other0
    mtu: 1300
    addresses: [192.0.2.20/24, "2001:db8:1::20/64"]
    routes: [{to: default, via: 192.0.2.2}, {to: default, via: "2001:db8:1::2"}, {to: default, via: 192.0.2.3, table: 100}]
rules: [{from: 192.0.2.20/32, table: 100, priority: 1000}]
dns: {servers: [192.0.2.53]}
hosts: [{ip: 192.0.2.20, names: [app1]}]
`, "--dad", "nodad")
	o.ends(t, netinitConflict, "/etc/hosts")
	guest.unchanged(before)
}

// resolv.conf and the hosts file are bind mounts, and are written in place; what they were comes back.
func TestNetinitFiles(t *testing.T) {
	t.Parallel()
	_, guest := newLab(t, "veth")
	files := []string{guest.resolvConf(), guest.hostsFile()}
	inode := func(file string) uint64 {
		t.Helper()
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Ino
	}
	inodes := []uint64{inode(files[0]), inode(files[1])}
	original := guest.run("cat", "/etc/resolv.conf", "/etc/hosts")
	const more = `
dns: {servers: [192.0.2.53, "2001:db8:1::53"], search: [example.org, example.net], options: ["ndots:2"]}
hosts: [{ip: 192.0.2.10, names: [app1, app1.example.org]}]
`
	guest.apply(linked("192.0.2.10/24", more))
	text := guest.run("cat", "/etc/resolv.conf")
	for _, line := range []string{"nameserver 192.0.2.53\n", "nameserver 2001:db8:1::53\n", "search example.org example.net\n", "options ndots:2\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("resolv.conf has no %q: %s", line, text)
		}
	}
	if strings.Contains(text, "203.0.113.53") {
		t.Errorf("resolv.conf still has the server from before: %s", text)
	}
	if got := guest.run("getent", "hosts", "app1.example.org"); !strings.Contains(got, "192.0.2.10") {
		t.Errorf("the name is %q", got)
	}
	guest.apply(linked("192.0.2.10/24", strings.Replace(more, "app1, ", "", 1)))
	if hosts := guest.run("cat", "/etc/hosts"); strings.Count(hosts, "app1.example.org") != 1 || !strings.Contains(hosts, "127.0.0.1 localhost\n") {
		t.Errorf("the hosts file is %s", hosts)
	}
	guest.apply(linked("192.0.2.10/24", ""))
	if got := guest.run("cat", "/etc/resolv.conf", "/etc/hosts"); got != original {
		t.Errorf("at the end the files are %q, want %q", got, original)
	}
	for k, file := range files {
		if inode(file) != inodes[k] {
			t.Errorf("%s is another file", file)
		}
	}
	// One that cannot be written is an error, and the network is as before.
	guest.run("mount", "-o", "remount,bind,ro", "/etc/resolv.conf")
	before := guest.state()
	guest.try("apply", linked("192.0.2.11/24", more)).ends(t, netinitConflict, "resolv.conf")
	guest.unchanged(before)
}

// A read-only /proc/sys, as Docker mounts it, is a warning.
func TestNetinitReadOnlySettings(t *testing.T) {
	t.Parallel()
	host, guest := newLab(t, "veth")
	guest.run("mount", "--bind", "/proc/sys", "/proc/sys")
	guest.run("mount", "-o", "remount,bind,ro", "/proc/sys")
	o := guest.apply(linked(`192.0.2.10/24, 192.0.2.11/24, "2001:db8:1::10/64"`, "\n    accept_ra: off\n"), "--dad", "nodad")
	if !strings.Contains(o.stderr+o.stdout, "accept_ra") {
		t.Errorf("there is no warning: %s%s", o.stdout, o.stderr)
	}
	host.reaches("192.0.2.11", "2001:db8:1::10")
	// promote_secondaries cannot be set, and still no secondary is lost.
	guest.ip("addr add 192.0.2.200/24 dev eth0")
	guest.apply(linked("192.0.2.11/24", ""))
	same(t, "the addresses", slices.Sorted(slices.Values(guest.addresses("eth0"))), "192.0.2.11/24", "192.0.2.200/24")
}

// Docker disables IPv6 where it has no IPv6 network: it is enabled, or it is said that it cannot be.
func TestNetinitIPv6Disabled(t *testing.T) {
	t.Parallel()
	host, guest := newLab(t, "veth")
	disable := func(value string) { guest.run("sh", "-c", "echo "+value+" >/proc/sys/net/ipv6/conf/eth0/disable_ipv6") }
	disable("1")
	guest.apply(onlyIPv6, "--dad", "nodad")
	host.reaches("2001:db8:1::10")
	guest.apply(linked("", ""))
	disable("1")
	guest.run("mount", "--bind", "/proc/sys", "/proc/sys")
	guest.run("mount", "-o", "remount,bind,ro", "/proc/sys")
	guest.try("apply", onlyIPv6).ends(t, netinitConflict, "disable_ipv6")
}

// A link that appears after a while is waited for, and one that does not is an error that names it, unless it is optional.
func TestNetinitLateLink(t *testing.T) {
	t.Parallel()
	host, guest := newNetwork(t), newNetwork(t)
	cmd := guest.netinit("apply", onlyIPv4)
	done := make(chan outcome, 1)
	go func() { done <- finish(cmd) }() // ends with the command
	pass(3 * time.Second)
	host.plug(guest.pid, "gw", "eth0", labMAC)
	host.ip("addr add 192.0.2.1/24 dev gw")
	select {
	case o := <-done:
		o.ends(t, 0, "")
		if o.took < 3*time.Second || o.took > 30*time.Second { // its limit is a minute
			t.Errorf("it took %v", o.took)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("it does not end")
	}
	host.reaches("192.0.2.10")

	before := guest.state()
	const absent = "version: 1\nlinks:\n  - match: {name: eth0}\n    addresses: [192.0.2.11/24]\n" +
		"  - match: {mac: \"02:00:00:00:00:99\"}\n    optional: false\n    addresses: [192.0.2.12/24]\n"
	o := guest.try("apply", absent, "--wait", "1s")
	o.ends(t, netinitLate, "02:00:00:00:00:99")
	if o.took < time.Second || o.took > 30*time.Second {
		t.Errorf("it took %v", o.took)
	}
	guest.unchanged(before)
	o = guest.apply(strings.Replace(absent, "optional: false", "optional: true", 1))
	if o.took > 30*time.Second {
		t.Errorf("with an optional link it took %v", o.took)
	}
	same(t, "the addresses", guest.addresses("eth0"), "192.0.2.11/24")
}

// unprivileged returns the command, which may enter a network first, as root without capabilities.
func unprivileged(cmd *exec.Cmd) *exec.Cmd {
	args := slices.Insert(slices.Clone(cmd.Args), slices.Index(cmd.Args, "--")+1, "setpriv", "--bounding-set=-all", "--inh-caps=-all", "--")
	return exec.Command(args[0], args[1:]...)
}

// The second run changes nothing and needs no capabilities. One that would have to change something is refused, and says what.
func TestNetinitWithoutCapabilities(t *testing.T) {
	t.Parallel()
	_, guest := newLab(t, "veth")
	without := func(command, description string) outcome {
		t.Helper()
		return finish(unprivileged(guest.netinit(command, description)))
	}
	fresh := guest.state()
	without("apply", bothFamilies).ends(t, netinitNotPermitted, "192.0.2.10/24")
	guest.unchanged(fresh)
	guest.apply(bothFamilies)
	before := guest.state()
	record := recordTime(t, guest)
	guest.apply(bothFamilies).ends(t, 0, "")
	without("apply", bothFamilies).ends(t, 0, "")
	without("status", "").ends(t, 0, "")
	guest.unchanged(before)
	if recordTime(t, guest) != record {
		t.Error("the record was written although nothing was changed")
	}
	guest.ip("addr del 192.0.2.10/24 dev eth0")
	guest.ip("addr add 192.0.2.99/24 dev eth0")
	o := without("status", "")
	if o.code != netinitDiffers || !strings.Contains(o.stdout, "192.0.2.10/24") || strings.Contains(o.stdout, "192.0.2.99") {
		t.Errorf("status ends with %d: %s%s", o.code, o.stdout, o.stderr)
	}
	without("apply", bothFamilies).ends(t, netinitNotPermitted, "192.0.2.10/24")
	guest.apply(bothFamilies)
	without("status", "").ends(t, 0, "")
	same(t, "the routes", guest.routes("-4", "main"), "203.0.113.0/24 via 192.0.2.1 dev eth0 metric 7", "default via 192.0.2.1 dev eth0")
}

// recordTime returns when the record of what was applied was written.
func recordTime(t testing.TB, n *network) time.Time {
	t.Helper()
	info, err := os.Stat(n.stateDir() + "/applied.json")
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

// kill -9 at any moment: the next run does what is still to be done, and another description removes all of it.
func TestNetinitKilled(t *testing.T) {
	t.Parallel()
	_, guest := newLab(t, "veth")
	guest.ip("link set eth0 up")
	guest.ip("addr add 192.0.2.200/24 dev eth0")
	var many, other, want []string
	for k := range 100 {
		many = append(many, fmt.Sprintf("192.0.2.%d/24", k+10), fmt.Sprintf("\"2001:db8:1::%d/64\"", k+10))
		want = append(want, fmt.Sprintf("192.0.2.%d/24", k+10), fmt.Sprintf("2001:db8:1::%d/64", k+10))
		other = append(other, fmt.Sprintf("192.0.2.%d/24", k+11))
	}
	const more = "\n    routes: [{to: default, via: 192.0.2.1}, {to: default, via: \"2001:db8:1::1\"}]\ndns: {servers: [192.0.2.53]}\n"
	descriptions := []string{linked(strings.Join(many, ", "), more), linked(strings.Join(other, ", "), ""), linked("", "")}
	killed := 0
	for k := range number(t, "STOKER_NETINIT_KILLS", 24) {
		cmd := guest.netinit("apply", descriptions[k%3], "--dad", "nodad")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pass(time.Duration(4+3*k) * time.Millisecond)
		cmd.Process.Kill()
		if exitCode(cmd.Wait()) == 128+int(syscall.SIGKILL) {
			killed++
		}
	}
	if killed == 0 {
		t.Error("every run had ended before it was killed")
	}
	t.Logf("%d runs were killed", killed)
	guest.apply(descriptions[0], "--dad", "nodad")
	slices.Sort(want)
	same(t, "the addresses", slices.Sorted(slices.Values(guest.addresses("eth0"))), slices.Sorted(slices.Values(append(want, "192.0.2.200/24")))...)
	guest.try("status", "").ends(t, 0, "")
	guest.apply(descriptions[2])
	same(t, "the addresses", guest.addresses("eth0"), "192.0.2.200/24")
	same(t, "the routes", guest.routes("-4", "main"))
	same(t, "the IPv6 routes", guest.routes("-6", "main"))
	if got := guest.run("cat", "/etc/resolv.conf"); got != "nameserver 203.0.113.53\n" {
		t.Errorf("resolv.conf is %q", got)
	}
}

// Another process changes addresses all the time beside applies: nothing of it is removed, and what is described is there.
func TestNetinitStorm(t *testing.T) {
	t.Parallel()
	_, guest := newLab(t, "veth")
	guest.ip("link set eth0 up")
	var batch bytes.Buffer
	var kept []string
	address := func(k int) string {
		if k%2 == 0 {
			return fmt.Sprintf("10.%d.%d.%d/32", k>>16, k>>8&255, k&255)
		}
		return fmt.Sprintf("2001:db8:2:%x::%x/128", k>>16+1, k&0xffff)
	}
	count := number(t, "STOKER_NETINIT_STORM", 20000) / 2
	for k := range count + 10 {
		if k < count {
			fmt.Fprintf(&batch, "addr add %s dev eth0%s\n", address(k), map[int]string{1: " nodad"}[k%2])
		}
		switch gone := k - 10; { // every address is there for a while
		case gone >= 0 && gone%51 == 0:
			kept = append(kept, address(gone))
		case gone >= 0:
			fmt.Fprintf(&batch, "addr del %s dev eth0\n", address(gone))
		}
	}
	storm := guest.command("ip", "-batch", "-")
	storm.Stdin = &batch
	ended := make(chan outcome, 1)
	go func() { ended <- finish(storm) }() // ends with the batch
	descriptions := []string{bothFamilies, linked("192.0.2.10/24, 192.0.2.11/24", ""), linked("", "")}
	for applied := 0; ; applied++ {
		select {
		case o := <-ended:
			o.ends(t, 0, "") // a removal of an address that is not there would be an error
			t.Logf("%d applies beside it", applied)
		default:
			guest.apply(descriptions[applied%3], "--dad", "nodad")
			continue
		}
		break
	}
	guest.apply(bothFamilies, "--dad", "nodad")
	var foreign []string
	for _, a := range guest.addresses("eth0") {
		if strings.HasPrefix(a, "10.") || strings.HasPrefix(a, "2001:db8:2:") {
			foreign = append(foreign, a)
		}
	}
	slices.Sort(foreign)
	slices.Sort(kept)
	same(t, "the addresses of the other process", foreign, kept...)
}
