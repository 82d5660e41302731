#!/bin/sh
# jacoco.sh FILE writes the JaCoCo agent of Debian's libjacoco-java to FILE. The jar
# that can be an agent is within org.jacoco.agent.jar; org.jacoco.agent.rt.jar
# beside it has no Premain-Class.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

[ $# = 1 ] || die "usage: jacoco.sh FILE"
need unzip libjacoco-java
mkdir -p "$(dirname "$1")"
unzip -p /usr/share/java/org.jacoco.agent.jar jacocoagent.jar >"$1.new"
mv "$1.new" "$1"
say "$1 is there"
