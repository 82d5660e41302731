package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/netinit"
	"golang.org/x/sys/unix"
)

func TestWithoutCapability(t *testing.T) {
	b := newBench(t)
	before := snapshot(t)
	withoutCapability(t, unix.CAP_NET_ADMIN, func() {
		if _, err := b.apply(); !errors.Is(err, ErrNotPermitted) || !strings.Contains(err.Error(), "add address 192.0.2.10/24 of near0") {
			t.Errorf("error %v, want not permitted, with what there is to do", err)
		}
	})
	if snapshot(t) != before {
		t.Error("something changes without the capability")
	}
	b.mustApply()
	withoutCapability(t, unix.CAP_NET_ADMIN, func() {
		if got := b.mustApply(); len(got) > 0 {
			t.Errorf("changes %q", got)
		}
	})
}

// TestAbsentLinkWithoutCapability does not wait for a link that could not be configured.
func TestAbsentLinkWithoutCapability(t *testing.T) {
	b := newBench(t)
	b.plan.Links[0].Match = netinit.Match{Name: "late0"}
	withoutCapability(t, unix.CAP_NET_ADMIN, func() {
		if _, err := b.apply(); !errors.Is(err, ErrNotPermitted) || !strings.Contains(err.Error(), `"a" (name late0)`) {
			t.Errorf("error %v, want not permitted, and the link", err)
		}
	})
}

// TestAddedByOthers is killed before it adds an address, which others add then.
func TestAddedByOthers(t *testing.T) {
	b := newBench(t)
	a, err := newApplier(b.plan, b.o)
	must(t, err)
	defer a.close()
	must(t, os.MkdirAll(b.o.StateDir, 0o700))
	a.readRecord()
	_, err = a.load()
	must(t, err)
	a.first = a.state
	if !a.state.marks {
		t.Skip("the kernel has no IFA_PROTO")
	}
	a.writeRecord(a.pending(diff(a.plan, a.found, a.state, a.record, a.o).changes))
	machine{}.ip(t, "address add 192.0.2.10/24 dev near0")
	b.plan = &netinit.Plan{}
	b.mustApply()
	b.wantAddresses("near0", "192.0.2.10/24")
}

