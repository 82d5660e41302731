# shellcheck shell=sh
# Sourced by the tests' scripts in the virtual machine.

# tell NAME VALUE... reports a value to the test.
tell() {
	name=$1
	shift
	echo "==$name $*"
}

# give_up ends the script and prints the output of stoker.
give_up() {
	echo "cannot go on: $*"
	stoker status
	tail -n 40 /tmp/box.log
	exit 1
}

# within SECONDS COMMAND... repeats the command until it succeeds. An emulated machine on a busy host has five times as long.
within() {
	seconds=$(($1 * 5))
	shift
	end=$(($(date_boot) + seconds * 100))
	until "$@" >/dev/null 2>&1; do
		[ "$(date_boot)" -lt "$end" ] || give_up "not within $seconds s: $*"
		usleep 20000
	done
}

# date_boot prints the time since boot in hundredths of a second, a clock that cannot be set.
date_boot() { sed 's/ .*//; s/[.]//' /proc/uptime; }

# took COMMAND... prints how long it took, in hundredths of a second.
took() {
	from=$(date_boot)
	"$@" >/dev/null
	echo $(($(date_boot) - from))
}

# cgroup PATH NAME=VALUE... creates a cgroup and sets its limits.
cgroup() {
	group=/sys/fs/cgroup/$1
	shift
	mkdir -p "$group"
	case ${group%/*} in
	/sys/fs/cgroup) ;;
	*) echo '+cpu +memory +pids' >"${group%/*}/cgroup.subtree_control" ;;
	esac
	for limit in "$@"; do
		echo "${limit#*=}" >"$group/${limit%%=*}"
	done
}

# in_cgroup PATH COMMAND... runs a command in the cgroup, as in a container.
in_cgroup() (
	echo 0 >"/sys/fs/cgroup/$1/cgroup.procs" || exit 125
	shift
	exec enter "$@"
)

# box PATH writes stdin to /tmp/stoker.yaml, starts stoker with it in the cgroup PATH, and waits
# until it answers.
box() {
	cat >/tmp/stoker.yaml
	export STOKER_SOCKET=/tmp/api.sock
	(
		echo 0 >"/sys/fs/cgroup/$1/cgroup.procs"
		exec enter stoker run --config /tmp/stoker.yaml --set api.socket=/tmp/api.sock
	) >/tmp/box.log 2>&1 </dev/null &
	# shellcheck disable=SC2034 # the tests' scripts use it
	box_pid=$!
	within 20 stoker status
}

# value SERVICE KEY prints a value of the status as JSON.
value() { stoker status -o json "$1" | sed -n "s/^ *\"$2\": *\"\{0,1\}\([^\",]*\).*/\1/p" | head -n 1; }

is() { [ "$(value "$1" state)" = "$2" ]; }

# pid_of SERVICE prints its pid outside of the box.
pid_of() { seen_outside "$(value "$1" pid)"; }

# seen_outside PID prints the pid outside of the process with this pid in the box.
seen_outside() { sed -n "/^NSpid:.*[[:space:]]$1\$/{s/^NSpid:[[:space:]]*\([0-9]*\).*/\1/p;}" /proc/[0-9]*/status 2>/dev/null | head -n 1; }

# supervisor prints the pid of the supervisor. A service has the same arguments until its exec, and a higher pid.
supervisor() { grep -l '^stoker.supervise' /proc/[0-9]*/cmdline 2>/dev/null | sed 's|/proc/\([0-9]*\)/.*|\1|' | sort -n | head -n 1; }
