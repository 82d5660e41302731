#!/bin/sh
# demo.sh runs a Tomcat under stoker in a Docker container with 1.5 CPUs and 1 GiB or, without
# Docker, in a new PID namespace. It removes everything it has started, also on ^C.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
	step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
else
	step() { printf '\n== %s\n' "$*"; }
fi
shown() { printf '$ %s\n' "$*"; }
milliseconds() { echo $(($(date +%s%N) / 1000000)); }
seconds_since() { ms=$(($(milliseconds) - $1)) && printf '%d.%02d s' $((ms / 1000)) $((ms % 1000 / 10)); }

work=$(mktemp -d)
container=
outer=
load=
cleanup() {
	trap - EXIT INT TERM
	[ -z "$load" ] || kill "$load" 2>/dev/null || true
	[ -z "$container" ] || docker rm -f "$container" >/dev/null 2>&1 || true
	[ -z "$outer" ] || kill -KILL "$outer" 2>/dev/null || true
	docker_stop
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A box is the container or namespace in which stoker is PID 1. Each kind defines box_start,
# box_run (run a command in it), box_stop and the URL of the application in $url.

docker_box() {
	box_start() {
		scripts/image.sh
		shown docker run --cpus 1.5 --memory 1g stoker-demo
		container=$(docker run -d --cpus 1.5 --memory 1g -p 127.0.0.1::8080 stoker-demo)
		url="http://$(docker port "$container" 8080/tcp | head -n 1)/app"
	}
	box_run() { docker exec "$container" "$@"; }
	box_alive() { [ "$(docker inspect -f '{{.State.Running}}' "$container")" = true ]; }
	box_log() { docker logs "$container" 2>&1; }
	box_stop() {
		shown docker stop
		docker stop "$container" >/dev/null
		code=$(docker inspect -f '{{.State.ExitCode}}' "$container")
	}
}

namespace_box() {
	need curl unshare=util-linux "java=$(jre_package)" "tomcat$(tomcat_version)-common" \
		"libtomcat$(tomcat_version)-java" "tomcat$(tomcat_version)-user"
	box_start() {
		home=/usr/share/tomcat$(tomcat_version)
		scripts/base.sh "$home" "$work/base"
		cp -r testdata/webapp "$work/base/webapps/app"
		cp testdata/images/demo/jvm.options "$work/base/conf/jvm.options"
		# The configuration of the demo with paths and a port of this machine.
		port=18080
		sed -i "s/port=\"8080\"/port=\"$port\"/" "$work/base/conf/server.xml"
		sed -e "s|base: /srv/app|home: $home, base: $work/base|" -e "s|/srv/app|$work/base|" \
			-e "s/:8080/:$port/" -e '/user: app/d' testdata/images/demo/stoker.yaml >"$work/stoker.yaml"
		echo "api: {socket: $work/api.sock}" >>"$work/stoker.yaml"
		export STOKER_SOCKET="$work/api.sock"
		url=http://127.0.0.1:$port/app
		cp bin/stoker "$work/stoker"
		shown unshare -pf --mount-proc stoker run --config stoker.yaml
		unshare -pf --mount-proc --kill-child "$work/stoker" run --config "$work/stoker.yaml" >"$work/log" 2>&1 &
		outer=$!
		waited=0
		until first=$(cat "/proc/$outer/task/$outer/children" 2>/dev/null) && [ -n "$first" ]; do
			[ "$waited" -lt 50 ] || die "cannot start stoker in a PID namespace: $(cat "$work/log")"
			waited=$((waited + 1))
			sleep 0.1
		done
		first=${first%% *}
	}
	box_run() { nsenter -t "$first" -p -m env PATH="$work:$PATH" "$@"; }
	box_alive() { kill -0 "$first" 2>/dev/null; }
	box_log() { cat "$work/log"; }
	box_stop() {
		shown kill -TERM "'PID 1'"
		kill -TERM "$first"
		code=0
		wait "$outer" || code=$?
		outer=
	}
}

# await WHAT COMMAND... repeats the command until it succeeds and shows the time it takes. The
# command sets $hopeless if waiting is of no use.
await() {
	what=$1
	shift
	from=$(milliseconds)
	until "$@"; do
		if [ -n "${hopeless:-}" ]; then
			box_log | tail -n 5 >&2
			die "cannot ask stoker in $box: $hopeless"
		fi
		if ! box_alive || [ $(($(milliseconds) - from)) -gt 180000 ]; then
			echo
			box_log | tail -n 20 >&2
			box_run stoker status >&2 2>/dev/null || true
			die "$what did not come in $(seconds_since "$from"); above are the container's last lines"
		fi
		[ ! -t 1 ] || printf '\rwaiting for %s ... %s' "$what" "$(seconds_since "$from")"
		sleep 0.2
	done
	[ ! -t 1 ] || printf '\r'
	printf 'waited for %s: %s   \n' "$what" "$(seconds_since "$from")"
}

# ready: the exit codes 69, 70 and 75 mean that stoker does not answer yet. Before the first answer
# any other code means that the box cannot execute this binary.
ready() {
	status_code=0
	status=$(box_run stoker status 2>&1) || status_code=$?
	case $status_code in
	0) answered=1 && printf '%s\n' "$status" | grep -q 'tomcat.*RUNNING' ;;
	69 | 70 | 75) return 1 ;;
	*)
		[ -n "${answered:-}" ] || ! box_alive || hopeless="$status (exit code $status_code)"
		return 1
		;;
	esac
}
answers() { curl -fsS -o /dev/null --max-time 5 "$url/health" 2>/dev/null; }
tomcat_pid() { curl -fsS --max-time 20 "$url/" | sed -n 's/^pid: //p'; }
new_tomcat() { ready && pid=$(tomcat_pid 2>/dev/null) && [ -n "$pid" ] && [ "$pid" != "$1" ]; }