// readOnlySettings mounts /proc/sys read-only, as container runtimes do.
func readOnlySettings(t *testing.T) {
	t.Helper()
	must(t, unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount("/proc/sys", unix.MNT_DETACH)) })
	must(t, unix.Mount("", "/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
}

// TestSameSubnet replaces the primary address, whose removal would take the secondary ones with it.
func TestSameSubnet(t *testing.T) {
	for _, locked := range []bool{false, true} {
		t.Run(fmt.Sprint("read-only ", locked), func(t *testing.T) {
			b := newBench(t)
			b.plan.Links[0].Addresses = prefixes("192.0.2.10/24", "192.0.2.12/24", "192.0.2.13/24", "2001:db8:1::10/64")
			b.mustApply()
			machine{}.ip(t, "address add 192.0.2.11/24 dev near0")
			machine{}.ip(t, "route add 10.9.0.0/16 via 192.0.2.9 src 192.0.2.11")
			machine{}.ip(t, "route add 10.8.0.0/16 via 192.0.2.9")
			if locked {
				readOnlySettings(t)
			}
			b.plan.Links[0].Addresses = prefixes("192.0.2.20/24", "192.0.2.13/24", "2001:db8:1::10/64")
			if got, want := b.mustApply(), []string{"add address 192.0.2.20/24 of near0", "remove address 192.0.2.10/24 of near0", "remove address 192.0.2.12/24 of near0"}; !slices.Equal(got, want) {
				t.Errorf("changes %q, want %q", got, want)
			}
			got := b.addresses("near0")
			slices.Sort(got)
			if want := []string{"192.0.2.11/24", "192.0.2.13/24", "192.0.2.20/24", "2001:db8:1::10/64"}; !slices.Equal(got, want) {
				t.Errorf("addresses %q, want %q", got, want)
			}
			if routes := (machine{}).ip(t, "route"); !strings.Contains(routes, "10.9.0.0/16") || !strings.Contains(routes, "10.8.0.0/16") {
				t.Errorf("the route of others is lost:\n%s", routes)
			}
			if value, err := readSysctl("near0", "ipv4", "promote_secondaries"); err != nil || value != "0" {
				t.Errorf("promote_secondaries is %s, %v", value, err)
			}
		})
	}
}

func TestReadOnlySettings(t *testing.T) {
	b := newBench(t)
	readOnlySettings(t)
	b.plan.Links[0].AcceptRA = netinit.AcceptRAOff
	got := b.mustApply()
	if len(got) == 0 || got[len(got)-1] != "warning: cannot set sysctl accept_ra 0 (was 1) of near0: /proc/sys cannot be written" {
		t.Errorf("changes %q, want a warning", got)
	}
}

func TestForeign(t *testing.T) {
	b := newBench(t)
	machine{}.ip(t, "link set near0 addrgenmode none")
	machine{}.ip(t, "link set near0 up")
	t.Cleanup(func() { machine{}.ip(t, "rule del priority 99") })
	for _, line := range []string{
		"address add 192.0.2.10/24 dev near0", "address add 198.51.100.1/24 dev near0", "route add default via 192.0.2.1",
		"route add 10.9.0.0/16 dev near0", "rule add priority 99 from 10.9.0.0/16 table 99", "route add 10.8.0.0/16 dev near0 table 99",
	} {
		machine{}.ip(t, line)
	}
	b.plan.Rules = []netinit.Rule{{Priority: 99, From: netip.MustParsePrefix("10.9.0.0/16"), Table: 99}}
	before := snapshot(t)
	for _, c := range b.mustApply() {
		if strings.Contains(c, "192.0.2.10") || strings.Contains(c, "default via 192.0.2.1") || strings.Contains(c, "rule") {
			t.Errorf("changes what is there: %s", c)
		}
	}
	// What was there before does not become ours.
	b.plan = &netinit.Plan{}
	b.mustApply()
	must(t, exec.Command("ip", "link", "set", "near0", "mtu", "1500").Run())
	if after := snapshot(t); after != before {
		t.Errorf("without a plan there is\n%s\nbut there was\n%s", after, before)
	}
}

func TestConflicts(t *testing.T) {
	for line, want := range map[string]string{
		"route add default via 192.0.2.77 onlink dev near0":              "cannot add route default via 192.0.2.1 of link \"near0\": there is default via 192.0.2.77 dev near0",
		"-6 route add default dev near0 via fe80::77":                    "there is ::/0 via fe80::77",
		"route add default nexthop dev near0 nexthop dev near0 weight 2": "there is default",
		"-6 address add 2001:db8:1::10/48 dev near0 nodad":               "it has 2001:db8:1::10/48",
	} {
		t.Run(line, func(t *testing.T) {
			b := newBench(t)
			machine{}.ip(t, "link set near0 addrgenmode none")
			if strings.Contains(line, "route") {
				machine{}.ip(t, "link set near0 up")
			}
			machine{}.ip(t, line)
			before := snapshot(t)
			for strings.Contains(line, "address") && !strings.Contains(before, "\nlocal 2001:db8:1::10 ") {
				before = snapshot(t) // the kernel adds its own route a little later
			}
			var hinted *HintError
			if _, err := b.apply(); !errors.As(err, &hinted) || hinted.Hint == "" || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q and a hint", err, want)
			}
			if snapshot(t) != before {
				t.Errorf("after:\n%s\nbefore:\n%s", snapshot(t), before)
			}
		})
	}
}

