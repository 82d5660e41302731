//go:build container

package tests

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestCommandWithLittle: a command runs as under tini where descriptors are few, or
// where there is no /proc; what is missing is said once.
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
		"descriptors 16": {"ulimit -n 16; ", true},
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
				if alone := strings.Contains(string(out), "without a supervisor"); alone != test.init || strings.Count(string(out), "\n") > 4 {
					t.Errorf("it says %s", out)
				}
			}
		})
	}
}

// TestManyServicesFewDescriptors: services stop short of what the API needs.
func TestManyServicesFewDescriptors(t *testing.T) {
	var config strings.Builder
	config.WriteString("services:\n")
	for n := range 200 {
		config.WriteString("  s" + strconv.Itoa(n) + `: {command: [sleep, "1000"]}` + "\n")
	}
	b := newBox(t, boxOptions{config: config.String(), descriptors: 400})
	var st status
	await(t, 60*time.Second, "an answer of the API", func() bool {
		var ok bool
		st, ok = b.status()
		return ok
	})
	await(t, 60*time.Second, "a service that says why it does not run", func() bool {
		out, err := b.run("status", "s199")
		return err == nil && strings.Contains(out, "kept for the API")
	})
	running := 0
	st, _ = b.status()
	for _, svc := range st.Services {
		if svc.State == "RUNNING" {
			running++
		}
	}
	if running < 20 || running == 200 {
		t.Errorf("%d of 200 services run", running)
	}
}
