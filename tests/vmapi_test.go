//go:build container

package tests

import "testing"

// A service of root with its own cgroup does not get the grant admin on a kernel without
// SO_PEERPIDFD (Linux 6.1).
func TestMachineConfined(t *testing.T) {
	t.Parallel()
	m := boot(t, `
cgroup box memory.max=300M
box box <<'EOF'
services:
  victim: {command: [sleep, "1000"]}
  plain: {command: [sh, -c, 'stoker stop victim; echo "plain $?" >>/tmp/asked; exec sleep 1000'], cgroup: {own: true}}
  few:
    command: [sh, -c, 'stoker stop victim; echo "few $?" >>/tmp/asked; exec sleep 1000']
    drop_capabilities: [ALL]
    no_new_privileges: true
    cgroup: {own: true}
  left:
    command: [sh, -c, '(setsid sh -c "sleep 1; stoker stop victim; echo left \$? >>/tmp/asked" </dev/null >/dev/null 2>&1 &) ; exec sleep 1000']
    cgroup: {own: true}
EOF
all_asked() { [ "$(grep -c . /tmp/asked)" = 3 ]; }
within 40 all_asked
tell asked "$(sort /tmp/asked | tr '\n' ' ')"
tell victim "$(value victim state) $(value victim restarts)"
nsenter -t "$(seen_outside 1)" -m -p -- stoker restart victim --wait
tell entered "$?"
stoker restart victim --wait
tell outside "$?"
kill -TERM "$box_pid"
wait "$box_pid"
tell exit "$?"
`)
	m.want("asked", "few 3 left 3 plain 3")
	m.want("victim", "RUNNING 0")
	m.want("entered", "0")
	m.want("outside", "0")
	m.want("exit", "0")
}

// Services that need more descriptors than the limit leave some for the operator.
func TestMachineFewDescriptors(t *testing.T) {
	t.Parallel()
	m := boot(t, `
cgroup box memory.max=300M
ulimit -n 64
{ echo services:; for k in $(seq 40); do echo "  s$k: {command: [sleep, '1000']}"; done; } >/tmp/many
box box </tmp/many
refused() { stoker status | grep -q 'kept for operators'; }
within 20 refused
answered=0
for k in $(seq 10); do stoker status >/dev/null && answered=$((answered + 1)); done
tell answered "$answered"
stoker stop s1
tell stopped "$?"
kill -TERM "$box_pid"
wait "$box_pid"
tell exit "$?"
`)
	m.want("answered", "10")
	m.want("stopped", "0")
	m.want("exit", "0")
}
