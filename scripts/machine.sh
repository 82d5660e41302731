# shellcheck shell=sh
# Sourced by the other scripts: what this machine has, and how it gets the rest.
# Debian and Ubuntu are served through apt; elsewhere the names are told.

say() { printf '%s\n' "$*" >&2; }

die() {
	printf 'stoker: %s\n' "$*" >&2
	exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }

has() { command -v "$1" >/dev/null 2>&1; }

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# candidate PACKAGE: apt knows the package and could install it.
candidate() { apt-cache policy "$1" 2>/dev/null | grep -q '^  Candidate: [^(]'; }

# need ITEM... sees to it that every item is there. An item is a package, or
# COMMAND=PACKAGE where any origin of the command will do. Root installs what
# is missing; anybody else is told what to install.
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
	apt_log=$(mktemp)
	apt_update
	# shellcheck disable=SC2086 # a list of names
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >"$apt_log" 2>&1 || {
		tail -n 20 "$apt_log" >&2
		die "cannot install$missing (the whole output is in $apt_log)"
	}
	rm -f "$apt_log"
}

# apt_update refreshes the package lists once in a run of a script.
apt_update() {
	[ -z "${apt_fresh:-}" ] || return 0
	apt-get update -qq >/dev/null 2>&1 || say "some package lists could not be refreshed; going on with what is there"
	apt_fresh=1
}

# first_known PACKAGE... prints the first of them that is installed or can be,
# and the very first where none is known at all.
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

# tomcat_version: the major version of Tomcat that this machine's distribution has.
tomcat_version() {
	tomcat_package=$(first_known tomcat10-common tomcat11-common tomcat9-common)
	tomcat_package=${tomcat_package#tomcat}
	echo "${tomcat_package%-common}"
}

# jre_package: OpenJDK 17 where the distribution has it, else its default.
jre_package() { first_known openjdk-17-jre-headless default-jre-headless; }

# jdk_package has the javac that belongs to it: tests compile small programs.
jdk_package() { first_known openjdk-17-jdk-headless default-jdk-headless; }

docker_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# need_docker: there is a client and, where no daemon answers it yet, one that root
# can start: a machine may have the client alone.
need_docker() {
	need docker=docker.io
	docker_answers || ! is_root || need dockerd=docker.io
}

# docker_start: a Docker daemon answers afterwards, or the result is false.
# docker_stop ends it again if it was started here.
docker_start() {
	docker_answers && return 0
	{ is_root && has dockerd; } || return 1
	waited=0
	# A package that was installed this moment may be starting it.
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
		if ! kill -0 "$docker_pid" 2>/dev/null || [ "$waited" -ge 60 ]; then
			say "dockerd does not answer; its last words:"
			tail -n 5 "$docker_log" >&2
			docker_stop
			return 1
		fi
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
