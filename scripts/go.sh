#!/bin/sh
# go.sh prints the path of a Go toolchain that is new enough for go.mod. An older Go fetches it as
# a module, as Go 1.21 and later do themselves, so any Go of the distribution is enough.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

want=$(sed -n 's/^go //p' go.mod)
bootstrap="golang.org/toolchain@v0.0.1-go$want.$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')"

# new_enough GO succeeds if its version is at least that of go.mod. It runs outside the module and
# without switching, because otherwise another toolchain would answer.
new_enough() {
	have=$(cd / && GOTOOLCHAIN=local "$1" version 2>/dev/null | sed -n 's/^go version go\([0-9.]*\).*/\1/p')
	[ -n "$have" ] && [ "$(printf '%s\n%s\n' "$want" "$have" | sort -V | head -n 1)" = "$want" ]
}

old=
for go in go /usr/local/go/bin/go /usr/lib/go/bin/go /usr/lib/go-1.*/bin/go; do
	has "$go" || continue
	go=$(command -v "$go")
	if new_enough "$go"; then
		echo "$go"
		exit
	fi
	old=$go
done

if [ -z "$old" ]; then
	{ is_root && has apt-get; } || die "cannot find Go $want or newer: unpack it from https://go.dev/dl to /usr/local/go, or install any Go from 1.16 on (apt-get install golang-go), which then fetches the right one"
	need golang-go ca-certificates
	old=$(command -v go)
fi

cache=$(cd / && GOTOOLCHAIN=local "$old" env GOMODCACHE)
go="$cache/$bootstrap/bin/go"
if [ ! -x "$go" ]; then
	(cd / && progress "fetching Go $want with $old" env GO111MODULE=on GOFLAGS=-mod=mod GOTOOLCHAIN=local "$old" mod download "$bootstrap") ||
		die "cannot fetch Go $want with $old: unpack it from https://go.dev/dl to /usr/local/go instead"
	# The files of a module are read-only and not executable.
	chmod -R u+w "$cache/$bootstrap/bin" "$cache/$bootstrap/pkg"
	find "$cache/$bootstrap/bin" "$cache/$bootstrap/pkg/tool" -type f -exec chmod 755 {} +
fi
echo "$go"
