package netinit

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestOwnFixtures converts testdata/own/NAME.yaml to the plan in NAME.plan.json.
func TestOwnFixtures(t *testing.T) {
	files, err := filepath.Glob("testdata/own/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".yaml")
		t.Run(filepath.Base(name), func(t *testing.T) { checkFixture(t, Own, file, name+".plan.json") })
	}
}

// checkPlan wants what every plan of Parse has.
func checkPlan(t *testing.T, plan *Plan) {
	t.Helper()
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	var again Plan
	if err := json.Unmarshal(text, &again); err != nil || !reflect.DeepEqual(*plan, again) {
		t.Errorf("the plan is not what its JSON gives (%v):\n%#v\n%#v", err, *plan, again)
	}
	checkLinks(t, plan)
	keys := map[routeKey]bool{}
	for i := range plan.Links {
		checkRoutes(t, &plan.Links[i], keys)
	}
	for _, r := range plan.Rules {
		if r.Priority < 1 || r.Table < 1 || r.From.IsValid() && r.From.Addr().Is6() != r.IPv6 || r.To.IsValid() && r.To.Addr().Is6() != r.IPv6 {
			t.Errorf("rule %+v", r)
		}
	}
	lines := len(plan.DNS.Servers) + min(1, len(plan.DNS.Search)) + min(1, len(plan.DNS.Options))
	if got := strings.Count(ResolvConf(plan.DNS), "\n"); lines > 0 && got != lines+1 || lines == 0 && got != 0 {
		t.Errorf("resolv.conf has %d lines of %+v", got, plan.DNS)
	}
	if got, n := strings.Count(HostsBlock(plan.Hosts), "\n"), len(plan.Hosts); n > 0 && got != n+2 || n == 0 && got != 0 {
		t.Errorf("the block of the hosts file has %d lines of %+v", got, plan.Hosts)
	}
}

// checkLinks wants valid links, each after its parent.
func checkLinks(t *testing.T, plan *Plan) {
	t.Helper()
	ids := map[string]bool{}
	for _, l := range plan.Links {
		if l.ID == "" || ids[l.ID] || (l.Match == Match{}) != (l.VLAN != nil) {
			t.Errorf("link %+v", l)
		}
		for _, name := range []string{l.Match.Name, l.Rename} {
			if name != "" && checkLinkName(name) != nil {
				t.Errorf("the name %q", name)
			}
		}
		if v := l.VLAN; v != nil && (!ids[v.Parent] || v.ID < 1 || v.ID > 4094) {
			t.Errorf("VLAN %+v", *v)
		}
		ids[l.ID] = true
		for _, p := range l.Addresses {
			if problem := addressProblem(p, l.Match.Name == "lo"); problem != "" {
				t.Error(problem)
			}
		}
	}
}

// checkRoutes wants routes that the kernel takes in their order.
func checkRoutes(t *testing.T, l *Link, keys map[routeKey]bool) {
	t.Helper()
	for i, r := range l.Routes {
		key := routeKey{r.Table, r.To, r.Metric}
		if r.Metric == 0 && r.To.Addr().Is6() {
			key.metric = DefaultMetricIPv6
		}
		if keys[key] || !r.To.IsValid() || r.To != r.To.Masked() || r.Table < 1 || r.Via.IsValid() && r.Via.Is6() != r.To.Addr().Is6() {
			t.Errorf("route %+v", r)
		}
		keys[key] = true
		reachable := !r.Via.IsValid() || r.OnLink || r.Via.Is6() && r.Via.IsLinkLocalUnicast()
		for _, p := range l.Addresses {
			reachable = reachable || p.Contains(r.Via)
		}
		for _, before := range l.Routes[:i] {
			reachable = reachable || !before.Via.IsValid() && before.Type == "" && before.To.Contains(r.Via)
		}
		if !reachable {
			t.Errorf("the gateway of %+v is not reachable when it is added", r)
		}
	}
}
