#!/bin/sh
# vm.sh installs what the tests in a virtual machine need: qemu, a static busybox and a C compiler.
# It takes the image of the distribution's kernel from its package, without installing it, into the
# cache, and prints its path. /dev/kvm is not used.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || die "the virtual machine of the tests is one for amd64 and made with Debian's tools"
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/stoker
kernel=$cache/vmlinuz

need qemu-system-x86_64=qemu-system-x86 busybox-static gcc libc6-dev

if [ ! -s "$kernel" ]; then
	# This package has no files; it depends on the one with the kernel.
	meta=$(first_known linux-image-cloud-amd64 linux-image-virtual)
	image=$(apt-cache depends "$meta" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	[ -n "$image" ] || {
		apt_update
		image=$(apt-cache depends "$meta" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	}
	[ -n "$image" ] || die "cannot find a kernel: apt knows no package that $meta depends on"
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	apt_update
	(cd "$work" && progress "fetching $image (once)" apt-get download "$image") || die "cannot download $image"
	mkdir -p "$cache" "$work/files"
	for package in "$work"/*.deb; do
		dpkg --fsys-tarfile "$package" | tar -x -C "$work/files" --wildcards './boot/vmlinuz-*'
	done
	mv "$work"/files/boot/vmlinuz-* "$kernel.part"
	mv "$kernel.part" "$kernel"
fi
echo "$kernel"
