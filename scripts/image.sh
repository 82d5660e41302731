#!/bin/sh
# image.sh [NAME...] builds the Docker image stoker-demo, and for each folder testdata/images/NAME
# the image stoker-NAME on top of it ("broken": all of them). It uses no registry: mmdebstrap
# creates the root file system of the base image from the apt sources of this machine.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/stoker
[ -x bin/stoker ] || die "bin/stoker is missing: run make build first"

need_docker
need mmdebstrap mount=mount # without the command it skips /proc, and a JRE cannot be installed without
trap docker_stop EXIT
trap 'exit 130' INT TERM
docker_start || die "cannot build the image: $docker_why"

tomcat=$(tomcat_version)
jre=$(jre_package)
include="$jre,tomcat$tomcat-common,libtomcat$tomcat-java,tomcat$tomcat-user"
# shellcheck source=/dev/null
. /etc/os-release
recipe=$(printf '%s %s %s' "$VERSION_CODENAME" "$include" "$(cat scripts/base.sh scripts/rootfs.sh)" | sha256sum | cut -c1-16)
rootfs=$cache/rootfs-$recipe.tar

# Only the sources of the distribution.
sources() {
	for origin in Debian Ubuntu; do
		apt-get indextargets --format "deb \$(REPO_URI) \$(RELEASE) \$(COMPONENT)" \
			'Created-By: Packages' "Origin: $origin" "Architecture: $(dpkg --print-architecture)"
	done
}

# The apt settings of the machine: proxies, dates, certificates.
acquire_options() {
	apt-config dump | grep -iE '^Acquire::(https?::|Check-|Retries|ForceIPv)'
}

make_rootfs() {
	mkdir -p "$cache"
	work=$(mktemp -d)
	acquire_options >"$work/acquire" || true
	sources >"$work/sources"
	[ -s "$work/sources" ] || { apt_update && sources >"$work/sources"; }
	# The folder of man pages must exist, because the JRE registers pages with
	# update-alternatives.
	progress "making the root file system (once)" mmdebstrap --variant=minbase --include="$include" --aptopt="$work/acquire" \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--setup-hook="mkdir -p \"\$1/usr/share/man/man1\"" \
		--customize-hook="sh '$PWD/scripts/rootfs.sh' \"\$1\"" \
		"$VERSION_CODENAME" "$work/rootfs.tar" - <"$work/sources" || die "cannot make the root file system"
	rm -f "$cache"/rootfs-*.tar
	mv "$work/rootfs.tar" "$rootfs"
	rm -rf "$work"
}

# build NAME sends the files of a Dockerfile as a tar file, without .dockerignore and the rest of
# the repository.
build() {
	tar -c bin/stoker testdata/webapp testdata/images |
		progress "building stoker-$1" docker build -t "stoker-$1" -f "testdata/images/$1/Dockerfile" - ||
		die "cannot build the image stoker-$1"
	say "stoker-$1 is built"
}

if [ "$(docker image inspect -f '{{index .Config.Labels "stoker.recipe"}}' stoker-base 2>/dev/null)" != "$recipe" ]; then
	[ -s "$rootfs" ] || make_rootfs
	progress "importing the root file system" docker import --change "LABEL stoker.recipe=$recipe" \
		--change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
		--change "ENV CATALINA_HOME=/usr/share/tomcat$tomcat" \
		--change 'ENV CATALINA_BASE=/srv/app' \
		"$rootfs" stoker-base
fi
build demo
if [ "${1:-}" = broken ]; then
	set --
	for dockerfile in testdata/images/*/Dockerfile; do
		name=${dockerfile%/Dockerfile}
		name=${name##*/}
		[ "$name" = demo ] || set -- "$@" "$name"
	done
fi
for name in "$@"; do
	[ "$name" = demo ] || build "$name"
done
# The images that were replaced.
docker image prune -f --filter label=stoker.recipe >/dev/null
