package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/netinit"
)

func TestMTU(t *testing.T) {
	b := newBench(t)
	b.mustApply()
	b.plan.Links[0].MTU = 1300
	if got, want := b.mustApply(), []string{"set link mtu 1300 (was 1400) of near0"}; !slices.Equal(got, want) {
		t.Errorf("changes %q, want %q", got, want)
	}
	// An MTU under 1280 removes IPv6 from the link, so a plan without IPv6 asks for it; and back.
	v6 := b.plan.Links[0].Addresses[1]
	routes := b.plan.Links[0].Routes
	b.plan.Links[0].MTU, b.plan.Links[0].Addresses, b.plan.Links[0].Routes = 1000, prefixes("192.0.2.10/24"), routes[:2]
	b.mustApply()
	b.wantAddresses("near0", "192.0.2.10/24")
	b.plan.Links[0].MTU, b.plan.Links[0].Addresses, b.plan.Links[0].Routes = 1500, append(b.plan.Links[0].Addresses, v6), routes
	b.mustApply()
	b.wantAddresses("near0", "192.0.2.10/24", "2001:db8:1::10/64")
}

func TestIPv6Disabled(t *testing.T) {
	b := newBench(t)
	machine{}.setting(t, "ipv6/conf/near0/disable_ipv6", "1")
	b.mustApply()
	b.wantAddresses("near0", "192.0.2.10/24", "2001:db8:1::10/64")
}

func TestRename(t *testing.T) {
	b := newBench(t)
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "lan0").Run() })
	b.mustApply()
	machine{}.ip(t, "address add 198.51.100.7/24 dev near0")
	machine{}.ip(t, "route add 10.9.0.0/16 via 198.51.100.1 dev near0")
	b.plan.Links[0].Rename = "lan0"
	if got, want := b.mustApply(), []string{"set link name lan0 (was near0) of lan0"}; !slices.Equal(got, want) {
		t.Errorf("changes %q, want %q", got, want)
	}
	b.wantAddresses("lan0", "192.0.2.10/24", "198.51.100.7/24", "2001:db8:1::10/64")
	if routes := (machine{}).ip(t, "route show dev lan0"); !strings.Contains(routes, "10.9.0.0/16") {
		t.Errorf("the route of others is lost: %s", routes)
	}
	// A match by the old name finds the link by its new one, also when another link has the old one.
	b.plan.Links[0].Match = netinit.Match{Name: "near0"}
	b.mustApply()
	machine{}.ip(t, "link add near0 type bridge")
	if got := b.mustApply(); len(got) > 0 {
		t.Errorf("changes %q", got)
	}
}

// TestRenameWhileDown checks what kernels before 6.2 need: the link is down for a moment, and what others have added comes back.
func TestRenameWhileDown(t *testing.T) {
	b := newBench(t)
	b.mustApply()
	machine{}.ip(t, "-6 address add 2001:db8:9::7/64 dev near0 nodad")
	machine{}.ip(t, "route add 10.9.0.0/16 via 192.0.2.1 dev near0")
	before := snapshot(t)
	a, err := newApplier(b.plan, b.o)
	must(t, err)
	defer a.close()
	i := index(t, "near0")
	must(t, a.protect(sequence{setUp(i, false), setUp(i, true)}, func(o object, _ *state) bool { return o.of(i) }))
	b.mustApply() // waits for duplicate address detection
	after := snapshot(t)
	for line := range strings.Lines(before) {
		if !strings.Contains(after, line) {
			t.Errorf("after the restoration there is no %s", line)
		}
	}
	b.wantAddresses("near0", "192.0.2.10/24", "2001:db8:9::7/64", "2001:db8:1::10/64")
}

func TestSwapNames(t *testing.T) {
	b := newBench(t)
	machine{}.ip(t, "link add other0 type veth peer name other1")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "other1").Run() })
	other := machine{}.mac(t, "other0").String()
	b.plan.Links = []netinit.Link{
		{ID: "a", Match: netinit.Match{MAC: machine{}.mac(t, "near0").String()}, Rename: "other0", Addresses: prefixes("192.0.2.10/24")},
		{ID: "b", Match: netinit.Match{MAC: other}, Rename: "near0", Addresses: prefixes("198.51.100.10/24")},
	}
	b.mustApply()
	b.wantAddresses("other0", "192.0.2.10/24")
	b.wantAddresses("near0", "198.51.100.10/24")
	if got := (machine{}).mac(t, "near0").String(); got != other {
		t.Errorf("near0 is %s, want %s", got, other)
	}
	// The wanted name of a link that the plan does not rename is taken.
	b.plan.Links = []netinit.Link{{ID: "a", Match: netinit.Match{Name: "other0"}, Rename: "lo"}}
	before := snapshot(t)
	if _, err := b.apply(); err == nil || !strings.Contains(err.Error(), `cannot rename link "other0" to "lo"`) {
		t.Errorf("error %v", err)
	}
	if snapshot(t) != before {
		t.Error("a refused plan changes something")
	}
	machine{}.ip(t, "link del other0") // the cleanup of the peer looks for near0
}

