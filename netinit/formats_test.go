package netinit

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestFixtures converts testdata/FORMAT/NAME.json or .yaml to the plan in NAME.plan.json. Every fixture is also detected.
func TestFixtures(t *testing.T) {
	for _, format := range []Format{OpenStack, Neutron, Netplan, CNI} {
		files, err := filepath.Glob(filepath.Join("testdata", string(format), "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			name, isPlan := strings.CutSuffix(file, ".plan.json")
			if isPlan {
				continue
			}
			name = strings.TrimSuffix(name, filepath.Ext(name))
			t.Run(strings.TrimPrefix(name, "testdata/"), func(t *testing.T) { checkFixture(t, format, file, name+".plan.json") })
		}
	}
}

func checkFixture(t *testing.T, format Format, file, golden string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Detect(filepath.Base(file), data); got != format {
		t.Errorf("detected as %q (%v)", got, err)
	}
	plan, err := Parse(format, filepath.Base(file), data)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(plan, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// FuzzFormats converts any text as each of the formats: there is a plan or an error, and a plan keeps what package kernel relies on.
func FuzzFormats(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, format := range []Format{OpenStack, Neutron, Netplan, CNI} {
			plan, err := Parse(format, "fuzz", data)
			if (plan == nil) == (err == nil) {
				t.Fatalf("%s: the plan %v and the error %v", format, plan, err)
			}
			if plan != nil {
				checkInvariants(t, plan)
			}
		}
	})
}

func checkInvariants(t *testing.T, plan *Plan) {
	t.Helper()
	before := map[string]bool{}
	for _, l := range plan.Links {
		if before[l.ID] || l.ID == "" || l.VLAN != nil && !before[l.VLAN.Parent] || (l.VLAN == nil) == (l.Match == Match{}) {
			t.Fatalf("the link %+v after %v", l, before)
		}
		before[l.ID] = true
		for _, a := range l.Addresses {
			if !a.IsValid() || a.Addr().Zone() != "" || a.Addr().IsMulticast() || a.Addr().IsUnspecified() {
				t.Fatalf("the address %v", a)
			}
		}
		for _, r := range l.Routes {
			if r.To != r.To.Masked() || !r.To.IsValid() || r.Table == 0 || r.Via.IsValid() && r.Via.Is6() != r.To.Addr().Is6() {
				t.Fatalf("the route %+v", r)
			}
		}
	}
	for _, word := range append(plan.DNS.Search, plan.DNS.Options...) {
		if word == "" || strings.ContainsAny(word, " \t\r\n") {
			t.Fatalf("the word %q in resolv.conf", word)
		}
	}
	for _, s := range plan.DNS.Servers {
		if !s.IsValid() || strings.ContainsAny(s.String(), " \t\r\n") {
			t.Fatalf("the server %q", s)
		}
	}
}
