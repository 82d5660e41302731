#!/bin/sh
# flags.sh JVM_HOME|ROOT... writes the lists of -XX flags that JVMs print, Linux on x86_64, to
# jvm/testdata/flags/VERSION.txt, and makes jvm/flagtable.txt of those that buildsListed in
# jvm/known.go names. A ROOT is a root file system with JVMs in usr/lib/jvm (as of
# scripts/matrix.sh); they are run in it, which only root can do.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh
[ $# -gt 0 ] || die "usage: scripts/flags.sh JVM_HOME|ROOT..."

# list COMMAND... writes the list of the JVM that COMMAND runs.
list() {
	version=$("$@" -version 2>&1 | sed -n 's/^[a-z]* version "\([^"]*\)".*/\1/p')
	[ -n "$version" ] || die "cannot ask $* for its version"
	"$@" -XX:+UnlockDiagnosticVMOptions -XX:+UnlockExperimentalVMOptions -XX:+PrintFlagsFinal -version 2>/dev/null | awk '
		$3 == "=" || $3 == ":=" || $3 == "+=" {
			kind = "product"
			if (/\{[^}]*diagnostic/) kind = "diagnostic"
			if (/\{[^}]*experimental/) kind = "experimental"
			print $1, kind, $2
		}' | LC_ALL=C sort | awk '
		{ head = "[" $1 " " $2 "]" }
		head != last || length(line) + 1 + length($3) > 138 { if (line) print line; line = "" }
		head != last { print head; last = head }
		{ line = line (line ? " " : "") $3 }
		END { print line }' >"$tmp"
	[ "$(wc -w <"$tmp")" -gt 500 ] || die "cannot read the flags of $*: is it a HotSpot JVM of Linux?"
	cp "$tmp" "jvm/testdata/flags/$version.txt"
	echo "jvm/testdata/flags/$version.txt"
}
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT

for from; do
	found=
	for java in "$from"/bin/java "$from"/usr/lib/jvm/*/bin/java "$from"/usr/lib/jvm/*/jre/bin/java; do
		[ -x "$java" ] || continue
		found=$java
		# shellcheck disable=SC2016 # for the inner shell
		case $java in
		"$from"/usr/*) list unshare -m sh -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$from" "${java#"$from"}" ;;
		*) list "$java" ;;
		esac
	done
	[ -n "$found" ] || die "cannot find bin/java or usr/lib/jvm/*/bin/java in $from"
done
go test ./jvm -run 'TestFlagTable$' -update >/dev/null || die "cannot make jvm/flagtable.txt: run go test ./jvm -run TestFlagTable -update"
