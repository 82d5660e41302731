//go:build container

package tests

import (
	"strings"
	"testing"
)

// The machines run one after the other, parallel to other tests.
func TestMachine(t *testing.T) {
	t.Parallel()
	t.Run("limits", testMachineLimits)
	t.Run("life", testMachineLife)
	t.Run("clock", testMachineClock)
	t.Run("first process", testMachineFirstProcess)
}

// The limits of a cgroup v2 and of those above it.
func testMachineLimits(t *testing.T) {
	m := boot(t, `
limits() { stoker limits -o json | tr -d '\n '; }
within_it() { in_cgroup "$1" stoker limits -o json | tr -d '\n '; }
cgroup own memory.max=200M 'cpu.max=150000 100000'
cgroup above memory.max=100M 'cpu.max=50000 100000'
cgroup above/below memory.max=max 'cpu.max=120000 100000'
cgroup none
tell own "$(within_it own)"
tell hidden "$(within_it above/below)"
tell none "$(within_it none)"
# Without a cgroup namespace of its own.
echo 0 >/sys/fs/cgroup/above/below/cgroup.procs
tell above "$(limits)"
`)
	has := func(cpus, memory, cpusBy, memoryBy string) string {
		return `\{"cgroup_version":2,"cpu_quota_cores":` + cpus + `,.*"memory_limit_bytes":` + memory + `,.*"sources":\{.*` +
			cpusBy + `.*` + memoryBy + `.*"warnings":\[\]\}`
	}
	m.want("own", has("1.5", "209715200", `"cpu_quota_cores":"/sys/fs/cgroup/cpu.max"`, `"memory_limit_bytes":"/sys/fs/cgroup/memory.max"`))
	// The root of its namespace is above/below, so the limits above are not visible.
	m.want("hidden", has("1.2", "null", `"cpu_quota_cores":"/sys/fs/cgroup/cpu.max"`, ""))
	m.want("none", has("null", "null", "", ""))
	m.want("above", has("0.5", "104857600", `"cpu_quota_cores":"/sys/fs/cgroup/above/cpu.max"`,
		`"memory_limit_bytes":"/sys/fs/cgroup/above/memory.max"`))
}

// As PID 1 of a PID namespace in a limited cgroup: services run, stop, survive kill -9 of the
// supervisor, and recover after no process could be created.
func testMachineLife(t *testing.T) {
	m := boot(t, `
cgroup box memory.max=300M 'cpu.max=150000 100000' pids.max=200
box box <<'EOF'
stop: {timeout: 5s}
services:
  web: {command: [sh, -c, 'echo started >>/tmp/web; exec sleep 1000'], restart: {backoff: {first: 100ms, factor: 1, max: 100ms}, limit: {starts: 100000}}}
  deaf: {command: [sh, -c, 'trap "" TERM; while :; do sleep 0.1; done'], stop: {timeout: 1s}}
EOF
within 10 is web RUNNING
within 10 is deaf RUNNING
web=$(pid_of web)
old=$(supervisor)
kill -9 "$old"
new_supervisor() { now=$(supervisor) && [ -n "$now" ] && [ "$now" != "$old" ] && is web RUNNING; }
within 20 new_supervisor
[ "$(pid_of web)" = "$web" ] && tell survived yes || tell survived no
tell starts "$(grep -c . /tmp/web)"
tell deaf "$(took stoker stop deaf)"
tell deaf-state "$(value deaf state)"

# No process can be made for a while.
pids=$(cat /sys/fs/cgroup/box/pids.current)
echo $((pids - 1)) >/sys/fs/cgroup/box/pids.max
kill -9 "$web"
within 10 grep -q 'cannot start\|resource temporarily' /tmp/box.log
usleep 500000
tell refused "$(value web state)"
echo 200 >/sys/fs/cgroup/box/pids.max
within 20 is web RUNNING
tell recovered "$(grep -c . /tmp/web)"

kill -TERM "$box_pid"
from=$(date_boot)
wait "$box_pid"
tell exit "$?"
tell stop "$(($(date_boot) - from))"
tell left "$(cat /sys/fs/cgroup/box/cgroup.procs | grep -c .)"
`)
	m.want("survived", "yes")
	m.want("starts", "1")
	m.want("deaf-state", "STOPPED")
	if s := m.seconds("deaf"); len(s) != 1 || s[0] < 0.9 || s[0] > 7 { // the default is 8 s
		t.Errorf("the stop of a service that ignores TERM took %v s, want its 1 s", s)
	}
	m.want("refused", "BACKOFF|STARTING|FATAL")
	m.want("recovered", "2")
	m.want("exit", "0")
	m.below("stop", 6)
	m.want("left", "0")
}