# processes prints the pid and the command line of every process in the box. It needs only a
# shell, and leaves itself out.
processes() {
	# shellcheck disable=SC2016 # expanded in the box
	box_run sh -c 'for p in /proc/[0-9]*; do
		line=$(tr "\0" " " <"$p/cmdline" 2>/dev/null) || continue
		case $line in ""|sh\ -c*|tr*) ;; *) echo "${p#/proc/} $line" ;; esac
	done' | sort -n | cut -c 1-100
}
supervisor_pid() { processes | sed -n 's/^\([0-9]*\) [^ ]*stoker supervise.*/\1/p' | head -n 1; }
another_supervisor() { now=$(supervisor_pid) && [ -n "$now" ] && [ "$now" != "$1" ]; }

# keep_asking sends requests and counts them in two files until it is killed.
keep_asking() {
	: >"$work/answered"
	: >"$work/failed"
	while :; do
		if answers; then echo >>"$work/answered"; else echo >>"$work/failed"; fi
	done
}

if { has docker && docker_answers; } || is_root; then
	need_docker
	need mmdebstrap curl
fi
if docker_start; then
	box="a container with 1.5 CPUs and 1 GiB"
	docker_box
elif is_root; then
	say "no Docker: $docker_why"
	say "the demo runs without it"
	box="a PID namespace, with this machine's own limits"
	namespace_box
else
	die "the demo needs Docker, or root: $docker_why. As root run 'apt-get install docker.io mmdebstrap curl' and add $(id -un) to the group docker (and log in again), or run make demo as root"
fi

step "Tomcat starts under stoker, in $box"
box_start
await "readiness (Tomcat's own socket, HTTP 200, no failed application)" ready

step "Processes: stoker's init is PID 1, the supervisor and Tomcat are its children"
processes
shown stoker status
box_run stoker status

step "Limits, read from the cgroup instead of the host"
shown stoker limits
box_run stoker limits

step "The options of the JVM, and where each comes from"
shown stoker jvm explain
box_run stoker jvm explain

step "What the application sees"
shown "curl $url/"
curl -fsS --max-time 20 "$url/" | grep -E '^(processors|max-memory-mib|java-version|pid|user|argument: -(Xm|XX|Dstoker))'

step "SIGKILL to the JVM: stoker restarts it, PID 1 runs on"
before=$(tomcat_pid)
shown "kill -9 $before"
box_run sh -c "kill -9 $before"
await "a new Tomcat" new_tomcat "$before"
pid=$(tomcat_pid)
echo "pid $before is gone, Tomcat is pid $pid now"
box_run stoker status

step "SIGKILL to the supervisor during requests: Tomcat runs on"
keep_asking &
load=$!
sleep 1
old=$(supervisor_pid)
shown "kill -9 $old"
box_run sh -c "kill -9 $old"
await "another supervisor" another_supervisor "$old"
await "its answer" ready
sleep 1
kill "$load" 2>/dev/null
wait "$load" 2>/dev/null || true
load=
after=$(tomcat_pid)
failed=$(wc -l <"$work/failed")
echo "supervisor: pid $old before, pid $now now; Tomcat: pid $pid before, pid $after now"
echo "requests meanwhile: $(wc -l <"$work/answered") answered, $failed failed"
[ "$pid" = "$after" ] || die "Tomcat's pid has changed although only the supervisor was killed"
[ "$failed" -eq 0 ] || die "$failed requests failed although only the supervisor was killed"

step "The events: each of them can run hooks"
shown stoker events
box_run stoker events

step "SIGTERM to PID 1: Tomcat stops first, then everything else"
from=$(milliseconds)
box_stop
echo "stopped after $(seconds_since "$from"), exit code $code"
[ "$code" -eq 0 ] || die "the exit code should be 0"
