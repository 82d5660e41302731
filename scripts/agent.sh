#!/bin/sh
# agent.sh compiles the agent that ends the requests of a Tomcat before it is stopped, into jvm/drain/class, where
# it is embedded. Without javac it says so, and stoker stops a Tomcat without it.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

made=jvm/drain/class/Drain.class
[ ! -e "$made" ] || [ -n "$(find jvm/drain/Drain.java scripts/agent.sh -newer "$made")" ] || exit 0
if ! has javac; then
	say "no javac ($(jdk_package)): stopping a Tomcat will cut off its requests"
	exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Without debug information and timestamps the class is the same each time. From Java 21 on javac warns of --release 8.
javac --release 8 -Xlint:-options -g:none -d "$work" jvm/drain/Drain.java || {
	say "cannot compile the agent: stopping a Tomcat will cut off its requests"
	exit 0
}
mv "$work/stoker/Drain.class" "$made"
