//go:build container

package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// crowd starts small processes that together need more than 64 MiB, once a file exists. Each is far larger than the shell that starts
// them, which as a victim would end the crowd too early.
const crowd = `main: web
services:
  web: {command: [sleep, "98431"]}
  crowd:
    # While it starts services the supervisor is as likely a victim as they are: the memory is used up after that.
    command: [sh, -c, 'until [ -e %s ]; do sleep 0.05; done; i=0; while [ $i -lt 40 ]; do %s & i=$((i+1)); done; : >/tmp/all; wait']
    restart: {policy: never}
`

// If many small processes of a service use up the memory of the container, the OOM killer takes
// them and neither PID 1 nor the supervisor.
func TestSmallProcessesDieBeforeStoker(t *testing.T) {
	dir := t.TempDir()
	config := fmt.Sprintf(crowd, "/box/go", `perl -e "\$x=q(a) x 3000000; sleep 98431"`)
	if err := os.WriteFile(filepath.Join(dir, "stoker.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	c := newContainer(t, "-m", "64m", "--memory-swap", "64m", "-v", dir+":/box:ro", "-v", stoker(t)+":/usr/bin/stoker:ro",
		"--entrypoint", "/usr/bin/stoker", "stoker-base", "run", "-c", "/box/stoker.yaml")
	init, err := strconv.Atoi(c.inspect("{{.State.Pid}}"))
	if err != nil {
		t.Fatal(err)
	}
	supervisor, small := 0, 0
	await(t, 30*time.Second, "a supervisor and services", func() bool {
		supervisor, small = 0, 0
		for _, p := range childrenOf(init) {
			switch {
			case len(p.args) > 1 && p.args[1] == "supervise" && (supervisor == 0 || p.pid < supervisor):
				supervisor = p.pid // a service has the same arguments until its exec
			case len(p.args) > 0 && p.args[0] == "sh":
				small = p.pid
			}
		}
		return supervisor != 0 && small != 0
	})
	if of, above := adjustment(t, init), adjustment(t, small); of != 0 || above != 1000 {
		t.Errorf("the OOM score adjustment of PID 1 is %d, of a service %d, want 0 and 1000 in 64 MiB", of, above)
	}
	await(t, 10*time.Second, "the supervisor's own adjustment, once it has started them",
		func() bool { return adjustment(t, supervisor) == 0 })
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	group, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", init))
	if err != nil {
		t.Fatal(err)
	}
	await(t, 60*time.Second, "the kernel to kill", func() bool { return oomKills(string(group)) > 10 })
	for _, p := range childrenOf(init) {
		if len(p.args) > 1 && p.args[1] == "supervise" && p.pid == supervisor {
			supervisor = 0
		}
	}
	if supervisor != 0 || !c.alive() {
		t.Errorf("the supervisor of the beginning is there: %t, and PID 1: %t", supervisor == 0, c.alive())
	}
}

// adjustment returns the oom_score_adj of a process.
func adjustment(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
	n, err2 := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	return n
}

// oomKills returns the number of OOM kills in the cgroup named by a /proc/PID/cgroup.
func oomKills(group string) (n int) {
	for line := range strings.Lines(group) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		for _, file := range []string{"/sys/fs/cgroup/memory" + f[2] + "/memory.oom_control", "/sys/fs/cgroup" + f[2] + "/memory.events"} {
			data, err := os.ReadFile(file)
			if _, count, ok := strings.Cut(string(data), "oom_kill "); err == nil && ok {
				n, _ = strconv.Atoi(strings.Fields(count)[0])
			}
		}
	}
	return n
}

// The same with cgroup v2.
func TestMachineSmallProcessesDieBeforeStoker(t *testing.T) {
	t.Parallel()
	m := boot(t, `
cgroup box memory.max=36M memory.swap.max=0
box box <<'EOF'
`+fmt.Sprintf(crowd, "/tmp/go", `{ x=$(printf %3000000d 0); sleep 98432; }`)+`EOF
within 20 is web RUNNING
old=$(supervisor)
adjusted() { [ "$(cat /proc/"$old"/oom_score_adj)" = 0 ]; }
within 20 adjusted
tell adjusted "$(cat /proc/"$(pid_of web)"/oom_score_adj)"
: >/tmp/go
killed() { [ "$(sed -n 's/^oom_kill //p' /sys/fs/cgroup/box/memory.events)" -gt 5 ]; }
within 60 killed
tell same "$([ "$(supervisor)" = "$old" ] && kill -0 "$box_pid" && echo yes)"
`)
	m.want("adjusted", "1000")
	m.want("same", "yes")
}
