package main

import (
	"testing"

	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/jvm"
)

// TestCheckedFits: at a terminal no word of a problem is cut.
func TestCheckedFits(t *testing.T) {
	message := `cannot use "-XX:+Nope" (user layer, jvm.options:6): the JVM at hand has no such flag`
	checked := []checkedFile{{"jvm.options", nil, []jvm.Problem{{Code: jvm.UnknownOption, Message: message}}}}
	for width, want := range map[int]string{
		0:  "error    unknown-option: cannot use \"-XX:+Nope\" (user layer, jvm.options:6): the JVM at hand has no such flag\n",
		80: "error    unknown-option: cannot use \"-XX:+Nope\" (user layer, jvm.options:6):\n  the JVM at hand has no such flag\n",
	} {
		if got := layout.Wrap(checkedText(checked), width, "  "); got != want {
			t.Errorf("%d: %q, want %q", width, got, want)
		}
	}
}
