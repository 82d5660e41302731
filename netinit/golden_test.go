package netinit

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// TestPlans compares the plans of the descriptions in testdata with JSON files beside them. The folder is the format, and it is detected
// too; a description without one has the answer in a file ending in .err.
func TestPlans(t *testing.T) {
	for _, f := range formats {
		paths, err := filepath.Glob(filepath.Join("testdata", string(f.name), "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			t.Run(path, func(t *testing.T) { testPlan(t, f.name, path) })
		}
	}
}

func testPlan(t *testing.T, format Format, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if detected, err := Detect(path, data); err != nil || detected != format {
		t.Errorf("detected: %q, %v", detected, err)
	}
	plan, err := Parse(format, filepath.Base(path), data)
	base := strings.TrimSuffix(path, filepath.Ext(path))
	if err != nil {
		golden(t, base+".err", []byte(err.Error()+"\n"))
		return
	}
	text, err := json.MarshalIndent(plan, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, base+".json", append(text, '\n'))
	checkPlan(t, plan)
}

// golden compares a text with a file.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s differs (%v); go test ./netinit -update writes it:\n%s", path, err, got)
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
			key.metric = defaultMetricIPv6
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
