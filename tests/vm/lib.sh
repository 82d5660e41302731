# shellcheck shell=sh
# Sourced by the tests' scripts in the virtual machine.

# tell NAME VALUE... is what the test looks at.
tell() {
	name=$1
	shift
	echo "==$name $*"
}

# give_up ends the script, with what stoker said.
give_up() {
	echo "cannot go on: $*"
	stoker status
	tail -n 40 /tmp/box.log
	exit 1
}

# within SECONDS COMMAND... looks until the command succeeds.
within() {
	seconds=$1
	shift
	end=$(($(date_boot) + seconds * 100))
	until "$@" >/dev/null 2>&1; do
		[ "$(date_boot)" -lt "$end" ] || give_up "not within $seconds s: $*"
		usleep 20000
	done
}

# date_boot is the time since boot in hundredths of a second: no clock that
# anybody can set.
date_boot() { sed 's/ .*//; s/[.]//' /proc/uptime; }

# took COMMAND... prints how long it took, in hundredths of a second.
took() {
	from=$(date_boot)
	"$@" >/dev/null
	echo $(($(date_boot) - from))
}

# cgroup PATH NAME=VALUE... makes a cgroup and writes its limits.
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

# in_cgroup PATH COMMAND... runs it there, as a container does.
in_cgroup() (
	echo 0 >"/sys/fs/cgroup/$1/cgroup.procs" || exit 125
	shift
	exec enter "$@"
)

# box PATH starts stoker with /tmp/stoker.yaml, which is read from stdin, in the
# cgroup PATH, and waits until it answers.
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

# value SERVICE KEY is a value of the service's status, as JSON has it.
value() { stoker status -o json "$1" | sed -n "s/^ *\"$2\": *\"\{0,1\}\([^\",]*\).*/\1/p" | head -n 1; }

is() { [ "$(value "$1" state)" = "$2" ]; }

# pid_of SERVICE is its pid seen from outside.
pid_of() { seen_outside "$(value "$1" pid)"; }

# seen_outside PID is the outer pid of the box's process with this inner one.
seen_outside() { sed -n "/^NSpid:.*[[:space:]]$1\$/{s/^NSpid:[[:space:]]*\([0-9]*\).*/\1/p;}" /proc/[0-9]*/status 2>/dev/null | head -n 1; }

# supervisor is the pid of the present one.
supervisor() { grep -l '^stoker.supervise' /proc/[0-9]*/cmdline 2>/dev/null | sed -n 's|/proc/\([0-9]*\)/.*|\1|p;q'; }
