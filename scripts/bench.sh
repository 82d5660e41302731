#!/bin/sh
# bench.sh [FLAG...] measures bin/stoker beside the inits and supervisors of Debian in one run.
# The flags are those of the program bench.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

is_root || die "measuring needs root: every program is run as PID 1 of a new PID namespace"
need gcc libc6-dev ip=iproute2 tini dumb-init s6-svscan=s6 runsvdir=runit supervisord=supervisor
if [ $# -eq 0 ]; then # flags select a part, and what it needs is there
	tomcat=$(tomcat_version)
	need "java=$(jre_package)" "javac=$(jdk_package)" "tomcat$tomcat-common" "libtomcat$tomcat-java" "tomcat$tomcat-user"
	# Libraries for a large application.
	need libjetty9-java libspring-web-java libmaven3-core-java libnetty-java libjackson2-databind-java liblog4j2-java
fi
go=$(scripts/go.sh)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
gcc -O2 -Wall -static -o "$work/probe" bench/probe/probe.c
"$go" build -o "$work/bench" ./bench
# Supervisors that are written in Go, from their modules: go.mod does not name them.
build_peer() { # MODULE VERSION PACKAGE FILE
	mkdir "$work/module-$4"
	(cd "$work/module-$4" && "$go" mod init peer && "$go" mod edit -require "$1@$2" && "$go" build -mod=mod -o "$work/$4" "$3") >/dev/null 2>&1 ||
		say "the module $1 cannot be built: it is left out"
}
build_peer github.com/ochinchina/supervisord v0.7.3 github.com/ochinchina/supervisord ochinchina
build_peer github.com/canonical/pebble v1.32.1 github.com/canonical/pebble/cmd/pebble pebble
# No exec, because the trap cleans up.
"$work/bench" -probe "$work/probe" -stoker bin/stoker -ochinchina "$work/ochinchina" -pebble "$work/pebble" "$@"
# Flags select a part.
[ $# -gt 0 ] || "$go" test -run '^$' -bench 'BenchmarkCheck|BenchmarkLimitsAndRender' ./jvm/hotspot ./cmd/stoker
