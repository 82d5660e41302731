#!/bin/sh
# vm.sh installs what the tests in a virtual machine need: qemu, a static busybox and a C compiler.
# It takes the image of the distribution's kernel and its modules for VLANs from its package, without
# installing it, into the cache, and prints the path of the kernel. /dev/kvm is not used.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || die "the virtual machine of the tests is one for amd64 and made with Debian's tools"
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/stoker
kernel=$cache/vmlinuz
modules=$cache/vmlinuz.modules

need qemu-system-x86_64=qemu-system-x86 busybox-static gcc libc6-dev

if [ ! -s "$kernel" ] || [ ! -d "$modules" ]; then
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
	mkdir -p "$cache" "$work/files" "$work/modules"
	for package in "$work"/*.deb; do
		dpkg --fsys-tarfile "$package" | tar -x -C "$work/files" --wildcards './boot/vmlinuz-*'
		# Some distributions have the modules in another package; tests that need them are skipped there.
		dpkg --fsys-tarfile "$package" | tar -x -C "$work/files" --wildcards '*.ko*' 2>/dev/null || true
	done
	# In the order in which they can be loaded.
	number=1
	for module in llc stp garp mrp 8021q veth; do
		file=$(find "$work/files" -name "$module.ko*")
		case $file in
		*.xz) xz -dc "$file" >"$work/modules/$number-$module.ko" ;;
		*.ko) cp "$file" "$work/modules/$number-$module.ko" ;;
		esac
		number=$((number + 1))
	done
	rm -rf "$modules"
	mv "$work/modules" "$modules"
	mv "$work"/files/boot/vmlinuz-* "$kernel.part"
	mv "$kernel.part" "$kernel"
fi
echo "$kernel"
