//go:build container

package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPidsLimit: a service uses up the container's pids, and the supervisor is
// killed. PID 1 can start nothing then, not even a thread: it must live on, and
// stop everything by itself when it is asked to.
func TestPidsLimit(t *testing.T) {
	dir := t.TempDir()
	config := "services:\n  quiet: {command: [sleep, \"1000\"]}\n  bomb: {command: [perl, -e, '" +
		`sleep 1; open(F, ">/box/full"); for(;;){my $p=fork(); if(defined $p && $p==0){sleep 1000;exit} if(!defined $p){print F "x"; close F; select(undef,undef,undef,.01)}}` + "']}\n"
	if err := os.WriteFile(filepath.Join(dir, "stoker.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	c := newContainer(t, "--pids-limit", "60", "-v", dir+":/box", "stoker-demo", "--config", "/box/stoker.yaml")
	await(t, 20*time.Second, "the pids to be used up", func() bool {
		info, err := os.Stat(filepath.Join(dir, "full"))
		return err == nil && info.Size() > 0
	})
	init, err := strconv.Atoi(c.inspect("{{.State.Pid}}"))
	if err != nil {
		t.Fatal(err)
	}
	killed := false
	for _, p := range childrenOf(init) {
		if cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid)); strings.HasPrefix(string(cmdline), "stoker\x00supervise") {
			killed = syscall.Kill(p.pid, syscall.SIGKILL) == nil
		}
	}
	if !killed {
		t.Fatal("there is no supervisor to kill")
	}
	syscall.Kill(init, syscall.SIGUSR1)
	await(t, 20*time.Second, "PID 1 to fail at a start", func() bool {
		out, _ := exec.Command("docker", "logs", c.id).CombinedOutput()
		return strings.Contains(string(out), "cannot start the supervisor") || !c.alive()
	})
	if !c.alive() {
		t.Fatalf("PID 1 has ended with %d", c.exitCode())
	}
	if took := c.stop(); took > 9*time.Second {
		t.Errorf("the stop took %v", took)
	}
	if code := c.exitCode(); code != 70 {
		t.Errorf("exit code %d, want 70: stopped by the init alone", code)
	}
}
