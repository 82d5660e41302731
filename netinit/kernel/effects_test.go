package kernel

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/netinit"
)

// everything is what a snapshot has, and the permanent neighbours.
func everything(t *testing.T) string {
	t.Helper()
	return snapshot(t) + (machine{}).ip(t, "neigh show nud permanent") + (machine{}).ip(t, "-6 neigh show nud permanent")
}

// others runs ip for each line, as another program.
func others(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		machine{}.ip(t, line)
	}
}

// wantSame compares what is there with what was before, line by line, in any order.
func wantSame(t *testing.T, before string) {
	t.Helper()
	sorted := func(s string) []string { return slices.Sorted(strings.Lines(s)) }
	if after := everything(t); !slices.Equal(sorted(after), sorted(before)) {
		t.Errorf("after:\n%s\nbefore:\n%s", after, before)
	}
}

// mustFail applies the plan with a route that the kernel refuses, after addresses and links, and returns the error.
func (b *bench) mustFail() string {
	b.t.Helper()
	plan := *b.plan
	defer func() { b.plan = &plan }()
	bad := netinit.Route{To: netip.MustParsePrefix("10.250.0.0/16"), Via: netip.MustParseAddr("172.16.0.1"), Table: netinit.MainTable}
	l := plan.Links[0]
	l.Routes = append(slices.Clone(l.Routes), bad)
	b.plan = &netinit.Plan{Links: []netinit.Link{l}}
	_, err := b.apply()
	if err == nil || !strings.HasSuffix(err.Error(), "all changes have been undone") {
		b.t.Errorf("error %v, want that all is undone", err)
		return ""
	}
	return err.Error()
}

// TestLastAddress checks what the kernel removes with the last IPv4 address of a link.
func TestLastAddress(t *testing.T) {
	foreign := []string{
		"route add 10.77.0.0/16 dev near0", "route add 10.78.0.0/16 dev near0 table 77", "route add local 10.79.0.0/16 dev near0",
		"route add 10.80.0.0/16 dev near0 tos 4", "neigh add 10.77.0.5 lladdr 02:00:00:00:00:aa dev near0 nud permanent",
	}
	for name, first := range map[string]bool{"undone": false, "removed": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			machine{}.ip(t, "link set near0 up mtu 1400")
			l := &b.plan.Links[0]
			l.Addresses, l.Routes = nil, nil
			if first {
				others(t, foreign...)
			}
			before := everything(t)
			l.Addresses = prefixes("192.0.2.10/24")
			if !first {
				others(t, foreign...)
				before = everything(t)
				b.mustFail()
			} else {
				b.mustApply()
				l.Addresses = nil
				b.mustApply()
			}
			wantSame(t, before)
		})
	}
}

// TestSecondaryRoutes removes a primary address, with which the kernel removes the secondary ones and all routes.
func TestSecondaryRoutes(t *testing.T) {
	b := newBench(t)
	l := &b.plan.Links[0]
	l.Addresses, l.Routes = prefixes("10.3.0.1/24"), nil
	b.mustApply()
	foreign := []string{
		"address add 10.3.0.2/24 dev near0", "address add 10.3.0.3/24 dev near0 label near0:x",
		"route add 10.9.0.0/16 via 10.3.0.9", "route add 10.10.0.0/16 via 10.3.0.9 table 5",
		"route add 10.11.0.0/16 via 10.3.0.9 tos 4", "route add 10.12.0.0/16 nexthop via 10.3.0.9 nexthop via 10.3.0.10 weight 3",
		"route add 10.12.1.0/24 via 10.3.0.9", "route append 10.12.1.0/24 via 10.3.0.10",
		"route add local 10.13.0.0/16 dev near0", "neigh add 10.3.0.33 lladdr 02:00:00:00:00:33 dev near0 nud permanent",
	}
	others(t, foreign...)
	// The kernel's own routes name another address afterwards.
	look := func() string {
		return strings.Join(b.addresses("near0"), " ") + (machine{}).ip(t, "route show table all proto boot") +
			(machine{}).ip(t, "route show table local proto boot") + (machine{}).ip(t, "neigh show nud permanent")
	}
	before := look()
	l.Addresses = nil
	if got := b.mustApply(); len(got) != 1 {
		t.Errorf("changes %q", got)
	}
	if after := look(); "10.3.0.1/24 "+after != before {
		t.Errorf("after:\n%s\nbefore:\n%s", after, before)
	}
}

// TestLostForGood removes an address that a route of others needs.
func TestLostForGood(t *testing.T) {
	b := newBench(t)
	l := &b.plan.Links[0]
	l.Addresses, l.Routes = prefixes("192.0.2.10/24"), nil
	b.mustApply()
	others(t, "address add 10.3.0.2/24 dev near0", "route add 10.9.0.0/16 via 10.3.0.9 src 192.0.2.10")
	l.Addresses = nil
	got := b.mustApply()
	if !slices.ContainsFunc(got, func(s string) bool {
		return strings.HasPrefix(s, "warning: cannot restore route 10.9.0.0/16 via 10.3.0.9 src 192.0.2.10")
	}) {
		t.Errorf("changes %q, want a warning", got)
	}
}