// TestSwapKilled ends a run that swaps two names after each of its changes, as if it were killed, and applies again.
func TestSwapKilled(t *testing.T) {
	for n := 0; ; n++ {
		b := newBench(t)
		machine{}.ip(t, "link add other0 type veth peer name other1")
		near, other := machine{}.mac(t, "near0").String(), machine{}.mac(t, "other0").String()
		b.plan.Links = []netinit.Link{
			{ID: "a", Match: netinit.Match{MAC: near, Name: "near0"}, Rename: "other0", Addresses: prefixes("192.0.2.10/24")},
			{ID: "b", Match: netinit.Match{MAC: other, Name: "other0"}, Rename: "near0", Addresses: prefixes("198.51.100.10/24")},
		}
		a, err := newApplier(b.plan, b.o)
		must(t, err)
		must(t, os.MkdirAll(b.o.StateDir, 0o700))
		a.readRecord()
		_, err = a.load()
		must(t, err)
		a.first = a.state
		changes := diff(a.plan, a.found, a.state, a.record, a.o).changes
		a.writeRecord(a.pending(changes))
		must(t, a.execute(t.Context(), changes[:min(n, len(changes))]))
		a.close()
		b.mustApply()
		if got := (machine{}).mac(t, "near0").String(); got != other {
			t.Errorf("killed after %d changes: near0 is %s, want %s", n, got, other)
		}
		b.wantAddresses("other0", "192.0.2.10/24")
		machine{}.ip(t, "link del other1")
		machine{}.ip(t, "link del other0")
		if n >= len(changes) {
			return
		}
	}
}

func TestLateLink(t *testing.T) {
	b := newBench(t)
	mac := "02:00:5e:00:00:07"
	b.plan.Links = append(b.plan.Links,
		netinit.Link{ID: "late", Match: netinit.Match{MAC: mac}, Addresses: prefixes("198.51.100.10/24")},
		netinit.Link{ID: "maybe", Match: netinit.Match{Name: "never0"}, Optional: true, Addresses: prefixes("198.51.101.10/24")})
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "late0").Run() })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	before := snapshot(t)
	if _, err := Apply(ctx, b.plan, b.o); !errors.Is(err, ErrNoLink) || !strings.Contains(err.Error(), mac) {
		t.Errorf("error %v, want that no link has %s", err, mac)
	}
	if snapshot(t) != before {
		t.Error("without the link something changes")
	}
	absent := Change{"add", "link", "late", "there is none with MAC address " + mac}
	if list, err := Compare(b.plan, b.o); err != nil || !slices.Contains(list, absent) {
		t.Errorf("differences %v, %v", list, err)
	}
	made := make(chan error, 1)
	time.AfterFunc(200*time.Millisecond, func() {
		made <- exec.Command("ip", "link", "add", "late0", "address", mac, "type", "veth", "peer", "name", "late1").Run()
	})
	if got := b.mustApply(); !slices.Contains(got, "add address 198.51.100.10/24 of late0") || !slices.Contains(got, `warning: optional link "maybe" is absent`) {
		t.Errorf("changes %q", got)
	}
	must(t, <-made)
}

