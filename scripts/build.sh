#!/bin/sh
# build.sh VERSION builds bin/stoker, one static binary.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

scripts/page.sh
scripts/agent.sh
go=$(scripts/go.sh)
# The time zones of the toolchain. Without the file the binary has them uncompressed.
zones=internal/tzdata/zoneinfo.zip.gz
if gzip -9n <"$("$go" env GOROOT)/lib/time/zoneinfo.zip" >"$zones.tmp"; then
	mv "$zones.tmp" "$zones"
else
	rm -f "$zones.tmp" "$zones"
fi
# shellcheck disable=SC2034 # for progress
progress_doing=go_doing
flags=$(scripts/goflags.sh)
# shellcheck disable=SC2086 # a list of flags
progress "building bin/stoker" env CGO_ENABLED=0 "$go" build $flags -ldflags "-s -w -funcalign 16 -X main.version=$1" -o bin/stoker ./cmd/stoker
