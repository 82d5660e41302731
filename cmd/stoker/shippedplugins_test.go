package main

import (
	"bytes"
	"path/filepath"
	"testing"
)

// The plugins of this repository have nothing wrong with them.
func TestShippedPlugins(t *testing.T) {
	dirs, err := filepath.Glob("../../plugins/*")
	if err != nil || len(dirs) < 3 {
		t.Fatalf("%q, %v", dirs, err)
	}
	for _, dir := range dirs {
		var out bytes.Buffer
		if err := pluginValidate(&out, []string{filepath.Clean(dir)}); err != nil {
			t.Errorf("%s: %v: %s", dir, err, &out)
		}
	}
}
