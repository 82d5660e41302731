package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/netinit"
)

// changed is another plan for the link of a bench: nearly everything is different.
func (b *bench) changed() *netinit.Plan {
	r := func(to, via string, table int) netinit.Route {
		x := netinit.Route{To: netip.MustParsePrefix(to), Table: table}
		if via != "" {
			x.Via = netip.MustParseAddr(via)
		}
		return x
	}
	l := b.plan.Links[0]
	l.MTU, l.AcceptRA = 1450, netinit.AcceptRAOff
	l.Addresses = prefixes("192.0.2.20/24", "192.0.2.21/32", "2001:db8:1::10/64", "2001:db8:2::10/64")
	offLink4, offLink6 := r("0.0.0.0/0", "203.0.113.1", netinit.MainTable), r("::/0", "2001:db8:7::1", netinit.MainTable)
	offLink4.OnLink, offLink6.OnLink = true, true
	second4, second6 := r("0.0.0.0/0", "192.0.2.2", netinit.MainTable), r("::/0", "2001:db8:1::2", netinit.MainTable)
	second4.Metric, second6.Metric = 100, 1124
	hole := r("10.66.0.0/16", "", netinit.MainTable)
	hole.Type = "blackhole"
	hole6 := r("2001:db8:66::/48", "", netinit.MainTable)
	hole6.Type = "unreachable"
	full := r("10.7.0.0/16", "192.0.2.3", 1000)
	full.Source, full.MTU, full.AdvMSS = netip.MustParseAddr("192.0.2.20"), 1300, 1200
	full6 := r("2001:db8:77::/48", "fe80::1", 1000)
	full6.Source, full6.MTU = netip.MustParseAddr("2001:db8:2::10"), 1300
	l.Routes = []netinit.Route{hole, hole6, r("2001:db8:8::/48", "", netinit.MainTable), offLink4, second4, offLink6, second6, full, full6}
	return &netinit.Plan{Links: []netinit.Link{l}, Rules: []netinit.Rule{
		{Priority: 100, From: netip.MustParsePrefix("192.0.2.20/32"), Table: 1000},
		{Priority: 101, To: netip.MustParsePrefix("2001:db8:77::/48"), Table: 1000, IPv6: true},
		{Priority: 102, Mark: 7, Table: 1000},
	}}
}

// TestChangedPlan has off-link gateways, two defaults, tables, rules, metrics and sources in both families.
func TestChangedPlan(t *testing.T) {
	b := newBench(t)
	empty := snapshot(t)
	b.mustApply()
	b.plan = b.changed()
	b.mustApply()
	got := snapshot(t)
	for _, want := range []string{
		"default via 203.0.113.1 dev near0 proto 115 onlink", "default via 192.0.2.2 dev near0 proto 115 metric 100",
		"default via 2001:db8:7::1 dev near0 proto 115 metric 1024 onlink", "default via 2001:db8:1::2 dev near0 proto 115 metric 1124",
		"blackhole 10.66.0.0/16 proto 115", "unreachable 2001:db8:66::/48 dev lo proto 115",
		"10.7.0.0/16 via 192.0.2.3 dev near0 table 1000 proto 115 src 192.0.2.20 mtu 1300 advmss 1200",
		"2001:db8:77::/48 via fe80::1 dev near0 table 1000 proto 115 src 2001:db8:2::10 metric 1024 mtu 1300",
		"from 192.0.2.20 lookup 1000 proto 115", "from all to 2001:db8:77::/48 lookup 1000 proto 115", "from all fwmark 0x7 lookup 1000 proto 115",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
	b.plan = &netinit.Plan{}
	b.mustApply()
	machine{}.ip(t, "link set near0 down mtu 1500")
	machine{}.setting(t, "ipv6/conf/near0/accept_ra", "1")
	if left := snapshot(t); left != empty {
		t.Errorf("without a plan there is\n%s\nbut there was\n%s", left, empty)
	}
}

// TestUndo applies plans that the kernel refuses in mid-way.
func TestUndo(t *testing.T) {
	bad := netinit.Route{To: netip.MustParsePrefix("10.0.0.0/8"), Via: netip.MustParseAddr("172.16.0.1"), Table: netinit.MainTable}
	for name, first := range map[string]bool{"first run": false, "change": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if first {
				b.mustApply()
			}
			record := b.record()
			before := snapshot(t)
			good := b.plan
			b.plan = b.changed()
			b.plan.Links[0].Routes = append(b.plan.Links[0].Routes, bad)
			_, err := b.apply()
			if err == nil || !strings.Contains(err.Error(), "cannot add route 10.0.0.0/8 via 172.16.0.1 of near0") || !strings.HasSuffix(err.Error(), "all changes have been undone") {
				t.Errorf("error %v", err)
			}
			t.Log(err)
			if after := snapshot(t); after != before {
				t.Errorf("after:\n%s\nbefore:\n%s", after, before)
			}
			if b.record() != record {
				t.Errorf("record %s, want %s", b.record(), record)
			}
			b.plan = good
			b.mustApply()
		})
	}
}

