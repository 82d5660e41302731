//go:build container

package tests

import (
	"strconv"
	"testing"
)

// Where cgroups can be made a job has limits of its own: the kernel kills the one that exceeds its memory, and no other. Its
// processes are found by the cgroup, also after the death of the supervisor, and no cgroup is left.
func TestMachineJobLimits(t *testing.T) {
	t.Parallel()
	m := boot(t, `
cgroup box memory.max=300M memory.swap.max=0
box box <<'EOF'
main: web
services:
  web: {command: [sleep, "98431"]}
executor: {journal: /tmp/jobs, slots: 8}
EOF
within 20 is web RUNNING
web=$(pid_of web)
job() { stoker job "$@" 2>/dev/null; }
state() { job show -o json "$1" | tr -d '\n '; }
ends() { job wait --timeout 30s "$1" >/dev/null; state "$1"; }
runs() { state "$1" | grep -q '"state":"RUNNING"'; }
groups() { find /sys/fs/cgroup/box -mindepth 1 -type d -name '*job-*' | grep -c .; }

awaited='while [ ! -e /tmp/go ]; do sleep 0.5; done'
other=$(job submit --cpus 0.5 --memory-limit 64MiB -- sh -c "$awaited; exit 5")
plain=$(job submit -- sh -c "$awaited; exit 6")
within 10 runs "$other"
within 10 runs "$plain"
path=$(sed -n 's/^0:://p' "/proc/$(seen_outside "$(job show -o json "$other" | sed -n 's/^ *"pid": *\([0-9]*\).*/\1/p')")/cgroup")
tell path "$path"
tell limits "$(cat "/sys/fs/cgroup$path/memory.max" "/sys/fs/cgroup$path/cpu.max" | tr '\n' ' ')"

eater='exec dd if=/dev/zero of=/dev/null bs=90M count=1'
tell itself "$(ends "$(job submit --memory-limit 48MiB -- sh -c "$eater")")"
tell child "$(ends "$(job submit --memory-limit 48MiB -- sh -c "$eater & wait \$!")")"
later=$(job submit --memory-limit 48MiB -- sh -c "while [ ! -e /tmp/eat ]; do sleep 0.5; done; $eater")
within 10 runs "$later"
old=$(supervisor)
kill -9 "$old"
new_supervisor() { now=$(supervisor) && [ -n "$now" ] && [ "$now" != "$old" ] && is web RUNNING; }
within 20 new_supervisor
touch /tmp/eat
tell later "$(ends "$later")"

deaf='trap : TERM HUP; while :; do sleep 98433; done'
leaver=$(job submit --memory-limit 48MiB -- sh -c "(env -i setsid sh -c '$deaf' </dev/null >/dev/null 2>&1 &); sleep 0.3")
tell leaver "$(ends "$leaver")"
tell left "$(grep -l '^sleep.98433' /proc/[0-9]*/cmdline 2>/dev/null | grep -c .)"
tell both "$(runs "$other" && runs "$plain" && echo run)"
touch /tmp/go
tell other "$(ends "$other")"
tell plain "$(ends "$plain")"
tell web "$([ "$(pid_of web)" = "$web" ] && echo same)"
none() { [ "$(groups)" = 0 ]; }
within 10 none
tell groups "$(groups)"
kill -TERM "$box_pid"
wait "$box_pid"
tell exit "$?"
`)
	m.want("path", `/box/.*job-[0-9a-f]{16}.*`)
	m.want("limits", strconv.Itoa(64<<20)+" 50000 100000 ?")
	for _, name := range []string{"itself", "child", "later"} {
		m.want(name, `.*"state":"FAILED".*"oom_killed":true.*`)
	}
	m.want("leaver", `.*"state":"SUCCEEDED".*"leftovers":[1-9].*`)
	m.want("left", "0")
	m.want("both", "run")
	m.want("other", `.*"state":"FAILED".*"code":5.*`)
	m.want("plain", `.*"state":"FAILED".*"code":6.*`)
	m.want("web", "same")
	m.want("groups", "0")
	m.want("exit", "143|0")
}
