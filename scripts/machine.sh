# shellcheck shell=sh
# Sourced by the other scripts: finds what this machine has and installs the rest by apt. On other
# systems than Debian and Ubuntu it prints what is missing.

say() { printf '%s\n' "$*" >&2; }

die() {
	printf 'stoker: %s\n' "$*" >&2
	exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }

has() { command -v "$1" >/dev/null 2>&1; }

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# progress TITLE COMMAND... runs a long command and shows the elapsed time and what it does: on a
# terminal in one line that is overwritten, else in a line every ten seconds. It shows the output
# of the command if it fails.
progress() { progress_run "" "$@"; }

# progress_shown TITLE COMMAND... also shows the output as it comes, without the lines of tests
# that pause and continue. The output stays in $progress_log.
progress_shown() { progress_run shown "$@"; }

progress_run() {
	progress_mode=$1 progress_title=$2
	shift 2
	progress_log=$(mktemp)
	progress_from=$(date +%s)
	progress_ticks &
	progress_ticker=$!
	{
		progress_code=0
		"$@" 2>&1 || progress_code=$?
		echo "$progress_code" >"$progress_log.code"
	} | while IFS= read -r progress_line; do
		printf '%s\n' "$progress_line" >>"$progress_log"
		case $progress_mode$progress_line in
		shown===\ *) ;;
		shown*) printf '%s%s\n' "$progress_clear" "$progress_line" >&2 ;;
		esac
	done
	kill "$progress_ticker" 2>/dev/null || true
	wait "$progress_ticker" 2>/dev/null || true
	progress_code=$(cat "$progress_log.code")
	rm -f "$progress_log.code"
	progress_took=$(($(date +%s) - progress_from))
	printf '%s' "$progress_clear" >&2
	if [ "$progress_code" != 0 ]; then
		say "$progress_title: failed after $progress_took s"
		[ -n "$progress_mode" ] || { tail -n 20 "$progress_log" >&2 && say "the whole output is in $progress_log"; }
		return "$progress_code"
	fi
	[ "$progress_took" -lt 2 ] || say "$progress_title: done in $progress_took s"
	[ -n "$progress_mode" ] || rm -f "$progress_log"
}

# progress_clear clears the line of a terminal.
progress_clear=
[ ! -t 2 ] || progress_clear=$(printf '\r\033[K')

# progress_ticks prints the progress until it is killed or the script has ended.
progress_ticks() {
	progress_next=10
	while sleep 1 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
		progress_took=$(($(date +%s) - progress_from))
		[ -n "$progress_clear" ] || [ "$progress_took" -ge "$progress_next" ] || continue
		progress_now=$(${progress_doing:-progress_last})
		progress_now="$progress_title: $progress_took s${progress_now:+, $progress_now}"
		if [ -n "$progress_clear" ]; then
			printf '%s%.79s' "$progress_clear" "$progress_now" >&2
		else
			say "$progress_now"
			progress_next=$((progress_took + 10))
		fi
	done
	rm -f "$progress_log" "$progress_log.code" # the script is gone
}

progress_last() { tail -n 1 "$progress_log" | cut -c 1-100; }

# go_doing prints what the go command started by this script does.
go_doing() {
	go_children $$ | sort -u | head -n 3 | paste -s -d , - | sed 's/,/, /g'
}

# go_children PID searches the descendants of a process for it.
go_children() {
	# shellcheck disable=SC2013 # words are wanted: these are pids
	for go_child in $(cat "/proc/$1"/task/*/children 2>/dev/null); do
		go_line=$(tr '\0' ' ' 2>/dev/null <"/proc/$go_child/cmdline") || continue
		case $go_line in
		*/compile\ *\ -p\ *) go_line=${go_line#* -p } && echo "compiling ${go_line%% *}" ;;
		*/link\ *) go_line=${go_line##*/} && echo "linking" ;;
		*/go-build*.test\ *) go_line=${go_line%%.test *} && echo "running ${go_line##*/}" ;;
		*) go_children "$go_child" ;;
		esac
	done
}

# candidate PACKAGE succeeds if apt can install the package.
candidate() { apt-cache policy "$1" 2>/dev/null | grep -q '^  Candidate: [^(]'; }

