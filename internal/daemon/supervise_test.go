package daemon

import (
	"strings"
	"testing"
)

func TestCommandName(t *testing.T) {
	for argv, want := range map[string]string{"/bin/sh": "sh", "java": "java", "./Run.sh": "un.sh", "/opt/-x": "x", "/opt/你好": "command",
		"/": "command", "a_b.c-d": "a_b.c-d", strings.Repeat("a", 100): strings.Repeat("a", 64)} {
		if got := commandName([]string{argv}); got != want {
			t.Errorf("%q: %q, want %q", argv, got, want)
		}
	}
}