func TestRouterAdvertisements(t *testing.T) {
	b := newBench(t)
	machine{}.ip(t, "link set near0 up")
	machine{}.ip(t, "-6 route add default via fe80::77 dev near0 proto ra")
	b.plan.Links[0].AcceptRA = netinit.AcceptRAOff
	b.mustApply()
	if routes := (machine{}).ip(t, "-6 route"); strings.Contains(routes, "fe80::77") || !strings.Contains(routes, "default via 2001:db8:1::1") {
		t.Errorf("routes:\n%s", routes)
	}
	if value, err := readSysctl("near0", "ipv6", "accept_ra"); err != nil || value != "0" {
		t.Errorf("accept_ra is %s, %v", value, err)
	}
	b.plan.Links[0].AcceptRA = netinit.AcceptRAOn
	machine{}.setting(t, "ipv6/conf/near0/forwarding", "1")
	b.mustApply()
	if value, err := readSysctl("near0", "ipv6", "accept_ra"); err != nil || value != "2" {
		t.Errorf("accept_ra is %s, %v", value, err)
	}
}

// TestChurn applies while another process adds and removes 10,000 addresses, of which none may be removed by Apply, and each removal must
// find its address.
func TestChurn(t *testing.T) {
	b := newBench(t)
	b.mustApply()
	var script strings.Builder
	const batch = 500
	for round := range 10 {
		for _, verb := range []string{"add", "del"} {
			for i := range batch {
				fmt.Fprintf(&script, "address %s 10.%d.%d.%d/32 dev near0\n", verb, round, i/250, i%250+1)
			}
		}
	}
	machine{}.ip(t, "address add 198.51.100.1/24 dev near0")
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(script.String())
	done := make(chan error, 1)
	// It ends with ip.
	go func() {
		out, err := cmd.CombinedOutput()
		if len(out) > 0 {
			err = errors.Join(err, errors.New(string(out)))
		}
		done <- err
	}()
	runs := 0
	for running := true; running; runs++ {
		last := byte(20 + runs%2)
		b.plan.Links[0].Addresses[0] = netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, last}), 24)
		if _, err := b.apply(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			must(t, err)
			running = false
		default:
		}
	}
	got := b.addresses("near0")
	slices.Sort(got)
	if want := []string{b.plan.Links[0].Addresses[0].String(), "198.51.100.1/24", "2001:db8:1::10/64"}; !slices.Equal(got, want) {
		t.Errorf("addresses %q, want %q", got, want)
	}
	t.Logf("%d runs", runs)
}

func TestFiles(t *testing.T) {
	b := newBench(t)
	b.o.ResolvConf, b.o.HostsFile, b.o.Hostname = "/etc/resolv.conf", "/etc/hosts", true
	content := func() string {
		resolv, err := os.ReadFile("/etc/resolv.conf")
		must(t, err)
		hosts, err := os.ReadFile("/etc/hosts")
		must(t, err)
		return string(resolv) + "---\n" + string(hosts)
	}
	before := content()
	b.plan.DNS.Servers = []netip.Addr{netip.MustParseAddr("192.0.2.53")}
	b.plan.Hosts = []netinit.Host{{Address: netip.MustParseAddr("192.0.2.10"), Names: []string{"app1"}}}
	b.plan.Hostname = "app1"
	b.mustApply()
	if name, err := os.Hostname(); err != nil || name != "app1" {
		t.Errorf("the hostname is %q, %v", name, err)
	}
	if got := content(); !strings.Contains(got, "nameserver 192.0.2.53\n") || strings.Count(got, "app1") != 1 {
		t.Errorf("files:\n%s", got)
	}
	b.plan.DNS.Servers[0] = netip.MustParseAddr("192.0.2.54")
	b.mustApply()
	b.plan.DNS.Servers, b.plan.Hosts = nil, nil
	b.mustApply()
	if got := content(); got != before {
		t.Errorf("without DNS there is\n%s\nbut there was\n%s", got, before)
	}
}

// TestUnwritableState applies where the state folder cannot be made: that is one warning.
func TestUnwritableState(t *testing.T) {
	b := newBench(t)
	b.o.StateDir = "/proc/stoker"
	for range 2 {
		got := b.mustApply()
		all := strings.Join(got, "\n")
		if strings.Count(all, "warning: ") != 1 || !strings.Contains(all, "warning: cannot record what is applied: ") {
			t.Errorf("changes %q, want one warning", got)
		}
	}
	b.plan = &netinit.Plan{}
	b.mustApply()
	b.wantAddresses("near0") // by their mark
}