# need ITEM... makes sure that every item is installed. An item is a package, or COMMAND=PACKAGE if
# the command may come from elsewhere. Root installs what is missing; for other users need prints
# it.
need() {
	missing=
	for item in "$@"; do
		case $item in
		*=*) has "${item%%=*}" || missing="$missing ${item#*=}" ;;
		*) installed "$item" || missing="$missing $item" ;;
		esac
	done
	[ -n "$missing" ] || return 0
	has apt-get || die "cannot install, there is no apt-get here: please provide what Debian calls:$missing"
	is_root || die "this needs more packages; as root run: apt-get update && apt-get install -y --no-install-recommends$missing"
	say "installing:$missing"
	apt_update
	# shellcheck disable=SC2086 # a list of names
	progress "installing" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing || die "cannot install$missing"
	for item in "$@"; do
		case $item in
		*=*) has "${item%%=*}" || die "${item#*=} is installed, and there is no ${item%%=*} in PATH ($PATH)" ;;
		esac
	done
}

# apt_update refreshes the package lists once per run of a script and the scripts it calls.
apt_update() {
	[ -z "${apt_fresh:-}" ] || return 0
	progress "refreshing the package lists" apt-get update || say "some package lists could not be refreshed; going on with what is there"
	export apt_fresh=1
}

# first_known PACKAGE... prints the first package that is installed or can be installed, else the
# first of all.
first_known() {
	for known in "$@"; do
		installed "$known" && echo "$known" && return
	done
	if ! candidate "$1" && is_root && has apt-get; then
		apt_update
	fi
	for known in "$@"; do
		candidate "$known" && echo "$known" && return
	done
	echo "$1"
}

# tomcat_version prints the major version of the Tomcat of this distribution.
tomcat_version() {
	tomcat_package=$(first_known tomcat10-common tomcat11-common tomcat9-common)
	tomcat_package=${tomcat_package#tomcat}
	echo "${tomcat_package%-common}"
}

# jre_package prints the package of OpenJDK 17, or of the default JRE if there is none.
jre_package() { first_known openjdk-17-jre-headless default-jre-headless; }

# jdk_package prints the package of the javac for it: tests compile small programs.
jdk_package() { first_known openjdk-17-jdk-headless default-jdk-headless; }

docker_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# docker_error prints the last line of the error of the Docker client.
docker_error() { docker version 2>&1 >/dev/null | tail -n 1; }

# need_docker makes sure that the Docker client is installed, which is a separate package in some
# distributions, and a daemon that root can start if none answers.
need_docker() {
	has docker || ! is_root || ! has apt-get || apt_update
	docker_client=docker.io
	! candidate docker-cli || docker_client=docker-cli
	need "docker=$docker_client"
	docker_answers || ! is_root || need dockerd=docker.io
}

# docker_start starts a Docker daemon if none answers. If it fails, $docker_why says why.
# docker_stop stops the daemon that was started here.
docker_start() {
	has docker || { docker_why="there is no docker command" && return 1; }
	docker_answers && return 0
	is_root || { docker_why="the Docker daemon does not answer $(id -un): $(docker_error)" && return 1; }
	has dockerd || { docker_why="no Docker daemon answers, and there is no dockerd that could be started: $(docker_error)" && return 1; }
	waited=0
	# The package may just have been installed and be starting it.
	while [ -s /run/docker.pid ] && kill -0 "$(cat /run/docker.pid)" 2>/dev/null && [ "$waited" -lt 30 ]; do
		sleep 1
		docker_answers && return 0
		waited=$((waited + 1))
	done
	docker_log=$(mktemp)
	dockerd >"$docker_log" 2>&1 &
	docker_pid=$!
	waited=0
	until docker_answers; do
		docker_why=
		if ! kill -0 "$docker_pid" 2>/dev/null; then
			docker_why="dockerd ended: $(tail -n 1 "$docker_log")"
		elif [ "$waited" -ge 60 ]; then
			docker_why="dockerd does not answer within a minute: $(docker_error); its last line: $(tail -n 1 "$docker_log")"
		fi
		[ -z "$docker_why" ] || { docker_stop && return 1; }
		sleep 1
		waited=$((waited + 1))
	done
}

docker_stop() {
	[ -n "${docker_pid:-}" ] || return 0
	kill "$docker_pid" 2>/dev/null || true
	wait "$docker_pid" 2>/dev/null || true
	docker_pid=
	rm -f "$docker_log"
}
