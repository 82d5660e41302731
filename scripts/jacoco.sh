#!/bin/sh
# jacoco.sh FILE writes the JaCoCo agent of Debian's libjacoco-java to FILE. The
# agent is a jar inside org.jacoco.agent.jar; org.jacoco.agent.rt.jar has no Premain-Class.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

[ $# = 1 ] || die "usage: jacoco.sh FILE"
need unzip libjacoco-java
mkdir -p "$(dirname "$1")"
unzip -p /usr/share/java/org.jacoco.agent.jar jacocoagent.jar >"$1.new"
mv "$1.new" "$1"
say "$1 is there"
