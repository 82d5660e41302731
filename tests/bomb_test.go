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

// bombs are the kinds of testdata/bomb.c.
func bombs() map[string]struct{ kind, user string } {
	return map[string]struct{ kind, user string }{
		"sessions":                {"st", ""},
		"orphans":                 {"sdt", "1000"},
		"stops itself":            {"stz", "1000"},
		"no environment, no file": {"ste", ""},
	}
}

// newBomb starts a container with a limit of 300 pids and a service that uses them up. The bomb
// waits until the API answers.
func newBomb(t *testing.T, kind, user string) (c *container, socket string, members func() int) {
	t.Helper()
	dir := t.TempDir()
	for at := dir; at != "/tmp" && at != "/"; at = filepath.Dir(at) {
		os.Chmod(at, 0o755)
	}
	if out, err := exec.Command("gcc", "-O1", "-Wall", "-static", "-o", dir+"/bomb", "testdata/bomb.c").CombinedOutput(); err != nil {
		lacking(t, fmt.Sprintf("cannot compile testdata/bomb.c: %v: %s", err, out))
	}
	if user != "" {
		user = ", user: " + user
	}
	write(t, dir+"/stoker.yaml", fmt.Sprintf(`
api: {socket: /box/api.sock}
services:
  quiet: {command: [sleep, "1000"]}
  bomb: {command: [sh, -c, "sleep 2; exec /box/bomb %s"], stop: {timeout: 1s}, restart: {policy: never}%s}
`, kind, user), 0o644)
	c = newContainer(t, "--pids-limit", "300", "--cpus", "1", "-v", dir+":/box", "-v", stoker(t)+":/usr/bin/stoker",
		"--entrypoint", "/usr/bin/stoker", "stoker-base", "run", "--config", "/box/stoker.yaml")
	init, err := strconv.Atoi(c.inspect("{{.State.Pid}}"))
	if err != nil {
		t.Fatal(err)
	}
	space, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", init))
	members = func() (n int) {
		all, _ := filepath.Glob("/proc/[0-9]*/ns/pid")
		for _, path := range all {
			if at, _ := os.Readlink(path); at != space {
				continue
			}
			stat, _ := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(path)), "stat"))
			if strings.Contains(string(stat), "(bomb) ") && !strings.Contains(string(stat), "(bomb) Z") {
				n++
			}
		}
		return n
	}
	await(t, 30*time.Second, "the bomb to go off", func() bool { return members() > 100 })
	return c, dir + "/api.sock", members
}

// Stopping a fork bomb returns and leaves no process.
func TestForkBombIsStopped(t *testing.T) {
	for name, b := range bombs() {
		t.Run(name, func(t *testing.T) {
			c, socket, members := newBomb(t, b.kind, b.user)
			cmd := exec.Command(stoker(t), "stop", "bomb")
			cmd.Env = append(os.Environ(), "STOKER_SOCKET="+socket)
			from := time.Now()
			out, err := cmd.CombinedOutput()
			if err != nil || members() > 0 {
				t.Errorf("the stop returned after %v with %v and left %d: %s", time.Since(from), err, members(), out)
			}
			t.Logf("the stop took %v", time.Since(from))
			if !c.alive() {
				t.Error("the container has ended")
			}
		})
	}
}

// TERM to PID 1 ends the container, also if the bomb kills every supervisor or hides which
// service its processes belong to.
func TestForkBombEndsWithTheContainer(t *testing.T) {
	for _, kind := range []string{"st", "sdte", "stk"} {
		t.Run(kind, func(t *testing.T) {
			c, _, _ := newBomb(t, kind, "")
			// Docker's 10 s are enough on an idle machine. Beside 300 spinning processes
			// the init may get the CPU late.
			from := time.Now()
			if out, err := exec.Command("docker", "stop", "--time", "15", c.id).CombinedOutput(); err != nil {
				t.Fatalf("cannot stop the container: %v: %s", err, out)
			}
			t.Logf("the stop took %v", time.Since(from))
			if code := c.exitCode(); code == 128+int(syscall.SIGKILL) {
				t.Error("Docker had to kill the container")
			}
		})
	}
}
