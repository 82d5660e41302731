package netinit

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzParse wants no format to panic or to take long, and plans that hold what every plan has. The formats share the seeds.
func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob("testdata/*/*")
	if err != nil || len(paths) == 0 {
		f.Fatal(paths, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, tc := range refusals {
		f.Add([]byte(tc.input))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, format := range append([]Format{Auto}, formatList()...) {
			begin := time.Now()
			plan, err := Parse(format, "input", data)
			if (plan == nil) == (err == nil) {
				t.Fatalf("%s: plan %v, error %v", format, plan, err)
			}
			if plan != nil {
				checkPlan(t, plan)
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("%s takes %s for %d bytes", format, took, len(data))
			}
		}
	})
}

func formatList() (out []Format) {
	for _, f := range formats {
		out = append(out, f.name)
	}
	return out
}
