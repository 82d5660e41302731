//go:build container

package tests

import "testing"

// TestMachinePidsLimit: as TestCommandAtEveryPidsLimit and TestForkAtOnce, with cgroup v2.
func TestMachinePidsLimit(t *testing.T) {
	t.Parallel()
	m := boot(t, `
for n in 8 22 64; do
	cgroup "command$n" pids.max=$n
	in_cgroup "command$n" stoker run --set api.socket=/tmp/command.sock -- sh -c 'echo ran; exit 7' >/tmp/command.log 2>&1 </dev/null
	tell command "$? $(grep -c '^ran$' /tmp/command.log) $(grep -c newosproc /tmp/command.log)"
done
cat >/tmp/bomb.yaml <<'EOF'
services:
  bomb: {command: [sh, -c, 'while :; do sleep 1000 & done']}
EOF
for n in 22 80; do
	cgroup "bomb$n" pids.max=$n
	in_cgroup "bomb$n" stoker run --config /tmp/bomb.yaml --set api.socket=/tmp/bomb.sock >/tmp/bomb.log 2>&1 </dev/null &
	bomb=$!
	decided() { grep -q "until there is room\|can't fork" /tmp/bomb.log || ! kill -0 "$bomb" 2>/dev/null; }
	within 30 decided
	init=$(grep -l '^stoker.run' /proc/[0-9]*/cmdline 2>/dev/null | sed -n 's|/proc/\([0-9]*\)/.*|\1|p;q')
	from=$(date_boot)
	[ -z "$init" ] || kill -TERM "$init"
	wait "$bomb"
	code=$?
	tell ended "$code $(grep -c newosproc /tmp/bomb.log)"
	[ $(($(date_boot) - from)) -lt 1500 ] && tell in-time yes || tell in-time no
done
`)
	m.want("command", `(7 1 0\n){2}7 1 0`)
	m.want("ended", `\d+ 0\n\d+ 0`)
	m.want("in-time", `yes\nyes`)
}