// TestDuplicate applies an address that the peer has.
func TestDuplicate(t *testing.T) {
	for name, taken := range map[string]string{"probe": "192.0.2.10/24", "duplicate address detection": "2001:db8:1::10/64 nodad"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			persistent(t, "near0")
			b.o.Probe = true
			b.ip(t, "address add "+taken+" dev far0")
			before := snapshot(t)
			_, err := b.apply()
			if address, _, _ := strings.Cut(taken, "/"); !errors.Is(err, ErrDuplicate) || !strings.Contains(err.Error(), address) {
				t.Errorf("error %v, want that another host has %s", err, taken)
			}
			t.Log(err)
			if after := snapshot(t); after != before {
				t.Errorf("after:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

func (b *bench) record() string {
	r, err := ReadRecord(b.o.StateDir)
	must(b.t, err)
	return jsonText(r)
}

// TestKilled ends a run after each of its changes, as if it were killed, and applies again.
func TestKilled(t *testing.T) {
	for n := 0; ; n++ {
		b := newBench(t)
		empty := snapshot(t)
		if n%2 == 0 {
			b.mustApply()
		}
		again := b.plan
		b.plan = b.changed()
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
		if n%3 == 0 {
			b.plan = again
		}
		b.mustApply()
		b.plan = &netinit.Plan{}
		b.mustApply()
		machine{}.ip(t, "link set near0 down mtu 1500")
		machine{}.setting(t, "ipv6/conf/near0/accept_ra", "1")
		if left := snapshot(t); left != empty {
			t.Errorf("killed after %d changes: there is\n%s\nbut there was\n%s", n, left, empty)
		}
		machine{}.ip(t, "link del near0")
		if n >= len(changes) {
			return
		}
	}
}

// helperPlan is the environment variable with what a helper process applies.
const helperPlan = "STOKER_TEST_APPLY"

type helperInput struct {
	Plan     *netinit.Plan
	StateDir string
}

// init makes the test binary a process that applies a plan.
func init() {
	text := os.Getenv(helperPlan)
	if text == "" {
		return
	}
	var in helperInput
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		panic(err)
	}
	if _, err := Apply(context.Background(), in.Plan, Options{StateDir: in.StateDir, DAD: netinit.DADWait}); err != nil {
		panic(err)
	}
	os.Exit(0)
}

// TestKill9 kills a process in mid-way.
func TestKill9(t *testing.T) {
	b := newBench(t)
	good := b.plan
	for n := range 20 {
		if b.plan = good; n%2 == 1 {
			b.plan = b.changed()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n+1)*5*time.Millisecond) // and then SIGKILL
		cmd := exec.CommandContext(ctx, "/proc/self/exe")
		cmd.Env = append(os.Environ(), helperPlan+"="+jsonText(helperInput{b.plan, b.o.StateDir}))
		if out, err := cmd.CombinedOutput(); err != nil && ctx.Err() == nil {
			t.Errorf("%v: %s", err, out)
		}
		cancel()
		b.plan = good
	}
	b.mustApply()
	b.wantAddresses("near0", "192.0.2.10/24", "2001:db8:1::10/64")
	b.plan = &netinit.Plan{}
	b.mustApply()
	b.wantAddresses("near0")
}

// TestTogether applies two plans in two processes, which wait for each other.
func TestTogether(t *testing.T) {
	b := newBench(t)
	plans := []*netinit.Plan{b.plan, b.changed()}
	done := make(chan error, len(plans))
	for _, p := range plans {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
		cmd.Env = append(os.Environ(), helperPlan+"="+jsonText(helperInput{p, b.o.StateDir}))
		// It ends with the process.
		go func() {
			out, err := cmd.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			done <- err
		}()
	}
	must(t, <-done)
	must(t, <-done)
	r, err := ReadRecord(b.o.StateDir)
	must(t, err)
	if left, err := Compare(r.Plan, b.o); err != nil || len(left) > 0 {
		t.Errorf("the record differs from the kernel: %v, %v", left, err)
	}
}
