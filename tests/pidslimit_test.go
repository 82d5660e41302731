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

// TestPidsLimit: a service uses up the pids of the container and the supervisor is killed. PID 1 can
// start neither a process nor a thread. It must live on and stop everything on TERM.
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

// pidsLimits returns the limits to test; STOKER_PIDS=1 tests all of them.
func pidsLimits(t *testing.T) []int {
	if number(t, "STOKER_PIDS", 2) > 1 {
		return []int{6, 9, 12, 16, 20, 24, 27, 30, 34, 64}
	}
	var all []int
	for n := 6; n <= 64; n++ {
		all = append(all, n)
	}
	return all
}

// limited runs stoker in a container with a pids limit.
func limited(t *testing.T, config string, args ...string) *container {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "stoker.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return newContainer(t, append([]string{"-v", dir + ":/etc/stoker:ro", "-v", stoker(t) + ":/usr/local/bin/stoker:ro"}, args...)...)
}

func (c *container) logs() string {
	out, _ := exec.Command("docker", "logs", c.id).CombinedOutput()
	return string(out)
}

// forksAtOnce is a service that uses up the pids, logs it and goes on.
const forksAtOnce = `services: {bomb: {command: [perl, -e, '$|=1; my $said; for(;;){my $p=fork(); if(defined $p && $p==0){sleep 1000;exit} ` +
	`if(!defined $p){print "full\n" if !$said++; select(undef,undef,undef,.01)}}']}}`

// TestCommandAtEveryPidsLimit: a command runs with every limit under which a Go program can start.
func TestCommandAtEveryPidsLimit(t *testing.T) {
	for _, limit := range pidsLimits(t) {
		t.Run(strconv.Itoa(limit), func(t *testing.T) {
			t.Parallel()
			c := limited(t, "", "--pids-limit", strconv.Itoa(limit), "stoker-demo", "--", "sh", "-c", "echo ran; exit 7")
			await(t, 30*time.Second, "the end", func() bool { return !c.alive() })
			c.saysOnce(7)
		})
	}
	t.Run("nproc", func(t *testing.T) {
		c := limited(t, "", "--user", "54321", "--ulimit", "nproc=16", "stoker-demo", "--", "sh", "-c", "echo ran; exit 7")
		await(t, 30*time.Second, "the end", func() bool { return !c.alive() })
		c.saysOnce(7)
	})
}

// saysOnce checks that the command ran once and that stoker printed at most one line.
func (c *container) saysOnce(code int) {
	c.t.Helper()
	logs := c.logs()
	if got := c.exitCode(); got != code || strings.Count(logs, "ran\n") != 1 {
		c.t.Errorf("exit code %d, want %d; the command ran %d times", got, code, strings.Count(logs, "ran\n"))
	}
	if lines := strings.Count(logs, "\n"); lines > 2 {
		c.t.Errorf("%d lines are said of it:\n%s", lines-1, logs)
	}
}

// TestServiceAtEveryPidsLimit: if the supervisor cannot start, the init says so once and waits; if
// not even the init can, it exits. PID 1 never exits with the Go runtime's code 2.
func TestServiceAtEveryPidsLimit(t *testing.T) {
	for name, config := range map[string]string{"sleep": "services: {quiet: {command: [sleep, \"1000\"]}}", "forks": forksAtOnce} {
		for _, limit := range pidsLimits(t) {
			t.Run(fmt.Sprintf("%s%d", name, limit), func(t *testing.T) {
				t.Parallel()
				c := limited(t, config, "--pids-limit", strconv.Itoa(limit), "stoker-demo")
				c.endsWell(map[string]string{"sleep": "service is ready", "forks": "full"}[name])
			})
		}
	}
}

// endsWell waits for a word in the output, or for the message of the init, and stops the container.
func (c *container) endsWell(word string) {
	c.t.Helper()
	await(c.t, 30*time.Second, word, func() bool {
		logs := c.logs()
		return strings.Contains(logs, word) || strings.Contains(logs, "trying again until there is room") || !c.alive()
	})
	if !c.alive() {
		if code := c.exitCode(); code != 70 {
			c.t.Errorf("it ended by itself with %d, want 70", code)
		}
		return
	}
	if took := c.stop(); took > 9500*time.Millisecond {
		c.t.Errorf("the stop took %v", took)
	}
	if code := c.exitCode(); code == 2 || code == 137 && !strings.Contains(c.logs(), "budget") {
		c.t.Errorf("exit code %d", code)
	}
	if logs := c.logs(); strings.Contains(logs, "newosproc") || strings.Count(logs, "until there is room") > 1 {
		c.t.Errorf("it says:\n%s", lastOf(logs, 2000))
	}
	c.t.Logf("exit code %d", c.exitCode())
}

// TestForkAtOnce: a service uses up the pids as soon as it starts. No supervisor dies of it, also
// under the limit of a pod, which is not visible in its containers.
func TestForkAtOnce(t *testing.T) {
	for _, hidden := range []bool{false, true} {
		for _, limit := range []string{"60", "100", "512"} {
			t.Run(fmt.Sprintf("%s hidden %t", limit, hidden), func(t *testing.T) {
				t.Parallel() // to each other only
				args := []string{"--pids-limit", limit, "stoker-demo"}
				if hidden {
					args = append([]string{"-v", t.TempDir() + ":/sys/fs/cgroup"}, args...)
				}
				for range 3 {
					c := limited(t, forksAtOnce, args...)
					await(t, 30*time.Second, "full", func() bool { return strings.Contains(c.logs(), "full") || !c.alive() })
					c.endsWell("full")
					if strings.Contains(c.logs(), "starting it again") {
						t.Fatalf("the supervisor died:\n%s", lastOf(c.logs(), 2000))
					}
				}
			})
		}
	}
}
