//go:build container

package tests

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The hooks of an OOM-killed service run and learn of the OOM kill.
func TestHooksOfAnOOMKill(t *testing.T) {
	t.Parallel()
	needsImage(t, "stoker-demo")
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// It waits until the hooks of its start have run: its end would supersede them.
	config := recordingHooks("/t", recordEvent) + `services:
  eater:
    command: [sh, -c, 'until grep -q ^ready /t/events; do sleep 0.05; done; exec perl -e "\$x = q(x) x (500 << 20); sleep 98431"']
    restart: {policy: never}
`
	if err := os.WriteFile(filepath.Join(dir, "stoker.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	c := newContainer(t, "--memory", "128m", "--memory-swap", "128m", "-v", dir+":/t", "stoker-demo", "--config", "/t/stoker.yaml")
	c.awaitState("eater", "EXITED", 30*time.Second)
	b := &box{t: t, dir: dir}
	b.awaitEvents(7)
	c.stop()
	b.wantEvents("init", "network-ready", "pre-start eater", "started eater", "ready eater", "exited eater signal KILL oom",
		"stopped eater signal KILL oom", "exit code 137")
	if n := len(slices.DeleteFunc(b.lines("events"), func(l string) bool { return !strings.HasPrefix(l, "exit ") })); n != 1 {
		t.Errorf("exit %d times", n)
	}
}

// A hook that was OOM-killed is reported as such.
func TestHookThatIsKilledForMemory(t *testing.T) {
	t.Parallel()
	needsImage(t, "stoker-demo")
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const config = `services: {app: {command: [sleep, "98432"]}}
hooks:
  ready:
    - {name: itself, command: [tail, /dev/zero]}
    - {name: child, command: [sh, -c, "tail /dev/zero"]}
`
	if err := os.WriteFile(filepath.Join(dir, "stoker.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	c := newContainer(t, "--memory", "64m", "--memory-swap", "64m", "-v", dir+":/t", "stoker-demo", "--config", "/t/stoker.yaml")
	var list string
	for _, want := range []string{"ready/itself: killed by the kernel's OOM killer: the memory limit was reached (",
		"ready/child: exit code 137: what it waited for was killed by the kernel's OOM killer ("} {
		await(t, 30*time.Second, want, func() bool {
			list, _ = c.exec("stoker", "hook", "list")
			return strings.Contains(list, want)
		})
	}
	c.stop()
}