// TestLateLinkLeavesTheNetwork waits for a link, and another run changes the network meanwhile.
func TestLateLinkLeavesTheNetwork(t *testing.T) {
	b := newBench(t)
	waiting := *b.plan
	waiting.Links = append(slices.Clone(waiting.Links), netinit.Link{ID: "late", Match: netinit.Match{Name: "late0"}})
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "late0").Run() })
	o, missing, done := b.o, make(chan string, 1), make(chan error, 1)
	o.OnMissing = func(links string) { missing <- links }
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	// It ends with Apply, which ctx bounds.
	go func() {
		result, err := Apply(ctx, &waiting, o)
		if err == nil && !slices.Contains(result.Changes, Change{"remove", "address", "near0", "192.0.2.77/24"}) {
			err = fmt.Errorf("it changes %v, not what the other run has added", result.Changes)
		}
		done <- err
	}()
	<-missing
	b.plan.Links[0].Addresses = prefixes("192.0.2.77/24", "2001:db8:1::10/64")
	b.mustApply()
	b.wantAddresses("near0", "192.0.2.77/24", "2001:db8:1::10/64")
	machine{}.ip(t, "link add late0 type veth peer name late1")
	must(t, <-done)
	b.wantAddresses("near0", "192.0.2.10/24", "2001:db8:1::10/64")
}

// TestRepairIsSuperseded repairs a plan whose link is absent, and another run applies another plan meanwhile.
func TestRepairIsSuperseded(t *testing.T) {
	b := newBench(t)
	b.mustApply()
	old, o, missing, done := *b.plan, b.o, make(chan string, 1), make(chan error, 1)
	machine{}.ip(t, "link set near0 address 02:00:5e:00:00:08")
	o.Repair, o.OnMissing = true, func(links string) { missing <- links }
	// It ends with Apply, which the context of the test bounds.
	go func() {
		result, err := Apply(t.Context(), &old, o)
		if err == nil && len(result.Changes) > 0 {
			err = fmt.Errorf("it changes %v", result.Changes)
		}
		done <- err
	}()
	<-missing
	b.plan = &netinit.Plan{Links: []netinit.Link{{ID: "a", Match: netinit.Match{Name: "near0"}, Addresses: prefixes("192.0.2.77/24")}}}
	b.mustApply()
	must(t, <-done)
	b.wantAddresses("near0", "192.0.2.77/24")
}

func TestInterrupted(t *testing.T) {
	b := newBench(t)
	b.plan.Links[0].Match = netinit.Match{Name: "late0"}
	ctx, cancel := context.WithCancel(t.Context())
	b.o.OnMissing = func(string) { cancel() }
	_, err := Apply(ctx, b.plan, b.o)
	if !errors.Is(err, ErrInterrupted) || err.Error() != `interrupted while waiting for link "a" (name late0)` {
		t.Errorf("error %v", err)
	}
}

// TestOptionalWithoutCarrier applies an IPv6 address to an optional link that cannot find out whether another host has it.
func TestOptionalWithoutCarrier(t *testing.T) {
	b := newBench(t)
	machine{}.ip(t, "link add idle0 type veth peer name idle1")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "idle0").Run() })
	quick(t, machine{}, "idle0")
	source := netip.MustParseAddr("2001:db8:2::10")
	b.plan.Links = append(b.plan.Links, netinit.Link{
		ID: "b", Match: netinit.Match{Name: "idle0"}, Optional: true, Addresses: prefixes("2001:db8:2::10/64", "198.51.100.10/24"),
		Routes: []netinit.Route{{To: netip.MustParsePrefix("2001:db8:7::/48"), Source: source, Table: netinit.MainTable}},
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	result, err := Apply(ctx, b.plan, b.o)
	must(t, err)
	if all := strings.Join(result.Warnings, "\n"); !strings.Contains(all, "address 2001:db8:2::10 of idle0: it is still tentative: the link has no carrier") {
		t.Errorf("warnings %q", all)
	}
	t.Log(result.Warnings)
	b.wantAddresses("near0", "192.0.2.10/24", "2001:db8:1::10/64")
	b.wantAddresses("idle0", "198.51.100.10/24", "2001:db8:2::10/64")
	machine{}.ip(t, "link set idle1 up")
	b.mustApply()
	if routes := (machine{}).ip(t, "-6 route"); !strings.Contains(routes, "2001:db8:7::/48 dev idle0") {
		t.Errorf("routes:\n%s", routes)
	}
}

func TestAmbiguous(t *testing.T) {
	b := newBench(t)
	mac := machine{}.mac(t, "near0").String()
	// Of a bridge with a member and a macvlan, which all have the same address, only near0 is meant.
	machine{}.ip(t, "link add link near0 name mv0 address "+mac+" type macvlan mode bridge")
	b.mustApply()
	machine{}.ip(t, "link add twin0 address "+mac+" type veth peer name twin1")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "twin0").Run() })
	before := snapshot(t)
	if _, err := b.apply(); !errors.Is(err, ErrAmbiguous) || !strings.Contains(err.Error(), "near0, twin0") {
		t.Errorf("error %v, want one that names near0 and twin0", err)
	}
	if snapshot(t) != before {
		t.Error("an ambiguous plan changes something")
	}
}

