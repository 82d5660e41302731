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
# No exec, because the trap cleans up.
"$work/bench" -probe "$work/probe" -stoker bin/stoker "$@"
# Flags select a part.
[ $# -gt 0 ] || "$go" test -run '^$' -bench 'BenchmarkCheck|BenchmarkLimitsAndRender' ./jvm/hotspot ./cmd/stoker
