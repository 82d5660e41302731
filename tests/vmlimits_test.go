//go:build container

package tests

import (
	"strings"
	"testing"
)

// On cgroup v2 every limit of the own cgroup and of the one above is noticed when it is written, also after the processes were moved to
// a leaf, and nothing runs in between. The copies in the leaf and in the cgroup of a service follow.
func TestMachineLimitsChange(t *testing.T) {
	t.Parallel()
	m := boot(t, `
cgroup outer memory.max=400M
cat >/tmp/stoker.yaml <<'EOF'
services:
  plain: {command: [sleep, "1000"]}
  small: {command: [sleep, "1001"], cgroup: {cpus: 0.5}}
EOF
export STOKER_SOCKET=/tmp/api.sock
(
	echo 0 >/sys/fs/cgroup/outer/cgroup.procs # which is the root of the cgroup namespace
	exec enter sh -c 'touch /tmp/entered; until [ -e /tmp/moved ]; do usleep 20000; done
		exec stoker run --config /tmp/stoker.yaml --set api.socket=/tmp/api.sock'
) >/tmp/box.log 2>&1 </dev/null &
box_pid=$!
within 10 test -e /tmp/entered
mkdir /sys/fs/cgroup/outer/box
# moved is repeated: a process may have been born in between.
moved() {
	for pid in $(cat /sys/fs/cgroup/outer/cgroup.procs); do
		echo "$pid" >/sys/fs/cgroup/outer/box/cgroup.procs
	done
	[ -z "$(cat /sys/fs/cgroup/outer/cgroup.procs)" ]
}
within 10 moved
cgroup outer/box memory.max=300M
touch /tmp/moved
within 20 stoker status
within 20 is plain RUNNING
within 20 is small RUNNING
sleep 4 # the watch begins two seconds after the services
stoker status small # with the reason if it has no cgroup of its own
tell own "$(sed 's/^0:://' "/proc/$(supervisor)/cgroup")"
seen() { grep -q -- "changes=\"$1\"" /tmp/box.log; }
# change TEXT FILE VALUE... writes values and reports how long it took until the log had them.
change() {
	text=$1
	shift
	from=$(date_boot)
	while [ $# -gt 0 ]; do
		echo "$2" >"/sys/fs/cgroup/outer/$1"
		shift 2
	done
	within 20 seen "$text"
	tell took "$(($(date_boot) - from))"
}
change 'memory 300 MiB -> 200 MiB' box/memory.max 200M
change 'memory.high none -> 150 MiB, processes none -> 300' box/memory.high 150M box/pids.max 300
change 'CPUs 2 -> 1, CPU quota none -> 0.7' box/cpu.max '70000 100000'
change 'memory 200 MiB -> 160 MiB' memory.max 160M
change 'CPU quota 0.7 -> 0.6' cpu.max '60000 100000'
change 'memory 160 MiB -> 250 MiB, memory.high 150 MiB -> none, CPUs 1 -> 2, CPU quota 0.6 -> 1.5, processes 300 -> none' \
	box/memory.max 250M box/memory.high max box/cpu.max '150000 100000' box/pids.max max memory.max max cpu.max max
events() { [ "$(stoker events --kind limits-changed | grep -c limits-changed)" = 6 ]; }
within 20 events # which follow the copies
tell leaf "$(cat /sys/fs/cgroup/outer/box/stoker.init/memory.max /sys/fs/cgroup/outer/box/stoker.init/cpu.max | tr '\n' ' ')"
service=$(sed 's/^0:://' "/proc/$(pid_of small)/cgroup")
tell service "$(cat "/sys/fs/cgroup$service/memory.max" "/sys/fs/cgroup$service/cpu.max" | tr '\n' ' ')"
tell limits "$(echo 0 >/sys/fs/cgroup/outer/box/stoker.init/cgroup.procs && stoker limits -o json | tr -d '\n ')"
switches() { cat "/proc/$(supervisor)"/task/*/status | awk '/ctxt_switches/ { n += $2 } END { print n }'; }
# at_rest reports whether there were few in 5 s, more than the time between two looks where files cannot be watched.
at_rest() {
	before=$(switches)
	sleep 5
	idle=$(($(switches) - before))
	[ "$idle" -lt 10 ]
}
within 20 at_rest
tell idle "$idle"
tell events "$(stoker events --kind limits-changed | grep -c limits-changed)"
kill -TERM "$box_pid"
wait "$box_pid"
`)
	m.want("own", `.*/box/stoker\.init`)
	if took := m.seconds("took"); len(took) != 6 {
		t.Errorf("%d changes were seen of 6", len(took))
	} else {
		for k, s := range took {
			if s > 5 {
				t.Errorf("change %d took %v s", k, s)
			}
		}
	}
	m.want("leaf", "262144000 150000 100000")
	m.want("service", "262144000 50000 100000")
	m.want("limits", `.*"cpu_quota_cores":1.5,.*"memory_limit_bytes":262144000,.*`)
	m.want("events", "6")
	m.want("idle", `\d`)
	t.Logf("switches in 5 idle seconds: %s; changes took %v s", strings.Join(m.values["idle"], " "), m.seconds("took"))
}
