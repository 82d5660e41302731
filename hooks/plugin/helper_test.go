package plugin

import (
	"slices"
	"testing"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lifecycle"
)

// same compares two lists.
func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// byEvent makes lists of hooks.
func byEvent(lists map[lifecycle.Event][]hooks.Hook) (out hooks.ByEvent) {
	for e, list := range lists {
		out.Lists[e.Index()] = list
	}
	return out
}
