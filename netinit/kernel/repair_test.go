package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/netinit"
)

// TestRepair repairs a link that was down, while another host has one of its addresses and another link is away.
func TestRepair(t *testing.T) {
	b := newBench(t)
	machine{}.ip(t, "link add other0 type veth peer name other1")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "other1").Run() })
	b.plan.Links = append(b.plan.Links, netinit.Link{ID: "b", Match: netinit.Match{Name: "other0"}, Addresses: prefixes("198.51.100.10/24")})
	b.mustApply()
	record := b.record()
	machine{}.ip(t, "link set near0 down")
	machine{}.ip(t, "link set other0 name away0")
	b.ip(t, "address add 2001:db8:1::10/64 dev far0 nodad")
	b.o.Repair = true
	result, err := b.apply()
	if !errors.Is(err, ErrDuplicate) || !errors.Is(err, ErrNoLink) || !strings.Contains(err.Error(), "2001:db8:1::10") {
		t.Errorf("error %v", err)
	}
	t.Log(err)
	if result == nil || len(result.Changes) < 4 {
		t.Fatalf("result %+v", result)
	}
	for what, want := range map[string]string{"route": "default via 192.0.2.1", "-6 route": "default via 2001:db8:1::1"} {
		if routes := (machine{}).ip(t, what); !strings.Contains(routes, want) {
			t.Errorf("there is no %s:\n%s", want, routes)
		}
	}
	if got, _, _ := strings.Cut(b.record(), "time"); !strings.HasPrefix(record, got) {
		t.Errorf("record %s, want %s", got, record)
	}
	// It is complete as soon as it can be.
	b.ip(t, "address del 2001:db8:1::10/64 dev far0")
	machine{}.ip(t, "link set away0 name other0")
	b.mustApply()
	b.wantAddresses("near0", "192.0.2.10/24", "2001:db8:1::10/64")
	b.wantAddresses("other0", "198.51.100.10/24")
}

// TestRepairRefused goes on without what others stand in the way of.
func TestRepairRefused(t *testing.T) {
	b := newBench(t)
	b.mustApply()
	machine{}.ip(t, "route del default")
	machine{}.ip(t, "route replace 203.0.113.0/24 via 192.0.2.7")
	b.o.Repair = true
	if _, err := b.apply(); err == nil || strings.Count(err.Error(), "203.0.113.0/24") == 0 {
		t.Errorf("error %v, want one that names the route of others", err)
	}
	if routes := (machine{}).ip(t, "route"); !strings.Contains(routes, "default via 192.0.2.1") || !strings.Contains(routes, "via 192.0.2.7") {
		t.Errorf("routes:\n%s", routes)
	}
}

// TestLinksChangeMeanwhile waits for a link while others rename one that was found.
func TestLinksChangeMeanwhile(t *testing.T) {
	b := newBench(t)
	b.plan.Links[0].Match = netinit.Match{Name: "near0"}
	b.plan.Links = append(b.plan.Links, netinit.Link{ID: "late", Match: netinit.Match{Name: "late0"}})
	t.Cleanup(func() {
		for _, l := range []string{"near1", "late0"} {
			_ = exec.Command("ip", "link", "del", l).Run()
		}
	})
	b.o.OnMissing = func(string) {
		b.o.OnMissing = nil
		machine{}.ip(t, "link set near0 name old0")
		machine{}.ip(t, "link add near0 type veth peer name near1")
		machine{}.ip(t, "link add late0 type veth peer name late1")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	b.o.DAD = netinit.DADNone
	_, err := Apply(ctx, b.plan, b.o)
	must(t, err)
	b.wantAddresses("near0", "192.0.2.10/24", "2001:db8:1::10/64")
	b.wantAddresses("old0")
	machine{}.ip(t, "link del near1")
	machine{}.ip(t, "link set old0 name near0") // the cleanup of the peer looks for it
}

// TestAwait looks seldom while others change the network all the time.
func TestAwait(t *testing.T) {
	newPeer(t)
	stop, over := make(chan struct{}), make(chan struct{})
	defer func() { close(stop); <-over }() // the next test has a link of that name too
	// It ends with the test.
	go func() {
		defer close(over)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				_ = exec.Command("ip", "link", "set", "near0", "mtu", fmt.Sprint(1400+n%50)).Run()
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	looks := 0
	err := await(ctx, func() (bool, error) { looks++; return false, nil })
	if !errors.Is(err, context.DeadlineExceeded) || looks < 3 || looks > 12 {
		t.Errorf("%d looks, error %v", looks, err)
	}
}

// TestCauses applies an IPv6 address that others have added as one end of a connection: the kernel has it, but not as the plan says.
func TestCauses(t *testing.T) {
	b := newBench(t)
	machine{}.ip(t, "-6 address add 2001:db8:1::10 peer 2001:db8:1::99/64 dev near0 nodad")
	if _, err := b.apply(); err == nil || !strings.Contains(err.Error(), "file exists") {
		t.Errorf("error %v, want the cause", err)
	}
}

// TestMTUOfChildren sets the MTU of a link with a macvlan that others have made.
func TestMTUOfChildren(t *testing.T) {
	b := newBench(t)
	machine{}.ip(t, "link set near0 up")
	machine{}.ip(t, "link add link near0 name mv0 type macvlan mode bridge")
	machine{}.ip(t, "link set mv0 up")
	machine{}.ip(t, "-6 address add 2001:db8:55::1/64 dev mv0 nodad")
	before := snapshot(t)
	v4 := *b.plan
	v4.Links = []netinit.Link{{ID: "a", Match: netinit.Match{Name: "near0"}, MTU: 1000, Addresses: prefixes("192.0.2.10/24")}}
	good := b.plan
	b.plan = &v4
	if _, err := b.apply(); err == nil || !strings.Contains(err.Error(), "mv0") || !strings.Contains(err.Error(), "2001:db8:55::1/64") {
		t.Errorf("error %v, want one that names the address of mv0", err)
	}
	if after := snapshot(t); after != before {
		t.Errorf("a refused MTU changes something: %s", after)
	}
	// After a failure mv0 has its MTU again.
	b.plan = good
	b.plan.Links[0].Routes = append(b.plan.Links[0].Routes, netinit.Route{
		To: netip.MustParsePrefix("198.51.100.0/24"), Via: netip.MustParseAddr("203.0.113.77"), Table: netinit.MainTable, Source: netip.MustParseAddr("192.0.2.99"),
	})
	if _, err := b.apply(); err == nil {
		t.Error("a route with a foreign source is applied")
	}
	if after := snapshot(t); after != before {
		t.Errorf("after a failure there is\n%s\nbut there was\n%s", after, before)
	}
}
