package tzdata

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestLoad(t *testing.T) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	zones, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "lib/time/zoneinfo.zip"))
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(zones)
	_ = z.Close()
	for _, name := range []string{"Europe/Berlin", "America/Argentina/Buenos_Aires", "UTC"} {
		data, err := load(packed.Bytes(), name)
		if err != nil {
			t.Errorf("load(%q): %v", name, err)
		} else if _, err := time.LoadLocationFromTZData(name, []byte(data)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"Europe/Atlantis", "", "../zone", "Europe"} {
		if _, err := load(packed.Bytes(), name); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("load(%q): %v, want ENOENT", name, err)
		}
	}
	if _, err := load(packed.Bytes()[:packed.Len()/2], "UTC"); err == nil {
		t.Error("a truncated file has a zone")
	}
}