// TestMeanwhile changes the link while a plan is applied that fails later.
func TestMeanwhile(t *testing.T) {
	b := newBench(t)
	b.ip(t, "link set far0 down")
	machine{}.ip(t, "link set near0 up addrgenmode none")
	others(t, "address add 10.1.1.1/24 dev near0", "route add 10.2.0.0/16 dev near0")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	failed := make(chan error, 1)
	// It ends with ctx.
	go func() {
		_, err := Apply(ctx, b.plan, b.o)
		failed <- err
	}()
	must(t, await(ctx, func() (bool, error) { return slices.Contains(b.addresses("near0"), "2001:db8:1::10/64"), nil }))
	others(t, "address del 10.1.1.1/24 dev near0", "route del 10.2.0.0/16", "address add 10.1.1.1/16 dev near0",
		"route add 10.4.0.0/16 dev near0", "neigh add 10.4.0.5 lladdr 02:00:00:00:00:aa dev near0 nud permanent")
	cancel() // it waits for a carrier
	if err := <-failed; err == nil || !strings.HasSuffix(err.Error(), "all changes have been undone") {
		t.Errorf("error %v", err)
	}
	b.wantAddresses("near0", "10.1.1.1/16")
	routes := (machine{}).ip(t, "route show dev near0 proto boot")
	if !strings.HasPrefix(routes, "10.4.0.0/16 ") || strings.Count(routes, "\n") != 1 {
		t.Errorf("routes of others:\n%s", routes)
	}
	if neighbours := (machine{}).ip(t, "neigh show nud permanent dev near0"); !strings.Contains(neighbours, "10.4.0.5") {
		t.Errorf("permanent neighbours: %q", neighbours)
	}
}

// TestForeignNextHop appends a next hop to an IPv6 route of a plan. The kernel shows both as one route.
func TestForeignNextHop(t *testing.T) {
	b := newBench(t)
	l := &b.plan.Links[0]
	l.Addresses = prefixes("2001:db8::10/64")
	to := netip.MustParsePrefix("2001:db8:5::/48")
	l.Routes = []netinit.Route{{To: to, Via: netip.MustParseAddr("2001:db8::1"), Table: netinit.MainTable}}
	b.mustApply()
	others(t, "-6 route append 2001:db8:5::/48 via 2001:db8::2 dev near0 metric 1024 proto static")
	before := everything(t)
	if got := b.mustApply(); len(got) > 0 {
		t.Errorf("changes %q", got)
	}
	// Another gateway would change that of others too.
	l.Routes[0].Via = netip.MustParseAddr("2001:db8::3")
	if _, err := b.apply(); err == nil || !strings.Contains(err.Error(), "there is 2001:db8:5::/48 via 2001:db8::2 dev near0, which stoker") {
		t.Errorf("error %v", err)
	}
	wantSame(t, before)
	l.Routes = nil
	b.mustApply()
	if got := (machine{}).ip(t, "-6 route show 2001:db8:5::/48"); !strings.HasPrefix(got, "2001:db8:5::/48 via 2001:db8::2 dev near0 proto static") || strings.Count(got, "\n") != 1 {
		t.Errorf("routes:\n%s", got)
	}
}

// TestMTUUndone sets an MTU with which the kernel removes IPv6 from the link, and takes it back.
func TestMTUUndone(t *testing.T) {
	b := newBench(t)
	machine{}.ip(t, "link set near0 up")
	settings := map[string]string{"accept_ra": "2", "forwarding": "1", "dad_transmits": "0"}
	for name, value := range settings {
		machine{}.setting(t, "ipv6/conf/near0/"+name, value)
	}
	others(t, "address add 10.1.1.1/24 dev near0", "-6 route add 2001:db8:77::/48 via fe80::1 dev near0",
		"-6 route add 2001:db8:78::/48 nexthop via fe80::1 dev near0 weight 3 nexthop via fe80::2 dev near0",
		"-6 neigh add fe80::5 lladdr 02:00:00:00:00:ab dev near0 nud permanent")
	before := everything(t)
	l := &b.plan.Links[0]
	l.MTU, l.Addresses, l.Routes = 1000, nil, nil
	b.mustFail()
	wantSame(t, before)
	for name, want := range settings {
		if got, err := readSysctl("near0", "ipv6", name); err != nil || got != want {
			t.Errorf("%s is %s, %v, want %s", name, got, err, want)
		}
	}
	// It is not refused, but said.
	got := strings.Join(b.mustApply(), "\n")
	for _, want := range []string{"setting accept_ra 2", "setting forwarding 1", "route 2001:db8:77::/48 via fe80::1", "neighbour fe80::5"} {
		if !strings.Contains(got, "warning: cannot restore "+want) {
			t.Errorf("no warning about %s:\n%s", want, got)
		}
	}
}

// TestExpiryUndone removes routes of router advertisements, and takes it back.
func TestExpiryUndone(t *testing.T) {
	b := newBench(t)
	machine{}.ip(t, "link set near0 up")
	others(t, "-6 route add default via fe80::99 dev near0 proto ra metric 100 expires 600", "-6 route add 2001:db8:9::/64 dev near0 proto ra expires 600")
	b.plan.Links[0].AcceptRA = netinit.AcceptRAOff
	b.mustFail()
	routes := (machine{}).ip(t, "-6 route show proto ra")
	if strings.Count(routes, "expires 6") != 2 && strings.Count(routes, "expires 59") != 2 {
		t.Errorf("routes:\n%s", routes)
	}
}
