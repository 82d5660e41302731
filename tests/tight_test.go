//go:build container

package tests

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestCommandWithLittle: with few descriptors or without /proc a command runs as under tini, and one
// message says what is missing.
func TestCommandWithLittle(t *testing.T) {
	needsNamespaces(t)
	const without = "umount -l /proc; mount -t tmpfs none /proc; "
	tests := map[string]struct {
		before string
		init   bool // the supervisor cannot do it
	}{
		"no proc":        {without, true},
		"hidepid":        {"mount -o remount,hidepid=2 /proc; ", false},
		"hidepid, app":   {"mount -o remount,hidepid=2 /proc; exec setpriv --reuid 54321 --regid 54321 --clear-groups ", false},
		"descriptors 8":  {"ulimit -n 8; ", true},
		"descriptors 4":  {"ulimit -n 4; ", true},
		"descriptors 16": {"ulimit -n 16; ", false},
		"descriptors 64": {"ulimit -n 64; ", false},
		"no proc and 16": {"ulimit -n 16; " + without, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 5 {
				if !strings.Contains(test.before, "exec ") {
					test.before += "exec "
				}
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				cmd := exec.CommandContext(ctx, "unshare", "-pfm", "--mount-proc", "--kill-child", "sh", "-c",
					test.before+stoker(t)+` run --set api.socket=`+t.TempDir()+`/s -- sh -c "(exit 3) & echo ran; exit 7"`)
				out, err := cmd.CombinedOutput()
				cancel()
				if code := exitCode(err); code != 7 || strings.Count(string(out), "ran\n") != 1 {
					t.Fatalf("exit code %d, want 7: %s", code, out)
				}
				if alone := strings.Contains(string(out), "cannot start the supervisor"); alone != test.init || test.init &&
					strings.Count(string(out), "\n") > 2 {
					t.Errorf("it says %s", out)
				}
			}
		})
	}
}
