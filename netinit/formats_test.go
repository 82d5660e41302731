package netinit

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

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
	checkPlan(t, plan)
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

// TestManyProblems wants the report of a large document with an error in each value in seconds: hints must not compare all with all.
func TestManyProblems(t *testing.T) {
	many := func(format string) string {
		var b strings.Builder
		for i := range 3000 {
			fmt.Fprintf(&b, format, i)
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	links := many(`{"id": "a%d", "name": "l", "type": "phy"},`)
	for _, text := range []string{
		`{"links": [` + links + `], "networks": [` + many(`{"link": "x%d"},`) + `]}`,
		`{"ethernets": {` + many(`"a%[1]d": {"adresses": []},`) + `}, "vlans": {` + many(`"b%[1]d": {"link": "x%[1]d"},`) + `}}`,
		`{"ports": [{` + many(`"k%d": [],`) + `}]}`,
		`{"cniVersion": "1.1.0", ` + many(`"k%d": {},`) + `}`,
	} {
		begin := time.Now()
		if _, err := Parse(Auto, "net", []byte(text)); err == nil {
			t.Errorf("%.40s: no error", text)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%.40s: %s", text, took)
		}
	}
}
