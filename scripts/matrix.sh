#!/bin/sh
# matrix.sh [three|all|JDK-TOMCAT...] fetches headless JREs and Tomcats of Debian's suites into the
# cache, without installing them. It prints a line for each pair: the version of Java, that of
# Tomcat, and the lower folders of an overlay that is a root file system with both. "three" are the
# oldest, the default (17-10.1) and the newest pair, "all" each JDK with each Tomcat that supports
# it; 17.0.12-9.0 names versions by their beginning. Later calls use what is in the cache.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || die "the matrix of JDKs and Tomcats is one for amd64 and made with Debian's tools"
is_root || die "cannot unpack a root file system: run scripts/matrix.sh as root"
[ $# -gt 0 ] || set -- three
for arg in "$@"; do
	case $arg in
	three | all | [0-9]*-[0-9]*) ;;
	*) die "usage: matrix.sh [three|all|JDK-TOMCAT...]" ;;
	esac
done

cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/stoker/matrix-$(sha256sum scripts/matrix.sh | cut -c1-16)
pairs=$cache/pairs-$(printf '%s\n' "$*" | tr -c 'A-Za-z0-9.\n-' _)
if [ -s "$pairs" ]; then
	cat "$pairs"
	exit
fi

suites="bullseye bookworm trixie sid"
[ "$*" != three ] || suites="bullseye trixie sid" # they have the three, and it is quicker

work=$(mktemp -d)
trap 'rm -rf "$work" "$cache"/.part-*' EXIT
trap 'exit 130' INT TERM
chmod 755 "$work" # for apt's own user
mkdir -p "$cache" "$work/lists/partial" "$work/archives/partial" "$work/debs"

# The mirror of this machine with the names of other suites. Release files of sid expire within days.
mirror() {
	apt-get indextargets --format "[signed-by=$keyring] \$(REPO_URI)" 'Created-By: Packages' 'Origin: Debian' 'Component: main' |
		grep -v -- '-security' | head -n 1
}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -n "$(mirror)" ] || apt_update
mirror=$(mirror)
[ -n "$mirror" ] || die "cannot find a mirror of Debian: apt has no source with Origin Debian"
for suite in $suites; do
	echo "deb $mirror $suite main"
done >"$work/sources.list"

apt() {
	apt_command=$1
	shift
	"$apt_command" -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$work/lists" \
		-o Dir::State::status=/dev/null -o Dir::Cache="$work" -o Dir::Cache::pkgcache=pkgcache.bin -o Dir::Cache::srcpkgcache=srcpkgcache.bin \
		-o Acquire::Check-Valid-Until=false -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}
progress "reading the suites $suites" apt apt-get update || die "cannot read the suites $suites"

# Lines of PACKAGE VERSION, the newest last.
apt apt-cache pkgnames | grep -E '^(openjdk-[0-9]+-jre-headless|tomcat[0-9]+-common)$' >"$work/names"
# shellcheck disable=SC2046 # a list of names
apt apt-cache madison $(cat "$work/names") | sed 's/ *| */ /g' | cut -d ' ' -f 1,2 | sort -u | sort -V >"$work/packages"
jdks() { sed -n 's/^openjdk-\([0-9]*\)-jre-headless /\1 /p' "$work/packages"; }
tomcats() { sed -n 's/^tomcat\([0-9]*\)-common /\1 /p' "$work/packages"; }

# supports JDK TOMCAT succeeds if that Tomcat runs on that JDK; both are major versions.
supports() {
	case $2 in
	9) [ "$1" -ge 8 ] ;;
	10) [ "$1" -ge 11 ] ;;
	*) [ "$1" -ge 17 ] ;;
	esac
}

# newest PREFIX selects from lines of MAJOR VERSION the newest whose major or version begins so.
newest() {
	awk -v prefix="$1" '$1 == prefix || index($2, prefix ".") == 1 || index($2, prefix "-") == 1 || index($2, prefix "+") == 1 || $2 == prefix' | tail -n 1
}

