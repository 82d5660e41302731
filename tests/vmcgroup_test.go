//go:build container

package tests

import (
	"strconv"
	"strings"
	"testing"
)

func TestMachineCgroups(t *testing.T) {
	t.Parallel()
	t.Run("own", testMachineOwnCgroup)
	t.Run("read-only", testMachineReadOnlyCgroup)
}

// Services get their own cgroups in a container that may write its cgroups.
func testMachineOwnCgroup(t *testing.T) {
	m := boot(t, `
cgroup box memory.max=300M
box box <<'EOF'
services:
  small: {command: [sh, -c, 'stoker limits -o json >/tmp/small; exec sleep 1000'], cgroup: {memory: 64MiB, cpus: 0.5}}
  plain: {command: [sh, -c, 'stoker limits -o json >/tmp/plain; exec sleep 1001']}
  daemon:
    command: [sh, -c, '(setsid sh -c "sleep 98431 & sleep 98432 &" &) ; (env -i setsid sh -c "trap : TERM HUP; while :; do sleep 98433; done" </dev/null >/dev/null 2>&1 &) ; exec sleep 1002']
    cgroup: {own: true}
    stop: {timeout: 2s}
  hungry:
    command: [sh, -c, 'sleep 0.5; exec dd if=/dev/zero of=/dev/null bs=150M count=1']
    cgroup: {memory: 64MiB}
    restart: {policy: never}
EOF
within 20 is small RUNNING
within 20 is plain RUNNING
within 20 is daemon RUNNING
path_of() { sed 's/^0:://' "/proc/$(pid_of "$1")/cgroup"; }
small=$(path_of small)
tell paths "$small $(path_of plain) $(path_of daemon)"
tell memory "$(cat "/sys/fs/cgroup$small/memory.max")"
tell cpu "$(cat "/sys/fs/cgroup$small/cpu.max")"
written() { [ -s /tmp/small ] && [ -s /tmp/plain ]; }
within 10 written
tell small-sees "$(tr -d '\n ' </tmp/small)"
tell plain-sees "$(tr -d '\n ' </tmp/plain)"
daemons() { grep -l '^sleep.9843[123]' /proc/[0-9]*/cmdline 2>/dev/null | grep -c .; }
all_daemons() { [ "$(daemons)" -ge 3 ]; }
within 10 all_daemons
tell daemon-stop "$(took stoker stop daemon)"
tell daemons-left "$(daemons)"
within 20 is hungry EXITED
explained() { stoker incidents | grep -q hungry; }
within 20 explained
tell incidents "$(stoker incidents 2>&1 | tr '\n' ' ')"
stoker start daemon
within 10 all_daemons
old=$(supervisor)
kill -9 "$old"
new_supervisor() { now=$(supervisor) && [ -n "$now" ] && [ "$now" != "$old" ] && is daemon RUNNING; }
within 20 new_supervisor
tell daemon-stop-later "$(took stoker stop daemon)"
tell daemons-left-later "$(daemons)"
kill -TERM "$box_pid"
wait "$box_pid"
tell exit "$?"
tell cgroups-left "$(find /sys/fs/cgroup/box -mindepth 1 -type d -exec cat '{}/cgroup.procs' ';' | grep -c .)"
`)
	paths := strings.Fields(strings.Join(m.values["paths"], " "))
	if len(paths) != 3 || paths[0] == paths[1] || paths[0] == paths[2] || paths[1] == paths[2] || !strings.HasPrefix(paths[0], "/box/") {
		t.Errorf("the cgroups are %q, want three different ones below /box", paths)
	}
	m.want("memory", strconv.Itoa(64<<20))
	m.want("cpu", "50000 100000")
	m.want("small-sees", `.*"cpu_quota_cores":0.5,.*"memory_limit_bytes":67108864,.*`)
	m.want("plain-sees", `.*"cpu_quota_cores":null,.*"memory_limit_bytes":314572800,.*`)
	m.below("daemon-stop", 7) // of 2 s; the default is 8 s
	m.want("daemons-left", "0")
	m.want("incidents", `.*cgroup-oom-kill.*`)
	m.below("daemon-stop-later", 7)
	m.want("daemons-left-later", "0")
	m.want("exit", "0")
	m.want("cgroups-left", "0")
}

// If the cgroups are read-only, the service runs without one and the status says so.
func testMachineReadOnlyCgroup(t *testing.T) {
	m := boot(t, `
cgroup box memory.max=300M
export READ_ONLY=1
box box <<'EOF'
services:
  small: {command: [sleep, "1000"], cgroup: {memory: 64MiB}}
EOF
within 20 is small RUNNING
tell path "$(cat "/proc/$(pid_of small)/cgroup")"
tell status "$(stoker status small | tr '\n' ' '; stoker status -o json small | tr '\n' ' ')"
kill -TERM "$box_pid"
wait "$box_pid"
tell exit "$?"
`)
	m.want("path", "0::/box")
	m.want("status", "(?i).*cgroup.*")
	m.want("exit", "0")
}