// The wall clock is set an hour back and forth, once also before a kill of the supervisor: no delay
// becomes longer or shorter.
func testMachineClock(t *testing.T) {
	m := boot(t, `
cgroup box
box box <<'EOF'
services:
  failing:
    command: [sh, -c, 'sed "s/ .*//; s/[.]//" /proc/uptime >>/tmp/starts; exit 1']
    restart: {backoff: {first: 150ms, factor: 2, max: 1200ms, jitter: 0}, limit: {starts: 100000}}
  deaf: {command: [sh, -c, 'trap "" TERM; while :; do sleep 0.1; done'], stop: {timeout: 2s}}
EOF
starts() { [ "$(grep -c . /tmp/starts)" -ge "$1" ]; }
moved() { date -s "@$(($(date +%s) + $1))" >/dev/null; }
within 20 starts 5
usleep 300000
moved 3600
within 20 starts 6
usleep 300000
moved -7200
within 20 starts 7
usleep 300000
moved 3600
kill -9 "$(supervisor)"
moved 3600
within 20 starts 8
usleep 300000
kill -9 "$(supervisor)"
moved -3600
within 20 starts 9
tell starts "$(tr '\n' ' ' </tmp/starts)"
from=$(date_boot)
stoker stop deaf &
usleep 300000
moved 3600
wait $!
tell forward "$(($(date_boot) - from))"
stoker start deaf
from=$(date_boot)
stoker stop deaf &
usleep 300000
moved -3600
wait $!
tell back "$(($(date_boot) - from))"
from=$(date_boot)
kill -TERM "$box_pid"
moved -3600
wait "$box_pid"
tell end "$(($(date_boot) - from))"
`)
	starts, gaps := m.seconds("starts"), []float64{}
	for k := 1; k < len(starts); k++ {
		gaps = append(gaps, starts[k]-starts[k-1])
	}
	wants := []float64{0.15, 0.3, 0.6, 1.2, 1.2, 1.2, 1.2, 1.2}
	if len(gaps) < len(wants) {
		t.Fatalf("only %d starts", len(starts))
	}
	for k, want := range wants { // slow by emulation, but never too early and no hour late
		if gaps[k] < want-0.03 || gaps[k] > want+60 {
			t.Errorf("the gaps between starts are %.2f s, want %.2f", gaps, wants)
			break
		}
	}
	t.Logf("gaps %.2f", gaps)
	for _, name := range []string{"forward", "back"} {
		if s := m.seconds(name); len(s) != 1 || s[0] < 1.9 || s[0] > 60 {
			t.Errorf("a stop with 2 s, during which the clock was set %s, took %v s", name, s)
		}
	}
	m.below("end", 60)
}

// As PID 1 of the machine: its end makes the kernel panic with its exit code.
func testMachineFirstProcess(t *testing.T) {
	m := boot(t, `
cat >/tmp/stoker.yaml <<'EOF'
services:
  web: {command: [sh, -c, 'trap "echo ==web stopped; exit 0" TERM; while :; do sleep 0.05; done']}
  test: {command: [sh, /tmp/inner.sh], restart: {policy: never}}
EOF
cat >/tmp/inner.sh <<'EOF'
set -u
. /lib.sh
within 20 is web RUNNING
web=$(value web pid)
old=$(supervisor)
kill -9 "$old"
new_supervisor() { now=$(supervisor) && [ -n "$now" ] && [ "$now" != "$old" ] && is web RUNNING; }
within 20 new_supervisor
[ "$(value web pid)" = "$web" ] && tell survived yes || tell survived no
(sh -c 'sleep 0.1 & sleep 0.1 &' &)
orphans_gone() { ! grep -l '^State:.*Z' /proc/[0-9]*/status; }
within 10 orphans_gone
tell code 0
kill -TERM 1
EOF
exec stoker run --config /tmp/stoker.yaml
`)
	m.want("survived", "yes")
	m.want("web", "stopped")
	if !strings.Contains(m.console, "Attempted to kill init! exitcode=0x00000000") {
		t.Error("the kernel does not tell that PID 1 has ended with code 0")
	}
}