# choose prints pairs as JDK JDK-VERSION TOMCAT TOMCAT-VERSION.
choose() {
	case $1 in
	all)
		for jdk in $(jdks | cut -d ' ' -f 1 | sort -nu); do
			tomcats | while read -r tomcat version; do
				! supports "$jdk" "$tomcat" || echo "$(jdks | newest "$jdk") $tomcat $version"
			done
		done
		;;
	three)
		choose "$(jdks | head -n 1 | cut -d ' ' -f 1)-$(tomcats | head -n 1 | cut -d ' ' -f 1)"
		choose 17-10.1
		choose "$(jdks | tail -n 1 | cut -d ' ' -f 1)-$(tomcats | tail -n 1 | cut -d ' ' -f 1)"
		;;
	*)
		jdk=$(jdks | newest "${1%%-*}") tomcat=$(tomcats | newest "${1#*-}")
		[ -n "$jdk" ] || die "no suite has Java ${1%%-*}; there are: $(jdks | cut -d ' ' -f 2 | paste -s -d ' ')"
		[ -n "$tomcat" ] || die "no suite has Tomcat ${1#*-}; there are: $(tomcats | cut -d ' ' -f 2 | paste -s -d ' ')"
		echo "$jdk $tomcat"
		;;
	esac
}
for arg in "$@"; do
	choose "$arg"
done >"$work/chosen"

# A layer is a folder with packages; its name has their version. Fetched are those that are missing.
layer() {
	[ -d "$cache/$1" ] || printf '%s\n' "$*" >>"$work/layers"
}
: >"$work/layers"
layer base libc6 libgcc-s1 libstdc++6 zlib1g dash busybox-static
while read -r jdk java tomcat version; do
	layer "jre_$java" "openjdk-$jdk-jre-headless=$java"
	layer "tomcat_$version" "tomcat$tomcat-common=$version" "tomcat$tomcat-user=$version" "libtomcat$tomcat-java=$version"
	echo "${java%%[-+~]*} ${version%%[-+~]*} $cache/tomcat_$version:$cache/jre_$java:$cache/base" >>"$work/pairs"
done <"$work/chosen"
sort -u "$work/layers" -o "$work/layers"

# unpack NAME PACKAGE[=VERSION]... makes the layer, without manuals.
unpack() {
	name=$1 into=$cache/.part-$1
	shift
	mkdir -p "$into/usr/bin" "$into/usr/lib" "$into/usr/lib64"
	for dir in bin lib lib64; do
		ln -s "usr/$dir" "$into/$dir"
	done
	for package in "$@"; do
		dpkg -x "$work/debs/$(echo "$package" | tr '=' '_')"_*.deb "$into" || return 1
	done
	rm -rf "$into/usr/share/doc" "$into/usr/share/man" "$into/usr/share/lintian"
	[ "$name" != base ] || complete_base "$into" || return 1
	mv -T "$into" "$cache/$name"
}

# complete_base ROOT adds the commands of catalina.sh and a user for the application.
complete_base() {
	chroot "$1" /usr/bin/busybox --install -s /usr/bin 2>/dev/null || true # it leaves dash's sh as it is, and says so
	mkdir -p "$1/dev" "$1/proc" "$1/sys" "$1/run" "$1/root" "$1/srv" "$1/var/lib/stoker"
	mkdir -m 1777 "$1/tmp" "$1/var/tmp"
	printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'app:x:1000:1000:application:/srv:/bin/sh' >"$1/etc/passwd"
	printf '%s\n' 'root:x:0:' 'app:x:1000:' >"$1/etc/group"
}

if [ -s "$work/layers" ]; then
	download() {
		chmod 777 "$work/debs"
		# shellcheck disable=SC2046 # a list of names
		(cd "$work/debs" && apt apt-get download $(cut -d ' ' -f 2- "$work/layers"))
	}
	progress "fetching $(wc -l <"$work/layers") layers of the matrix" download || die "cannot download the packages of the matrix"
	unpack_all() {
		while read -r line; do
			# shellcheck disable=SC2086 # a name and packages
			unpack $line &
			unpacking="${unpacking:-} $!"
			# shellcheck disable=SC2086 # pids
			set -- $unpacking
			[ $# -lt 2 ] || { wait "$1" && unpacking=$2; } || return 1
		done <"$work/layers"
		for pid in ${unpacking:-}; do
			wait "$pid" || return 1
		done
	}
	progress "unpacking them" unpack_all || die "cannot unpack the packages of the matrix"
fi
cp "$work/pairs" "$pairs.part"
mv "$pairs.part" "$pairs"
cat "$pairs"
