package kernel

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/netinit"
)

// bench is a plan for the link of a peer, applied with options of its own.
type bench struct {
	peer
	t    *testing.T
	o    Options
	plan *netinit.Plan
}

// newBench makes a plan of one link with two addresses and three routes.
func newBench(t *testing.T) *bench {
	p := newPeer(t)
	// Rules, and routes without a link, stay when the link of the peer is gone.
	t.Cleanup(func() {
		for _, family := range []string{"-4", "-6"} {
			machine{}.ip(t, family+" rule flush protocol 115")
			machine{}.ip(t, family+" route flush table all proto 115")
		}
	})
	dir := t.TempDir()
	return &bench{peer: p, t: t, o: Options{StateDir: filepath.Join(dir, "state"), DAD: netinit.DADWait}, plan: &netinit.Plan{
		Links: []netinit.Link{{
			ID: "a", Match: netinit.Match{MAC: machine{}.mac(t, p.Near).String()}, MTU: 1400,
			Addresses: prefixes("192.0.2.10/24", "2001:db8:1::10/64"),
			Routes: []netinit.Route{
				{To: netip.MustParsePrefix("203.0.113.0/24"), Table: netinit.MainTable},
				{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1"), Table: netinit.MainTable},
				{To: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("2001:db8:1::1"), Table: netinit.MainTable},
			},
		}},
	}}
}

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, s := range texts {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

func (b *bench) apply() (*Result, error) {
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	return Apply(ctx, b.plan, b.o)
}

// mustApply applies the plan, which must leave nothing to do, and returns the changes.
func (b *bench) mustApply() []string {
	b.t.Helper()
	r, err := b.apply()
	must(b.t, err)
	left, err := Compare(b.plan, b.o)
	must(b.t, err)
	if len(left) > 0 {
		b.t.Fatalf("after apply there are differences: %v", left)
	}
	var list []string
	for _, c := range r.Changes {
		list = append(list, c.String())
	}
	for _, w := range r.Warnings {
		list = append(list, "warning: "+w)
	}
	return list
}

// addresses are those of a link according to ip, without the link-local ones.
func (b *bench) addresses(link string) (list []string) {
	for _, l := range (machine{}).ipJSON(b.t, "address show dev "+link) {
		for _, a := range l["addr_info"].([]any) {
			a := a.(map[string]any)
			if p := netip.MustParsePrefix(a["local"].(string) + "/" + jsonText(a["prefixlen"])); !p.Addr().IsLinkLocalUnicast() {
				list = append(list, p.String())
			}
		}
	}
	return list
}

func jsonText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// snapshot is everything that ip shows, but for the queue that a link has for ever after it was up once.
func snapshot(t *testing.T) string {
	settled(t)
	var all string
	for _, what := range []string{"address", "route show table all", "rule", "-6 rule"} {
		all += what + "\n" + (machine{}).ip(t, what)
	}
	return strings.ReplaceAll(all, "qdisc noop ", "qdisc noqueue ")
}

func (b *bench) wantAddresses(link string, want ...string) {
	b.t.Helper()
	if got := b.addresses(link); !slices.Equal(got, want) {
		b.t.Errorf("addresses of %s: %q, want %q", link, got, want)
	}
}

func TestApply(t *testing.T) {
	b := newBench(t)
	result, err := b.apply()
	must(t, err)
	var changes, announced []string
	for _, c := range result.Changes {
		changes = append(changes, c.String())
	}
	for _, a := range result.Announce {
		announced = append(announced, a.Link+" "+a.MAC.String()+" "+a.Address.String())
	}
	mac := b.plan.Links[0].Match.MAC
	if want := []string{"near0 " + mac + " 192.0.2.10", "near0 " + mac + " 2001:db8:1::10"}; !slices.Equal(announced, want) {
		t.Errorf("announced %q, want %q", announced, want)
	}
	want := []string{"set link mtu 1400 (was 1500) of near0", "set link up of near0", "add address 192.0.2.10/24 of near0",
		"add address 2001:db8:1::10/64 of near0", "add route 203.0.113.0/24 of near0", "add route default via 192.0.2.1 of near0",
		"add route default via 2001:db8:1::1 of near0"}
	if !slices.Equal(changes, want) {
		t.Errorf("changes %q, want %q", changes, want)
	}
	b.wantAddresses("near0", "192.0.2.10/24", "2001:db8:1::10/64")
	before := snapshot(t)
	record, err := os.ReadFile(recordFile(b.o.StateDir).Path)
	must(t, err)
	if again := b.mustApply(); len(again) > 0 {
		t.Errorf("the second run changes %q", again)
	}
	if after := snapshot(t); after != before {
		t.Errorf("the second run made\n%s\nof\n%s", after, before)
	}
	if again, err := os.ReadFile(recordFile(b.o.StateDir).Path); err != nil || string(again) != string(record) {
		t.Errorf("the second run wrote the record again: %v", err)
	}
}