// TestMacvlan matches a link by the MAC address that another has, whose parent is in another namespace, as Docker's macvlan networks do.
func TestMacvlan(t *testing.T) {
	b := newBench(t)
	machine{}.ip(t, "link set near0 up")
	own, err := os.Open("/proc/thread-self/ns/net")
	must(t, err)
	defer own.Close()
	b.ip(t, fmt.Sprintf("link add link far0 name mv0 netns /proc/%d/fd/%d address 02:00:5e:00:00:09 type macvlan mode bridge", os.Getpid(), own.Fd()))
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "mv0").Run() })
	b.plan.Links[0].Match = netinit.Match{MAC: "02:00:5e:00:00:09"}
	b.mustApply()
	b.wantAddresses("mv0", "192.0.2.10/24", "2001:db8:1::10/64")
}

// TestDADPolicies binds to an IPv6 address as soon as it is applied.
func TestDADPolicies(t *testing.T) {
	for _, policy := range []netinit.DAD{netinit.DADWait, netinit.DADNone, netinit.DADOptimistic} {
		t.Run(string(policy), func(t *testing.T) {
			b := newBench(t)
			b.o.DAD = policy
			b.mustApply()
			l, err := net.Listen("tcp", "[2001:db8:1::10]:0")
			must(t, err)
			l.Close()
		})
	}
}

func TestFlap(t *testing.T) {
	b := newBench(t)
	b.mustApply()
	machine{}.ip(t, "link set near0 down")
	if list, err := Compare(b.plan, b.o); err != nil || len(list) < 4 {
		t.Errorf("differences %v, %v", list, err)
	}
	b.mustApply()
	b.wantAddresses("near0", "192.0.2.10/24", "2001:db8:1::10/64")
	for _, gone := range []string{"route del default", "-6 route del default", "address del 192.0.2.10/24 dev near0"} {
		machine{}.ip(t, gone)
	}
	b.mustApply()
}

func TestVLAN(t *testing.T) {
	b := newBench(t)
	if _, err := (machine{}).output(t, "ip", "link", "add", "link", "near0", "name", "probe0", "type", "vlan", "id", "9"); err != nil {
		t.Skip("the kernel has no 802.1Q: ", err)
	}
	machine{}.ip(t, "link del probe0")
	plain := *b.plan
	b.plan.Links = append(slices.Clone(b.plan.Links), netinit.Link{
		ID: "v", VLAN: &netinit.VLAN{ID: 101, Parent: "a"}, MTU: 1300, Addresses: prefixes("198.51.100.10/24", "2001:db8:2::10/64"),
		Routes: []netinit.Route{{To: netip.MustParsePrefix("10.0.0.0/8"), Via: netip.MustParseAddr("198.51.100.1"), Table: netinit.MainTable}},
	})
	b.mustApply()
	b.wantAddresses("near0.101", "198.51.100.10/24", "2001:db8:2::10/64")
	b.plan.Links[1].VLAN.ID = 102
	b.plan.Links[1].Rename = "v0"
	b.mustApply()
	b.wantAddresses("v0", "198.51.100.10/24", "2001:db8:2::10/64")
	b.plan = &plain
	b.mustApply()
	if links := (machine{}).ip(t, "link"); strings.Contains(links, "v0") || strings.Contains(links, "near0.101") {
		t.Errorf("VLANs stay: %s", links)
	}
}

// TestVLANRefused checks a kernel without 802.1Q, or one whose link takes none.
func TestVLANRefused(t *testing.T) {
	b := newBench(t)
	b.plan.Links = append(b.plan.Links, netinit.Link{ID: "v", VLAN: &netinit.VLAN{ID: 101, Parent: "a"}})
	list, err := Compare(b.plan, b.o)
	must(t, err)
	if !slices.Contains(list, Change{"add", "link", "near0.101", "vlan 101 on near0"}) {
		t.Errorf("differences %v", list)
	}
	before := snapshot(t)
	if _, err := b.apply(); err != nil && snapshot(t) != before {
		t.Errorf("after %v:\n%s\nbefore:\n%s", err, snapshot(t), before)
	} else if err == nil {
		t.Skip("the kernel has 802.1Q")
	}
}
