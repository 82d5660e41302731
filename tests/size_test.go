//go:build container

package tests

import (
	"os"
	"testing"
)

// TestSize: docs/decisions/0044-size-of-the-binary.md has the budget.
func TestSize(t *testing.T) {
	const budget = 17 << 20
	info, err := os.Stat(stoker(t))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > budget {
		t.Errorf("bin/stoker has %d bytes, %d more than its budget", info.Size(), info.Size()-budget)
	}
}
